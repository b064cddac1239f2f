"""Stage 4, serve: endpoints in the words of TorchServe's management API, and the document of both its APIs.

Comes in: cards, and what the workers say of themselves. Goes out: JSON objects with TorchServe's names and true values;
what does not exist here (GPUs, sequences, tickets) says so with the value that TorchServe gives where it has none.
Sources: TorchServe 0.12, ``docs/management_api.md``, ``docs/inference_api.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from penstock import __version__
from penstock.records import WorkerStatus
from penstock.runtime.memory import resident_bytes
from penstock.runtime.started import started_at
from penstock.serve.cards import Card

_Json = dict[str, object]
_NONE_HERE: _Json = {
    "maxRetryTimeoutInSec": 0,
    "clientTimeoutInMills": 0,
    "parallelType": "",
    "parallelLevel": 0,
    "deviceType": "cpu",
    "continuousBatching": False,
    "useJobTicket": False,
    "useVenv": False,
    "stateful": False,
    "sequenceMaxIdleMSec": 0,
    "sequenceTimeoutMSec": 0,
    "maxNumSequence": 0,
    "maxSequenceJobQueueSize": 0,
}


def model_row(card: Card) -> _Json:
    """One entry of the list of models."""
    return {"modelName": card.name, "modelUrl": _url(card, 0)}


def model_details(
    card: Card, workers: Sequence[WorkerStatus], version: str = "", *, customized: bool = False
) -> list[_Json]:
    """One entry a version that answers.

    Args:
        card: The endpoint's.
        workers: Of the whole data plane: each of them has every loaded model.
        version: Only that one; empty means all.
        customized: With the signature, which is what a model says of itself here.
    """
    found = [_version(card, at, workers) for at, name in enumerate(card.versions) if version in ("", name)]
    if customized and card.signature is not None:
        inputs, outputs = card.signature.inputs, card.signature.outputs
        told = {
            way: [{"name": one.name, "datatype": one.datatype, "shape": one.shape} for one in specs]
            for way, specs in (("inputs", inputs), ("outputs", outputs))
        }
        found = [{**one, "customizedMetadata": told} for one in found]
    return found


def _version(card: Card, at: int, workers: Sequence[WorkerStatus]) -> _Json:
    digest = card.digests[at] if at < len(card.digests) else ""
    loaded = card.signature is not None
    count = len(workers) if loaded else 0
    limits = card.limits
    return {
        "modelName": card.name,
        "modelVersion": card.versions[at],
        "modelUrl": _url(card, at),
        "runtime": card.engine or "python",
        "minWorkers": count,
        "maxWorkers": count,
        "batchSize": max(card.batch_rows, 1),
        "maxBatchDelay": int(limits.batching.delay_s * 1e3),
        "responseTimeout": int(limits.deadline_s),
        "startupTimeout": 0,
        **_NONE_HERE,
        "loadedAtStartup": not card.source,
        "workers": [_worker(one, digest) for one in workers] if loaded else [],
        "jobQueueStatus": {
            "remainingCapacity": max(limits.queue - card.waiting, 0),
            "pendingRequests": card.waiting,
        },
    }


def _worker(one: WorkerStatus, digest: str) -> _Json:
    started = datetime.fromtimestamp(started_at(one.pid), UTC)
    return {
        "id": str(one.worker),
        "startTime": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "status": "READY" if digest in one.ready and digest not in one.troubles else "UNLOADING",
        "memoryUsage": resident_bytes(one.pid),
        "pid": one.pid,
        "gpu": False,
        "gpuUsage": "N/A",
    }


def _url(card: Card, at: int) -> str:
    """Where it came from; what comes with a release is known by its digest."""
    return card.source or (card.digests[at] if at < len(card.digests) else "")


# -- the document ----------------------------------------------------------------------------------


class _Way(NamedTuple):
    method: str
    path: str
    name: str
    text: str
    query: tuple[str, ...] = ()


_WAYS = (
    _Way("options", "/", "apiDescription", "This document"),
    _Way("get", "/ping", "ping", "Whether every model answers"),
    _Way("post", "/predictions/{model_name}", "predictions", "Predictions of a model"),
    _Way("put", "/predictions/{model_name}", "predictions_put", "Predictions of a model"),
    _Way("post", "/predictions/{model_name}/{model_version}", "version_predictions", "Predictions of a version"),
    _Way("post", "/explanations/{model_name}", "explanations", "Explanations of a model's answers"),
    _Way("get", "/models", "listModels", "The models", ("limit", "next_page_token")),
    _Way("post", "/models", "registerModel", "Register a model", ("url", "model_name", "batch_size")),
    _Way("get", "/models/{model_name}", "describeModel", "A model and its workers", ("customized",)),
    _Way("get", "/models/{model_name}/{model_version}", "version_describeModel", "A version", ("customized",)),
    _Way("put", "/models/{model_name}", "setAutoScale", "Load or unload a model", ("min_worker", "max_worker")),
    _Way("put", "/models/{model_name}/{model_version}/set-default", "setDefault", "Name the version that answers"),
    _Way("delete", "/models/{model_name}", "unregisterModel", "Remove a model that was registered"),
    _Way("get", "/token", "token", "Make another key", ("type",)),
    _Way("get", "/metrics", "metrics", "Prometheus text", ("name[]",)),
)
_ERROR: _Json = {
    "type": "object",
    "required": ["code", "type", "message"],
    "properties": {"code": {"type": "integer"}, "type": {"type": "string"}, "message": {"type": "string"}},
}


def document() -> _Json:
    """OpenAPI of the inference, management and metrics APIs, which are the same at every port."""
    paths: dict[str, _Json] = {}
    for way in _WAYS:
        paths.setdefault(way.path, {})[way.method] = _operation(way)
    about = {"title": "Penstock", "description": "TorchServe's APIs, spoken by Penstock", "version": __version__}
    return {"openapi": "3.0.1", "info": about, "paths": paths}


def _operation(way: _Way) -> _Json:
    text: _Json = {"type": "string"}
    inside = [word[1:-1] for word in way.path.split("/") if word.startswith("{")]
    parameters = [{"in": "path", "name": name, "required": True, "schema": text} for name in inside]
    parameters += [{"in": "query", "name": name, "required": name == "url", "schema": text} for name in way.query]
    error = {"description": "What was wrong", "content": {"application/json": {"schema": _ERROR}}}
    return {
        "operationId": way.name,
        "description": way.text,
        "parameters": parameters,
        "responses": {"200": {"description": "As asked"}, "default": error},
    }
