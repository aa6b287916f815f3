"""The errors an operator can meet, as a small tree.

Every message is one sentence that says what is wrong and what would be right, and
what was left unchanged where that is not obvious. No message holds a secret.
"""


class HamanagerError(Exception):
    """Something the user has to know about; the command ends with exit code 1."""

    exit_code = 1


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
    """A playbook's step did not reach its goal; the loop looks again and decides anew."""


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


class BusyError(ServerError):
    """The server answered, but cannot serve now (loading, out of connections): it is alive."""


class EndpointFailedError(HamanagerError):
    """The address for clients does not (or may not) lead where it should."""
