"""Stage 4, serve: TorchServe's inference and management APIs, at every HTTP port there is.

Comes in: ``/predictions/M[/V]`` with any body, ``/models...``. Goes out: the prediction as a JSON value (of a handler:
as it answered), lists and states with TorchServe's names, ``{"code", "type", "message"}`` for what was wrong. Where
TorchServe answers what is not true, or takes what it does not understand, this refuses: ``docs/protocols.md`` lists it.
Sources: TorchServe 0.12, ``docs/inference_api.md``, ``docs/management_api.md``, ``docs/token_authorization_api.md``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from penstock.errors import Forbidden, InvalidInput, ModelFailed, NotFound, PenstockError
from penstock.packages.handled import BODY, HANDLED
from penstock.runtime.bodies import JSON_TYPE, from_text, to_text
from penstock.serve.acts import Act, Dismiss, Enlist, LoadAct, RenewKey, Unload
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import Card, Catalogue
from penstock.serve.explanations import rows_of
from penstock.serve.freebody import FreeBody
from penstock.serve.protocol import (
    STRICT,
    Aim,
    Explanation,
    Manner,
    Operation,
    Prediction,
    Request,
    ServingProtocol,
    Verb,
)
from penstock.serve.refusals import refuse
from penstock.serve.tensordata import with_tokens
from penstock.serve.torchforms import document, model_details, model_row
from penstock.tensors import Array, Signature

_encode = msgspec.json.Encoder().encode
_ASK = re.compile(r"/(predictions|explanations)/([^/]+)(?:/([^/]+))?/?")
_INVOKE = re.compile(r"/models/([^/]+)/invoke")
_DEFAULT = re.compile(r"/models/([^/]+)/([^/]+)/set-default/?")
_MODEL = re.compile(r"/models/([^/]+)(?:/([^/]+))?/?")
_FIXED: dict[tuple[str, str], Verb] = {
    ("GET", "/models"): "list",
    ("POST", "/models"): "enlist",
    ("OPTIONS", ""): "document",
    ("GET", "/api-description"): "document",
    ("GET", "/token"): "renew",
}
_MODEL_VERBS: dict[str, Verb] = {"GET": "workers", "PUT": "scale", "DELETE": "dismiss"}
_TYPES = {
    400: "BadRequestException",
    401: "InvalidKeyException",
    403: "InvalidKeyException",
    404: "ResourceNotFoundException",
    405: "MethodNotAllowedException",
    409: "ConflictStatusException",
    413: "BadRequestException",
    429: "ServiceUnavailableException",
    501: "NotImplementedException",
    503: "ServiceUnavailableException",
    504: "RequestTimeoutException",
}
_NOT_FOUND = {"serve.no_endpoint": "ModelNotFoundException", "serve.no_version": "ModelVersionNotFoundException"}
MOST_LISTED = 100


class _Form(msgspec.Struct, frozen=True):
    """How a request came.

    Attributes:
        handled: It goes to a handler and comes back as it is.
        alone: One row, answered without a list.
        envelope: Rows came under ``instances``, so that predictions go under their name.
    """

    handled: bool = False
    alone: bool = False
    envelope: bool = False


class TorchserveProtocol(ServingProtocol):
    """TorchServe, REST."""

    def __init__(self, manner: Manner = STRICT) -> None:
        super().__init__(manner)
        self._bodies = FreeBody()

    def match(self, method: str, path: str) -> Operation | None:
        """What a request line asks for; a version that archives write as ``1.0`` is 1."""
        method = "GET" if method == "HEAD" else method
        fixed = _FIXED.get((method, path.rstrip("/")))
        if fixed:
            return Operation(fixed)
        ask = _ASK.fullmatch(path)
        if ask:
            verb: Verb = "predict" if ask[1] == "predictions" else "explain"
            return Operation(verb, ask[2], _whole(ask[3])) if method in ("POST", "PUT") else None
        invoke = _INVOKE.fullmatch(path)
        if invoke and method == "POST":
            return Operation("predict", invoke[1])
        default = _DEFAULT.fullmatch(path)
        if default:
            return Operation("prefer", default[1], _whole(default[2])) if method == "PUT" else None
        model = _MODEL.fullmatch(path)
        if model is None or method not in _MODEL_VERBS:
            return None
        version = "" if model[2] == "all" and method == "GET" else _whole(model[2])
        return Operation(_MODEL_VERBS[method], model[1], version)

    def decode(self, call: Call, signature: Signature) -> Request:
        """Rows in any form; for a handler the whole body, whatever it is."""
        content_type = call.headers.get(b"content-type", b"").decode("latin-1")
        if signature == HANDLED:
            return Request({BODY: _one_text(to_text(_meant(content_type, call.body), call.body))}, form=_Form(True))
        read = self._bodies.read(call.body, content_type, signature)
        return Request(read.arrays, form=_Form(alone=not read.many, envelope=read.envelope == "instances"))

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """The prediction of the row, or a list of them; a handler's answer as it is."""
        form = request.form if isinstance(request.form, _Form) else _Form()
        if form.handled:
            return _handled(prediction)
        names = list(prediction.outputs)
        columns = [array.tolist() for array in prediction.outputs.values()]
        rows = columns[0] if len(names) == 1 else [dict(zip(names, row, strict=True)) for row in zip(*columns)]  # noqa: B905
        return _json(rows, form, nan_tokens=prediction.nan_tokens)

    def aim(self, call: Call) -> Aim:
        """``?output=NAME&class=LABEL``."""
        return Aim(call.query.get("output", ""), call.query.get("class", ""))

    def explain(self, request: Request, explanation: Explanation) -> Reply:
        """The explanation of the row, or a list of them."""
        form = request.form if isinstance(request.form, _Form) else _Form()
        form = msgspec.structs.replace(form, envelope=False)
        return _json(rows_of(explanation), form, nan_tokens=explanation.nan_tokens)

    def act(self, operation: Operation, call: Call) -> Act | None:
        """Register, unregister, load, unload."""
        query = call.query
        if operation.verb == "enlist":
            if not query.get("url"):
                raise InvalidInput("Parameter url is required.", "name an archive or a package's folder", where="url")
            if "handler" in query:
                raise InvalidInput("an archive brings its own handler", "put it into the archive", where="handler")
            return Enlist(query.get("model_name", ""), query["url"], _number(query, "batch_size", 0))
        if operation.verb == "dismiss":
            return Dismiss(operation.endpoint)
        if operation.verb == "renew":
            return RenewKey(_kind(query.get("type", "")))
        if operation.verb == "scale":
            return LoadAct(operation.endpoint) if _scale(query)[1] else Unload(operation.endpoint)
        return None

    def admit(self, operation: Operation, catalogue: Catalogue, call: Call) -> None:
        """A version has to be live, and nobody gets another number of workers than there is."""
        if operation.verb not in ("scale", "dismiss"):
            return
        card = _card(catalogue, operation)
        if operation.verb == "scale":
            least, most = _scale(call.query)
            there = len(catalogue.workers)
            if most and not least <= there <= max(most, there if "max_worker" not in call.query else 0):
                raise InvalidInput(
                    f"every model here has {there} workers",
                    f"send min_worker={there} to load {card.name}, min_worker=0 to unload it; "
                    "`penstock serve --workers` says how many there are",
                    where="min_worker",
                )

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """Lists and states; what an act came to."""
        verb, name = operation.verb, operation.endpoint
        if verb == "document":
            return Reply(200, _encode(document()))
        if verb == "list":
            return Reply(200, _encode(_page(catalogue, call)))
        if verb in ("dismiss", "renew"):
            renewed = "The key was renewed; key_file.json in the run folder holds it"
            return _status(200, f'Model "{name}" unregistered' if verb == "dismiss" else renewed)
        card = _card(catalogue, operation)
        if verb == "scale" and call.query.get("synchronous", "").lower() != "true":
            return _status(202, "Processing worker updates...")
        if verb == "workers":
            customized = call.query.get("customized", "").lower() == "true"
            found = model_details(card, catalogue.workers, operation.version, customized=customized)
            return Reply(200, _encode(found))
        return _status(200, _told(operation, card, len(catalogue.workers)))

    def refuse(self, error: PenstockError, reference: str = "") -> Reply:
        """``{"code", "type", "message"}``; whoever has no key gets TorchServe's 400."""
        usual = refuse(error, reference)
        kind = _NOT_FOUND.get(error.code, _TYPES.get(usual.status, "InternalServerException"))
        status = 400 if usual.status == 401 else usual.status
        message = str(error)
        if status >= 500 and kind == "InternalServerException":
            message = f"Prediction failed; the server's log says more under {reference}" if reference else "Failed"
        body = {"code": status, "type": kind, "message": message}
        return Reply(status, _encode(body), headers=usual.headers)


