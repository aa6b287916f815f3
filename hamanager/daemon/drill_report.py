"""A quarter of drills: the numbers, as JSON and as a page that needs nothing else. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from html import escape

from hamanager import formats
from hamanager.api.drills import DrillsReport, Figures, quarter_bounds
from hamanager.model.drill import DrillFault, DrillResult, Outcome
from hamanager.version import program_version

STYLE = """
:root { color-scheme: light }
body { margin: 0; background: #f6f7f9; color: #1f2933;
  font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif }
main { max-width: 1160px; margin: 0 auto; padding: 28px 20px 48px }
h1 { font-size: 26px; margin: 0 0 4px } h2 { font-size: 18px; margin: 0 0 6px }
p { margin: 4px 0 } .quiet { color: #52606d; overflow-wrap: anywhere }
section { background: #fff; border: 1px solid #e1e5ea; border-radius: 8px;
  padding: 18px 22px; margin-top: 18px; overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: 13.5px }
th { text-align: right; font-size: 12px; color: #52606d; font-weight: 600; vertical-align: bottom }
th, td { padding: 6px 9px; border-bottom: 1px solid #e8ebef; white-space: nowrap }
td { text-align: right; font-variant-numeric: tabular-nums }
th:first-child, td:first-child, .words { text-align: left }
td.words { white-space: normal } tr.all td { background: #f6f7f9; font-weight: 600 }
tr.failed td, tr.unfinished td { background: #fdecea }
tr.missed td, tr.refused td { color: #7a5a12 }
@media print { body { background: #fff } section { break-inside: avoid } }
"""

HEADINGS = (
    "Fault",
    "Drills",
    "Passed",
    "Failed",
    "Refused",
    "Missed",
    "Un&shy;finished",
    "Rounds",
    "RTO min",
    "RTO median",
    "RTO max",
    "Writes went on",
    "Acknow&shy;ledged",
    "Lost",
)
DRILL_HEADINGS = (
    "At",
    "How",
    "Fault",
    "Outcome",
    "Rounds",
    "RTO max",
    "Lost",
    "What was told",
)


def summarized(
    name: str, quarter: str, results: Sequence[DrillResult], now: float, authority: str
) -> DrillsReport:
    """The numbers of these results, which are all of that quarter."""
    begins_at, ends_at = quarter_bounds(quarter)
    return DrillsReport(
        service=name,
        quarter=quarter,
        begins_at=begins_at,
        ends_at=ends_at,
        made_at=round(now, 3),
        program=f"hamanager {program_version()}",
        authority=authority,
        all=figures(None, results),
        faults=[
            figures(fault, [result for result in results if result.fault is fault])
            for fault in DrillFault
            if any(result.fault is fault for result in results)
        ],
        drills=list(results),
    )


def figures(fault: DrillFault | None, results: Sequence[DrillResult]) -> Figures:
    """What came of these."""

    def of(outcome: Outcome) -> int:
        return sum(result.times for result in results if result.outcome is outcome)

    rounds = [done for result in results for done in result.rounds]
    times = [d.first_write_seconds for d in rounds if d.first_write_seconds is not None]
    lost = [result.lost or 0 for result in results]
    return Figures(
        fault=fault,
        drills=sum(result.times for result in results),
        passed=of(Outcome.PASSED),
        failed=of(Outcome.FAILED),
        refused=of(Outcome.REFUSED),
        missed=of(Outcome.MISSED),
        unfinished=of(Outcome.UNFINISHED),
        rounds=len(rounds),
        rto_seconds_min=min(times, default=None),
        rto_seconds_median=round(statistics.median(times), 4) if times else None,
        rto_seconds_max=max(times, default=None),
        uninterrupted_rounds=len(rounds) - len(times),
        acknowledged=sum(result.acknowledged for result in results),
        lost=sum(lost),
        lost_most=max(lost, default=0),
        lost_unknown=sum(bool(result.rounds) and result.lost is None for result in results),
        two_primaries=sum(done.duplicate_primaries > 0 for done in rounds),
    )


def as_json(report: DrillsReport) -> str:
    """As it is signed."""
    return report.model_dump_json(indent=2) + "\n"


def as_page(report: DrillsReport) -> str:
    """As it is signed: no network, no script."""
    title = escape(f"Drills of {report.service}, {report.quarter}")
    body = "".join([*_head(report, title), *_table(report), *_drills(report), *_foot(report)])
    return formats.html_page(title, STYLE, body)


def _head(report: DrillsReport, title: str) -> Iterator[str]:
    yield f"<h1>{title}</h1>"
    through = " (not over yet)" if report.made_at < report.ends_at else ""
    yield (
        f'<p class="quiet">{formats.moment(report.begins_at)} to {formats.moment(report.ends_at)}'
        f"{through}; made {formats.moment(report.made_at)}</p>"
    )


def _table(report: DrillsReport) -> Iterator[str]:
    yield "<section><h2>By fault</h2><table><thead><tr>"
    yield "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    yield "</tr></thead><tbody>"
    for found in report.faults:
        yield _row(cells(found))
    yield _row(cells(report.all), "all")
    yield "</tbody></table></section>"


def cells(found: Figures) -> list[str]:
    """A line of the numbers."""
    counts = (found.drills, found.passed, found.failed, found.refused, found.missed)
    times = (found.rto_seconds_min, found.rto_seconds_median, found.rto_seconds_max)
    unknown = f" (unknown of {found.lost_unknown})" if found.lost_unknown else ""
    return [
        "all" if found.fault is None else str(found.fault),
        *(f"{number:,}" for number in (*counts, found.unfinished, found.rounds)),
        *("-" if seconds is None else formats.stopwatch(seconds) for seconds in times),
        f"{found.uninterrupted_rounds:,}",
        f"{found.acknowledged:,}",
        f"{found.lost:,}{unknown}",
    ]


def _drills(report: DrillsReport) -> Iterator[str]:
    yield "<section><h2>Drill by drill</h2><table><thead><tr>"
    for heading in DRILL_HEADINGS:
        yield (
            f'<th class="words">{heading}</th>'
            if heading == DRILL_HEADINGS[-1]
            else (f"<th>{heading}</th>")
        )
    yield "</tr></thead><tbody>"
    for result in report.drills:
        found = figures(result.fault, [result])
        longest = found.rto_seconds_max
        lost = "-" if not result.rounds else f"{result.lost:,}" if result.lost is not None else "?"
        times = f" ({result.times} times)" if result.times > 1 else ""
        shown = [
            formats.moment(result.at),
            "by hand" if result.due_at is None else "by schedule",
            str(result.fault),
            f"{result.outcome}{times}",
            f"{len(result.rounds)} of {result.rounds_wanted}",
            "-" if longest is None else formats.stopwatch(longest),
            lost,
        ]
        told = f'<td class="words">{escape(result.text)}</td>'
        yield f'<tr class="{result.outcome}">{_cells(shown)}{told}</tr>'
    yield "</tbody></table></section>"


def _row(values: Sequence[str], kind: str = "") -> str:
    return f'<tr class="{kind}">{_cells(values)}</tr>'


def _cells(values: Sequence[str]) -> str:
    return "".join(f"<td>{escape(value)}</td>" for value in values)


def _foot(report: DrillsReport) -> Iterator[str]:
    yield (
        '<section><p class="quiet"><b>RTO</b>: from the moment before the fault to the first write'
        " that was accepted again, as a client saw it that writes without a pause. <b>Lost</b>"
        " (RPO): acknowledged writes that the primary did not hold at the end of their drill."
        " <b>Refused</b>: nothing was broken, as the service was not fit for it then. <b>Missed</b>"
        ": no manager was there at that time. <b>Unfinished</b>: begun, and not brought to its"
        " end.</p>"
        f'<p class="quiet">{escape(report.program)}. Signed with the key of the certificate whose'
        f" SHA-256 is {escape(report.authority)}; check it with <code>hamanager drill verify FILE"
        " --ca ca.pem</code>.</p></section>"
    )
