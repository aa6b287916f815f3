"""The page, in a real browser: what it shows, that it is live, and that it acts when it is told
twice. With PAGE_PICTURES=DIRECTORY it leaves the pictures that the documents show there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from hamanager.daemon.http import make_app
from hamanager.daemon.metrics import Metrics, Watched
from hamanager.daemon.web import make_web, serving
from hamanager.decide.situation import Situation
from hamanager.errors import NotFoundError
from hamanager.model.access import AccessRole
from hamanager.model.endpoint import EndpointRecord
from hamanager.model.history import HistoryEntry
from hamanager.model.snapshot import Relation, SyncProgress
from hamanager.stores.repository import load_record, load_spec, save_record
from tests.support.altered import altered
from tests.unit.fakes import NOW, FakeManager, standby_seen

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 15_000
PICTURES = os.environ.get("PAGE_PICTURES")


class Nothing:
    """What the page itself does not ask."""

    def situation(self, name: str) -> Situation:
        raise NotFoundError(f"there is no service '{name}'")

    def watched(self) -> Mapping[str, Watched]:
        return {}

    def problem(self) -> str:
        return ""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        made = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield made
        made.close()


@pytest.fixture
def manager() -> FakeManager:
    """With one service that is well."""
    made = FakeManager()
    made.commands.create("db", "redis", 2, None, None)
    made.fulfil("db")
    record, version = load_record(made.store, "db")
    address = EndpointRecord(host="10.0.0.1", port=7100)
    save_record(made.store, "db", altered(record, endpoint=address), version)
    return made


@pytest.fixture
def address(manager: FakeManager) -> Iterator[str]:
    web = make_web(Nothing(), Metrics(), make_app(manager, gated=True))
    with serving(("127.0.0.1", 0), web) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A wide one, unless the test asks otherwise; no error and no request elsewhere is allowed."""
    options = getattr(request, "param", {"viewport": {"width": 1100, "height": 900}})
    context = browser.new_context(**options)
    context.set_default_timeout(WAIT_MS)
    made = context.new_page()
    errors: list[str] = []
    elsewhere: list[str] = []
    made.on("pageerror", lambda error: errors.append(str(error)))
    made.on("request", lambda asked: _note_elsewhere(asked.url, elsewhere))
    yield made
    context.close()
    assert errors == []
    assert elsewhere == []