def _whole(version: str | None) -> str:
    return re.sub(r"^(\d+)\.0$", r"\1", version or "")


def _card(catalogue: Catalogue, operation: Operation) -> Card:
    card = catalogue.card(operation.endpoint)
    if operation.version and operation.version not in card.versions:
        raise NotFound("the endpoint has no such version", "a release makes it live", code="serve.no_version")
    return card


def _told(operation: Operation, card: Card, workers: int) -> str:
    """What an act came to.

    Raises:
        Forbidden: A version should answer alone, and others answer too.
    """
    if operation.verb == "scale":
        return f"Workers scaled to {workers if card.ready else 0} for model: {card.name}"
    if operation.verb == "enlist":
        version = card.versions[0] if card.versions else "1"
        return f'Model "{card.name}" Version: {version} registered with {workers} initial workers'
    if card.versions != (operation.version,):
        raise Forbidden("several versions answer, by their shares", "release the version that should answer")
    return f'Default version successfully updated for model "{card.name}" to "{operation.version}"'


def _meant(content_type: str, body: bytes) -> str:
    """What a body is: curl calls everything a form, and JSON is told by its first byte."""
    form = content_type.startswith("application/x-www-form-urlencoded")
    return JSON_TYPE if form and body.lstrip()[:1] in (b"{", b"[") else content_type


