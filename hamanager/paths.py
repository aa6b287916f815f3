"""Where the daemon keeps its state, and where it is reached.

`HAMANAGER_HOME` names the state directory; without it, the user's state directory.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from hamanager.errors import ConflictError, HamanagerError

LONGEST_SOCKET_BYTES = 100
"""Unix socket paths are limited to 107 bytes on Linux and 103 on macOS."""


def home() -> Path:
    """The state directory, which need not exist."""
    named = os.environ.get("HAMANAGER_HOME")
    return (
        Path(named).expanduser().absolute() if named else platformdirs.user_state_path("hamanager")
    )


def make_private(directory: Path) -> Path:
    """Make the directory, for its owner alone; returns it.

    Raises:
        HamanagerError: it cannot be made, or others own or may enter it.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        seen = directory.stat()
        others_may_enter = bool(stat.S_IMODE(seen.st_mode) & 0o077)
        if others_may_enter and seen.st_uid == os.geteuid() and _is_ours(directory):
            directory.chmod(0o700)
            others_may_enter = False
    except OSError as error:
        raise HamanagerError(
            f"the directory {directory} cannot be made ({error.strerror}): name another one in"
            " HAMANAGER_HOME"
        ) from error
    if seen.st_uid != os.geteuid() or others_may_enter:
        raise HamanagerError(
            f"{directory} is not a private directory of this user: name another one in"
            " HAMANAGER_HOME, or make it so with chmod 700"
        )
    return directory


def _is_ours(directory: Path) -> bool:
    """Nothing in it yet, or what we put there: somebody else's directory is never changed."""
    names = {path.name for path in directory.iterdir()}
    return not names or "manager-id" in names


def socket_path(state: Path) -> Path:
    """Where the daemon with that state directory listens: in it, or, where that path would be too
    long for a socket, under a short name made from it."""
    inside = state / "hamanager.sock"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_BYTES:
        return inside
    digest = hashlib.sha256(os.fsencode(state.absolute())).hexdigest()[:16]
    return make_private(_runtime_directory()) / f"{digest}.sock"


def database_path(state: Path) -> Path:
    """The SQLite file of the store."""
    return state / "hamanager.db"


def installation_path(state: Path) -> Path:
    """Which installation the manager belongs to."""
    return state / "installation"


def seen_path(state: Path) -> Path:
    """How far a store elsewhere was seen."""
    return state / "store-seen.json"


def endpoint_directory(state: Path) -> Path:
    """What is kept about the proxy; two directories below it are shared with the proxy."""
    return state / "endpoint"


def routes_path(state: Path) -> Path:
    """What a proxy has heard last of where clients are led."""
    return state / "routes.json"


def alive_path(state: Path) -> Path:
    """Touched each second while a proxy leads its clients where it was told."""
    return state / "alive"


def environment_path(state: Path) -> Path:
    """Where the variables of all services are kept up to date for applications."""
    return state / "environment.json"


def place(state: Path) -> str:
    """Which state directory of which running machine this is, for one daemon at a time: a copy of
    the directory is another place, and so is the same one after the machine's restart."""
    with suppress(OSError):
        seen = state.stat()
        booted = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        words = f"{booted} {seen.st_dev} {seen.st_ino}"
        return hashlib.sha256(words.encode()).hexdigest()[:16]
    return ""


def manager_id(state: Path) -> str:
    """Eight hexadecimal digits that tell this manager's containers from others'; made once and
    kept in the state directory, so that moving the directory does not change them."""
    path = state / "manager-id"
    with suppress(FileNotFoundError):
        return path.read_text().strip()
    make_private(state)
    draft = state / f"manager-id.{secrets.token_hex(4)}"
    draft.write_text(secrets.token_hex(4) + "\n")
    # A link fails when somebody else was quicker, and never shows half a file.
    with suppress(FileExistsError):
        path.hardlink_to(draft)
    draft.unlink()
    return path.read_text().strip()


@contextmanager
def only_one(state: Path, left: str = "nothing was started") -> Iterator[None]:
    """One daemon at a time on a state directory, and none while its store is copied; the lock ends
    with the process.

    Raises:
        ConflictError: there is one.
    """
    with (state / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"another daemon is running with the state directory {state}: {left}"
            ) from None
        yield


def _runtime_directory() -> Path:
    """A short one that is the same for every process of this user, whatever its environment."""
    return Path(f"/tmp/hamanager-{os.geteuid()}")  # noqa: S108 - checked by make_private
