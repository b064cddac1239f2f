"""Stage 4, serve: endpoints in TensorFlow Serving's words: the status of versions, signatures, metrics.

Comes in: a `Card`, and which of its versions is meant. Goes out: JSON as TensorFlow Serving's REST has it, which is its
messages' own; its gRPC service reads them from it. Source: TensorFlow Serving's ``get_model_status.proto``,
``get_model_metadata.proto``, ``servables/tensorflow/util.cc`` (metrics).
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock.errors import NotReady
from penstock.serve.bodyforms import SIGNATURE_NAME
from penstock.serve.cards import Card, Statistics
from penstock.tensors import TensorSpec

DTYPES = {
    "BOOL": "DT_BOOL", "UINT8": "DT_UINT8", "UINT16": "DT_UINT16", "UINT32": "DT_UINT32", "UINT64": "DT_UINT64",
    "INT8": "DT_INT8", "INT16": "DT_INT16", "INT32": "DT_INT32", "INT64": "DT_INT64", "FP16": "DT_HALF",
    "FP32": "DT_FLOAT", "FP64": "DT_DOUBLE", "BYTES": "DT_STRING",
}  # fmt: skip
"""The protocol's datatype -> TensorFlow's."""
_STATES = {"READY": "AVAILABLE", "LOADING": "LOADING", "UNLOADING": "UNLOADING", "UNAVAILABLE": "END"}
_Json = dict[str, object]


def version_statuses(card: Card, version: str) -> list[_Json]:
    """Every version that is meant, the newest first.

    Args:
        card: The endpoint's.
        version: As a request names it; empty means all.
    """
    state = _STATES[card.state]
    failed = card.state == "UNAVAILABLE"
    status = {"error_code": "UNAVAILABLE" if failed else "OK", "error_message": card.reason if failed else ""}
    versions = sorted(card.named(version), key=int, reverse=True)
    return [{"version": one, "state": state, "status": status} for one in versions]


def newest(card: Card, version: str) -> str:
    """The newest of the versions that are meant; empty where none is known."""
    return max(card.named(version), key=int, default="")


def signature_defs(card: Card) -> _Json:
    """Its signatures by name: there is one.

    Raises:
        NotReady: It is not loaded.
    """
    if card.signature is None:
        raise NotReady("the endpoint is not loaded", "ask again in a moment, or load it", code="serve.not_ready")
    one: _Json = {
        "inputs": {spec.name: _info(spec) for spec in card.signature.inputs},
        "outputs": {spec.name: _info(spec) for spec in card.signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }
    return {"signature_def": {SIGNATURE_NAME: one}}


def metadata(card: Card, version: str) -> _Json:
    """Which model it is and its signature.

    Raises:
        NotReady: It is not loaded.
    """
    return {
        "model_spec": {"name": card.name, "signature_name": "", "version": newest(card, version)},
        "metadata": {"signature_def": signature_defs(card)},
    }


def exposition(cards: Iterable[Card]) -> bytes:
    """Prometheus text under TensorFlow Serving's names.

    Of its histograms there is the sum and the number, without steps between.
    """
    counts: list[str] = []
    latencies: list[str] = []
    runs: list[str] = []
    for card in cards:
        own = card.statistics
        name = f'model_name="{card.name}"'
        for status, requests in (("OK", _sum(own, "success")), ("ERROR", _sum(own, "fail"))):
            counts.append(f':tensorflow:serving:request_count{{{name},status="{status}"}} {requests[0]}')
        times, ns = _sum(own, "success")
        label = f'{name},API="predict"'
        latencies += [
            f':tensorflow:serving:request_latency_bucket{{{label},le="+Inf"}} {times}',
            f":tensorflow:serving:request_latency_sum{{{label}}} {ns / 1e3:.3f}",
            f":tensorflow:serving:request_latency_count{{{label}}} {times}",
        ]
        infer_ns = sum(batch.infer_ns for one in own for batch in one.batches)
        runs += [
            f":tensorflow:core:graph_runs{{{name}}} {sum(one.runs for one in own)}",
            f":tensorflow:core:graph_run_time_usecs{{{name}}} {infer_ns / 1e3:.3f}",
        ]
    lines = [
        "# TYPE :tensorflow:serving:request_count counter",
        *counts,
        "# TYPE :tensorflow:serving:request_latency histogram",
        *latencies,
        "# TYPE :tensorflow:core:graph_runs counter",
        *runs[::2],
        "# TYPE :tensorflow:core:graph_run_time_usecs counter",
        *runs[1::2],
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def _sum(statistics: Iterable[Statistics], what: str) -> tuple[int, int]:
    """How often, and nanoseconds in all, over all versions."""
    found = [getattr(one, what) for one in statistics]
    return sum(one.times for one in found), sum(one.ns for one in found)


def _info(spec: TensorSpec) -> _Json:
    dims = [{"size": str(size), "name": ""} for size in spec.shape]
    return {
        "dtype": DTYPES[spec.datatype],
        "tensor_shape": {"dim": dims, "unknown_rank": False},
        "name": f"{spec.name}:0",
    }
