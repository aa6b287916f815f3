"""A drill's report as one HTML file that needs nothing else: no network, no script. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from hamanager import formats
from hamanager.chaos.drill.plan import PLANS
from hamanager.chaos.drill.rounds import Round
from hamanager.chaos.drill.text import cells, durations, verdict
from hamanager.chaos.drill.timeline import LANE_WORDS, timeline, windows
from hamanager.chaos.drill.values import DrillReport
from hamanager.version import program_version

STYLE = """
:root { color-scheme: light }
body { margin: 0; background: #f6f7f9; color: #1f2933;
  font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif }
main { max-width: 1160px; margin: 0 auto; padding: 28px 20px 48px }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 18px; margin: 0 0 2px }
h3 { font-size: 13px; margin: 18px 0 0; color: #52606d; font-weight: 600 }
p { margin: 4px 0 } .quiet { color: #52606d }
section { background: #fff; border: 1px solid #e1e5ea; border-radius: 8px;
  padding: 18px 22px; margin-top: 18px }
.verdict { border-left: 6px solid #2f8f5b } .verdict.failed { border-left-color: #c8372d }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 10px 20px;
  margin: 14px 0 0 }
dt { font-size: 12px; color: #52606d } dd { margin: 0; font-weight: 600; white-space: nowrap }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-size: 13.5px }
th { text-align: right; font-size: 12px; color: #52606d; font-weight: 600; vertical-align: bottom }
th, td { padding: 6px 9px; border-bottom: 1px solid #e8ebef; white-space: nowrap }
td { text-align: right; font-variant-numeric: tabular-nums }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left }
tr.all td { background: #f6f7f9; font-weight: 600 } tr.bad td { background: #fdecea }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 13px; margin: 10px 0 0 }
.legend i { display: inline-block; width: 14px; height: 12px; border-radius: 2px;
  margin-right: 6px; vertical-align: -1px }
.legend i.line { width: 3px; height: 14px; border-radius: 1px; vertical-align: -2px }
svg { display: block; width: 100%; height: auto; margin-top: 6px }
svg text { font-size: 12px; fill: #1f2933 } svg .tick { font-size: 11px; fill: #52606d }
svg .axis { font-size: 11.5px; fill: #52606d } svg .lane { font-weight: 600 }
svg .grid { stroke: #e8ebef } svg .base { stroke: #9aa5b1 }
.writes { fill: #5b8fc7; background: #5b8fc7 }
.primary { fill: #2f8f5b; background: #2f8f5b } .standby { fill: #c3dfcf; background: #c3dfcf }
.down { fill: #e7a39d; background: #e7a39d }
.duplicate { stroke: #111; stroke-width: 2; background: #111 }
.mark path { stroke-width: 1.5 } .mark text { font-weight: 600 }
.fault path { stroke: #c8372d } .fault circle, .mark.fault text { fill: #c8372d }
.detected path { stroke: #b7791f } .detected circle, .mark.detected text { fill: #96610f }
.promoted path { stroke: #7b4bb7 } .promoted circle, .mark.promoted text { fill: #7b4bb7 }
.written path { stroke: #1d5fa8 } .written circle, .mark.written text { fill: #1d5fa8 }
.undone path { stroke: #52606d; stroke-dasharray: 4 3 } .undone circle { fill: #52606d }
.mark.undone text { fill: #52606d }
.healthy path { stroke: #20703f } .healthy circle, .mark.healthy text { fill: #20703f }
@media print { body { background: #fff } section { break-inside: avoid } }
"""

HEADINGS = (
    "Round",
    "Primary",
    "Detected",
    "Promoted",
    "First write",
    "Healthy",
    "Longest gap",
    "Acknow&shy;ledged",
    "Lost",
    "Two primaries",
    "Recovered",
)


def page(report: DrillReport, rounds: Sequence[Round]) -> str:
    """The whole file."""
    title = escape(f"Drill: {report.fault} of {report.service}")
    body = "".join(
        [
            *_header(report, title),
            *_table(report),
            *_legend(two=report.duplicate_primaries > 0),
            *(part for done in rounds for part in _round(done, report)),
            *_footer(),
        ]
    )
    return formats.html_page(title, STYLE, body)


def _header(report: DrillReport, title: str) -> Iterator[str]:
    done = formats.count(len(report.rounds), "round")
    if len(report.rounds) < report.rounds_wanted:
        done = f"{len(report.rounds)} of {report.rounds_wanted} rounds"
    facts = (
        ("Service", report.service),
        ("Engine", f"{report.engine} {report.version or ''}"),
        ("Durability", report.durability or "unknown"),
        ("Instances", report.instances),
        ("Rounds", done),
        ("Begun", formats.moment(report.started_at)),
        ("Median to first write", durations(report.median)[2]),
        ("Worst to first write", durations(report.worst)[2]),
    )
    outcome = "" if report.passed else " failed"
    yield f"<h1>{title}</h1>"
    yield f'<p class="quiet">In each round the primary was {PLANS[report.fault].words}.</p>'
    yield f'<section class="verdict{outcome}"><h2>{escape(verdict(report))}</h2><dl>'
    for name, value in facts:
        yield f"<div><dt>{name}</dt><dd>{escape(str(value))}</dd></div>"
    yield "</dl></section>"


def _table(report: DrillReport) -> Iterator[str]:
    yield '<section class="scroll"><table><thead><tr>'
    yield "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    yield "</tr></thead><tbody>"
    for result in report.rounds:
        bad = (
            not result.recovered or result.duplicate_primaries or (report.lossless and result.lost)
        )
        yield _row(cells(result), "bad" if bad else "")
    if len(report.rounds) > 1:
        lost = "unknown" if report.lost is None else f"{report.lost:,}"
        sums = [f"{report.acknowledged:,}", lost, "", ""]
        yield _row(["Median", "", *durations(report.median), "", "", "", ""], "all")
        yield _row(["Worst, sum", "", *durations(report.worst), *sums], "all")
    yield "</tbody></table></section>"


def _row(values: Sequence[str], kind: str) -> str:
    shown = "".join(f"<td>{escape(value)}</td>" for value in values)
    return f'<tr class="{kind}">{shown}</tr>'


def _legend(*, two: bool) -> Iterator[str]:
    yield '<p class="legend"><span><i class="writes"></i>writes acknowledged</span>'
    for seen, words in LANE_WORDS.items():
        yield f'<span><i class="{seen}"></i>{words}</span>'
    if two:
        yield '<span><i class="duplicate line"></i>two took writes at once</span>'
    yield "</p>"


def _round(done: Round, report: DrillReport) -> Iterator[str]:
    result = done.result
    lost = "an unknown number of them" if result.lost is None else f"{result.lost:,} of them"
    yield f"<section><h2>Round {result.number}</h2>"
    yield (
        f'<p class="quiet">{formats.moment(result.fault_at)}; {result.acknowledged:,} writes'
        f" acknowledged, {lost} lost</p>"
    )
    parts = windows(done)
    for number, window in enumerate(parts):
        if len(parts) > 1:
            yield f"<h3>{'The first moments' if number else 'The whole round'}</h3>"
        yield timeline(done, window, str(report.fault))
    yield "</section>"


def _footer() -> Iterator[str]:
    yield (
        '<section><p class="quiet">Times count from the moment at which the fault was injected.'
        " <b>Detected</b>: the manager's first decision. <b>Promoted</b>: the end of the"
        " failover. <b>First write</b>: acknowledged by another instance or, when the primary"
        " stayed, the first one after the interruption. <b>Healthy</b>: all instances up and in"
        " step again. <b>Longest gap</b>: between two acknowledged writes of a client that writes"
        " without a pause. <b>Two primaries</b>: looks that found a server taking writes while"
        " another one did, too. Roles are what an observer saw that asked every server 20 times a"
        " second, without asking the manager; what it could not reach does not answer.</p>"
        f'<p class="quiet">hamanager {escape(program_version())}</p></section>'
    )
