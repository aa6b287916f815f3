"""Calls to etcd's JSON gateway: each has a deadline, and goes to another member after a failure."""

from __future__ import annotations

import json
import logging
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from hamanager.errors import HamanagerError, StoreError
from hamanager.stores.etcd.address import KEY, PASSWORD_FILE, USER, EtcdAddress
from hamanager.stores.etcd.wire import Json, number

log = logging.getLogger(__name__)

CALL_SECONDS = 5.0
"""The longest that a call takes, whatever the members do."""
ATTEMPT_SECONDS = 1.0
"""So long one member is waited for; an election of etcd's takes about as long."""
CONNECT_SECONDS = 0.5
STATUS_SECONDS = 0.5
ROUND_PAUSE_SECONDS = 0.1
"""Between two times that all members were asked."""
LONGEST_REASON = 200

UNAUTHENTICATED, DENIED, INVALID, EXHAUSTED, OUT_OF_RANGE = 16, 7, 3, 8, 11
"""gRPC's codes."""
COMPACTED = "required revision has been compacted"


class CompactedError(StoreError):
    """What was asked for lies before the oldest version that etcd still has."""


class UncertainError(StoreError):
    """Nobody answered; what was asked for may have been done, or be done yet."""


class _MemberError(Exception):
    """One member could not serve; another one may."""

    def __init__(self, text: str, *, refused: bool = False, sent: bool = True) -> None:
        super().__init__(text)
        self.refused = refused
        """Nothing listens there."""
        self.sent = sent
        """It may have done what was asked for."""


@dataclass(frozen=True)
class Answer:
    """What etcd said."""

    json: Json
    repeated: bool
    """An earlier attempt, whose answer did not come, may have been carried out."""


