"""The version of the installed distribution."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """Such as `0.1.0`; `unknown` when run from a checkout that was not installed."""
    try:
        return version("hamanager")
    except PackageNotFoundError:
        return "unknown"
