"""What tuning found, as a page without any link to elsewhere: the choice, its curve beside the others, every figure.

What comes in: a `Tuned`. What goes out: HTML with its style inside.
"""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from penstock.console.charts.drawing import element
from penstock.console.charts.tradeoff import Tradeoff, tradeoff_chart
from penstock.tuning.search import Trial
from penstock.tuning.tune import Tuned

_STYLE = Path(__file__).parent / "static" / "console.css"
_MOST_CURVES = 4
_HEADINGS = (
    "setting",
    "connections",
    "answers/s",
    "with the processors to itself",
    "p50",
    "p99",
    "CPU an answer",
    "failed",
    "clients' CPUs",
)


def tuned_page(tuned: Tuned, endpoint: str) -> str:
    """The whole page."""
    title = f"How {endpoint} should be served"
    chart = tradeoff_chart(_curves(tuned), limit_s=tuned.p99_s, title="p99 against answers a second")
    body = element("h1", {}, title) + element("p", {}, f"{tuned.chosen.setting.label}: {tuned.why}.")
    body += element("p", {}, f"Today: {tuned.present.setting.label}. {_note(tuned)}")
    body += chart + _table(tuned)
    head = element("meta", {"charset": "utf-8"}) + element(
        "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}
    )
    head += element("title", {}, title) + element("style", {}, Markup(_STYLE.read_text(encoding="utf-8")))  # noqa: S704 (our own file)
    page = element("html", {"lang": "en"}, element("head", {}, head) + element("body", {}, element("main", {}, body)))
    return f"<!doctype html>\n{page}\n"


def _note(tuned: Tuned) -> str:
    return (
        f"Measured with {tuned.cpus} usable processors, which the clients and whatever else ran shared: with the "
        "processors to itself, that time counts as the data plane's where none was idle."
    )


def _curves(tuned: Tuned) -> list[Tradeoff]:
    """The chosen one, today's, and those that came nearest."""
    order: dict[str, Trial] = {trial.setting.label: trial for trial in (tuned.chosen, tuned.present, *tuned.trials)}
    return [
        Tradeoff(
            label=f"{label}{' (chosen)' if index == 0 else ''}",
            per_s=[point.apart_per_s for point in trial.points],
            p99_s=[max(point.p99_s, 1e-5) for point in trial.points],
            connections=[point.connections for point in trial.points],
            tone=index,
        )
        for index, (label, trial) in enumerate(list(order.items())[:_MOST_CURVES])
    ]


def _table(tuned: Tuned) -> Markup:
    rows = [
        (
            trial.setting.label,
            str(point.connections),
            f"{point.per_s:,.0f}",
            f"{point.apart_per_s:,.0f}",
            f"{1000 * point.p50_s:.2f} ms",
            f"{1000 * point.p99_s:.2f} ms",
            f"{1e6 * point.cpu_s:,.0f} us",
            str(point.failed),
            f"{point.busy:.2f}",
        )
        for trial in tuned.trials
        for point in trial.points
    ]
    head = element("tr", {}, Markup("").join(element("th", {"scope": "col"}, word) for word in _HEADINGS))
    lines = Markup("").join(element("tr", {}, Markup("").join(element("td", {}, cell) for cell in row)) for row in rows)
    table = element("table", {}, element("thead", {}, head) + element("tbody", {}, lines))
    return element("div", {"class": "scroll", "tabindex": "0"}, table)
