"""How the daemon is reached: its Unix socket, or managers over TLS, the next when one is silent."""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from hamanager import paths
from hamanager.errors import HamanagerError, UsageError

CONNECT_SECONDS = 2.0
"""A manager that takes longer to greet is passed over."""
QUESTION_SECONDS = 5.0
"""The same for one that does not answer a question, as long as there is another to ask."""


VERSION = "/v1"
"""Of the API, before every path."""
UNKNOWN = 2
"""The exit code that comes with a 404 where there is no such path at all."""


class NoDaemonError(HamanagerError):
    """Nothing answers where the daemon should."""


@dataclass(frozen=True)
class Way:
    """Which managers to ask, and as whom."""

    managers: tuple[str, ...] = ()
    """URLs; none: the daemon of the state directory."""
    token_file: str | None = None
    ca: str | None = None
    """File with the authorities to trust; None: the system's."""
    certificate: str | None = None
    key: str | None = None

    @classmethod
    def named(
        cls,
        managers: str | None,
        token_file: str | None,
        ca: str | None,
        certificate: str | None,
        key: str | None,
    ) -> Way:
        """As somebody names it; the managers separated by commas."""
        urls = tuple(url.strip().rstrip("/") for url in (managers or "").split(",") if url.strip())
        for url in urls:
            if not url.startswith("https://"):
                raise UsageError(
                    f"'{url}' is no manager's address: write https://HOST:PORT, several separated"
                    " by commas"
                )
        return cls(urls, token_file, ca, certificate, key)

    @classmethod
    def from_environment(cls) -> Way:
        """As the variables say."""
        return cls.named(
            *(
                os.environ.get(f"HAMANAGER_{what}")
                for what in ("MANAGER", "TOKEN_FILE", "CA", "CERT", "KEY")
            )
        )


class Reach(Protocol):
    """Sends a request to a manager; paths are without the API's version."""

    place: str
    """Where that is, for people."""

    def request(
        self, method: str, path: str, body: object, timeout_seconds: float
    ) -> httpx.Response:
        """The answer, whatever it says.

        Raises:
            NoDaemonError: none answers.
        """
        ...

    def close(self) -> None:
        """Release what is held open."""
        ...


class AtSocket:
    """The daemon of a state directory on this machine."""

    def __init__(self, place: str, transport: httpx.BaseTransport | None = None) -> None:
        self.place = place
        self._http = httpx.Client(
            transport=transport or httpx.HTTPTransport(uds=place), base_url="http://hamanager"
        )

    def request(
        self, method: str, path: str, body: object, timeout_seconds: float
    ) -> httpx.Response:
        """The answer."""
        try:
            return _sent(self._http, method, path, body, httpx.Timeout(timeout_seconds))
        except httpx.TransportError as error:
            if isinstance(error, httpx.ReadTimeout):
                raise _late(self.place) from None
            raise NoDaemonError(
                f"no hamanager daemon answers at {self.place}; start one with `hamanager serve`"
            ) from None

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


class OverTls:
    """One of several managers: the one that answered last, or the next that does."""

    def __init__(self, way: Way) -> None:
        self.place = way.managers[0]
        context = _context(way)
        headers = {} if way.token_file is None else {"Authorization": f"Bearer {_token(way)}"}
        self._managers = [
            httpx.Client(base_url=url, headers=headers, verify=context, trust_env=False)
            for url in way.managers
        ]
        self._urls = way.managers
        self._has_certificate = way.certificate is not None
        self._present = 0

    def request(
        self, method: str, path: str, body: object, timeout_seconds: float
    ) -> httpx.Response:
        """The first answer. What may have been accepted is not asked of another one."""
        problems: list[NoDaemonError] = []
        count = len(self._managers)
        for attempt in range(count):
            number = (self._present + attempt) % count
            is_last = attempt == count - 1
            bound = timeout_seconds
            if method == "GET" and not is_last:
                bound = min(bound, QUESTION_SECONDS)
            try:
                timeout = httpx.Timeout(bound, connect=CONNECT_SECONDS)
                answer = _sent(self._managers[number], method, path, body, timeout)
            except (httpx.TransportError, httpx.InvalidURL) as error:
                problem = self._problem(self._urls[number], error)
                unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if method != "GET" and not unsent and not _is_tls(error):
                    raise _late(self._urls[number]) from None
                problems.append(problem)
                continue
            self._present, self.place = number, self._urls[number]
            return answer
        # What somebody has to put right says more than silence.
        told = next((p for p in problems if p.permanent), problems[0])
        if told.permanent or count == 1:
            raise told
        raise NoDaemonError(f"none of the managers {', '.join(self._urls)} answers; {told}")

    def _problem(self, url: str, error: Exception) -> NoDaemonError:
        if self._has_certificate and isinstance(error, httpx.ReadError | httpx.RemoteProtocolError):
            # By TLS 1.3 a certificate is refused after the handshake, as asyncio does it: silently.
            return NoDaemonError(
                f"{url} ended the connection when it saw our certificate: has it expired, or did"
                " another authority make it? `hamanager ca issue` makes one; nothing was asked",
                permanent=True,
            )
        return _problem(url, error)

    def close(self) -> None:
        """Close all connections."""
        for manager in self._managers:
            manager.close()


