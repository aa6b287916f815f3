"""The file that names the hooks: read again when it changes; a faulty one changes nothing."""

from __future__ import annotations

import stat
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hamanager.daemon.events import EventKind
from hamanager.errors import HamanagerError, UsageError


class Format(StrEnum):
    """In which form a webhook is told."""

    JSON = "json"
    SLACK = "slack"
    """`{"text": ...}`, as Slack, Mattermost and others take it."""


class Hook(BaseModel):
    """One of them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
    url: str = ""
    """Where the message is sent by POST ..."""
    command: tuple[str, ...] = ()
    """... or the program that gets it on its standard input."""
    events: tuple[EventKind, ...]
    services: tuple[str, ...] = ()
    """Of which services; of all when none is named."""
    format: Format = Format.JSON
    secret_file: str = ""
    """Holds what messages are signed with."""
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    """Of each try."""
    tries: Annotated[int, Field(ge=1, le=20)] = 3

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Hook:
        if bool(self.url) == bool(self.command):
            raise ValueError("name a url or a command, one of both")
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError("a url begins with https:// or http://")
        return self

    def hears(self, event: EventKind, service: str) -> bool:
        """Whether it is told of that."""
        return event in self.events and (not self.services or service in self.services)

    def secret(self) -> str:
        """What its messages are signed with; '' for nothing.

        Raises:
            HamanagerError: it cannot be read.
        """
        if not self.secret_file:
            return ""
        try:
            return Path(self.secret_file).read_text().strip()
        except (OSError, UnicodeDecodeError):
            raise HamanagerError(
                f"the secret of hook '{self.name}' cannot be read from {self.secret_file}"
            ) from None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    hooks: tuple[Hook, ...] = ()


def load_hooks(path: Path) -> tuple[Hook, ...]:
    """All hooks of that file.

    Raises:
        UsageError: it cannot be read, or is not what it should be; in one sentence.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"the hooks in {path} cannot be read: {reason}") from None
    if mode & stat.S_IWOTH:
        raise UsageError(
            f"the hooks in {path} are not used: everybody may write there, and what it names is run"
            f" as the manager's user; `chmod o-w {path}`"
        )
    try:
        found = _File.model_validate(yaml.safe_load(text) or {}).hooks
    except yaml.YAMLError:
        raise UsageError(f"the hooks in {path} cannot be read: it is no YAML") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"the hooks in {path} are wrong at {where or 'the top'}: {first['msg']}"
        ) from None
    names = [hook.name for hook in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"the hooks in {path} are wrong: two are called '{twice[0]}'")
    return found
