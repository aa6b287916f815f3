"""A host's disk: a filesystem of its own in a file, which can lose what was not synced."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from tests.testbed.process import sh

SIZE = "24G"
"""Sparse: it takes what is written."""
SHUT_DOWN = 0x8004587D
"""FS_IOC_SHUTDOWN: the filesystem ends at once."""
WITHOUT_THE_LOG = 2
"""... and what is in memory alone, of its journal too, never reaches the disk."""


def make(image: Path) -> None:
    """An empty one."""
    with image.open("wb") as file:
        file.truncate(0)
    sh("truncate", "--size", SIZE, image)
    quick = "lazy_itable_init=1,lazy_journal_init=1,nodiscard"
    sh("mkfs.ext4", "-q", "-m", "0", "-E", quick, image)


def lose_unsynced(directory: Path) -> None:
    """As by a loss of power: whoever writes to it from now on gets an error, and after the next
    start it holds what was synced (and what the kernel happened to have written by itself)."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, SHUT_DOWN, struct.pack("I", WITHOUT_THE_LOG))
    finally:
        os.close(descriptor)
