"""A retraining that was proposed, carried out as far as anybody may go.

    a retrain proposal and a command -> rows with outcomes -> the command -> package -> gate -> canary (or a person)

Each step leaves an event by Penstock itself, and the next step reads it: whatever process dies, the next one goes on
from there. What needs an approval waits for a person. A retraining that does not go through becomes an incident, for
the record.
"""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from msgspec.structs import replace

from penstock.access.identities import SYSTEM_NAME
from penstock.app.app import App
from penstock.app.checking import CheckRequest, check
from penstock.app.labelled import labelled_rows
from penstock.app.lessons import Lessons, lessons_of
from penstock.app.packaging import PackageRequest, package
from penstock.app.policies import policy_of
from penstock.app.proposing import proposals_of
from penstock.app.releasing import ReleaseRequest, release
from penstock.app.repositories import code_state
from penstock.build.declaration import declaration_of
from penstock.errors import Conflict, NotReady, PenstockError, Refused, Unready
from penstock.feedback.retrain import Retrained, Terms, retrain
from penstock.records import Incident, Manifest, Proposal, Scalar, Verdict, Version
from penstock.registry.events import record_of

CAUSE = "retrain"
STRATEGY = "canary"
log = logging.getLogger("penstock.feedback")


def carry_on(app: App, endpoint: str, *, at: float, stopped: threading.Event) -> None:
    """Bring the latest retraining that was proposed since the live version went live as far as it goes.

    Raises:
        NotReady: It has to wait: for more outcomes, for the end of a rollout; or it was stopped.
        Conflict: Somebody changed the model or the endpoint meanwhile.
    """
    known = app.state().endpoint(endpoint)
    wanted = [(seq, one) for seq, one in proposals_of(app, endpoint, known) if one.action == "retrain"]
    if not app.config.feedback.retrain or not wanted or known.stable is None:
        return
    seq, _ = wanted[-1]
    before = known.incidents.get(CAUSE)
    if before is not None and before.evidence.get("proposal") == seq:
        return
    try:
        _carry_out(app, _task(app, endpoint, wanted[-1], at=at), stopped)
    except (Unready, Conflict):
        raise
    except PenstockError as error:
        _open_incident(app, endpoint, seq, error.message, at)
        log.warning("the retraining of %s did not go through: %s", endpoint, error.message)
    except Exception as error:
        # The user's command, their data, their model: whatever it was, it must not stop the endpoint's feedback.
        _open_incident(app, endpoint, seq, f"an unexpected {type(error).__name__}; the log has it", at)
        log.exception("the retraining of %s failed", endpoint)


@dataclass(frozen=True)
class _Task:
    """One proposed retraining and what it starts from.

    Attributes:
        seq: Number of the proposal's event, which names the retraining.
        at: Event time now.
        revision: Of the live release.
        champion: What answers; `manifest` is its package's.
        folder: Where the command's files lie.
    """

    endpoint: str
    seq: int
    proposal: Proposal
    at: float
    revision: int
    champion: Version
    manifest: Manifest
    folder: Path


def _task(app: App, endpoint: str, wanted: tuple[int, Proposal], *, at: float) -> _Task:
    """What a proposal starts from: the version that answers now."""
    state = app.state()
    stable = state.endpoint(endpoint).stable
    if stable is None:
        raise NotReady("nothing answers the endpoint yet", "it goes on when a release is live")
    live = stable.variants[0]
    return _Task(
        endpoint=endpoint,
        seq=wanted[0],
        proposal=wanted[1],
        at=at,
        revision=stable.revision,
        champion=state.version(live.model, live.version).version,
        manifest=app.open_package(live.digest).manifest,
        folder=app.home / "retraining" / f"{endpoint}-{wanted[0]}",
    )


def _carry_out(app: App, task: _Task, stopped: threading.Event) -> None:
    """Train, package, check, release: each step unless it was done before."""
    model = task.champion.model
    made = _made_before(app, model, task.seq) or _train_and_package(app, task, stopped)
    known = app.state().version(model, made.version)
    _require_same_inputs(task.manifest, app.open_package(made.digest).manifest)
    verdict = known.verdict or check(app, made.ref, CheckRequest(champion=task.champion.ref))
    if verdict.outcome != "pass":
        raise Refused(f"{made.ref} did not pass the gate: {_first_fault(verdict)}", "read the gate's report")
    _close_incident(app, task.endpoint, task.at)
    endpoint = app.state().endpoint(task.endpoint)
    if any(one.digest == made.digest for wish in endpoint.releases for one in wish.variants):
        return
    approvals = {*policy_of(app).approvals, *app.config.approvals}
    if approvals:
        log.info("%s passed the gate and waits for the approval of %s", made.ref, ", ".join(sorted(approvals)))
        return
    if endpoint.current is None or endpoint.current.revision != task.revision:
        raise NotReady("another release is under way", "the retrained version goes out after it")
    reason = f"retrained: {task.proposal.reason}"
    release(app, made.ref, ReleaseRequest(endpoint=task.endpoint, strategy=STRATEGY, reason=reason))
    log.info("%s goes out as a canary", made.ref)


