"""The engines' protocols, as far as a login and one small write go, as generators.

A generator yields whenever it needs more input: None, or for how many seconds the client is idle.
The usual libraries would spend milliseconds of CPU on each of a thousand connections.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import itertools
import random
import socket
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import bson
from bson.binary import Binary
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

Waiting = Generator[float | None, None, None]


class TurnedAwayError(Exception):
    """The server's answer was an error."""


@dataclass
class Link:
    """A connection: what it received and nobody has taken yet."""

    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)

    def send(self, data: bytes) -> None:
        """Small, so that it fits into the socket's buffer."""
        self.socket.sendall(data)

    def take(self, length: int) -> Generator[float | None, None, bytes]:
        """The next bytes."""
        while len(self.received) < length:
            yield None
        taken = bytes(self.received[:length])
        del self.received[:length]
        return taken

    def line(self) -> Generator[float | None, None, bytes]:
        """The next line."""
        while (end := self.received.find(b"\r\n")) < 0:
            yield None
        return (yield from self.take(end + 2))


class Wire:
    """An engine's protocol with the account that a URL names."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        account, _, places = parts.netloc.rpartition("@")
        self.user, _, self.password = account.partition(":")
        self.database = parts.path.lstrip("/")
        self.options = parse_qs(parts.query)
        pairs = (ref.rpartition(":") for ref in places.split(","))
        self.addresses = [(host, int(port)) for host, _, port in pairs]

    def log_in(self, link: Link) -> Waiting:
        """Until the server takes commands."""
        raise NotImplementedError

    def prepare(self, link: Link) -> Waiting:  # noqa: ARG002
        """Make what `write` needs."""
        yield from ()

    def ask_nothing(self, link: Link) -> Waiting:
        """The smallest question, which touches no data."""
        raise NotImplementedError

    def write(self, link: Link, client: int, number: int) -> Waiting:
        """Until it is acknowledged."""
        raise NotImplementedError


class RedisWire(Wire):
    """RESP with inline commands."""

    def log_in(self, link: Link) -> Waiting:
        """AUTH."""
        yield from self._ask(link, f"AUTH {self.password}")

    def ask_nothing(self, link: Link) -> Waiting:
        """PING."""
        yield from self._ask(link, "PING")

    def write(self, link: Link, client: int, number: int) -> Waiting:
        """SET."""
        yield from self._ask(link, f"SET crowd:{client} {number}")

    def _ask(self, link: Link, command: str) -> Waiting:
        link.send(command.encode() + b"\r\n")
        answer = yield from link.line()
        if not answer.startswith(b"+"):
            raise TurnedAwayError(answer.decode(errors="replace").split()[0])


class MySQLWire(Wire):
    """In clear (MySQL Internals, "Connection Phase", "caching_sha2_password", `COM_QUERY`)."""

    _CAPABILITIES = 0x1 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x80000
    """Long password, with a database, protocol 4.1, transactions, 20 random bytes, plugins."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.full_logins = 0
        """How many had to send the password itself, encrypted: the server did not know it yet."""

    def log_in(self, link: Link) -> Waiting:
        """By the digest that the server remembers; where it does not, by the password."""
        _, greeting = yield from self._packet(link)
        rest = greeting[greeting.index(0, 1) + 1 :]
        nonce = rest[4:12] + rest[31:43]
        secret = self.password.encode()
        once = hashlib.sha256(secret).digest()
        mask = hashlib.sha256(hashlib.sha256(once).digest() + nonce).digest()
        proof = bytes(a ^ b for a, b in zip(once, mask, strict=True))
        head = self._CAPABILITIES.to_bytes(4, "little") + bytes([0, 0, 0, 1, 45]) + bytes(23)
        account = self.user.encode() + b"\0" + bytes([len(proof)]) + proof
        last = self.database.encode() + b"\0caching_sha2_password\0"
        self._send(link, 1, head + account + last)
        number, answer = yield from self._packet(link)
        if answer == b"\x01\x04":
            self.full_logins += 1
            self._send(link, number + 1, b"\x02")
            number, key = yield from self._packet(link)
            self._send(link, number + 1, _encrypted(secret, nonce, key[1:]))
        if answer[:1] == b"\x01":
            _, answer = yield from self._packet(link)
        if answer[:1] != b"\0":
            raise TurnedAwayError(f"a login was answered with {answer[:40]!r}")

    def prepare(self, link: Link) -> Waiting:
        """CREATE TABLE."""
        yield from self._query(
            link, "CREATE TABLE IF NOT EXISTS crowd (client INT PRIMARY KEY, number BIGINT)"
        )

    def ask_nothing(self, link: Link) -> Waiting:
        """DO."""
        yield from self._query(link, "DO 0")

    def write(self, link: Link, client: int, number: int) -> Waiting:
        """REPLACE."""
        yield from self._query(link, f"REPLACE INTO crowd VALUES ({client}, {number})")

    def _query(self, link: Link, statement: str) -> Waiting:
        self._send(link, 0, b"\x03" + statement.encode())
        yield from self._packet(link)

    def _send(self, link: Link, number: int, body: bytes) -> None:
        link.send(len(body).to_bytes(3, "little") + bytes([number]) + body)

    def _packet(self, link: Link) -> Generator[float | None, None, tuple[int, bytes]]:
        head = yield from link.take(4)
        body = yield from link.take(int.from_bytes(head[:3], "little"))
        if body[:1] == b"\xff":
            raise TurnedAwayError(f"error {int.from_bytes(body[1:3], 'little')}")
        return head[3], body


