"""Which image an instance runs from, and is to be started from, by spec and record. Pure."""

from __future__ import annotations

from hamanager.model.image import PinnedImage
from hamanager.model.instance import InstanceRecord
from hamanager.model.record import ServiceRecord
from hamanager.model.spec import Spec


def wanted_image(spec: Spec) -> PinnedImage:
    """What every instance is to run from."""
    pinned = spec.pinned or PinnedImage(id=spec.image)
    return pinned if pinned.name else pinned.named(spec.image)


def upgraded(spec: Spec, image: PinnedImage) -> Spec:
    """The spec for another image."""
    return spec.upgraded(image, made_from=spec.made_from or wanted_image(spec))


def runs_from(spec: Spec, instance: InstanceRecord) -> PinnedImage:
    """What it was last started from."""
    return instance.image or spec.made_from or wanted_image(spec)


def outdated(spec: Spec, instance: InstanceRecord) -> bool:
    """Whether another image is wanted than the one it runs from."""
    return runs_from(spec, instance).id != wanted_image(spec).id


def may_not_follow(spec: Spec, record: ServiceRecord, instance: InstanceRecord) -> bool:
    """Whether the primary was upgraded and that standby was not: it may be too old for what the
    primary sends, so it is upgraded before anything else is done with it."""
    primary = record.instance(record.primary)
    if primary is None or instance.name == primary.name:
        return False
    theirs = runs_from(spec, primary)
    return outdated(spec, instance) and runs_from(spec, instance).id != theirs.id


def sources(image: PinnedImage) -> tuple[str, ...]:
    """Names under which that very image may be had again, the best one first."""
    return tuple(source for source in (image.digest, image.name) if source and source != image.id)


def is_upgrading(spec: Spec, record: ServiceRecord) -> bool:
    """Whether an instance runs from another image than is wanted, or was not yet seen to work from
    the one that is."""
    return any(outdated(spec, i) or i.former_image is not None for i in record.instances)


def to_start(spec: Spec, record: ServiceRecord, instance: InstanceRecord) -> PinnedImage:
    """What it is to be started from. Only a planned step of an upgrade gives data to another image,
    with two exceptions: what never worked from its image has nothing to lose by another one, and a
    standby must not be older than its primary."""
    own, wanted = runs_from(spec, instance), wanted_image(spec)
    primary = record.instance(record.primary)
    if instance.upgrading or instance.former_image is not None:
        return wanted
    if primary is None:
        return own if instance.joined else wanted
    if primary.name != instance.name and not instance.joined:
        return runs_from(spec, primary)  # engines copy between servers of one version only
    return wanted if may_not_follow(spec, record, instance) else own


def unproven_after(
    spec: Spec, record: ServiceRecord, instance: InstanceRecord, image: PinnedImage
) -> PinnedImage | None:
    """When it is started from that image: with which one its data last worked, if that is another
    one."""
    before = instance.former_image or runs_from(spec, instance)
    holds_nothing = record.primary is not None and not instance.joined
    return before if before.id != image.id and not holds_nothing else None
