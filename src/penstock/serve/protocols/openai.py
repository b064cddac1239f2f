"""Stage 4, serve: OpenAI's embeddings, for models that make one vector of one text.

Comes in: ``{"model", "input": "text" | ["text", ...], "encoding_format"?, "dimensions"?}``. Goes out: ``{"object":
"list", "data": [{"index", "embedding"}], "model", "usage"}``, vectors as numbers or as base64 of little-endian FP32.
The embedding is a model's only FP32 output of one row of numbers a text. Tokens are what its INT64 output ``tokens``
counts; where it has none they are estimated, and the usage says so. Of a hosted service, only what such a model can
answer is spoken: chat and completions are 404, which no client tries again. Source: OpenAI's API reference.
"""

from __future__ import annotations

import base64
import math
import re
from typing import Literal, cast

import msgspec
import numpy as np

from penstock import errors
from penstock.errors import InvalidInput
from penstock.serve.calls import Call, Reply
from penstock.serve.cards import Catalogue
from penstock.serve.openaicards import listed, model_list
from penstock.serve.protocol import Operation, Prediction, Request, ServingProtocol
from penstock.serve.refusals import refuse, status_of
from penstock.serve.tensordata import parse
from penstock.tensors import Array, Signature, TensorSpec

MOST_TEXTS = 2048
"""In one request, as OpenAI has it."""
TOKENS = "tokens"
_BYTES_A_TOKEN = 4
_EMBEDDINGS = re.compile(r"(?:/openai)?/v1/embeddings/?")
_MODELS = re.compile(r"/openai/v1/models(?:/([^/]+))?/?")
_UNSPOKEN = re.compile(
    r"(?:/openai)?/v1/(?:chat/completions|completions|responses|moderations|rerank|images/.*|audio/.*)/?"
)


class _Embeddings(msgspec.Struct):
    input: str | list[str | int | list[int]]
    model: str
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


class _Named(msgspec.Struct):
    model: str


class _Usage(msgspec.Struct):
    prompt_tokens: int
    total_tokens: int
    estimated: bool


class _Form(msgspec.Struct, frozen=True):
    """What the answer depends on: the output, its encoding, and tokens as far as they can be told from the texts."""

    output: str
    plain: bool
    estimate: int


_decode = msgspec.json.Decoder(_Embeddings).decode
_decode_name = msgspec.json.Decoder(_Named).decode
_encode = msgspec.json.Encoder().encode


class OpenAiProtocol(ServingProtocol):
    """OpenAI's dialect, as far as an encoder speaks it."""

    def match(self, method: str, path: str) -> Operation | None:
        """Embeddings, with or without ``/openai``; the list of models with it, since V1 has the other."""
        method = "GET" if method == "HEAD" else method
        if _EMBEDDINGS.fullmatch(path):
            return Operation("predict") if method == "POST" else None
        models = _MODELS.fullmatch(path)
        if models:
            return Operation("model" if models[1] else "list", models[1] or "") if method == "GET" else None
        return Operation("unspoken") if method == "POST" and _UNSPOKEN.fullmatch(path) else None

    def named(self, call: Call) -> str:
        """The body's ``model``."""
        return parse(call.body, _decode_name).model

    def decode(self, call: Call, signature: Signature) -> Request:
        """Texts to the model's one input."""
        output = _output(signature)
        body = parse(call.body, _decode)
        texts = _texts(body.input)
        if body.dimensions is not None and body.dimensions != output.shape[1]:
            raise InvalidInput("the model's vectors cannot be cut", "leave it out", where="dimensions")
        array = np.empty(len(texts), np.object_)
        array[:] = texts
        estimate = sum(math.ceil(len(text.encode("utf-8", "replace")) / _BYTES_A_TOKEN) for text in texts)
        form = _Form(output.name, body.encoding_format != "base64", estimate)
        return Request({signature.inputs[0].name: array}, form=form)

    def encode(self, request: Request, prediction: Prediction) -> Reply:
        """One embedding a text, in their order."""
        form = cast("_Form", request.form)
        outputs = prediction.outputs
        vectors = outputs[form.output]
        written = vectors.tolist() if form.plain else [_packed(vector) for vector in vectors]
        counted = TOKENS in outputs and outputs[TOKENS].dtype.kind == "i"
        tokens = int(cast("np.ndarray[tuple[int], np.dtype[np.int64]]", outputs[TOKENS]).sum()) if counted else 0
        tokens = tokens if counted else form.estimate
        data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(written)]
        usage = _Usage(tokens, tokens, not counted)
        return Reply(200, _encode({"object": "list", "data": data, "model": prediction.endpoint, "usage": usage}))

    def describe(self, operation: Operation, catalogue: Catalogue, call: Call) -> Reply:
        """Models as OpenAI lists them."""
        if operation.verb == "unspoken":
            raise errors.NotFound(
                "only embeddings are spoken here", "POST /v1/embeddings with a model that makes them", code="serve.path"
            )
        if operation.verb == "model":
            return Reply(200, _encode(listed(catalogue.card(operation.endpoint))))
        return Reply(200, _encode(model_list(catalogue.cards.values())))

    def refuse(self, error: errors.PenstockError, reference: str = "") -> Reply:
        """``{"error": {"message", "type", "param", "code"}}``."""
        usual = refuse(error, reference)
        status = status_of(error)
        message = str(error)
        if isinstance(error, errors.Fault):
            message = f"the server failed at this request; its log says more under this id: {reference}"
        code = "model_not_found" if error.code == "serve.no_endpoint" else error.code
        body = {"message": message, "type": _kind(status), "param": error.where or None, "code": code}
        return Reply(status, _encode({"error": body}), headers=usual.headers)


def _output(signature: Signature) -> TensorSpec:
    """The output that is the embedding."""
    inputs = signature.inputs
    vectors = [spec for spec in signature.outputs if spec.datatype == "FP32" and len(spec.shape) == 2]
    if len(inputs) != 1 or inputs[0].datatype != "BYTES" or len(vectors) != 1:
        raise InvalidInput("the model makes no embeddings of texts", "name one that does", where="model")
    return vectors[0]


def _texts(given: str | list[str | int | list[int]]) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not texts:
        raise InvalidInput("there is no text", "send one or more", where="input")
    if len(texts) > MOST_TEXTS:
        raise InvalidInput("there are too many texts", f"send at most {MOST_TEXTS} at once", where="input")
    for at, text in enumerate(texts):
        if not isinstance(text, str):
            raise InvalidInput("tokens are not taken: the model has its own", "send the text", where="input")
        if not text:
            raise InvalidInput("the text is empty", "leave it out", where=f"input[{at}]")
    return cast("list[str]", texts)


def _packed(vector: Array) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _kind(status: int) -> str:
    kinds = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
    return kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
