"""Models, their versions and datasets: what is known of each, the gate's verdict, approvals, aliases."""

from __future__ import annotations

from typing import Literal

from starlette.responses import Response

from penstock.access.permissions import APPROVE, CHECK, READ, RELEASE
from penstock.api.bodies import Acting, AliasBody, ApprovalBody, Expected
from penstock.app.cardpages import html_card, markdown_card
from penstock.app.checking import check, report
from penstock.app.modelcard import bill_bytes, card_of
from penstock.app.plain import fields_of, plain
from penstock.app.releasing import approve, move_alias
from penstock.errors import NotFound
from penstock.web.answers import answer, hold_generation
from penstock.web.documents import document
from penstock.web.permissions import WebRoute


def list_models(caller: Acting) -> Response:
    """Every model with its versions and aliases."""
    state = caller.app.state()
    return answer({"models": [{"name": name, **fields_of(model)} for name, model in sorted(state.models.items())]})


def get_model(caller: Acting, model: str) -> Response:
    """One model."""
    state = caller.app.state()
    return answer({"name": model, **fields_of(state.model(model))}, generation=state.generation(f"model/{model}"))


def get_version(caller: Acting, model: str, version: int) -> Response:
    """One version with its verdict, approvals, and what its package says of itself."""
    state = caller.app.state()
    known = state.version(model, version)
    manifest = caller.app.open_package(known.version.digest).manifest
    return answer({**fields_of(known), "manifest": plain(manifest)}, generation=state.generation(f"model/{model}"))


def check_version(caller: Acting, model: str, version: int) -> Response:
    """Run the gate on a version; the verdict is recorded."""
    return answer(check(caller.app, f"{model}@{version}"))


def get_report(caller: Acting, model: str, version: int, format: Literal["html", "json"] = "json") -> Response:
    """The gate's latest report, to read or to parse."""
    verdict = caller.app.state().version(model, version).verdict
    if verdict is None:
        raise NotFound("the gate has not judged this version", "run the check first", code="gate.no_verdict")
    data = report(caller.app, verdict, format)
    return document(data) if format == "html" else Response(data, media_type="application/json")


def get_card(
    caller: Acting, model: str, version: int, format: Literal["json", "html", "markdown"] = "json"
) -> Response:
    """The version's model card: what records show of it, to read or to parse."""
    card = card_of(caller.app, f"{model}@{version}")
    if format == "json":
        return answer(card)
    if format == "html":
        return document(html_card(card).encode())
    return Response(markdown_card(card), media_type="text/markdown; charset=utf-8")


def get_bill(caller: Acting, model: str, version: int) -> Response:
    """The bill of materials that is signed with the version's package."""
    return Response(bill_bytes(caller.app, f"{model}@{version}"), media_type="application/vnd.cyclonedx+json")


def approve_version(caller: Acting, model: str, version: int, body: ApprovalBody, expect: Expected = None) -> Response:
    """Approve a version that somebody else packaged."""
    hold_generation(caller.app, f"model/{model}", expect)
    return answer(approve(caller.app, f"{model}@{version}", body.role, comment=body.comment), status=201)


def put_alias(caller: Acting, model: str, alias: str, body: AliasBody, expect: Expected = None) -> Response:
    """Let an alias mean a version."""
    hold_generation(caller.app, f"model/{model}", expect)
    move_alias(caller.app, model, alias, body.version)
    state = caller.app.state()
    return answer({"name": model, **fields_of(state.model(model))}, generation=state.generation(f"model/{model}"))


def list_datasets(caller: Acting) -> Response:
    """Every dataset, versions oldest first."""
    return answer({"datasets": caller.app.state().datasets})


ROUTES = (
    WebRoute("GET", "/api/v1/models", list_models, READ),
    WebRoute("GET", "/api/v1/models/{model}", get_model, READ),
    WebRoute("GET", "/api/v1/models/{model}/versions/{version}", get_version, READ),
    WebRoute("GET", "/api/v1/models/{model}/versions/{version}/report", get_report, READ),
    WebRoute("GET", "/api/v1/models/{model}/versions/{version}/card", get_card, READ),
    WebRoute("GET", "/api/v1/models/{model}/versions/{version}/sbom", get_bill, READ),
    WebRoute("POST", "/api/v1/models/{model}/versions/{version}/check", check_version, CHECK),
    WebRoute("POST", "/api/v1/models/{model}/versions/{version}/approvals", approve_version, APPROVE),
    WebRoute("PUT", "/api/v1/models/{model}/aliases/{alias}", put_alias, RELEASE),
    WebRoute("GET", "/api/v1/datasets", list_datasets, READ),
)
