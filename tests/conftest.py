"""What all tests need."""

from __future__ import annotations

import os

# Its image would have to come from a registry; every test removes what it made.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