def _made_before(app: App, model: str, seq: int) -> Version | None:
    """The version that Penstock itself registered for this proposal, if it got that far."""
    for event in app.registry.events(seq, kind="version.registered", subject=f"model/{model}"):
        record = record_of(event)
        if event.actor == SYSTEM_NAME and isinstance(record, Version):
            return record
    return None


def _train_and_package(app: App, task: _Task, stopped: threading.Event) -> Version:
    """Run the command on what production taught, and register what it leaves."""
    lessons = lessons_of(labelled_rows(app, task.endpoint), task.manifest)
    log.info("retraining %s on %d rows", task.endpoint, len(lessons.train))
    shutil.rmtree(task.folder, ignore_errors=True)
    trained = _train(app, task, lessons, stopped)
    kept = {name: value for name, value in task.manifest.parameters.items() if name not in ("label", "time", "group")}
    told: dict[str, Scalar] = {"retrained_for": task.endpoint, "proposal": task.seq}
    made, _ = package(
        app,
        PackageRequest(
            name=task.champion.model,
            model=Path(trained.model),
            tables={"train": lessons.train, "validation": lessons.validation},
            label=lessons.label,
            time=lessons.time,
            group=lessons.group,
            parameters=kept | told,
            source=code_state(app.home.parent, apart=app.home) | {"entry": shlex.join(app.config.feedback.retrain)},
            declared=task.manifest.declared,
            transforms=declaration_of(app.open_package(task.champion.digest)),
            parent=task.champion.digest,
        ),
    )
    # Both tables are kept in the home by now.
    Path(trained.data).unlink(missing_ok=True)
    return made


def _train(app: App, task: _Task, lessons: Lessons, stopped: threading.Event) -> Retrained:
    """The user's command, told where everything is."""
    facts = {
        "endpoint": task.endpoint,
        "reason": task.proposal.reason,
        "label": lessons.label,
        "time": lessons.time,
        "group": lessons.group,
        "inputs": json.dumps(lessons.inputs),
    }
    terms = Terms(folder=app.home.parent, stopped=stopped)
    joined = pa.Table.from_pandas(lessons.train, preserve_index=False)
    return retrain(shlex.join(app.config.feedback.retrain), joined, task.folder, facts=facts, terms=terms)


def _require_same_inputs(champion: Manifest, made: Manifest) -> None:
    """Clients go on sending what they send: the same inputs, of the same types, missing where they may be missing.

    Raises:
        Refused: They would have to change.
    """
    new = {spec.name: spec for spec in made.signature.inputs}
    for old in champion.signature.inputs:
        now = new.pop(old.name, None)
        if now is None or (now.datatype, now.shape) != (old.datatype, old.shape) or (old.nullable and not now.nullable):
            raise Refused(
                f"the retrained model does not take the input {old.name} as the one before it",
                "train it on the columns of PENSTOCK_DATA as they are",
                code="feedback.inputs",
            )
    if new:
        raise Refused("the retrained model takes more inputs", "train on PENSTOCK_INPUTS alone", code="feedback.inputs")


def _first_fault(verdict: Verdict) -> str:
    """Why the gate did not pass it."""
    faults = (one.message for one in verdict.findings if one.blocking and one.outcome != "pass")
    return next(faults, verdict.outcome)


def _open_incident(app: App, endpoint: str, seq: int, why: str, at: float) -> None:
    """Say for the record that a retraining did not go through; it is not tried again for the same proposal."""
    _close_incident(app, endpoint, at)
    incident = Incident(
        endpoint=endpoint,
        cause=CAUSE,
        severity="record",
        title="a retraining did not go through",
        effect=why,
        guarantee="every failure is written down",
        closes="a later retraining that passes the gate",
        opened_at=at,
        evidence={"proposal": seq},
    )
    app.registry.append("incident.opened", f"endpoint/{endpoint}/incidents", incident, by=app.identity)


def _close_incident(app: App, endpoint: str, at: float) -> None:
    """An earlier retraining's incident is over."""
    known = app.state().endpoint(endpoint).open_incidents().get(CAUSE)
    if known is not None:
        closed = replace(known, closed_at=max(known.opened_at, at))
        app.registry.append("incident.closed", f"endpoint/{endpoint}/incidents", closed, by=app.identity)
