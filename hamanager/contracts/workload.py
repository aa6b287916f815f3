"""The test workload: what demo, drills, benchmarks and tests write to a server."""

from __future__ import annotations

from typing import Protocol

from hamanager.model.service import ServiceContext, Target


class Writer(Protocol):
    """A client that writes numbered rows to one server: for demo, benchmarks and tests.

    Every method raises `ServerError` (or a child) when it fails; a failed `write` may or may
    not have reached the data.
    """

    def prepare(self) -> None:
        """Make the table (collection, key) that the rows go to, unless it is there."""
        ...

    def write(self, number: int) -> None:
        """Write one row; returns when the engine has acknowledged it as the docs recommend."""
        ...

    def numbers(self) -> set[int]:
        """Every number that the server holds."""
        ...

    def fill(self, total_bytes: int) -> None:
        """Add about that many bytes of incompressible ballast, in acknowledged batches."""
        ...

    def close(self) -> None:
        """Close the connection; never raises."""
        ...


class Workload(Protocol):
    """Clients of an engine."""

    def open_writer(
        self, service: ServiceContext, target: Target, timeout_seconds: float = 1.0
    ) -> Writer:
        """Connect a `Writer` to that server as an application would."""
        ...
