"""Which image an upgrade is to, and whether the data of a service go on with it."""

from __future__ import annotations

from dataclasses import dataclass

from hamanager.contracts.driver import Driver
from hamanager.contracts.runtime import Runtime
from hamanager.errors import ConflictError, RuntimeFailedError, ServerError
from hamanager.model.image import PinnedImage
from hamanager.model.instance import InstanceRecord
from hamanager.model.record import ServiceRecord
from hamanager.model.service import ServiceContext, Target
from hamanager.model.spec import Spec
from hamanager.model.upgrade import is_upgrading, runs_from, wanted_image


@dataclass(frozen=True)
class Chooser:
    """Asks the runtime and the servers; changes nothing."""

    runtime: Runtime
    driver: Driver
    service: ServiceContext
    spec: Spec
    record: ServiceRecord

    def choose(self, image: str | None) -> PinnedImage | None:
        """The image of that name, or the one that `create` would take; None when it is wanted
        already.

        Raises:
            RuntimeFailedError: it is not there, or it has not the engine's server program.
            ConflictError: the data of an instance cannot go on with it.
        """
        program = self.driver.traits.server_program
        if image is None and not program:
            image = self.spec.image  # any image may be such a service's: there is no default
        try:
            found = self.runtime.resolve_image(self.spec.engine, self.driver.traits.image, image)
            pinned = self.runtime.pin_image(found)
            if pinned.id == wanted_image(self.spec).id:
                return None
            version = self.runtime.image_version(pinned.id, program) if program else ""
        except RuntimeFailedError as error:
            raise RuntimeFailedError(f"{error}; nothing was changed") from error
        data = self.driver.replication
        for instance in self.record.instances:
            if data is not None and instance.joined:
                problem = data.upgrade_problem(self._used(instance, program), version)
                if problem:
                    raise ConflictError(f"{instance.name}: {problem}; nothing was changed")
        return pinned.named(found, version)

    def _used(self, instance: InstanceRecord, program: str) -> str:
        """The version of the server that has used the data: its own word when it answers."""
        known = instance.former_image or runs_from(self.spec, instance)
        try:
            version = self.driver.probe(self.service, Target.of(instance)).version
        except ServerError:
            version = ""
        if version or known.version:
            return version or known.version
        try:
            return self.runtime.image_version(known.id, program)
        except RuntimeFailedError as error:
            raise ConflictError(
                f"of which version the data of {instance.name} are cannot be told, as it does not"
                f" answer and {error}: start it, or load its image; nothing was changed"
            ) from error


def told(spec: Spec, record: ServiceRecord, *, changed: bool, program: str) -> str:
    """What becomes of it, in a sentence."""
    to = wanted_image(spec).words
    if not changed:
        under_way = is_upgrading(spec, record)
        return f"the upgrade to {to} is under way" if under_way else f"it runs from {to} already"
    if spec.instances == 1:
        what = "nothing can be written" if program else "requests wait"
        return f"upgraded to {to}; there is one instance, so {what} while it is restarted"
    return f"upgraded to {to}, one instance after the other"
