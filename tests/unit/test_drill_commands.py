"""The words of `hamanager drill`: schedules of drills, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import typer.main

from hamanager.api.drills import parse_at, parse_every
from hamanager.cli.drills import drill_app
from hamanager.errors import UsageError
from hamanager.model.drill import Outcome
from hamanager.model.settings import Settings
from hamanager.stores import drills
from tests.unit.fakes import NOW, FakeManager
from tests.unit.test_cli import Run, daemon, home, manager, run  # noqa: F401 - fixtures
from tests.unit.test_drill_store import result


@pytest.fixture
def db(run: Run, manager: FakeManager) -> None:  # noqa: F811
    """A service that may be drilled, and was once."""
    manager.commands.create("db", "redis", instances=2, settings=Settings(allow_drills=True))
    manager.fulfil("db")
    drills.keep(manager.store, result(NOW - 86400, outcome=Outcome.UNFINISHED), "", NOW)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h", 3600), ("12h", 43200), ("7d", 604800), ("2w", 1209600)]
)
def test_every(text: str, seconds: int) -> None:
    assert parse_every(text) == seconds


@pytest.mark.parametrize("text", ["0", "0d", "7x", "7", "-1d", "1.5d", "", "367d", "9999w", "7 d"])
def test_what_is_no_such_time(text: str) -> None:
    with pytest.raises(UsageError, match="nothing was changed"):
        parse_every(text)


def test_times_of_day() -> None:
    assert (parse_at("00:00"), parse_at("03:00"), parse_at("23:59")) == (0, 180, 1439)
    for text in ("25:00", "24:00", "3:00", "03:60", "3", "", "03:00 CET"):
        with pytest.raises(UsageError, match="in UTC from 00:00 to 23:59, not"):
            parse_at(text)


@pytest.mark.usefixtures("db")
def test_a_schedule_is_made_shown_and_taken_away(run: Run, manager: FakeManager) -> None:  # noqa: F811
    made = run("drill", "db", "--every", "7d", "--at", "03:00", "--rounds", "2")
    assert made.exit_code == 0, made.output
    line = (
        "db: kill, 2 rounds, every 7 days from 03:00 UTC; next 2026-09-22 03:00:00 UTC; last"
        " 2026-09-20 14:13:20 UTC: unfinished\n"
    )
    assert made.output == line
    assert run("drill", "list").output == line
    (shown,) = json.loads(run("drill", "list", "--output", "json").output)
    assert shown["every_seconds"] == 604800
    assert shown["last"]["outcome"] == "unfinished"
    text = manager.store.history("db")[-1].text
    assert text == "drill db every 168 h: kill, 2 rounds, from 03:00 UTC"
    hang = run("drill", "run", "db", "--every", "12h", "--fault", "hang")
    assert "db: hang, 1 round, every 12 hours from 03:00 UTC" in hang.output
    assert run("drill", "db", "--never").output == "db: no drills by schedule\n"
    assert run("drill", "list").output == ""
    assert run("drill", "db", "--never").exit_code == 0


REFUSED = (
    (("db", "--every", "0"), "--every takes a number of hours, days or weeks such as 12h"),
    (("db", "--every", "7x"), "not '7x'; nothing was changed"),
    (("db", "--every", "500d"), "drills can be 1h to 366d apart, not 500d"),
    (("db", "--every", "7d", "--at", "25:00"), "not '25:00'; nothing was changed"),
    (("db", "--every", "7d", "--rounds", "21"), "1 to 20 rounds, not 21"),
    (("db", "--every", "7d", "--report", "x.html"), "--report and --pause are for a drill now"),
    (("db", "--at", "03:00"), "--at goes with --every"),
    (("db", "--never", "--every", "7d"), "--never takes no other option"),
    (("db",), "name what is done to the primary with --fault: kill, hang"),
    (("no", "--every", "7d"), "there is no service 'no'"),
    (("no", "--never"), "there is no service 'no'"),
    (("plain", "--every", "7d"), "`hamanager set plain --allow-drills` marks it"),
    (("www", "--every", "7d"), "services of the engine 'mongodb' cannot be drilled"),
)


@pytest.mark.usefixtures("db")
def test_what_is_refused_in_one_sentence(
    run: Run,  # noqa: F811
    manager: FakeManager,  # noqa: F811
) -> None:
    manager.commands.create("plain", "redis")
    manager.commands.create("www", "mongodb", settings=Settings(allow_drills=True))
    manager.drills._drivers["mongodb"].workload = None
    before = manager.store.version()
    for words, told in REFUSED:
        answer = run("drill", *words)
        assert answer.exit_code in (1, 2), words
        assert told in answer.output, words
        assert len(answer.output.splitlines()) == 1, words
        assert manager.store.version() == before, words


def test_the_words_after_drill(run: Run) -> None:  # noqa: F811
    text = run("drill", "--help").output
    for word in ("run", "list"):
        assert f"\n  {word} " in text
    assert "Example: hamanager drill db --fault kill" in run("drill", "run", "--help").output
    options_first = run("drill", "--fault", "kill", "no")
    assert "no daemon keeps its state in" in options_first.output


@pytest.mark.usefixtures("db")
def test_services_are_completed_after_drill() -> None:
    group: Any = typer.main.get_command(drill_app)
    context = group.context_class(group, info_name="drill")

    def completed(incomplete: str) -> list[str]:
        return [item.value for item in group.shell_complete(context, incomplete)]

    assert completed("d") == ["db"]
    assert completed("li") == ["list"]
    assert completed("") == ["run", "list", "report", "verify", "db"]
