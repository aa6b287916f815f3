"""What every stored value is: it never changes in place, and a changed copy is checked like a new
one."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value. Its changes are methods that say what happens, so that the type checker sees them;
    `model_copy(update=...)`, which checks neither names nor types, is for nobody."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def _with(self, **changes: object) -> Self:
        """A copy with these fields changed.

        Raises:
            TypeError: there is no such field.
            ValidationError: one cannot be that.
        """
        if unknown := changes.keys() - type(self).model_fields.keys():
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        return self.model_validate({**dict(self), **changes}, strict=True)
