"""Requests to measure with: a package's golden rows, each value from another of them, so that no two are alike.

Golden + signature --requests--> whole HTTP requests in the Open Inference Protocol, one row each
"""

from __future__ import annotations

import msgspec
import numpy as np

from penstock.packages.golden import Golden
from penstock.tensors import FLOATS, Array, Signature, TensorSpec

MOST = 256
MOST_BYTES = 16 << 20
RAW_BYTES = 4096
"""A row larger than this is sent as raw bytes, as whoever sends pictures would."""


def requests(golden: Golden, signature: Signature, endpoint: str, *, seed: int = 1) -> list[bytes]:
    """Different requests for one row each: 256, or fewer where rows are large."""
    random = np.random.default_rng(seed)
    size = sum(array[:1].nbytes for array in golden.inputs.values())
    count = int(min(MOST, max(MOST_BYTES // max(size, 1), 4)))
    raw = size > RAW_BYTES and all(spec.datatype != "BYTES" for spec in signature.inputs)
    return [_request(golden, signature, endpoint, random, raw=raw) for _ in range(count)]


def _request(golden: Golden, signature: Signature, endpoint: str, random: np.random.Generator, *, raw: bool) -> bytes:
    rows = {spec.name: _mixed(golden.inputs[spec.name], random) for spec in signature.inputs}
    tensors = [_tensor(spec, rows[spec.name], raw=raw) for spec in signature.inputs]
    body = {"inputs": tensors, **({"parameters": {"binary_data_output": True}} if raw else {})}
    head = msgspec.json.encode(body)
    tail = b"".join(np.ascontiguousarray(rows[spec.name]).tobytes() for spec in signature.inputs) if raw else b""
    lines = [f"POST /v2/models/{endpoint}/infer HTTP/1.1", "Host: x", f"Content-Length: {len(head) + len(tail)}"]
    if raw:
        lines += ["Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {len(head)}"]
    else:
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode() + head + tail


def _mixed(array: Array, random: np.random.Generator) -> Array:
    """One row: each column from a row of its own where there are columns, a whole row otherwise."""
    if array.ndim == 2:
        picked: Array = array[random.integers(len(array), size=array.shape[1]), np.arange(array.shape[1])]
        return picked.reshape(1, -1)
    at = int(random.integers(len(array)))
    row: Array = array[at : at + 1]
    if array.ndim > 2 and array.dtype.kind == "f":
        row = np.multiply(row, random.uniform(0.9, 1.1)).astype(array.dtype)
    return row


def _tensor(spec: TensorSpec, row: Array, *, raw: bool) -> dict[str, object]:
    tensor: dict[str, object] = {"name": spec.name, "datatype": spec.datatype, "shape": list(row.shape)}
    if raw:
        return tensor | {"parameters": {"binary_data_size": row.nbytes}}
    data = row.ravel().tolist()
    if spec.datatype in FLOATS:
        data = [None if value != value else value for value in data]  # noqa: PLR0124
    return tensor | {"data": data}
