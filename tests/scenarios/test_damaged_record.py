"""What is kept about one service is damaged: its servers go on, and the others are watched over."""

from __future__ import annotations

import time

from hamanager.chaos.sandbox import Filters, Sandbox, wait_for
from hamanager.stores.repository import record_key
from tests.scenarios.harness import Scenario

SENTENCE = (
    "the record of 'hurt' cannot be read, its row 'services/hurt/record' in the store is damaged:"
    " nobody watches over its servers, which were left as they are; put that row back from a backup"
)


def rewrite(sandbox: Sandbox, value: str) -> None:
    kept = sandbox.store.get(record_key("hurt"))
    assert kept is not None
    sandbox.store.put(record_key("hurt"), value, kept.version)


def told(sandbox: Sandbox) -> int:
    return sandbox.daemon_log().count(f"hurt: {SENTENCE}")


def test_record_damaged_and_the_other_services_go_on(sandbox: Sandbox) -> None:
    with Scenario(sandbox, "redis", "another service's record is damaged", lossless=False) as run:
        sandbox.command("create", "hurt", "--engine", "redis", "--instances", "1")
        kept = sandbox.store.get(record_key("hurt"))
        assert kept is not None
        rewrite(sandbox, kept.value[: len(kept.value) // 2])
        wait_for("info to say so", 10, lambda: sandbox.ask("info", "hurt")["state"] == "unmanaged")
        # `info` looks when it is asked, the service's own loop once a second.
        wait_for("the log to say so", 10, lambda: told(sandbox) == 1)
        old = run.primary
        run.fault(lambda: run.faults.kill(old))
        run.wait_for_write(not_on=old)
        sandbox.kill_daemon()
        sandbox.start_daemon()
        wait_for("the log to say so again", 10, lambda: told(sandbox) == 2)
        time.sleep(2.5)  # some ticks: it is not told with each
        hurt, well = sorted(sandbox.ask("info"), key=lambda view: str(view["name"] != "hurt"))
        assert (hurt["state"], well["name"]) == ("unmanaged", "db")
        assert hurt["message"].startswith(SENTENCE)
        assert "unmanaged" in sandbox.command("list")
        refused = sandbox.run("scale", "hurt:instances=2")
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"hamanager: {SENTENCE}")
        assert refused.stderr.endswith("; nothing was changed\n")
        assert told(sandbox) == 2, "once in each daemon's life"
        assert "Traceback" not in sandbox.daemon_log()
        assert sandbox.container("hurt.0").status == "running"

        rewrite(sandbox, kept.value)
        sandbox.wait_for_state("hurt", "running", 20, 1)

        rewrite(sandbox, kept.value[:-1])
        wait_for("info to say so", 10, lambda: sandbox.ask("info", "hurt")["state"] == "unmanaged")
        sandbox.command("destroy", "hurt", "--yes")
        labels = [f"hamanager.manager={sandbox.manager_id}", "hamanager.service=hurt"]
        label: Filters = {"label": labels}
        assert sandbox.docker.containers.list(all=True, filters=label) == []
        assert sandbox.docker.volumes.list(filters=label) == []
