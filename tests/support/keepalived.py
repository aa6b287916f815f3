"""The configuration in compose/keepalived, made to fit a test."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "compose" / "keepalived"
ADDRESSES = {"one": "10.0.0.7", "two": "10.0.0.8"}
"""In the file, by machine."""
MOVING = "10.0.0.100"


def why_not() -> str:
    """Why keepalived cannot be run here; '' when it can."""
    if os.geteuid() != 0:
        return "keepalived needs root"
    if shutil.which("keepalived") is None:
        return "keepalived is missing: run scripts/setup-keepalived.sh"
    return ""


def configure(directory: Path, changes: dict[str, str]) -> Path:
    """Both files, there, with these texts in the place of others; the configuration's path."""
    script = directory / "check-proxy.sh"
    shutil.copy(SOURCE / "check-proxy.sh", script)
    script.chmod(0o700)
    text = (SOURCE / "keepalived.conf").read_text()
    for before, after in {"/etc/keepalived/check-proxy.sh": str(script), **changes}.items():
        assert before in text
        text = text.replace(before, after)
    path = directory / "keepalived.conf"
    path.write_text(text)
    path.chmod(0o600)
    return path
