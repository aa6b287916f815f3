"""Which store a URL means."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hamanager import paths
from hamanager.contracts.store import Store
from hamanager.errors import ConflictError, UsageError
from hamanager.stores.copying import MOVED_KEY, refuse_moved
from hamanager.stores.etcd.address import EXAMPLE, parse
from hamanager.stores.etcd.lineage import accept as accept_lineage
from hamanager.stores.etcd.store import EtcdStore
from hamanager.stores.installation import installation_id, remember
from hamanager.stores.repository import service_names
from hamanager.stores.sqlite import SqliteStore

STORE = "HAMANAGER_STORE"
SQLITE = "sqlite://"
ETCD = ("etcd://", "etcds://")


def store_url() -> str:
    """The one in the environment; '' means the state directory's own."""
    return os.environ.get(STORE, "")


def open_store(url: str, home: Path, *, manages: bool = False) -> Store:
    """The store of that URL: `etcd://...`, `sqlite:///PATH`, or, when it is empty, the file in the
    state directory. One who manages keeps there how far the store was seen.

    Raises:
        UsageError: it is no such URL.
        StoreError: the store cannot be used.
    """
    if not url:
        return SqliteStore(paths.database_path(home))
    if url.startswith(SQLITE):
        return SqliteStore(sqlite_path(url))
    if url.startswith(ETCD):
        return EtcdStore(parse(url, os.environ), paths.seen_path(home) if manages else None)
    raise UsageError(f"'{url}' names no store: it is {EXAMPLE} or sqlite:///PATH")


def sqlite_path(url: str) -> Path:
    """The file that a URL names."""
    path = url.removeprefix(SQLITE)
    if not path.startswith("/") or len(path) < 2:
        raise UsageError(f"'{url}' names no file: it is sqlite:///PATH, with three slashes")
    return Path(path)


@contextmanager
def using(url: str, home: Path) -> Iterator[None]:
    """While a manager uses that store: alone, when it is the state directory's own and none was
    named, so that it need not tell others that it lives; otherwise with others that named it, too.

    Raises:
        ConflictError: another one uses it alone, or others use it.
    """
    if url and not url.startswith(SQLITE):
        yield
        return
    path = sqlite_path(url) if url else paths.database_path(home)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    used = path.with_name(f"{path.name}.used")
    with os.fdopen(os.open(used, os.O_WRONLY | os.O_CREAT, 0o600), "w") as lock:
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if url else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            too = f"start {'that' if url else 'this'} one, too, with `--store {SQLITE}{path}`"
            whose = "a manager uses" if url else "other managers use"
            alone = " alone" if url else ""
            raise ConflictError(
                f"{whose} the store {path}{alone}: {too}; nothing was started"
            ) from None
        yield


def join(store: Store, url: str, home: Path) -> str:
    """Let the manager of that state directory take part in what the store holds; the installation's
    id.

    Raises:
        ConflictError: it belongs to another installation, or the store was moved.
        StoreError: the store cannot be used.
    """
    refuse_moved(store)
    found = installation_id(store, paths.manager_id(home))
    remember(paths.installation_path(home), found, _former(home) if url else "")
    return found


def _former(home: Path) -> str:
    """The installation that the file in the state directory is about; '' when it has no services,
    or they were moved."""
    path = paths.database_path(home)
    if not path.is_file():
        return ""
    with closing(SqliteStore(path)) as own:
        if not service_names(own) or own.get(MOVED_KEY) is not None:
            return ""
        return installation_id(own, paths.manager_id(home))


def accept(url: str, home: Path) -> None:
    """Go on with a store as it is, though it was moved or is an older copy.

    Raises:
        HamanagerError: it cannot be used.
    """
    if url.startswith(ETCD):
        accept_lineage(parse(url, os.environ))
    with closing(open_store(url, home)) as store:
        moved = store.get(MOVED_KEY)
        if moved is not None:
            store.delete(MOVED_KEY, moved.version)