class Gateway:
    """All members of one etcd, of which the last one that answered is asked first."""

    def __init__(self, address: EtcdAddress) -> None:
        self.address = address
        self._first = 0
        self._token = ""
        self._signing_in = threading.Lock()
        # The environment's proxies are for what lies outside.
        self._client = httpx.Client(
            verify=_tls(address),
            trust_env=False,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=50),
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def call(self, path: str, body: Json) -> Answer:
        """The answer to `/v3/...`.

        Raises:
            StoreError: etcd refuses it for good.
            CompactedError: it is about a version that etcd has let go of.
            UncertainError: no member answered in time.
        """
        deadline = time.monotonic() + CALL_SECONDS - STATUS_SECONDS
        members = self.address.endpoints
        begin, troubles, sent = self._first, dict[str, _MemberError](), False
        for tried in range(1000):
            left = deadline - time.monotonic()
            if left <= 0:
                break
            at = (begin + tried) % len(members)
            try:
                answer = self._ask(members[at], path, body, min(ATTEMPT_SECONDS, left))
            except _MemberError as error:
                troubles[members[at]] = error
                sent = sent or error.sent
            else:
                self._first = at
                return Answer(answer, sent)
            if at == (begin - 1) % len(members):
                if all(trouble.refused for trouble in troubles.values()):
                    break
                time.sleep(min(ROUND_PAUSE_SECONDS, max(0.0, deadline - time.monotonic())))
        raise (UncertainError if sent else StoreError)(self._explained(troubles))

    @contextmanager
    def stream(
        self, at: int, path: str, body: Json, silence_seconds: float
    ) -> Iterator[Iterator[Json]]:
        """The answers of the member of that number as they come, the first one at once; it ends
        when no more has come for so long.

        Raises:
            StoreError: it could not be begun, or broke off.
        """
        member = self._member(at)
        timeout = httpx.Timeout(silence_seconds, connect=CONNECT_SECONDS)
        try:
            with self._client.stream(
                "POST", f"{member}/v3/{path}", json=body, headers=self._signed_in(member),
                timeout=timeout,
            ) as response:  # fmt: skip
                if response.status_code != httpx.codes.OK:
                    response.read()
                    self._refuse(member, response)
                    self._token = ""
                    raise _MemberError("does not know the token it gave")
                yield self._told(response)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise StoreError(f"{_name(member)} {_reason(error)[0]}") from error
        except _MemberError as error:
            raise StoreError(f"{_name(member)} {error}") from error

    def ask_one(self, at: int, path: str, body: Json) -> Json:
        """The answer of the member of that number.

        Raises:
            StoreError: it does not serve now.
        """
        member = self._member(at)
        try:
            return self._ask(member, path, body, ATTEMPT_SECONDS)
        except _MemberError as error:
            raise StoreError(f"{_name(member)} {error}") from error

    def _member(self, at: int) -> str:
        return self.address.endpoints[at % len(self.address.endpoints)]

    # --- One member ----------------------------------------------------------------------------

    def _ask(self, member: str, path: str, body: Json, seconds: float) -> Json:
        for again in (True, False):
            token = self._token
            answer = self._post(member, path, body, seconds, self._signed_in(member))
            if answer is not None:
                return answer
            # The member does not know the token (any more): it had restarted, or had not heard.
            with self._signing_in:
                if self._token == token:
                    self._token = ""
            if not again:
                break
        raise _MemberError("does not know the token it gave", sent=False)

    def _post(
        self, member: str, path: str, body: Json, seconds: float, headers: dict[str, str]
    ) -> Json | None:
        """The answer; None when the token has run out."""
        timeout = httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        try:
            response = self._client.post(
                f"{member}/v3/{path}", json=body, headers=headers, timeout=timeout
            )
        except (httpx.HTTPError, httpx.StreamError) as error:
            reason, refused, sent = _reason(error)
            raise _MemberError(reason, refused=refused, sent=sent) from error
        except RuntimeError as error:  # httpx says so of a client that was closed
            raise StoreError(f"the store {self.address} was closed") from error
        if response.status_code == httpx.codes.OK:
            answer = _json(response)
            if answer is None:
                raise _MemberError("answers, but not as etcd does")
            return answer
        self._refuse(member, response)
        return None

    def _refuse(self, member: str, response: httpx.Response) -> None:
        """Raise what an answer that is an error means; nothing when the token has run out."""
        said = _json(response)
        if said is None or "code" not in said:
            raise _not_the_gateway(self.address, member, response)
        code, text = int(said["code"]), str(said.get("message") or said.get("error"))
        text = text.removeprefix("etcdserver: ")[:LONGEST_REASON]
        if code == UNAUTHENTICATED or "revision of auth store is old" in text:
            return
        if COMPACTED in text:
            raise CompactedError(f"the store {self.address} has let go of that version")
        why = _FINAL.get(text)
        if why is None and code in (DENIED, OUT_OF_RANGE, INVALID):
            why = f"refuses what it is asked ({text}); nothing was changed"
        if why is not None:
            raise StoreError(f"the store {self.address} {why}", permanent=True)
        raise _MemberError(f"says '{text}'", sent="no leader" not in text)

    def _told(self, response: httpx.Response) -> Iterator[Json]:
        begun = False
        try:
            for line in response.iter_lines():
                said = json.loads(line) if line else {}
                if "error" in said:
                    error = said["error"]
                    text = error.get("message", "") if isinstance(error, dict) else error
                    raise StoreError(f"the watch was ended: {text or 'for no reason given'}")
                begun = True
                yield said.get("result", {})
        except httpx.ReadTimeout:
            if not begun:
                raise

    def _signed_in(self, member: str) -> dict[str, str]:
        """The header that tells who asks."""
        if not self.address.user:
            return {}
        with self._signing_in:
            if not self._token:
                said = self._post(
                    member,
                    "auth/authenticate",
                    {"name": self.address.user, "password": self.address.password},
                    ATTEMPT_SECONDS,
                    {},
                )
                self._token = str((said or {}).get("token", ""))
                if not self._token:
                    raise _MemberError("admits nobody now", sent=False)
            return {"Authorization": self._token}

    # --- When none answers ---------------------------------------------------------------------

    def _explained(self, troubles: dict[str, _MemberError]) -> str:
        """One sentence."""
        each = "; ".join(f"{_name(member)} {trouble}" for member, trouble in troubles.items())
        what = f"the store {self.address} cannot be used: {each}"
        deadline, leaders = time.monotonic() + STATUS_SECONDS, list[int]()
        for member, trouble in troubles.items():
            left = deadline - time.monotonic()
            if not trouble.refused and left > 0:
                leaders += self._leaders(member, left)
        if leaders and not any(leaders):
            what += "; it has no leader, for which more than half of its members have to run"
        return what

    def _leaders(self, member: str, seconds: float) -> list[int]:
        """Which member leads, as that one thinks (0: none); nothing when it does not answer."""
        try:
            status = self._post(member, "maintenance/status", {}, seconds, {})
        except (_MemberError, HamanagerError):
            return []
        return [] if status is None else [number(status, "leader")]


