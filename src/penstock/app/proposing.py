"""What the open incidents of an endpoint call for, written down once per cause.

    open incidents, realised scores of its versions -> proposals -> events

A proposal is an event and no act: who takes it up, a person or `penstock.app.retraining`, goes through the gate.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa

from penstock.app.app import App
from penstock.feedback.join import join, with_labels
from penstock.feedback.propose import propose
from penstock.feedback.score import Score, scores
from penstock.log.tables import compact, exchanges, outcomes
from penstock.records import Incident, Proposal, Scalar, Variant
from penstock.registry.events import record_of, subject_of
from penstock.registry.state import EndpointState
from penstock.statistics.answers import scores_of

SCORED_S = 30 * 86_400.0
"""How far back versions are compared, in event time."""
KEPT = ("prediction", "model", "version", "variant", "event_time")


def make_proposals(app: App, endpoint: str, *, at: float) -> tuple[Proposal, ...]:
    """Write down what is called for and was not proposed before; a cause is answered once each time it opens.

    Args:
        app: Who proposes.
        endpoint: Whose incidents.
        at: Event time.
    """
    known = app.state().endpoint(endpoint)
    if known.stable is None:
        return ()
    earlier = [proposal for _, proposal in proposals_of(app, endpoint, known)]
    answered = {(one.evidence.get("cause"), one.evidence.get("since")) for one in earlier}
    news = [one for one in known.open_incidents().values() if (one.cause, one.opened_at) not in answered]
    if not news:
        return ()
    live = known.stable.variants[0]
    realised = realised_scores(app, endpoint, live, now=at) if _asks_for_scores(news) else ()
    made = propose(news, realised, current=live.version, earlier=earlier, at=at)
    for proposal in made:
        app.registry.append("proposal.made", subject_of("proposal.made", proposal), proposal, by=app.identity)
    return made


def proposals_of(app: App, endpoint: str, known: EndpointState) -> list[tuple[int, Proposal]]:
    """Proposals made since the live version went live, with their events' numbers, oldest first."""
    since = 0
    for event in app.registry.events(kind="release.settled", subject=f"endpoint/{endpoint}"):
        settled = record_of(event)
        if known.stable is not None and getattr(settled, "revision", 0) == known.stable.revision:
            since = event.seq
    events = app.registry.events(since, kind="proposal.made", subject=f"endpoint/{endpoint}/proposals")
    found = [(event.seq, record_of(event)) for event in events]
    return [(seq, record) for seq, record in found if isinstance(record, Proposal)]


def realised_scores(app: App, endpoint: str, live: Variant, *, now: float) -> tuple[Score, ...]:
    """How the versions of the live one's model did, by the outcomes in the tables.

    Args:
        app: Whose tables.
        endpoint: Which.
        live: What answers; its package says what the outputs mean.
        now: Event time.
    """
    place = app.home / "log"
    compact(place)
    classes = app.open_package(live.digest).manifest.classes
    answered = exchanges(place, endpoint=endpoint, since=now - SCORED_S)
    table = _scored(answered, live.model, classes)
    return scores(with_labels(join(table, outcomes(place)), classes), now=now) if table.num_rows else ()


def _asks_for_scores(incidents: Sequence[Incident]) -> bool:
    """Only a loss can call for an earlier version."""
    return any(one.cause.partition(":")[0] == "risk" for one in incidents)


def _scored(answered: pa.Table, model: str, classes: Sequence[Scalar]) -> pa.Table:
    """The model's answers with their score and their label as text."""
    wanted = [
        name == model and code == "ok" and not shadow
        for name, code, shadow in zip(*(answered[one].to_pylist() for one in ("model", "code", "shadow")), strict=True)
    ]
    there = answered.filter(pa.array(wanted, pa.bool_()))
    decode = msgspec.json.Decoder(dict[str, object]).decode
    outputs = [decode(text) for text in there["outputs"].to_pylist()]
    names = set(outputs[0]) if outputs else set()
    alike = [set(one) == names for one in outputs]
    outputs = [one for one, same in zip(outputs, alike, strict=True) if same]
    columns = {name: np.asarray([one[name] for one in outputs]) for name in names}
    labels = (
        [str(value) for value in columns["label"].reshape(-1).tolist()] if "label" in columns else [""] * len(outputs)
    )
    table = there.filter(pa.array(alike, pa.bool_())).select(list(KEPT))
    table = table.append_column("score", pa.array(scores_of(columns, classes) if outputs else [], pa.float64()))
    return table.append_column("answer", pa.array(labels, pa.string()))
