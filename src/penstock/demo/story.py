"""The journey, chapter by chapter; each returns nothing but what it leaves behind in the home and the figures."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from penstock.app.evidence import trace, verify_home
from penstock.app.labelled import labelled_rows
from penstock.app.releasing import approve
from penstock.control.process import predictions_url
from penstock.demo.cast import ENDPOINT, KEPT, ROLE, Cast, assemble
from penstock.demo.flights import FEATURES, LABEL, load_flights, month, split_by_day, split_by_row
from penstock.demo.models import train, with_faulty_join
from penstock.demo.narration import Narrator
from penstock.demo.replay import ReplayAnswers
from penstock.errors import Forbidden
from penstock.records import Guards, Scalar, Version

CANARY = Guards(share=0.1, steps=(0.1, 0.5), min_units=200, latency_s=0.25, wait_s=86_400.0)
FAULT_DAY = 1116
"""The faulty version goes out on 16 November."""
LAST_DAY = 1230
"""The weather of 31 December is in no file: that day would rightly page for its missing inputs."""


def tell(home: Path, narrator: Narrator) -> Cast:
    """The whole story; the cast's figures are its summary."""
    started = time.monotonic()
    narrator.chapter("The flights of New York 2013, and a classifier for late arrivals")
    with narrator.working("reading 336,776 flights, their weather and their aircraft"):
        flights = load_flights()
    cast = assemble(home, narrator)
    first = _first_version(cast, month(flights, 1, 4))
    _release(cast, first)
    _summer(cast, flights)
    second = _retrain(cast, flights)
    _canary(cast, flights, second)
    _fault(cast, flights)
    _evidence(cast)
    cast.figures["seconds"] = round(time.monotonic() - started, 1)
    _sum_up(cast)
    return cast


def _first_version(cast: Cast, winter: pd.DataFrame) -> Version:
    """Two candidates for the start: one judged on random rows, one on whole days."""
    say = cast.narrator
    say.tell(
        f"January to April: {len(winter):,} flights, {winter[LABEL].mean():.0%} late; "
        "flights of one day share its weather"
    )
    say.chapter("A candidate that was judged on random rows")
    fitted, held = split_by_row(winter)
    leaky = cast.package(train(fitted, trees=120, leaves=31), fitted, held, "holdout by random row")
    cast.check(leaky)
    say.chapter("The same question, judged on whole days")
    fitted, held = split_by_day(winter)
    honest = cast.package(train(fitted), fitted, held, "holdout by day")
    cast.check(honest)
    return honest


def _release(cast: Cast, version: Version) -> None:
    """Who packages does not approve; then two workers answer."""
    say = cast.narrator
    say.chapter("Approval by somebody else, then a release on this machine")
    try:
        approve(cast.ana, version.ref, ROLE)
    except Forbidden as refusal:
        say.bad(f"ana approves her own work: {refusal.message}")
    _approve(cast, version)
    cast.release(version, "at-once")
    say.good(
        f"live at {predictions_url(cast.home)}: every worker answered the golden examples right before it took traffic"
    )


def _approve(cast: Cast, version: Version) -> None:
    """Rita says yes."""
    approval = approve(cast.rita, version.ref, ROLE, comment="read the gate's report")
    cast.narrator.good(f"{approval.by} approves {version.ref}")


def _summer(cast: Cast, flights: pd.DataFrame) -> None:
    """May to September as live traffic."""
    say = cast.narrator
    say.chapter("May to September as live traffic, each flight at its own time, each outcome when it landed")
    cast.replay(month(flights, 5, 9), "May to September")
    view = cast.view()
    for point in view.quality[-1:]:
        estimated = "not estimable" if point.estimated is None else f"{point.estimated:.3f}"
        realised = "unknown" if point.realised is None else f"{point.realised:.3f}"
        state = "stands" if point.valid else "is struck out: outcomes reject its assumption"
        say.tell(f"{point.metric}: estimated without labels {estimated}, realised {realised}; the estimate {state}")
    moved = [column.column for column in view.drift if column.moved]
    say.tell(f"columns that moved beyond their own limits in the last window: {', '.join(moved) or 'none'}")
    incidents = cast.ana.state().endpoint(ENDPOINT).incidents.values()
    for severity in ("page", "ticket", "record"):
        cast.figures[f"incidents_{severity}"] = sum(one.severity == severity for one in incidents)


def _retrain(cast: Cast, flights: pd.DataFrame) -> Version:
    """What production taught goes into the next version, through the same gate."""
    say = cast.narrator
    say.chapter("Retrained on the outcomes, through the same gate")
    with say.working("joining predictions and outcomes"):
        learned = labelled_rows(cast.ana, ENDPOINT)
    say.tell(f"{len(learned):,} predictions have an outcome")
    frame = _as_flights(flights, learned)
    fitted, held = split_by_day(pd.concat([month(flights, 1, 4)[[*KEPT, "day"]], frame], ignore_index=True))
    with say.working("training"):
        model = train(fitted)
    version = cast.package(model, fitted, held, "January to September, outcomes from production")
    cast.check(version)
    _approve(cast, version)
    return version


