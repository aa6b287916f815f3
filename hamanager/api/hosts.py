"""What the API says about hosts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _View(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class HostView(_View):
    """One host."""

    name: str
    docker: str
    """Where managers reach its engine."""
    address: str
    """Where clients and the other hosts reach what is published there."""
    draining: bool = False
    silent_seconds: float = 0.0
    """For how long its engine has not answered; 0 while it does."""
    problem: str = ""
    """Why it does not, in a sentence."""
    memory_bytes: int | None = None
    """Of its machine; null before its engine has told that."""
    promised_bytes: int = 0
    """The sum of the limits of its instances."""
    instances: list[str] = []
    left: list[str] = []
    """What it may still run, or holds, of instances that are elsewhere now: in words."""
