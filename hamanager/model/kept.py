"""What a decision was made by, small enough to be kept with it in the history."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, replace

from pydantic import TypeAdapter, ValidationError

from hamanager.model.decision import BackingOff
from hamanager.model.record import ServiceRecord
from hamanager.model.snapshot import Snapshot
from hamanager.model.spec import Spec

LONGEST = 16_384
"""Characters; a service of usual size takes about a thousand."""


@dataclass(frozen=True)
class Facts:
    """The input of one decision, as values."""

    spec: Spec
    record: ServiceRecord
    snapshot: Snapshot
    backing_off: tuple[BackingOff, ...] = ()


_FACTS = TypeAdapter(Facts)


def packed(facts: Facts) -> str:
    """As text; '' when it would be too much to keep. What is drawn and never decided upon is left
    out."""
    seen = {
        name: replace(answer, lag_history=())
        for name, answer in facts.snapshot.observations.items()
    }
    facts = replace(facts, snapshot=replace(facts.snapshot, observations=seen))
    text = _FACTS.dump_json(facts)
    kept = base64.b64encode(zlib.compress(text)).decode("ascii")
    return kept if len(kept) <= LONGEST else ""


def unpacked(kept: str) -> Facts | None:
    """What `packed` made of it; None when nothing was kept, or by a version too different."""
    if not kept:
        return None
    try:
        return _FACTS.validate_json(zlib.decompress(base64.b64decode(kept)))
    except (ValueError, zlib.error, ValidationError):
        return None