def _as_flights(flights: pd.DataFrame, learned: pd.DataFrame) -> pd.DataFrame:
    """Production rows in the shape of training rows: inputs and truth from the log, the day from the event time."""
    frame = learned[[*FEATURES]].copy()
    frame[LABEL] = learned["outcome"].astype(int)
    frame["departs"] = learned["event_time"]
    frame["tailnum"] = learned["key"]
    days = flights.drop_duplicates("departs").set_index("departs")["day"]
    frame["day"] = frame["departs"].map(days).astype(int)
    return frame


def _canary(cast: Cast, flights: pd.DataFrame, version: Version) -> None:
    """October decides: one aircraft in ten first, judged by a test that may be looked at all the time."""
    say = cast.narrator
    say.chapter("October: a canary, split by aircraft, decided by evidence that holds however often one looks")
    revision = cast.release(version, "canary", CANARY)
    cast.replay(flights[flights["day"].between(1001, FAULT_DAY - 1)].reset_index(drop=True), "1 October to 15 November")
    settled = cast.ana.state().endpoint(ENDPOINT).settled.get(revision)
    cast.figures["canary"] = settled.outcome if settled else "undecided"
    if settled is not None and settled.outcome == "live":
        say.good(f"{version.ref} answers everything: {settled.reason}")
    else:
        say.note(f"the canary is {settled.outcome if settled else 'undecided'}")


def _fault(cast: Cast, flights: pd.DataFrame) -> None:
    """A version that answers, fast, and wrong; somebody lets it past the gate all the same."""
    say = cast.narrator
    say.chapter("A silent fault: a faulty join turned the truth round; the version answers, fast, and wrong")
    fitted, held = split_by_day(month(flights, 1, 10))
    with say.working("training"):
        model = train(with_faulty_join(fitted))
    version = cast.package(model, fitted, held, "January to October, a faulty join in the training table")
    cast.check(version)
    say.note("three in the morning: the administrator breaks the glass, for an hour, with a reason, on the record")
    revision = cast.release(version, "canary", CANARY, bypass="hotfix for the winter schedule, checked by hand")
    rest = flights[flights["day"].between(FAULT_DAY, LAST_DAY)].reset_index(drop=True)
    seen: dict[str, float] = {}

    def watch(answers: ReplayAnswers) -> bool:
        if str(version.version) in answers.versions:
            seen.setdefault("first", time.monotonic())
        if revision in cast.ana.state().endpoint(ENDPOINT).settled:
            seen.setdefault("settled", time.monotonic())
        return False

    answers = cast.replay(rest, "16 November to December", until=watch)
    _tell_fault(cast, version, revision, answers, seen)


def _tell_fault(cast: Cast, version: Version, revision: int, answers: ReplayAnswers, seen: dict[str, float]) -> None:
    """How much harm was done until it was taken back, and to whom."""
    settled = cast.ana.state().endpoint(ENDPOINT).settled.get(revision)
    wrong = answers.versions[str(version.version)]
    stable_failed = sum(count for name, count in answers.failed.items() if name != str(version.version))
    seconds = seen.get("settled", 0.0) - seen.get("first", 0.0)
    cast.figures |= {
        "fault_outcome": settled.outcome if settled else "not found",
        "fault_answers": wrong,
        "fault_seconds": round(seconds, 2),
        "stable_failed": stable_failed,
    }
    if settled is not None:
        cast.narrator.good(
            f"taken back by itself after {wrong:,} of its answers and {seconds:.1f} s: {settled.reason}; "
            f"{stable_failed} failed answers on the stable version"
        )


def _evidence(cast: Cast) -> None:
    """One prediction, all the way back; then the whole chain with the public key alone."""
    say = cast.narrator
    say.chapter("From one prediction to everything behind it, and the chain verified offline")
    prediction = next(one for one in reversed(cast.answers[0].predictions) if one)
    found = trace(cast.ana, prediction)
    say.tell(f"prediction {found.prediction} <- {found.line.model}@{found.line.version} <- {found.package[:23]}…")
    for dataset in found.datasets:
        say.tell(f"  {dataset.role}: {dataset.rows:,} rows, {dataset.digest[:23]}…")
    verdict = found.verdict.outcome if found.verdict else "none"
    say.tell(f"  gate: {verdict}; approved by {', '.join(one.by for one in found.approvals) or 'nobody'}")
    verified = verify_home(cast.home, public_key=cast.home / "keys" / "signing.pub")
    cast.figures |= {"events": verified.events, "verified": verified.ok}
    (say.good if verified.ok else say.bad)(
        f"{verified.events:,} events and every package verified with the public key alone"
    )


def _sum_up(cast: Cast) -> None:
    """The measured figures of the whole run."""
    sent = sum(one.sent for one in cast.answers)
    seconds = sum(one.seconds for one in cast.answers)
    summary: dict[str, Scalar] = {
        "predictions": sent,
        "failed": sum(sum(one.failed.values()) for one in cast.answers),
        "predictions_per_s": round(sent / seconds),
        "p50_ms": round(1000 * cast.answers[0].percentile(0.5), 2),
        "p99_ms": round(1000 * cast.answers[0].percentile(0.99), 2),
    }
    cast.figures |= summary
    cast.narrator.chapter("What was measured")
    for name, value in cast.figures.items():
        cast.narrator.tell(f"{name.replace('_', ' '):<24} {value}")
