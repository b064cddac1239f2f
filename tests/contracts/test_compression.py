"""One suite for every compression of the table: forms that load, answer nearly alike, and are plain ONNX."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import ModelProto, helper

from graphs_for_tests import ROWS, convolutions, layers, session_of, trees, votes, whole
from penstock.adapters import TABLE, load
from penstock.build.compression import ModelForm
from penstock.build.graphs.carried import carried
from penstock.build.graphs.compact import serialized

MODELS: dict[str, Callable[[], ModelProto]] = {
    "layers": layers,
    "convolutions": convolutions,
    "trees": trees,
    "votes": votes,
}
ACTS_ON = {
    "graph_optimization": {"layers", "convolutions", "trees", "votes"},
    "float16": {"layers", "convolutions"},
    "dynamic_int8": {"layers", "convolutions"},
    "static_int8": {"layers", "convolutions"},
    "pruning": {"trees", "votes"},
}
SMALLER = {"float16": 1.9, "dynamic_int8": 1.5, "static_int8": 3.0, "pruning": 2.0, "graph_optimization": 0.9}
"""How many times at least one form of it is smaller than the graph, on one of the models."""
CASES = [(name, model) for name in TABLE["compression"] for model in sorted(ACTS_ON[name])]


@pytest.fixture(scope="module")
def models() -> dict[str, ModelProto]:
    return {name: make() for name, make in MODELS.items()}


@pytest.fixture(scope="module")
def forms(models: dict[str, ModelProto]) -> dict[tuple[str, str], list[tuple[ModelForm, bytes]]]:
    rows = {"rows": ROWS[:256]}
    return {
        (name, model): [
            (form, serialized(form.make())) for form in load("compression", name)().forms(models[model], rows)
        ]
        for name, model in CASES
    }


Forms = dict[tuple[str, str], list[tuple[ModelForm, bytes]]]


@pytest.mark.parametrize(("name", "model"), CASES)
def test_every_form_is_plain_onnx_with_the_same_ends(
    models: dict[str, ModelProto], forms: Forms, name: str, model: str
) -> None:
    assert forms[name, model]
    for form, data in forms[name, model]:
        made = ModelProto.FromString(data)
        assert carried(made) == [], form.label
        for end in ("input", "output"):
            kept = [(one.name, one.type.tensor_type.elem_type) for one in getattr(models[model].graph, end)]
            assert [(one.name, one.type.tensor_type.elem_type) for one in getattr(made.graph, end)] == kept, form.label


@pytest.mark.parametrize(("name", "model"), CASES)
def test_every_form_answers_nearly_alike_whatever_is_beside_a_row(
    models: dict[str, ModelProto], forms: Forms, name: str, model: str
) -> None:
    names = ["label", "probabilities"]
    wanted = session_of(models[model]).run(names, {"rows": ROWS})
    for form, data in forms[name, model]:
        session = session_of(data)
        label, probabilities = session.run(names, {"rows": ROWS})
        least = 0.8 if "25%" in form.label else 0.9 if "%" in form.label else 0.99
        assert (label == wanted[0]).mean() >= least, form.label
        if "%" not in form.label:
            assert np.quantile(np.abs(probabilities - wanted[1]), 0.99) < 0.05, form.label
        alone = [session.run(names, {"rows": ROWS[at : at + 1]})[1][0] for at in range(40)]
        np.testing.assert_allclose(alone, probabilities[:40], atol=1e-4, err_msg=form.label)


@pytest.mark.parametrize("name", TABLE["compression"])
def test_it_is_worth_its_name(models: dict[str, ModelProto], forms: Forms, name: str) -> None:
    gains = [
        len(models[model].SerializeToString()) / len(data)
        for (kind, model), made in forms.items()
        if kind == name
        for _, data in made
    ]
    assert max(gains) >= SMALLER[name]


@pytest.mark.parametrize("name", sorted(TABLE["compression"].keys() - {"graph_optimization"}))
def test_it_says_what_a_graph_lacks_and_changes_none(models: dict[str, ModelProto], name: str) -> None:
    plain = whole(
        [
            helper.make_node("ReduceMean", ["rows"], ["mean"], keepdims=1),
            helper.make_node("Sub", ["rows", "mean"], ["prediction"]),
        ],
        {},
        [helper.make_tensor_value_info("prediction", 1, [None, 64])],
    )
    before = plain.SerializeToString()
    with pytest.raises(NotImplementedError, match="no "):
        list(load("compression", name)().forms(plain, {"rows": ROWS[:32]}))
    assert plain.SerializeToString() == before


@pytest.mark.parametrize(("name", "model"), CASES)
def test_making_a_form_leaves_the_graph_as_it_was_and_gives_the_same_again(
    models: dict[str, ModelProto], forms: Forms, name: str, model: str
) -> None:
    assert models[model].SerializeToString() == MODELS_AS_MADE.setdefault(model, models[model].SerializeToString())
    first = next(iter(load("compression", name)().forms(models[model], {"rows": ROWS[:256]})))
    assert serialized(first.make()) == forms[name, model][0][1]


MODELS_AS_MADE: dict[str, bytes] = {}
