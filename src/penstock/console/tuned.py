"""What tuning found, as a page without any link to elsewhere: the choice, its curve beside the others, every figure.

What comes in: a `Tuned`. What goes out: HTML with its style inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape

from penstock.console.charts.drawing import element
from penstock.console.charts.tradeoff import Tradeoff, tradeoff_chart
from penstock.tuning.search import LoadPoint, Trial
from penstock.tuning.tune import Tuned

_STYLE = Path(__file__).parent / "static" / "console.css"
_MOST_CURVES = 4
_BEST = ("setting", "answers/s", "connections", "p50", "p99", "CPU an answer", "rounds")
_EVERY = (
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
    body = element("h1", {}, title)
    body += element("p", {}, element("strong", {}, tuned.chosen.setting.label), f": {tuned.why}.")
    body += element("p", {"class": "muted"}, f"Today: {tuned.present.setting.label}. {_note(tuned)}")
    body += element("section", {"class": "panel pad"}, chart)
    body += element("h2", {}, "Each setting at its best") + element("div", {"class": "panel"}, _best(tuned))
    body += element(
        "details", {"class": "figures"}, element("summary", {}, "every figure that was measured"), _every(tuned)
    )
    head = element("meta", {"charset": "utf-8"}) + element(
        "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}
    )
    head += element("title", {}, title) + element("style", {}, Markup(_STYLE.read_text(encoding="utf-8")))  # noqa: S704 (our own file)
    page = element("html", {"lang": "en"}, element("head", {}, head) + element("body", {}, element("main", {}, body)))
    return f"<!doctype html>\n{page}\n"


def _note(tuned: Tuned) -> str:
    return (
        f"Measured with {tuned.cpus} usable processors, which the clients and whatever else ran shared: answers a "
        "second are those with the processors to itself, where that time counts as the data plane's if none was idle."
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


def _best(tuned: Tuned) -> Markup:
    """One line a setting: where it answers most and keeps the latency."""
    rows = []
    for trial in tuned.trials:
        best = trial.best(tuned.p99_s)
        point = (
            ("–", "", "", f"over {1000 * tuned.p99_s:g} ms", "")
            if best is None
            else (f"{best.apart_per_s:,.0f}", str(best.connections), *_times(best))
        )
        rows.append((_named(trial, tuned), *point, str(trial.rounds)))
    return _table(_BEST, rows)


def _named(trial: Trial, tuned: Tuned) -> Markup:
    """A setting, with badges for what is chosen and what is in force."""
    words = escape(trial.setting.label)
    if trial.setting == tuned.chosen.setting:
        words += " " + element("span", {"class": "badge good"}, "chosen")
    if trial.setting == tuned.present.setting:
        words += " " + element("span", {"class": "badge"}, "today")
    return words


def _every(tuned: Tuned) -> Markup:
    rows = [
        (
            trial.setting.label,
            str(point.connections),
            f"{point.per_s:,.0f}",
            f"{point.apart_per_s:,.0f}",
            *_times(point),
            str(point.failed),
            f"{point.busy:.2f}",
        )
        for trial in tuned.trials
        for point in trial.points
    ]
    return _table(_EVERY, rows)


def _times(point: LoadPoint) -> tuple[str, str, str]:
    return f"{1000 * point.p50_s:.2f} ms", f"{1000 * point.p99_s:.2f} ms", f"{1e6 * point.cpu_s:,.0f} us"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Markup:
    """The first column is words, all others are figures."""

    def line(cells: Sequence[str], name: str, more: dict[str, str]) -> Markup:
        numbers = [more | ({"class": "number"} if at else {}) for at in range(len(cells))]
        drawn = Markup("").join(element(name, how, cell) for how, cell in zip(numbers, cells, strict=True))
        return element("tr", {}, drawn)

    head = element("thead", {}, line(headings, "th", {"scope": "col"}))
    body = element("tbody", {}, Markup("").join(line(row, "td", {}) for row in rows))
    table = element("table", {"class": "compact settings-table"}, head + body)
    return element("div", {"class": "scroll", "tabindex": "0"}, table)
