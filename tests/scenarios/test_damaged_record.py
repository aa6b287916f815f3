"""What is kept about one service is damaged: its servers go on, and the others are watched over."""

from __future__ import annotations

import time

from hamanager.chaos.sandbox import Filters, Stage, wait_for
from hamanager.stores.repository import record_key
from tests.scenarios.harness import Scenario

SENTENCE = (
    "the record of 'hurt' cannot be read, its row 'services/hurt/record' in the store is damaged:"
    " nobody watches over its servers, which were left as they are; put that row back from a backup"
)


def rewrite(stage: Stage, value: str) -> None:
    kept = stage.store.get(record_key("hurt"))
    assert kept is not None
    stage.store.put(record_key("hurt"), value, kept.version)


def told(stage: Stage) -> int:
    return stage.daemon_log().count(f"hurt: {SENTENCE}")


def test_the_other_service_fails_over_and_the_daemon_starts(stage: Stage) -> None:
    with Scenario(stage, "redis", "another service's record is damaged", lossless=False) as run:
        stage.command("create", "hurt", "--engine", "redis", "--instances", "1")
        kept = stage.store.get(record_key("hurt"))
        assert kept is not None
        rewrite(stage, kept.value[: len(kept.value) // 2])
        wait_for("info to say so", 10, lambda: stage.ask("info", "hurt")["state"] == "unmanaged")
        # `info` looks when it is asked, the service's own loop once a second.
        wait_for("the log to say so", 10, lambda: told(stage) == 1)
        old = run.primary
        run.fault(lambda: run.faults.kill(old))
        run.wait_for_write(not_on=old)
        stage.kill_daemon()
        stage.start_daemon()
        wait_for("the log to say so again", 10, lambda: told(stage) == 2)
        time.sleep(2.5)  # some ticks: it is not told with each
        hurt, well = sorted(stage.ask("info"), key=lambda view: str(view["name"] != "hurt"))
        assert (hurt["state"], well["name"]) == ("unmanaged", "db")
        assert hurt["message"].startswith(SENTENCE)
        assert "unmanaged" in stage.command("list")
        refused = stage.run("scale", "hurt:instances=2")
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"hamanager: {SENTENCE}")
        assert refused.stderr.endswith("; nothing was changed\n")
        assert told(stage) == 2, "once in each daemon's life"
        assert "Traceback" not in stage.daemon_log()
        assert stage.container("hurt.0").status == "running"

        rewrite(stage, kept.value)
        stage.wait_for_state("hurt", "running", 20, 1)

        rewrite(stage, kept.value[:-1])
        wait_for("info to say so", 10, lambda: stage.ask("info", "hurt")["state"] == "unmanaged")
        stage.command("destroy", "hurt", "--yes")
        labels = [f"hamanager.manager={stage.manager_id}", "hamanager.service=hurt"]
        label: Filters = {"label": labels}
        assert stage.docker.containers.list(all=True, filters=label) == []
        assert stage.docker.volumes.list(filters=label) == []