def _one_text(text: str) -> Array:
    array: Array = np.empty(1, object)
    array[0] = text
    return array


def _handled(prediction: Prediction) -> Reply:
    """A handler's answer."""
    try:
        media_type, body = from_text(str(prediction.outputs[BODY].ravel()[0]))
    except InvalidInput:
        raise ModelFailed("the handler answered text that is no body") from None
    return Reply(200, body, media_type.encode("latin-1", "replace"))


def _json(rows: Sequence[object], form: _Form, *, nan_tokens: bool) -> Reply:
    body: object = rows[0] if form.alone and len(rows) == 1 else rows
    if form.envelope:
        body = {"predictions": rows}
    if nan_tokens:
        return Reply(200, with_tokens(body))
    return Reply(200, _encode(body))


def _status(status: int, text: str) -> Reply:
    return Reply(status, _encode({"status": text}))


def _number(query: dict[str, str], name: str, default: int) -> int:
    """A parameter that is a whole number.

    Raises:
        InvalidInput: It is none.
    """
    text = query.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidInput("this is no whole number", "send digits", where=name)
    return int(text)


def _kind(text: str) -> Literal["management", "inference"]:
    """Of a key.

    Raises:
        InvalidInput: There is none of that kind.
    """
    if text == "management":
        return "management"
    if text == "inference":
        return "inference"
    raise InvalidInput("there is no key of that type", "say management or inference", where="type")


def _scale(query: dict[str, str]) -> tuple[int, int]:
    """Fewest and most workers that are wanted."""
    least = _number(query, "min_worker", 1)
    most = _number(query, "max_worker", least)
    if most < least:
        raise InvalidInput("max_worker cannot be less than min_worker.", "send both as numbers", where="max_worker")
    return least, most


def _page(catalogue: Catalogue, call: Call) -> dict[str, object]:
    """Some of the models, and where the others begin."""
    limit = _number(call.query, "limit", MOST_LISTED)
    start = _number(call.query, "next_page_token", 0)
    cards = list(catalogue.cards.values())
    page: dict[str, object] = {"models": [model_row(card) for card in cards[start : start + limit]]}
    return {"nextPageToken": str(start + limit), **page} if start + limit < len(cards) else page
