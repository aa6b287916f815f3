"""An authority of its own in a directory, for the machines that managers depend on: etcd and Docker
engines have to be there before a manager is, and let in whoever has a certificate of theirs. That
must not be one that the installation's authority makes for a caller or for a database.
"""

from __future__ import annotations

import os
from pathlib import Path

from hamanager.authority.certificates import (
    Certified,
    Wanted,
    checked_authority,
    issue,
    new_authority,
)
from hamanager.errors import ConflictError

CERTIFICATE, KEY = "ca.pem", "ca.key"
NAME = "machines of hamanager"
_UNCHANGED = "nothing was made"


def issue_in(directory: Path, wanted: Wanted, now: float) -> tuple[Certified, str]:
    """A certificate of the authority whose files lie there, and that authority's own, PEM; where
    there is none yet, one is made.

    Raises:
        ConflictError: the files cannot be read or made, or one of the two is missing.
        UsageError: the files are no authority, or it cannot make what is wanted.
    """
    try:
        authority = _read(directory, now) or _make(directory, now)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not PEM"
        raise ConflictError(
            f"the authority in {directory} can be neither read nor made ({reason}); {_UNCHANGED}"
        ) from None
    return issue(authority, wanted, now), authority.certificate


def write_file(path: Path, text: str, mode: int) -> None:
    """A new file or a former one's place; never readable by others meanwhile."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with open(descriptor, "w") as file:  # noqa: PTH123 - a descriptor
        file.write(text)
    draft.replace(path)


def _read(directory: Path, now: float) -> Certified | None:
    certificate, key = directory / CERTIFICATE, directory / KEY
    if not certificate.exists() and not key.exists():
        return None
    for path in (certificate, key):
        if not path.exists():
            raise ConflictError(
                f"there is no {path}, and the other file of that authority is there: put it back,"
                f" or name an empty directory for a new one; {_UNCHANGED}"
            )
    found = Certified(certificate.read_text("ascii"), key.read_text("ascii"))
    return checked_authority(found, now)


def _make(directory: Path, now: float) -> Certified:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = new_authority(NAME, now)
    write_file(directory / KEY, made.key, 0o600)
    write_file(directory / CERTIFICATE, made.certificate, 0o644)
    return made
