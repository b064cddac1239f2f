"""Stage 4, serve: endpoints in the words of the Open Inference Protocol over REST: metadata, index, statistics.

Comes in: a `Catalogue` and what was asked of it. Goes out: a status and the JSON object of the answer. Source: Open
Inference Protocol ``inference_rest``; Triton's extensions model repository, statistics, model configuration and
system shared memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from penstock import __version__
from penstock.errors import InvalidInput, NotFound, NotReady
from penstock.serve.cards import Card, Catalogue, Duration, Region, Statistics
from penstock.serve.protocol import Operation
from penstock.serve.tensordata import parse
from penstock.tensors import TensorSpec

EXTENSIONS = (
    "binary_tensor_data", "model_repository", "model_repository(unload_dependents)", "model_configuration",
    "schedule_policy", "statistics", "parameters", "system_shared_memory",
)  # fmt: skip
_Json = dict[str, object]


class Form(NamedTuple):
    """How an answer is wanted.

    Attributes:
        body: Of the call; the index may ask for what is ready alone.
        verbose: An act is answered in words.
    """

    body: bytes = b""
    verbose: bool = False


class _IndexBody(msgspec.Struct):
    ready: bool = False


class _ControlBody(msgspec.Struct):
    parameters: dict[str, msgspec.Raw] | None = None


_decode_index = msgspec.json.Decoder(_IndexBody).decode
_decode_control = msgspec.json.Decoder(_ControlBody).decode


def describe(operation: Operation, catalogue: Catalogue, form: Form) -> tuple[int, object]:
    """Status and body; a body of None is an empty one.

    Raises:
        NotFound: There is no such endpoint, version or region.
        NotReady: Its metadata are asked for while it is not loaded.
        InvalidInput: The index was asked for in another way.
    """
    verb = operation.verb
    if verb == "regions":
        return 200, _regions(operation.endpoint, catalogue.regions)
    if verb in ("register", "unregister"):
        return 200, None
    if operation.endpoint:
        return _of_model(operation, catalogue.card(operation.endpoint, operation.version), verbose=form.verbose)
    if verb == "index":
        return 200, _index(catalogue, form.body)
    return 503 if verb == "ready" and not catalogue.ready else 200, _ANSWERS[verb](catalogue)


def load_asked(body: bytes) -> None:
    """Look at the body of a load.

    Raises:
        InvalidInput: It wants another configuration or other files than the package has.
    """
    for name in _control(body):
        raise InvalidInput(
            "a package cannot be changed when it is loaded",
            "package the model with what you want, and release that version",
            where="parameters.config" if name == "config" else "parameters",
        )


def unload_asked(body: bytes) -> None:
    """Look at the body of an unload; nothing here depends on another endpoint, so dependents are always unloaded.

    Raises:
        InvalidInput: It holds something else.
    """
    for name, value in _control(body).items():
        if name != "unload_dependents" or bytes(value) not in (b"true", b"false"):
            raise InvalidInput("this is not spoken", "send unload_dependents, true or false", where="parameters")


def _control(body: bytes) -> dict[str, msgspec.Raw]:
    return parse(body, _decode_control).parameters or {} if body.strip() else {}


def _of_model(operation: Operation, card: Card, *, verbose: bool) -> tuple[int, object]:
    verb = operation.verb
    if verb == "model_ready":
        return (200 if card.ready else 503), {"name": card.name, "ready": card.ready}
    if verb in ("load", "unload"):
        return 200, {"name": card.name, verb: True, "state": card.state} if verbose else None
    if verb == "stats":
        wanted = [one for one in card.statistics if operation.version in ("", one.version)]
        return 200, {"model_stats": [_stats(card.name, one) for one in wanted]}
    if card.signature is None:
        raise NotReady("the endpoint is not loaded", "ask again in a moment, or load it", code="serve.not_ready")
    if verb == "config":
        return 200, _config(card)
    inputs, outputs = card.signature.inputs, card.signature.outputs
    return 200, {
        "name": card.name,
        "versions": card.versions,
        "platform": card.platform,
        "inputs": _tensors(inputs),
        "outputs": _tensors(outputs),
    }


def _tensors(specs: tuple[TensorSpec, ...]) -> list[_Json]:
    return [{"name": spec.name, "datatype": spec.datatype, "shape": spec.shape} for spec in specs]


def _config(card: Card) -> _Json:
    """A ModelConfig; dimensions without the rows where rows of several requests may be batched."""
    if card.signature is None:
        return {}
    inputs, outputs = card.signature.inputs, card.signature.outputs
    batched = all(spec.shape[:1] == (-1,) for spec in (*inputs, *outputs))
    return {
        "name": card.name,
        "platform": card.platform,
        "backend": card.engine,
        "version_policy": {"specific": {"versions": [int(one) for one in card.versions]}},
        "max_batch_size": card.most_rows if batched else 0,
        "input": [{**_dims(spec, batched=batched), "format": "FORMAT_NONE", "optional": False} for spec in inputs],
        "output": [{**_dims(spec, batched=batched), "label_filename": ""} for spec in outputs],
        "instance_group": [{"name": card.name, "kind": "KIND_CPU", "count": 1}],
        "default_model_filename": "",
        "parameters": {},
    }


def _dims(spec: TensorSpec, *, batched: bool) -> _Json:
    kind = "STRING" if spec.datatype == "BYTES" else spec.datatype
    # A ModelConfig writes 64-bit numbers in JSON as numbers; a dimension of a lone column is 1.
    dims = list(spec.shape[1:] if batched else spec.shape) or [1]
    return {"name": spec.name, "data_type": f"TYPE_{kind}", "dims": dims}


def _index(catalogue: Catalogue, body: bytes) -> list[_Json]:
    only_ready = parse(body, _decode_index).ready if body.strip() else False
    return [
        {"name": card.name, "version": version, "state": card.state, "reason": card.reason}
        for card in catalogue.cards.values()
        for version in card.versions or ("",)
        if card.ready or not only_ready
    ]


def _stats(name: str, one: Statistics) -> _Json:
    return {
        "name": name,
        "version": one.version,
        "last_inference": one.last_ms,
        "inference_count": one.rows,
        "execution_count": one.runs,
        "inference_stats": {
            "success": _duration(one.success),
            "fail": _duration(one.fail),
            "queue": _duration(one.queue),
            "compute_input": _duration(one.input),
            "compute_infer": _duration(one.infer),
            "compute_output": _duration(one.output),
            "cache_hit": _duration(Duration()),
            "cache_miss": _duration(Duration()),
        },
        "response_stats": {},
        "batch_stats": [
            {
                "batch_size": batch.rows,
                "compute_input": _duration(Duration(batch.runs, 0)),
                "compute_infer": _duration(Duration(batch.runs, batch.infer_ns)),
                "compute_output": _duration(Duration(batch.runs, 0)),
            }
            for batch in one.batches
        ],
        "memory_usage": [],
    }


def _duration(one: Duration) -> _Json:
    return {"count": one.times, "ns": one.ns}


def _regions(name: str, regions: tuple[Region, ...]) -> list[_Json]:
    found = [one for one in regions if name in ("", one.name)]
    if name and not found:
        raise NotFound("there is no such region", "register it first", code="serve.no_region")
    return [{"name": one.name, "key": one.key, "offset": one.offset, "byte_size": one.size} for one in found]


_ANSWERS: dict[str, Callable[[Catalogue], object]] = {
    "live": lambda _: {"live": True},
    "ready": lambda catalogue: {"ready": catalogue.ready},
    "server": lambda _: {"name": "penstock", "version": __version__, "extensions": EXTENSIONS},
    "stats": lambda catalogue: {
        "model_stats": [_stats(card.name, one) for card in catalogue.cards.values() for one in card.statistics]
    },
    "list": lambda catalogue: {"models": list(catalogue.cards)},
}