def _encrypted(secret: bytes, nonce: bytes, key: bytes) -> bytes:
    masked = bytes(c ^ nonce[i % len(nonce)] for i, c in enumerate(secret + b"\0"))
    public = serialization.load_pem_public_key(key)
    assert isinstance(public, rsa.RSAPublicKey)
    sha1 = hashes.SHA1()  # what the protocol prescribes
    return public.encrypt(masked, padding.OAEP(padding.MGF1(sha1), sha1, None))


class MongoWire(Wire):
    """OP_MSG and SCRAM-SHA-256 (MongoDB specifications, "auth", and RFC 5802)."""

    _numbers = itertools.count(1)

    def ask(self, link: Link, **command: Any) -> Generator[float | None, None, dict[str, Any]]:
        """One command's answer."""
        body = bytes(5) + bson.encode(command)
        number = next(self._numbers) % 2**31
        sizes = (16 + len(body), number, 0, 2013)
        link.send(b"".join(n.to_bytes(4, "little") for n in sizes) + body)
        head = yield from link.take(16)
        answer = yield from link.take(int.from_bytes(head[:4], "little") - 16)
        found = bson.decode(answer[5:])
        trouble = found.get("writeErrors") or found.get("writeConcernError")
        if not found.get("ok") or trouble:
            raise TurnedAwayError(f"error {found.get('code') or trouble}")
        return found

    def leads(self, link: Link) -> Waiting:
        """Whether this is the primary, without a login."""
        found = yield from self.ask(link, hello=1, **{"$db": "admin"})
        if not found.get("isWritablePrimary"):
            raise TurnedAwayError("not the primary")

    def log_in(self, link: Link) -> Waiting:
        """With the login's first half in the first message, as drivers do."""
        nonce = base64.b64encode(random.randbytes(18)).decode()
        bare = f"n={self.user},r={nonce}"
        start = {
            "saslStart": 1,
            "mechanism": "SCRAM-SHA-256",
            "payload": Binary(f"n,,{bare}".encode()),
            "options": {"skipEmptyExchange": True},
            "db": self.database,
        }
        hello = yield from self.ask(
            link, hello=1, speculativeAuthenticate=start, **{"$db": "admin"}
        )
        if not hello.get("isWritablePrimary"):
            raise TurnedAwayError("not the primary")
        first = hello["speculativeAuthenticate"]
        told = first["payload"].decode()
        values = dict(part.split("=", 1) for part in told.split(","))
        key = _client_key(self.password, values["s"], int(values["i"]))
        end = f"c=biws,r={values['r']}"
        signed = hmac.digest(
            hashlib.sha256(key).digest(), f"{bare},{told},{end}".encode(), "sha256"
        )
        proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signed, strict=True)))
        yield from self.ask(
            link,
            saslContinue=1,
            conversationId=first["conversationId"],
            payload=Binary(f"{end},p={proof.decode()}".encode()),
            **{"$db": self.database},
        )

    def ask_nothing(self, link: Link) -> Waiting:
        """`ping`."""
        yield from self.ask(link, ping=1, **{"$db": self.database})

    def write(self, link: Link, client: int, number: int) -> Waiting:
        """An upsert that a majority has."""
        change = {"q": {"_id": client}, "u": {"$set": {"number": number}}, "upsert": True}
        concern = {"w": self.options["w"][0]}
        command = {"update": "crowd", "updates": [change], "writeConcern": concern}
        yield from self.ask(link, **command, **{"$db": self.database})


@functools.cache
def _client_key(password: str, salt: str, iterations: int) -> bytes:
    """Drivers keep it, too: it takes milliseconds."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), iterations)
    return hmac.digest(salted, b"Client Key", "sha256")


WIRES: dict[str, type[Wire]] = {"mysql": MySQLWire, "redis": RedisWire, "mongodb": MongoWire}
