"""Which image an instance runs from, and is to be started from, by wish and record. Pure."""

from __future__ import annotations

from hamanager.model.image import PinnedImage
from hamanager.model.service import InstanceRecord, ServiceRecord, Wish


def wished(wish: Wish) -> PinnedImage:
    """What every instance is to run from."""
    pinned = wish.pinned or PinnedImage(id=wish.image)
    return pinned if pinned.name else pinned.model_copy(update={"name": wish.image})


def upgraded(wish: Wish, image: PinnedImage) -> Wish:
    """The wish for another image."""
    made_from = wish.made_from or wished(wish)
    changed = {"image": image.name, "pinned": image, "made_from": made_from}
    return wish.model_copy(update=changed)


def runs_from(wish: Wish, instance: InstanceRecord) -> PinnedImage:
    """What it was last started from."""
    return instance.image or wish.made_from or wished(wish)


def outdated(wish: Wish, instance: InstanceRecord) -> bool:
    """Whether another image is wanted than the one it runs from."""
    return runs_from(wish, instance).id != wished(wish).id


def may_not_follow(wish: Wish, record: ServiceRecord, instance: InstanceRecord) -> bool:
    """Whether the primary was upgraded and that standby was not: it may be too old for what the
    primary sends, so it is upgraded before anything else is done with it."""
    primary = record.instance(record.primary)
    if primary is None or instance.name == primary.name:
        return False
    theirs = runs_from(wish, primary)
    return outdated(wish, instance) and runs_from(wish, instance).id != theirs.id


def sources(image: PinnedImage) -> tuple[str, ...]:
    """Names under which that very image may be had again, the best one first."""
    return tuple(source for source in (image.digest, image.name) if source and source != image.id)


def is_upgrading(wish: Wish, record: ServiceRecord) -> bool:
    """Whether an instance runs from another image than is wanted, or was not yet seen to work from
    the one that is."""
    return any(outdated(wish, i) or i.former_image is not None for i in record.instances)


def to_start(wish: Wish, record: ServiceRecord, instance: InstanceRecord) -> PinnedImage:
    """What it is to be started from. Only a planned step of an upgrade gives data to another image,
    with two exceptions: what never worked from its image has nothing to lose by another one, and a
    standby must not be older than its primary."""
    own, wanted = runs_from(wish, instance), wished(wish)
    primary = record.instance(record.primary)
    if instance.upgrading or instance.former_image is not None:
        return wanted
    if primary is None:
        return own if instance.joined else wanted
    if primary.name != instance.name and not instance.joined:
        return runs_from(wish, primary)  # engines copy between servers of one version only
    return wanted if may_not_follow(wish, record, instance) else own


def started(
    wish: Wish, record: ServiceRecord, instance: InstanceRecord, image: PinnedImage
) -> dict[str, object]:
    """What is noted of it when it is started from that image."""
    before = instance.former_image or runs_from(wish, instance)
    holds_nothing = record.primary is not None and not instance.joined
    unproven = before.id != image.id and not holds_nothing
    return {"image": image, "former_image": before if unproven else None, "upgrading": False}
