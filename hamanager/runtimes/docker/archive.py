"""The files of an instance as the archive that is unpacked into its container."""

from __future__ import annotations

import io
import tarfile

from hamanager.contracts.driver import DATA_DIRECTORY, FILES_DIRECTORY, LaunchSpec

SERVER_UID = 10001
"""Servers run as this user: no image has to define it, and it owns nothing on the host."""


def launch_archive(launch: LaunchSpec) -> bytes:
    """A tar archive, to be unpacked at `/`: the two directories and the spec's files, all owned
    by the server's user, so that an unprivileged server can use a volume made by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        _add_directory(archive, "hamanager", 0o755)
        _add_directory(archive, DATA_DIRECTORY, 0o700)
        _add_directory(archive, FILES_DIRECTORY, 0o700)
        for name, content in launch.files.items():
            data = content.text.encode()
            entry = _entry(f"{FILES_DIRECTORY}/{name}", content.mode)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _add_directory(archive: tarfile.TarFile, path: str, mode: int) -> None:
    entry = _entry(path, mode)
    entry.type = tarfile.DIRTYPE
    archive.addfile(entry)


def _entry(path: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.mode = mode
    entry.uid = entry.gid = SERVER_UID
    return entry
