"""The sections of a model card, in the order in which a reader asks.

Comes in: all that is behind a version. Goes out: a section. Each function reads records alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import cast

from penstock.app.cardfacts import (
    Behind,
    CardSection,
    CardTable,
    Fact,
    bars_of,
    evidence_of,
    fact,
    moment,
    number,
    table,
    table_of,
)
from penstock.build.bom import NAME as BILL
from penstock.packages.digests import PREFIX, named
from penstock.records import JSON, Approval, Declared, Finding, Release
from penstock.registry.events import record_of
from penstock.runtime.environments import LOCK, parse

_DECLARED = "manifest.declared"


def about(behind: Behind) -> CardSection:
    """What it is."""
    manifest, version, verdict = behind.manifest, behind.known.version, behind.verdict
    aliases = [name for name, one in behind.state.model(version.model).aliases.items() if one == version.version]
    answers = f"{manifest.task}, {len(manifest.classes)} classes" if manifest.classes else manifest.task
    decided = {"pass": "may go out", "refuse": "may not go out", "unknown": "has not shown that it may go out"}
    return CardSection(
        key="about",
        title="The model",
        facts=(
            fact("version", version.ref, behind.event("version.registered")),
            fact("package", version.digest, behind.event("version.registered")),
            fact("answers", answers, "manifest.task"),
            fact("format", f"{manifest.kind}, run by {manifest.engine}", "manifest.engine"),
            fact("packaged", moment(version.created_at), behind.event("version.registered")),
            fact("aliases", ", ".join(sorted(aliases)), behind.event("alias.moved")),
            fact("gate", decided[verdict.outcome] if verdict else "", behind.event("verdict.given")),
            _declared(manifest.declared, "license", "licence"),
        ),
        tables=(
            *_transforms(behind),
            table(
                "Inputs and outputs",
                ("name", "datatype", "shape", "may be missing"),
                [
                    (f"{way}: {spec.name}", spec.datatype, str(list(spec.shape)), number(spec.nullable))
                    for way, specs in (("in", manifest.signature.inputs), ("out", manifest.signature.outputs))
                    for spec in specs
                ],
                "manifest.signature",
            ),
        ),
    )


def _transforms(behind: Behind) -> tuple[CardTable, ...]:
    """What stands before and behind the model; no table where nothing does."""
    applied = behind.manifest.transforms
    if applied is None:
        return ()
    where = "in the graph" if applied.fused else "in the sandbox"
    rows = [(step.stage, step.name, ", ".join(step.columns), step.learned_from) for step in applied.steps]
    columns = ("stage", "step", "columns", "learned from")
    return (table(f"Steps before and behind the model, {where}", columns, rows, "manifest.transforms"),)


def use(behind: Behind) -> CardSection:
    """What it is for."""
    said = behind.manifest.declared
    return CardSection(
        key="use",
        title="Intended use",
        facts=(
            _declared(said, "intended_use", "intended use"),
            _declared(said, "out_of_scope", "not for"),
            _declared(said, "users", "users"),
        ),
    )


def people(behind: Behind) -> CardSection:
    """Who answers for it."""
    version = behind.known.version
    given = {
        (one.by, one.role): evidence_of(event)
        for event in behind.events
        if isinstance(one := record_of(event), Approval)
    }
    rows = [(one.by, one.role, one.comment, given.get((one.by, one.role), "")) for one in behind.known.approvals]
    approved = table("Approvals", ("who", "as", "comment", "record"), rows)
    return CardSection(
        key="people",
        title="Owners and approvals",
        facts=(
            fact("author", version.author, behind.event("version.registered")),
            _declared(behind.manifest.declared, "owner", "owner"),
            *(() if rows else (fact("approvals", "", ""),)),
        ),
        tables=(approved,) if rows else (),
    )


def risk(behind: Behind) -> CardSection:
    """What may come of it, as its owner sees it."""
    said = behind.manifest.declared
    bypasses = sorted(behind.known.bypasses.items())
    return CardSection(
        key="risk",
        title="Risk",
        facts=(
            _declared(said, "risk", "declared risk"),
            _declared(said, "mitigation", "what is done about it"),
            *(fact(f"gate bypassed for {name}", one.reason, behind.event("gate.bypassed")) for name, one in bypasses),
        ),
    )


def data(behind: Behind) -> CardSection:
    """What it was trained and checked on."""
    columns = ("part", "name", "rows", "columns", "from", "to", "kind", "revision", "digest")
    tables = [
        table(
            title,
            columns,
            [
                (
                    one.role, one.name, number(one.rows), number(len(one.columns)), moment(one.since),
                    moment(one.until), one.kind, one.revision or "–", one.digest,
                )
                for one in datasets
            ],
            evidence,
        )
        for title, datasets, evidence in (
            ("Packaged with", behind.known.version.datasets, behind.event("version.registered")),
            ("Checked on", behind.verdict.datasets if behind.verdict else (), behind.event("verdict.given")),
        )
        if datasets
    ]  # fmt: skip
    roles = {one.role for one in behind.known.version.datasets}
    lacking = [fact(f"{role} rows", "", "") for role in ("train", "validation", "test") if role not in roles]
    return CardSection(key="data", title="Data", facts=tuple(lacking), tables=tuple(tables))


def metrics(behind: Behind) -> CardSection:
    """How good it is, overall and by slice."""
    found = [one for one in _findings(behind) if one.check == "quality"]
    evidence = behind.event("verdict.given")
    facts = [fact(one.title, one.message, evidence) for one in found]
    tables = [table_of(one, evidence) for finding in found for one in _listed(finding, "tables")]
    slices = [
        bars_of(plot, evidence)
        for finding in found
        if "slices" in finding.measured
        for plot in _listed(finding, "plots")
        if plot.get("kind") == "bars"
    ]
    missing = [] if found else [fact("overall", "", "")]
    missing += [] if slices else [fact("by slice", "", "")]
    return CardSection(key="metrics", title="Metrics", facts=(*facts, *missing), tables=(*tables, *slices))


def limits(behind: Behind) -> CardSection:
    """Where it is weak, as declared and as found."""
    manifest, evidence = behind.manifest, behind.event("verdict.given")
    parity = manifest.parity
    facts = [
        _declared(manifest.declared, "limitations", "declared"),
        fact("rows that it refuses", manifest.source.get("refused", ""), "manifest.source.refused"),
    ]
    if parity is not None and parity.passed:
        said = (
            f"{number(parity.label_flips)} of {number(parity.rows)} rows differ in their label, the largest error is"
            f" {number(parity.max_error)}"
        )
        facts.append(fact("against the original", said, "manifest.parity"))
    elif parity is not None:
        facts.append(fact("not compiled", parity.reason, "manifest.parity"))
    against = [one for one in _findings(behind) if one.outcome != "pass"]
    if not against:
        facts.append(fact("what the gate found", "nothing against it" if behind.verdict else "", evidence))
    words = {"refuse": "no", "unknown": "not shown"}
    rows = [
        (one.title, words[one.outcome], "blocks" if one.blocking else "advice", one.message, one.remedy)
        for one in against
    ]
    found = table("What the gate found", ("question", "answer", "weight", "finding", "what to do"), rows, evidence)
    return CardSection(key="limits", title="Limits", facts=tuple(facts), tables=(found,) if rows else ())


def explanation(behind: Behind) -> CardSection:
    """How its answers are explained."""
    return _asked(behind, "explanation", "Explainability")


def fairness(behind: Behind) -> CardSection:
    """Whom it treats differently."""
    return _asked(behind, "fairness", "Fairness")


def environment(behind: Behind) -> CardSection:
    """What it needs to run."""
    manifest = behind.manifest
    listed = BILL in manifest.files
    text = behind.package.path(LOCK).read_text(encoding="utf-8") if LOCK in manifest.files else ""
    lock = named(manifest.lock_digest.removeprefix(PREFIX)) if manifest.lock_digest else ""
    pins = ", ".join(f"{name.rstrip(';')} {one}" for name, one in sorted(parse(text).items()))
    return CardSection(
        key="environment",
        title="Environment",
        facts=(
            fact("engine", manifest.engine, "manifest.engine"),
            fact("lock", lock, "manifest.lock_digest"),
            fact("distributions", pins, LOCK),
            fact("bill of materials", named(manifest.files[BILL].sha256) if listed else "", BILL),
            fact("made by", manifest.builder, "manifest.builder"),
            *(
                fact(name, manifest.source[key], f"manifest.source.{key}")
                for key, name in (
                    ("lock_without_hashes", "without a hash"),
                    ("requirements_differ", "logged otherwise"),
                )
                if key in manifest.source
            ),
        ),
    )


def lineage(behind: Behind) -> CardSection:
    """Where it came from."""
    source = behind.manifest.source
    told = ("refused", "lock_without_hashes", "requirements_differ")
    more = sorted(name for name in source if name not in (*told, "commit", "repository", "uncommitted"))
    return CardSection(
        key="lineage",
        title="Lineage",
        facts=(
            fact("parent", behind.known.version.parent or behind.manifest.parent, "manifest.parent"),
            fact("code commit", source.get("commit", ""), "manifest.source.commit"),
            fact("code beside the commit", source.get("uncommitted", ""), "manifest.source.uncommitted"),
            fact("repository", source.get("repository", ""), "manifest.source.repository"),
            *(fact(name.replace("_", " "), source[name], f"manifest.source.{name}") for name in more),
        ),
    )


def released(behind: Behind) -> CardSection:
    """Where it answers, and where it did."""
    digest = behind.known.version.digest
    live = [
        f"{name} ({'shadow' if one.shadow else f'{one.share:.0%}'})"
        for name, endpoint in sorted(behind.state.endpoints.items())
        for one in endpoint.live
        if one.digest == digest
    ]
    rows = []
    for event in sorted(behind.wishes, key=lambda one: one.seq):
        wish = record_of(event)
        if not isinstance(wish, Release) or not any(one.digest == digest for one in wish.variants):
            continue
        settled = behind.state.endpoint(wish.endpoint).settled.get(wish.revision)
        outcome = f"{settled.outcome} {moment(settled.at) if settled.at else ''}".strip() if settled else "under way"
        rows.append(
            (
                f"{wish.endpoint} #{wish.revision}",
                wish.strategy,
                wish.by,
                moment(event.time),
                outcome,
                evidence_of(event),
            )
        )
    history = table("Releases", ("endpoint", "strategy", "by", "asked for", "came to", "record"), rows)
    return CardSection(
        key="released",
        title="Where it is released",
        facts=(fact("answers now", ", ".join(live), "release.settled, release.stepped"),),
        tables=(history,) if rows else (),
    )


EVERY: tuple[Callable[[Behind], CardSection], ...] = (
    about, use, people, risk, data, metrics, limits, explanation, fairness, environment, lineage, released,
)  # fmt: skip
"""In the order of the card."""


def _declared(said: Declared, field: str, name: str) -> Fact:
    return fact(name, getattr(said, field), f"{_DECLARED}.{field}")


def _findings(behind: Behind) -> tuple[Finding, ...]:
    return behind.verdict.findings if behind.verdict else ()


def _asked(behind: Behind, check: str, title: str) -> CardSection:
    """What was declared, and what the gate's check of that name found."""
    found = [one for one in _findings(behind) if one.check == check]
    evidence = behind.event("verdict.given")
    # What the gate could not measure is not shown here; its reason stands among the limits.
    facts = [fact(one.title, one.message, evidence) for one in found if one.measured] or [fact("measured", "", "")]
    tables = [table_of(one, evidence) for finding in found for one in _listed(finding, "tables")]
    said = _declared(behind.manifest.declared, check, "declared")
    return CardSection(key=check, title=title, facts=(said, *facts), tables=tuple(tables))


def _listed(finding: Finding, kind: str) -> Iterator[JSON]:
    """Tables or plots of a finding."""
    yield from cast("list[JSON]", finding.evidence.get(kind, []))
