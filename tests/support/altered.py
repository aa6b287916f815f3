"""Values for a test that nothing in the product would make of each other."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


def altered(value: M, **fields: Any) -> M:
    """A copy with these fields changed, checked like a new one."""
    unknown = fields.keys() - type(value).model_fields.keys()
    assert not unknown, f"{type(value).__name__} has no {unknown}"
    return type(value).model_validate({**dict(value), **fields})
