"""A service of the daemon on this machine: what a drill needs and the API does not tell."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from hamanager import paths
from hamanager.chaos.workload import LoadWriter, open_writer
from hamanager.discovery import load_drivers
from hamanager.errors import ConflictError, HamanagerError, NotFoundError
from hamanager.model.service import Target
from hamanager.stores.installation import installation_id
from hamanager.stores.opening import open_store, store_url
from hamanager.stores.repository import load_context, load_record, load_spec

TIMEOUT_SECONDS = 10.0


class LocalService:
    """Read from the store; what became of the drill is all that is written there. A context
    manager."""

    def __init__(self, name: str) -> None:
        """Raises a `HamanagerError` where there is no such service, or no state directory."""
        home = paths.home()
        url = store_url()
        if not url and not paths.database_path(home).is_file():
            raise HamanagerError(
                f"no daemon keeps its state in {home}; run the drill where the daemon runs, with"
                " its HAMANAGER_HOME; nothing was done"
            )
        self.name = name
        self.store = open_store(url, home)
        self.installation_id = installation_id(self.store, paths.manager_id(home))
        spec = load_spec(self.store, name)
        if spec is None:
            self.store.close()
            raise NotFoundError(f"there is no service '{name}'")
        self.context = load_context(self.store, spec[0])
        self._driver = load_drivers()[self.context.engine]
        if self._driver.workload is None:
            self.store.close()
            raise ConflictError(
                f"the engine '{self.context.engine}' of '{name}' has no workload to drill it with;"
                " nothing was done"
            )

    def __enter__(self) -> LocalService:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.store.close()

    def members(self) -> Sequence[Target]:
        """All instances on record."""
        return [Target.of(i) for i in load_record(self.store, self.name)[0].instances]

    def refusal(self) -> str | None:
        """Why no drill is begun, beside what the API tells: an order is under way."""
        spec, record = load_spec(self.store, self.name), load_record(self.store, self.name)[0]
        order = spec[0].order if spec is not None else None
        done = record.order_result
        if order is None or (done is not None and done.number >= order.number):
            return None
        return f"a {order.kind} of '{self.name}' is under way; nothing was done"

    def start_writer(self, written_before: int | None) -> LoadWriter:
        """A client that writes numbered rows as fast as it can, from the number after that on; None
        for the first one of a drill."""
        if written_before is None:
            preparing = open_writer(self._driver, self.context, self._primary(), TIMEOUT_SECONDS)
            try:
                preparing.prepare()
                written_before = max(preparing.numbers(), default=0)
            finally:
                preparing.close()
        writer = LoadWriter(self._driver, self.context, self.members, written_before=written_before)
        writer.start()
        return writer

    def numbers(self) -> set[int]:
        """Every number that the primary holds.

        Raises:
            HamanagerError: it could not be asked.
        """
        reader = open_writer(self._driver, self.context, self._primary(), TIMEOUT_SECONDS)
        try:
            return reader.numbers()
        finally:
            reader.close()

    def _primary(self) -> Target:
        record = load_record(self.store, self.name)[0]
        found = record.instance(record.primary)
        if found is None:
            raise HamanagerError(f"'{self.name}' has no primary")
        return Target.of(found)
