"""`make openapi`: the documents of the HTTP API in docs/, as the code has them."""

from __future__ import annotations

import json
from pathlib import Path

from hamanager.daemon.http import make_app
from hamanager.daemon.metrics import Metrics
from hamanager.daemon.web import make_web
from tests.unit.fakes import FakeManager
from tests.unit.test_web import Manager

DOCS = Path(__file__).parents[1] / "docs"


def documents() -> dict[Path, str]:
    """Each file's text."""
    found = {
        "openapi.json": make_app(FakeManager()),
        "openapi-web.json": make_web(Manager(), Metrics()),
    }
    return {
        DOCS / name: json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n"
        for name, app in found.items()
    }


def main() -> int:
    """Write them."""
    for path, text in documents().items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