_FINAL = {
    "permission denied": (
        f"does not allow its user all that begins with the prefix: grant the role of {USER}"
        " readwrite on it (etcdctl role grant-permission --prefix); nothing was changed"
    ),
    "authentication failed, invalid user ID or password": (
        f"does not know this user and password: look at {USER} and {PASSWORD_FILE}; nothing was"
        " changed"
    ),
    "user name is empty": (
        f"wants to know who asks: set {USER} and {PASSWORD_FILE}; nothing was changed"
    ),
    "authentication is not enabled": (
        f"knows no users, as its authentication is off: leave {USER} out, or switch it on"
        " (etcdctl auth enable); nothing was changed"
    ),
    "mvcc: database space exceeded": (
        "takes nothing more, as it has reached its quota: compact and defragment it or raise"
        " --quota-backend-bytes, then `etcdctl alarm disarm`; nothing was written"
    ),
    "request is too large": (
        "takes no value of that size: raise --max-request-bytes; nothing was written"
    ),
}
"""What etcd says that no other member would say otherwise, and what has to be done."""


def _tls(address: EtcdAddress) -> ssl.SSLContext | bool:
    """Whom to believe, and who we are.

    Raises:
        StoreError: a file cannot be used.
    """
    if not address.endpoints[0].startswith("https:"):
        return True
    try:
        context = ssl.create_default_context(cafile=address.ca)
    except (OSError, ssl.SSLError) as error:
        raise _unusable("certificate authority", address.ca, error) from error
    if address.certificate is not None:
        try:
            context.load_cert_chain(address.certificate, address.key)
        except (OSError, ssl.SSLError) as error:
            what = f"client certificate with the key in {KEY}"
            raise _unusable(what, address.certificate, error) from error
    return context


def _unusable(what: str, path: object, error: OSError) -> StoreError:
    reason = "it is not such a file, or the two do not match"
    if not isinstance(error, ssl.SSLError):
        reason = error.strerror or "it cannot be read"
    return StoreError(f"the {what} ({path}) cannot be used: {reason}", permanent=True)


def _reason(error: Exception) -> tuple[str, bool, bool]:
    """Why a member did not answer; whether nothing listens there, and whether it may have done
    what it was asked."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        why = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0]
        return f"shows a certificate that is not to be believed ({why})", True, False
    if "ALERT" in text.upper() and "SSL" in text.upper():
        return "does not accept our certificate, or wants one", True, False
    if "[SSL" in text:
        return "does not speak TLS", True, False
    if isinstance(error, httpx.ConnectTimeout):
        return f"was not reached within {CONNECT_SECONDS:g} s", False, False
    if isinstance(error, httpx.ConnectError):
        return "refuses connections, or there is no such host", True, False
    if isinstance(error, httpx.PoolTimeout):
        return "is asked too much at once", False, False
    if isinstance(error, httpx.TimeoutException):
        return f"did not answer within {ATTEMPT_SECONDS:g} s", False, True
    return "broke off, or wants TLS", False, True


def _not_the_gateway(
    address: EtcdAddress, member: str, response: httpx.Response
) -> StoreError | _MemberError:
    text = response.text.strip()
    if "CommonName" in text:
        return StoreError(
            f"the store {address} takes no client certificate with a common name beside a user:"
            " issue one without it",
            permanent=True,
        )
    if response.status_code == httpx.codes.NOT_FOUND:
        return StoreError(
            f"the store {address} does not offer its JSON gateway at {_name(member)}: start etcd"
            " (3.4 or newer) with enable-grpc-gateway",
            permanent=True,
        )
    return _MemberError(f"answers {response.status_code} ({text[:LONGEST_REASON]})")


def _json(response: httpx.Response) -> dict[str, Any] | None:
    try:
        said = response.json()
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _name(member: str) -> str:
    return member.partition("://")[2]
