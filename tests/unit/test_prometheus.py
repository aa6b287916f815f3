"""What is handed to Prometheus and Grafana is what they take, and names metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hamanager.daemon.metrics import Metrics, Watched
from tests.support.memory_store import MemoryStore
from tests.unit.fakes import FakeClock
from tests.unit.test_web import FACTS, run

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "compose/prometheus"
UNPACKED = ROOT / ".prometheus/usr/bin/promtool"
PROMTOOL = shutil.which("promtool") or (str(UNPACKED) if UNPACKED.exists() else None)
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not there")


@pytest.fixture(scope="module")
def text() -> str:
    """All metrics that there can be."""
    metrics = Metrics()
    metrics.heard(MemoryStore(), FakeClock())
    metrics.watch(lambda: {"db": Watched(FACTS, True)})
    metrics.watch_canaries(lambda: {"db": 1.0})
    metrics.watch_retained(lambda: {"db": 4096})
    run(metrics, "fail over", "primary-dead")
    return metrics.text().decode()


def promtool(*words: str, given: str = "") -> str:
    assert PROMTOOL is not None
    done = subprocess.run(
        [PROMTOOL, *words], input=given, capture_output=True, text=True, timeout=30, check=False
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    return told


@needs_promtool
def test_the_metrics_are_as_prometheus_wants_them(text: str) -> None:
    assert promtool("check", "metrics", given=text).strip() == ""


@needs_promtool
def test_the_alert_rules_and_the_configuration_are_right() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(PROMETHEUS / "alerts.yml"))
    assert "SUCCESS" in promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))


def test_rules_dashboard_and_document_name_metrics_that_there_are(text: str) -> None:
    there = set(re.findall(r"^(?:# TYPE )?(hamanager_\w+?)(?:\{| )", text, re.MULTILINE))
    documents = [*PROMETHEUS.iterdir(), ROOT / "docs/monitoring.md"]
    for document in documents:
        named = set(re.findall(r"\bhamanager_[a-z_]+\b", document.read_text()))
        assert named <= there, f"{document.name}: {sorted(named - there)}"
    told = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in there}
    known = (ROOT / "docs/monitoring.md").read_text()
    assert {name for name in told if name not in known} == set()


def test_the_dashboard_has_failovers_as_annotations() -> None:
    dashboard = json.loads((PROMETHEUS / "grafana-dashboard.json").read_text())
    [failovers] = dashboard["annotations"]["list"]
    assert "hamanager_failovers_total" in failovers["expr"]
    identifiers = [panel["id"] for panel in dashboard["panels"]]
    assert len(identifiers) == len(set(identifiers)) > 8
