"""Models: all of them, one with its versions, and one version with everything that is known of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Form, Request
from starlette.responses import Response

from penstock.access.permissions import APPROVE, CHECK, READ
from penstock.app.cardpages import html_card
from penstock.app.checking import check, report
from penstock.app.modelcard import card_of
from penstock.app.releasing import approve
from penstock.console.charts.lineage import LineageNode, lineage_chart
from penstock.console.language import Texts
from penstock.console.pages.states import badge_of_outcome, badge_of_verdict
from penstock.console.render import moved, page, page_refusal, shown, words
from penstock.errors import NotFound
from penstock.records import Finding, Manifest, Verdict
from penstock.registry.state import State, VersionState
from penstock.web.answers import hold_generation
from penstock.web.callers import Caller
from penstock.web.documents import document
from penstock.web.permissions import WebRoute


def list_models(request: Request) -> Response:
    """Every model."""
    caller = shown(request)
    models = sorted(caller.app.state().models.items())
    rows = [(name, model, badge_of_verdict(model.versions[-1].verdict)) for name, model in models]
    return page(request, "models.html", {"models": rows}, caller=caller)


def show_model(request: Request, model: str) -> Response:
    """One model: its versions, newest first, and what its aliases mean."""
    caller = shown(request)
    state = caller.app.state()
    known = state.model(model)
    rows = [(one, badge_of_verdict(one.verdict), _endpoints_of(state, one)) for one in reversed(known.versions)]
    return page(request, "model.html", {"name": model, "model": known, "rows": rows}, caller=caller)


def show_version(request: Request, model: str, version: int) -> Response:
    """One version: card, signature, gate, parity, data, lineage, approvals."""
    caller = shown(request)
    state = caller.app.state()
    known = state.version(model, version)
    manifest = caller.app.open_package(known.version.digest).manifest
    findings = findings_of(known.verdict)
    context = {
        "known": known,
        "manifest": manifest,
        "bytes": sum(entry.size for entry in manifest.files.values()),
        "badge": badge_of_verdict(known.verdict),
        "findings": [(finding, badge_of_outcome(finding.outcome)) for finding in findings],
        "aliases": [alias for alias, number in state.model(model).aliases.items() if number == version],
        "parent": parent_of(state, known.version.parent) if known.version.parent else ("", ""),
        "lineage": _lineage(state, known, manifest, words(request)),
        "roles": _roles_to_approve_as(caller, known),
        "generation": state.generation(f"model/{model}"),
        "endpoint": model,
        "versions": [known],
        "endpoint_generation": "",
    }
    return page(request, "version.html", context, caller=caller)


def show_report(request: Request, model: str, version: int) -> Response:
    """The gate's report as it was kept, in a sandbox of its own."""
    app = shown(request).app
    verdict = app.state().version(model, version).verdict
    if verdict is None:
        raise NotFound("the gate has not judged this version", "run the check first", code="gate.no_verdict")
    return document(report(app, verdict, "html"))


def show_card(request: Request, model: str, version: int) -> Response:
    """The version's model card, in a sandbox of its own."""
    return document(html_card(card_of(shown(request).app, f"{model}@{version}")).encode())


def post_check(request: Request, model: str, version: int) -> Response:
    """Run the gate."""
    check(shown(request).app, f"{model}@{version}")
    return moved(f"/models/{model}/versions/{version}", "checked")


def post_approval(
    request: Request,
    model: str,
    version: int,
    role: Annotated[str, Form(max_length=64)],
    comment: Annotated[str, Form(max_length=2000)] = "",
    expect: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Approve the version, if it is still what the approver looked at."""
    app = shown(request).app
    hold_generation(app, f"model/{model}", expect)
    approve(app, f"{model}@{version}", role, comment=comment)
    return moved(f"/models/{model}/versions/{version}", "approved")


def _roles_to_approve_as(caller: Caller, known: VersionState) -> list[str]:
    """The roles they hold and have not approved as yet; none for their own work."""
    if not caller.may(APPROVE) or known.version.author == caller.identity.name:
        return []
    given = {approval.role for approval in known.approvals if approval.by == caller.identity.name}
    return [role for role in caller.identity.roles if role not in given]


def findings_of(verdict: Verdict | None) -> list[Finding]:
    """What the gate found, in its order; what may block stands first."""
    return sorted(verdict.findings if verdict else (), key=lambda one: not one.blocking)


def parent_of(state: State, parent: str) -> tuple[str, str]:
    """Name and page of the version that it grew out of; the package's digest, cut short, where nobody registered it."""
    for model in state.models.values():
        for one in model.versions:
            if parent in (one.version.digest, one.version.ref):
                return one.version.ref, f"/models/{one.version.model}/versions/{one.version.version}"
    return parent.removeprefix("sha256:")[:12] if parent.startswith("sha256:") else parent, ""


def _endpoints_of(state: State, known: VersionState) -> list[str]:
    digest = known.version.digest
    return [name for name, one in sorted(state.endpoints.items()) if any(v.digest == digest for v in one.live)]


def _lineage(state: State, known: VersionState, manifest: Manifest, t: Texts) -> str:
    version = known.version
    sources = [
        LineageNode(d.name, f"{t.named('role', d.role)} · {d.rows:,}") for d in version.datasets or manifest.datasets
    ]
    if commit := manifest.source.get("commit", ""):
        sources.append(LineageNode(commit[:12], t("lineage.code")))
    if manifest.lock_digest:
        sources.append(LineageNode(manifest.lock_digest.removeprefix("sha256:")[:12], t("lineage.lock")))
    if version.parent:
        name, place = parent_of(state, version.parent)
        sources.append(LineageNode(name, t("lineage.parent"), place))
    uses = [LineageNode(name, t("lineage.endpoint"), f"/endpoints/{name}") for name in _endpoints_of(state, known)]
    middle = LineageNode(version.ref, t("lineage.version"))
    return lineage_chart(t("lineage.title", {"ref": version.ref}), sources, middle, uses)


_VERSION = "/models/{model}/versions/{version}"
ROUTES = (
    WebRoute("GET", "/models", list_models, READ, page_refusal, schema=False),
    WebRoute("GET", "/models/{model}", show_model, READ, page_refusal, schema=False),
    WebRoute("GET", _VERSION, show_version, READ, page_refusal, schema=False),
    WebRoute("GET", f"{_VERSION}/card", show_card, READ, page_refusal, schema=False),
    WebRoute("GET", f"{_VERSION}/report", show_report, READ, page_refusal, schema=False),
    WebRoute("POST", f"{_VERSION}/check", post_check, CHECK, page_refusal, schema=False),
    WebRoute("POST", f"{_VERSION}/approvals", post_approval, APPROVE, page_refusal, schema=False),
)
