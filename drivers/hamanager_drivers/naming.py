"""What the application's own things are called, in the engines that have databases by name."""

from __future__ import annotations

from collections.abc import Collection

APPLICATION = "app"
"""The application's account: with all rights on its own database and none beside it."""


def database_of(service: str, reserved: Collection[str]) -> str:
    """`my_db` for the service `my-db`; another name where the engine or the manager uses that one
    itself."""
    name = service.replace("-", "_")
    return f"{name}_data" if name in reserved else name