def _note_elsewhere(url: str, elsewhere: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1:", "data:")):
        elsewhere.append(url)


def enter(page: Any, address: str, manager: FakeManager, role: AccessRole, where: str = "") -> None:
    """With a token of that role."""
    token = manager.tokens.create(f"t-{role}-{len(manager.tokens.all())}", role)
    page.goto(f"{address}{where}")
    page.get_by_label("Token").fill(token)
    page.get_by_label("Token").press("Enter")
    page.get_by_text("live", exact=True).wait_for()


def picture(page: Any, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


def test_nobody_sees_anything_without_a_token(page: Any, address: str) -> None:
    page.goto(address)
    page.get_by_label("Token").fill("hamanager.nobody.0000")
    page.get_by_role("button", name="Enter").click()
    page.get_by_text("lets nobody in without proof").wait_for()
    assert "redis" not in page.content()


def test_the_api_is_documented_without_a_network(page: Any, address: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="The HTTP API").click()
    page.get_by_role("link", name="POST /api/v1/services", exact=True).click()
    page.get_by_role("heading", name="POST /api/v1/services", exact=True).wait_for()
    page.get_by_role("link", name="CreateBody").first.click()
    assert page.url.endswith("#api-CreateBody")


def test_all_services_at_a_glance_and_one_by_a_key(
    page: Any, address: str, manager: FakeManager
) -> None:
    enter(page, address, manager, AccessRole.READ)
    card = page.get_by_role("listitem").filter(has_text="db")
    assert "running" in card.inner_text()
    assert "primary db.0" in card.inner_text()
    page.get_by_role("link", name="db", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="db").wait_for()
    drawing = page.get_by_role("img")
    assert "db.0 primary up" in drawing.get_attribute("aria-label")
    page.get_by_role("heading", name="Why").wait_for()
    assert not page.get_by_text("would apply if").first.is_visible(), "only when it is unfolded"
    picture(page, "running")
    page.get_by_text("Every rule").click()
    page.get_by_text("primary-dead: ").first.wait_for()


def test_it_is_live_and_shows_a_copy(page: Any, address: str, manager: FakeManager) -> None:
    enter(page, address, manager, AccessRole.READ, "#/db")
    page.get_by_role("heading", name="db").wait_for()
    copying = SyncProgress(
        "receiving",
        percent=40.0,
        bytes_done=400_000_000,
        bytes_total=1_000_000_000,
        bytes_per_second=80e6,
        eta_seconds=7.0,
    )
    manager.seen["db.1"] = standby_seen(Relation.SEEDING, copying, None)
    bar = page.get_by_label("db.1 copies: receiving, 381MB of 954MB, 76MB/s, 7 s left")
    bar.wait_for()
    assert bar.evaluate("node => node.value") == 40
    picture(page, "copying")


def test_a_failover_as_a_timeline(page: Any, address: str, manager: FakeManager) -> None:
    told = [
        ("decision", "fail over db.1: db.0: the runtime says that its process has ended", None),
        ("step", "begin a new term", 0.004),
        ("step", "fence db.0", 0.002),
        ("step", "promote db.1", 0.021),
        ("step", "record db.1 as primary", 0.003),
        ("outcome", "fail over db.1: done", 0.031),
    ]
    for number, (kind, text, seconds) in enumerate(told):
        entry = {"at": NOW, "service": "db", "kind": kind, "text": text, "run": "a"}
        extra = {"playbook": "fail over", "seconds": seconds, "number": number}
        manager.store.append(HistoryEntry(**{**entry, **extra}))  # type: ignore[arg-type]
    enter(page, address, manager, AccessRole.READ, "#/db")
    page.get_by_role("heading", name="The last change of primary").wait_for()
    steps = page.locator(".steps li")
    assert [step.inner_text().split("\n")[0] for step in steps.all()] == [
        "begin a new term",
        "fence db.0",
        "promote db.1",
        "record db.1 as primary",
    ]
    picture(page, "failover")


def order_of(manager: FakeManager) -> Any:
    loaded = load_spec(manager.store, "db")
    assert loaded is not None
    return loaded[0].order


def test_an_action_says_what_it_costs_and_is_done_when_told_twice(
    page: Any, address: str, manager: FakeManager
) -> None:
    enter(page, address, manager, AccessRole.OPERATE, "#/db")
    page.get_by_role("button", name="Switchover").click()
    dialog = page.get_by_role("dialog")
    assert "Clients wait meanwhile" in dialog.inner_text()
    page.keyboard.press("Enter")  # what has the focus leaves it as it is
    dialog.wait_for(state="hidden")
    assert order_of(manager) is None
    page.get_by_role("button", name="Switchover").click()
    dialog.get_by_role("button", name="Switchover").click()
    dialog.wait_for(state="hidden")
    assert order_of(manager).kind == "switchover"


def test_what_is_refused_says_why(page: Any, address: str, manager: FakeManager) -> None:
    enter(page, address, manager, AccessRole.READ, "#/db")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    page.get_by_text("has the role 'read' and this takes 'operate'").wait_for()
    picture(page, "refused")
    page.get_by_role("button", name="Leave it as it is").click()
    loaded = load_spec(manager.store, "db")
    assert loaded is not None
    assert not loaded[0].paused


def test_a_token_that_is_revoked_or_forgotten_ends_it(
    page: Any, address: str, manager: FakeManager
) -> None:
    enter(page, address, manager, AccessRole.READ)
    page.get_by_role("button", name="Forget the token").click()
    page.get_by_label("Token").wait_for()
    assert page.evaluate("sessionStorage.length") == 0
    page.reload()
    page.get_by_label("Token").wait_for()


PHONE = {"viewport": {"width": 375, "height": 740}, "color_scheme": "dark"}


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_on_a_phone_nothing_has_to_be_pushed_sideways(
    page: Any, address: str, manager: FakeManager
) -> None:
    enter(page, address, manager, AccessRole.READ, "#/db")
    page.get_by_role("heading", name="Why").wait_for()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 375
    picture(page, "phone")


def test_nobody_may_frame_it_and_it_loads_nothing_from_elsewhere(page: Any, address: str) -> None:
    answer = page.goto(address)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-cache"
