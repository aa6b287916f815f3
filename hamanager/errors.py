"""The errors an operator can meet, as a small tree.

Every message is one sentence that says what is wrong and what would be right, and
what was left unchanged where that is not obvious. No message holds a secret.

Each is temporary or permanent, by which the loop spaces its tries (`hamanager.act.backoff`):

| kind      | means                                            | tried again                     |
|-----------|--------------------------------------------------|---------------------------------|
| temporary | it may pass by itself: a server that starts, a   | soon, then ever more rarely; or |
|           | lost answer, something that is busy              | when the error suggests         |
| permanent | it stays until somebody has done something: a    | rarely, or when the spec        |
|           | full disk, an image that is nowhere, a container | changes; what concerns who      |
|           | of that name that is somebody else's             | leads: each 5 s                 |

Whoever raises it knows; where nobody does it is temporary.
"""


class HamanagerError(Exception):
    """Something the user has to know about; the command ends with exit code 1."""

    exit_code = 1
    retry_after_seconds: float | None = None
    """Of a temporary one: a much earlier try would fail, and a much later one would be too late."""

    def __init__(
        self,
        message: str = "",
        *,
        permanent: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        """It does not pass by itself: the message says what has to be done."""
        if retry_after_seconds is not None:
            self.retry_after_seconds = retry_after_seconds


class UsageError(HamanagerError):
    """The command itself is wrong; nothing was changed; exit code 2."""

    exit_code = 2


class NotFoundError(HamanagerError):
    """A service or instance of that name does not exist."""


class ConflictError(HamanagerError):
    """The command is well-formed but the present state does not allow it."""


class UnmanageableError(ConflictError):
    """What is kept about a service is damaged, or of an engine that nobody here knows: it is left
    alone until an operator has repaired or destroyed it."""


class StepFailedError(HamanagerError):
    """A playbook's step did not reach its goal; the loop observes again and decides anew."""


class TransitionError(StepFailedError):
    """A service's record does not allow that change now; it was left as it is."""


class StoreError(HamanagerError):
    """The store could not be read or written."""


class StaleVersionError(StoreError):
    """Compare-and-swap lost: somebody changed the key since it was read."""


class RuntimeFailedError(HamanagerError):
    """The runtime (for example the Docker engine) did not do what it was asked."""


class AddressTakenError(RuntimeFailedError):
    """The port reserved for an instance is used by somebody else."""


class ServerError(HamanagerError):
    """A database server did not do what it was asked."""


class RefusedError(ServerError):
    """Nothing listens at the address: refused, reset, or closed before an answer."""


class SilentError(ServerError):
    """No answer within the time-out: dead, hung or out of reach, nobody can tell."""


class WritesWaitError(ServerError):
    """It cannot be told before the clients' writes that wait now have ended."""


class BusyError(ServerError):
    """The server answered, but cannot serve now (loading, out of connections): it is alive."""

    retry_after_seconds = 0.5


class EndpointFailedError(HamanagerError):
    """The address for clients does not (or may not) lead where it should."""

    retry_after_seconds = 1.0
    """As often the endpoint is looked after."""
