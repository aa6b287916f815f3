"""Directories that are shared with a process of fewer rights, and files in them. No symbolic link
is followed, whoever planted it: everything goes through the descriptor of a directory that is one,
and what is there already is replaced, never written into."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

OWN, READABLE = 0o700, 0o755


def own_directory(path: Path, mode: int) -> None:
    """Have it, owned by this user alone, also when it was given away; its parent has to be this
    user's. Whatever else has its name makes room.

    Raises:
        OSError: it cannot be had.
    """
    _have(path, mode)
    with opened(path) as directory:
        seen = os.fstat(directory)
        if seen.st_uid != os.geteuid():
            os.fchown(directory, os.geteuid(), os.getegid())
        if stat.S_IMODE(seen.st_mode) != mode:
            os.fchmod(directory, mode)


def foreign_directory(path: Path) -> None:
    """Have it; whose it is, is left as it is."""
    _have(path, OWN)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    """The descriptor of a directory, which is no symbolic link."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield directory
    finally:
        os.close(directory)


def replace(path: Path, text: str) -> None:
    """Write a file that everybody may read, whole or not at all."""
    draft = f"{path.name}.new"
    with opened(path.parent) as directory:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(draft, flags, 0o600, dir_fd=directory), "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), 0o644)
        os.replace(draft, path.name, src_dir_fd=directory, dst_dir_fd=directory)


def read(path: Path) -> str | None:
    """What this user wrote there; None when there is no such file of this user's."""
    try:
        with opened(path.parent) as directory:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
            with os.fdopen(os.open(path.name, flags, dir_fd=directory)) as file:
                seen = os.fstat(file.fileno())
                ours = stat.S_ISREG(seen.st_mode) and seen.st_uid == os.geteuid()
                return file.read() if ours else None
    except (OSError, UnicodeDecodeError):
        return None


def _have(path: Path, mode: int) -> None:
    try:
        path.mkdir(mode=mode, parents=True)
    except FileExistsError:
        if not stat.S_ISDIR(path.lstat().st_mode):
            path.unlink()
            path.mkdir(mode=mode)
