"""Whether a service has become what was asked for, and a line that says how it is."""

from __future__ import annotations

from collections.abc import Callable

from hamanager import formats
from hamanager.api.views import InstanceState, ServiceState, ServiceView
from hamanager.errors import HamanagerError

Goal = Callable[[ServiceView], bool]


def complete(view: ServiceView) -> bool:
    """The service has the wanted size and limits, and everything is up."""
    return (
        view.state is ServiceState.RUNNING
        and len(view.instances) == view.desired.instances
        and all(i.state is InstanceState.UP for i in view.instances)
        and limited(view)
    )


def limited(view: ServiceView) -> bool:
    """Every instance has the wanted memory limit.

    Raises:
        HamanagerError: one of them could not be given it.
    """
    for instance in view.instances:
        if instance.memory.problem:
            raise HamanagerError(f"{instance.name}: {instance.memory.problem}")
    return all(i.memory.reserved_bytes == view.desired.memory_bytes for i in view.instances)


def restarted(instance_name: str) -> Goal:
    """That instance is back from its planned restart."""

    def reached(view: ServiceView) -> bool:
        return any(
            i.name == instance_name and i.state is InstanceState.UP and not i.restarting
            for i in view.instances
        )

    return reached


def upgraded(view: ServiceView) -> bool:
    """Every instance runs from the image that is wanted, and all is well.

    Raises:
        HamanagerError: one of them does not come up from it.
    """
    if view.upgrade is None:
        return complete(view)
    if view.upgrade.problem:
        raise HamanagerError(view.upgrade.problem)
    return False


def ordered(number: int) -> Goal:
    """That order was carried out or refused."""

    def reached(view: ServiceView) -> bool:
        return view.order_result is not None and view.order_result.number >= number

    return reached


def summary(view: ServiceView) -> str:
    """One line: `db: running, 2 of 2 instances up (db.0 primary, db.1 standby)`."""
    up = sum(i.state is InstanceState.UP for i in view.instances)
    who = ", ".join(
        f"{i.name} {i.role if i.state is InstanceState.UP else i.state}" for i in view.instances
    )
    limit = view.desired.memory_bytes
    memory = f", {formats.size(limit)} of memory each" if limit is not None else ""
    wanted = formats.count(view.desired.instances, "instance")
    return f"{view.name}: {view.state}, {up} of {wanted} up{memory}" + (f" ({who})" if who else "")
