"""A graph is whole, wherever in it a tensor might lie elsewhere; what is no ONNX is not taken for one."""

from __future__ import annotations

import pytest
from onnx import TensorProto
from tests.security.artifacts.artifact import NOBODY
from tests.security.artifacts.onnxes import changes, graph

from penstock.errors import Untrusted
from penstock.runtime.graphfile import require_whole

CHANGES = dict(changes())
OUTSIDE = [name for name in CHANGES if name.startswith("external data") and "without a location" not in name]


def test_an_ordinary_graph_is_whole_even_where_the_word_stands_in_it() -> None:
    model = graph()
    require_whole(model.SerializeToString())
    model.graph.doc_string = "the location of the shop"
    model.graph.node[0].attribute.add(name="location", ints=range(1000), floats=[0.5] * 1000, strings=[b"location"] * 9)
    require_whole(model.SerializeToString())


@pytest.mark.parametrize("name", OUTSIDE)
def test_numbers_elsewhere_are_found(name: str) -> None:
    model = graph()
    CHANGES[name](model, NOBODY)
    with pytest.raises(Untrusted, match="another file"):
        require_whole(model.SerializeToString())


def test_what_is_damaged_is_no_graph() -> None:
    model = graph()
    CHANGES[OUTSIDE[0]](model, NOBODY)
    data = model.SerializeToString()
    for cut in range(40, len(data) - 1):
        if b"location" in data[:cut]:
            with pytest.raises(Untrusted):
                require_whole(data[:cut])
    with pytest.raises(Untrusted):
        require_whole(b"\x18\0\0\0ORTM" + bytes(100))


def test_a_location_in_a_field_of_nobody_is_no_matter() -> None:
    model = graph()
    model.graph.initializer.append(TensorProto(name="location", data_type=1, dims=[1], float_data=[1.0]))
    require_whole(model.SerializeToString())
