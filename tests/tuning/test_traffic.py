"""Requests made of golden rows: what any client could send, no two alike."""

from __future__ import annotations

import json

import numpy as np

from penstock.packages.golden import Golden
from penstock.tensors import Signature, TensorSpec
from penstock.tuning.traffic import MOST, MOST_BYTES, requests


def parts(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    return {name.lower(): text for name, text in (line.split(": ", 1) for line in lines)}, body


def signature(*inputs: TensorSpec) -> Signature:
    return Signature(inputs=inputs, outputs=(TensorSpec(name="y", datatype="FP32", shape=(-1,)),))


def test_numbers_and_text_with_gaps_are_json_of_one_row() -> None:
    random = np.random.default_rng(1)
    numbers = random.normal(size=(8, 3)).astype(np.float32)
    numbers[0] = np.nan
    words = np.array([[f"w{index}"] for index in range(8)], dtype=object)
    golden = Golden(inputs={"n": numbers, "w": words}, outputs={})
    specs = TensorSpec(name="n", datatype="FP32", shape=(-1, 3)), TensorSpec(name="w", datatype="BYTES", shape=(-1, 1))
    made = requests(golden, signature(*specs), "e")
    assert len(made) == MOST
    assert len(set(made)) > MOST / 2
    seen: set[float | None] = set()
    for request in made:
        heads, body = parts(request)
        assert request.startswith(b"POST /v2/models/e/infer HTTP/1.1\r\n")
        assert int(heads["content-length"]) == len(body)
        first, second = json.loads(body)["inputs"]
        assert first["shape"] == [1, 3]
        assert second["data"][0] in words
        seen |= set(first["data"])
    # Each value is one that the model knows, and a missing one is null.
    assert None in seen
    assert {np.float32(value) for value in seen if value is not None} <= set(numbers[1:].ravel())


def test_images_are_sent_raw_and_fewer() -> None:
    images = np.random.default_rng(1).normal(size=(2, 3, 224, 224)).astype(np.float32)
    golden = Golden(inputs={"i": images}, outputs={})
    made = requests(golden, signature(TensorSpec(name="i", datatype="FP32", shape=(-1, 3, 224, 224))), "e")
    assert 4 <= len(made) < MOST
    assert sum(map(len, made)) < 2 * MOST_BYTES
    assert len(set(made)) == len(made)
    heads, body = parts(made[0])
    split = int(heads["inference-header-content-length"])
    (tensor,) = json.loads(body[:split])["inputs"]
    assert tensor["parameters"]["binary_data_size"] == len(body) - split == images[0].nbytes
    assert tensor["shape"] == [1, 3, 224, 224]