def reach(way: Way, home: Path | None = None) -> Reach:
    """As said; without managers, the daemon of that state directory (None: the default one)."""
    if home is None and way.managers:
        return OverTls(way)
    return AtSocket(str(paths.socket_path(home or paths.home())))


def _sent(
    manager: httpx.Client, method: str, path: str, body: object, timeout: httpx.Timeout
) -> httpx.Response:
    """Its answer. One that knows no versions yet, in the middle of an upgrade of several, is asked
    as it knows it: a path that is not there has changed nothing."""
    answer = manager.request(method, f"{VERSION}{path}", json=body, timeout=timeout)
    if answer.status_code == httpx.codes.NOT_FOUND and _is_unknown(answer):
        return manager.request(method, path, json=body, timeout=timeout)
    return answer


def _is_unknown(answer: httpx.Response) -> bool:
    try:
        return bool(answer.json()["exit_code"] == UNKNOWN)
    except (ValueError, KeyError, TypeError):
        return False


def _context(way: Way) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=way.ca)
    except (OSError, ssl.SSLError):
        raise UsageError(
            f"the file of authorities {way.ca} cannot be read, or is none: `hamanager ca show`"
            " prints one on a manager's machine"
        ) from None
    if (way.certificate is None) != (way.key is None):
        raise UsageError("a certificate needs its key, and a key its certificate: name both")
    if way.certificate is not None:
        try:
            context.load_cert_chain(way.certificate, way.key, password="")  # never ask for one
        except (OSError, ssl.SSLError, ValueError):
            raise UsageError(
                f"the certificate {way.certificate} and the key {way.key} cannot be read, or do not"
                " belong together"
            ) from None
    return context


def _token(way: Way) -> str:
    assert way.token_file is not None
    try:
        text = Path(way.token_file).read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        text = ""
    if not text or not text.isprintable() or " " in text:
        raise UsageError(
            f"the file {way.token_file} holds no token, or cannot be read: `hamanager token create"
            " NAME` makes one"
        )
    return text


def _late(place: str) -> NoDaemonError:
    return NoDaemonError(
        f"the daemon at {place} did not answer in time; what was asked may have been"
        " accepted: look with `hamanager info`"
    )


def _problem(url: str, error: Exception) -> NoDaemonError:
    refused = _refusal(error)
    if refused is not None:
        return NoDaemonError(f"{url} {refused}; nothing was asked of it", permanent=True)
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return NoDaemonError(
            f"'{url}' is no manager's address: write https://HOST:PORT", permanent=True
        )
    if isinstance(error, httpx.TimeoutException):
        return NoDaemonError(f"the manager at {url} does not answer in time")
    return NoDaemonError(
        f"no manager answers at {url}: is it `hamanager serve --listen` that runs there?"
    )


def _chain(error: BaseException) -> Sequence[BaseException]:
    found: list[BaseException] = []
    present: BaseException | None = error
    while present is not None and present not in found and len(found) < 10:
        found.append(present)
        present = present.__cause__ or present.__context__
    return found


def _is_tls(error: BaseException) -> bool:
    return any(isinstance(cause, ssl.SSLError) for cause in _chain(error))


_UNTRUSTED = (2, 18, 19, 20, 21)
_NOT_YET, _EXPIRED = 9, 10
_OTHER_NAME = (62, 63, 64)


def _refusal(error: BaseException) -> str | None:
    """Why one of the two sides does not accept the other's certificate; None: it is not that."""
    for cause in _chain(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            code = cause.verify_code
            if code in _UNTRUSTED:
                return (
                    "shows a certificate of an authority that is not trusted here: name the"
                    " installation's with --ca (`hamanager ca show` prints it there)"
                )
            if code == _EXPIRED:
                return "shows a certificate that has expired: a manager renews its own, restart it"
            if code == _NOT_YET:
                return "shows a certificate that is not valid yet: is this machine's clock right?"
            if code in _OTHER_NAME:
                return (
                    "shows a certificate that is not made out to that name or address: use one that"
                    " it is made out to, or `hamanager serve --listen-name` there"
                )
            return f"shows a certificate that cannot be verified ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError) and "ALERT" in str(cause.reason or "").upper():
            reason = str(cause.reason).upper()
            if "EXPIRED" in reason:
                return "does not let this certificate in: it has expired (`hamanager ca issue`)"
            if "UNKNOWN_CA" in reason or "BAD_CERTIFICATE" in reason:
                return "does not let this certificate in: another authority made it"
            return f"ended the handshake ({reason.lower().replace('_', ' ')})"
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION" in str(cause.reason or ""):
            return "does not speak TLS: is that the port of `hamanager serve --listen`?"
    return None
