"""The manager's own write, in its own database."""

from __future__ import annotations

from hamanager.errors import SilentError
from hamanager.model.service import ServiceContext, Target
from hamanager_drivers.mongodb.connections import Connections

DATABASE, COLLECTION = "hamanager", "canary"
GRACE_SECONDS = 1.0


class MongoDBCanary:
    """Acknowledged by a majority, as the service's URL asks for."""

    def __init__(self) -> None:
        self._connections = Connections()

    def beat(
        self, service: ServiceContext, target: Target, number: int, timeout_seconds: float
    ) -> int | None:
        """One document, replaced."""
        wait_ms = int(1000 * max(GRACE_SECONDS, timeout_seconds - GRACE_SECONDS))
        command = {
            "findAndModify": COLLECTION,
            "query": {"_id": 1},
            "update": {"$set": {"number": number}},
            "upsert": True,
            "writeConcern": {"w": "majority", "wtimeout": wait_ms},
        }
        answer = self._connections.command(service, target, command, timeout_seconds, DATABASE)
        if answer.get("writeConcernError"):
            raise SilentError(f"no majority has acknowledged a write to {target.name}")
        found = answer.get("value")
        return int(found["number"]) if found else None
