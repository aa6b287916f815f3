"""A command inside an instance's container, as a value."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict


class ShellView(BaseModel):
    """Where a command is run, and how it gets its credentials."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    instance: str
    container: str
    preparation: str
    """Shell lines that come before the command."""
    default: list[str]
    """The engine's own shell."""

    def command(self, words: Sequence[str]) -> list[str]:
        """What the container executes."""
        wanted = [*words] or self.default
        missing = (
            'command -v "$1" >/dev/null || { echo "hamanager: the image has no $1:'
            ' name an image that has it, or connect with `hamanager url`" >&2; exit 127; }'
        )
        script = f'{self.preparation}\n{missing}\nexec "$@"'
        return ["/bin/sh", "-c", script, "sh", *wanted]
