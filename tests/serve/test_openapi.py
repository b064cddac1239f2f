"""The Swagger documents of a signature: what a row is, in both generations."""

from __future__ import annotations

import pytest

from penstock.serve.openapi import swagger
from penstock.tensors import Signature, TensorSpec

COLUMNS = Signature(
    inputs=(
        TensorSpec(name="distance", datatype="FP64", shape=(-1, 1)),
        TensorSpec(name="carrier", datatype="BYTES", shape=(-1, 1)),
        TensorSpec(name="delay", datatype="FP32", shape=(-1, 1), nullable=True),
        TensorSpec(name="night", datatype="BOOL", shape=(-1, 1)),
        TensorSpec(name="seats", datatype="INT64", shape=(-1, 1)),
    ),
    outputs=(
        TensorSpec(name="label", datatype="BYTES", shape=(-1,)),
        TensorSpec(name="probabilities", datatype="FP64", shape=(-1, 2)),
    ),
)
IMAGES = Signature(
    inputs=(TensorSpec(name="image", datatype="UINT8", shape=(-1, 3, -1)),),
    outputs=(TensorSpec(name="y", datatype="INT32", shape=(-1,)),),
)


def schemas(signature: Signature, generation: str) -> dict:
    document = swagger(signature, "m", generation)
    return document["definitions"] if generation == "2" else document["components"]["schemas"]


@pytest.mark.parametrize(("generation", "missing"), [("2", "x-nullable"), ("3", "nullable")])
def test_columns_make_an_object_of_a_row(generation: str, missing: str) -> None:
    found = schemas(COLUMNS, generation)
    row = found["ServiceInput"]["properties"]["data"]["items"]
    assert row["required"] == ["distance", "carrier", "delay", "night", "seats"]
    assert row["properties"] == {
        "distance": {"type": "number", "format": "double"},
        "carrier": {"type": "string"},
        "delay": {"type": "number", "format": "float", missing: True},
        "night": {"type": "boolean"},
        "seats": {"type": "integer", "format": "int64"},
    }
    answer = found["ServiceOutput"]["items"]["properties"]
    assert answer["label"] == {"type": "string"}
    assert answer["probabilities"]["minItems"] == answer["probabilities"]["maxItems"] == 2


@pytest.mark.parametrize("generation", ["2", "3"])
def test_a_tensor_is_nested_as_deep_as_its_row(generation: str) -> None:
    found = schemas(IMAGES, generation)
    values = {"type": "array", "items": {"type": "integer", "format": "int32"}}
    row = {"type": "array", "items": values, "minItems": 3, "maxItems": 3}
    assert found["ServiceInput"]["properties"]["data"]["items"] == row
    assert found["ServiceOutput"]["items"] == {"type": "integer", "format": "int32"}


@pytest.mark.parametrize("generation", ["2", "3"])
def test_every_reference_leads_somewhere(generation: str) -> None:
    document = swagger(COLUMNS, "m", generation)

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if "$ref" in value else []
            return own + [one for item in value.values() for one in references(item)]
        return [one for item in value for one in references(item)] if isinstance(value, list) else []

    found = references(document)
    assert found
    for reference in found:
        place: object = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
