"""What all tests need."""

from __future__ import annotations

import os

from hypothesis import settings

# Its image would have to come from a registry; every test removes what it made.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")

# How long an example takes says nothing of the code on a machine that is busy.
settings.register_profile("untimed", settings(deadline=None))
settings.load_profile("untimed")

pytest_plugins = ["tests.scenarios.table"]
