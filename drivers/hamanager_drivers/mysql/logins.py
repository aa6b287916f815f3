"""What a server remembers of logins.

`caching_sha2_password` (MySQL Reference Manual, "Caching SHA-2 Pluggable Authentication") checks an
account's first login after the server's start with thousands of rounds of a hash and, in clear, a
decryption; the next ones by a digest in memory. A promoted server has never seen the application,
whose clients come all at once: none of them finds the digest, and each one's login costs as much.
"""

from __future__ import annotations

import contextlib

import pymysql

from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mysql.connections import PROBE_SECONDS, as_application


def remember_application(service: ServiceContext, target: Target) -> None:
    """Log in once as the application; it works without, too."""
    with contextlib.suppress(pymysql.MySQLError):
        as_application(service, target, PROBE_SECONDS).close()
