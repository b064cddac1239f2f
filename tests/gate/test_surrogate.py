"""The surrogate tells a holdout that flatters from one that does not, on made-up days and on real flights."""

from __future__ import annotations

import gate_candidates as make
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from threadpoolctl import threadpool_limits

from penstock.demo.flights import FEATURES, LABEL, NUMBERS, TEXTS, load_flights, month, split_by_day, split_by_row
from penstock.gate.check import Candidate, GateData
from penstock.gate.data import Columns, gate_data
from penstock.gate.policy import parse_policy
from penstock.gate.run import run
from penstock.gate.surrogate import Optimism, optimism
from penstock.records import Manifest, Verdict
from penstock.tensors import Signature, TensorSpec

ROWS = 16_000
SIGNATURE = Signature(
    inputs=(
        *(TensorSpec(name=name, datatype="FP64", shape=(-1, 1), nullable=True) for name in NUMBERS),
        *(TensorSpec(name=name, datatype="BYTES", shape=(-1, 1), nullable=True) for name in TEXTS),
    ),
    outputs=make.SIGNATURE.outputs,
)


def measured(frame: pd.DataFrame, split: object, **fields: object) -> Optimism | None:
    train, validation = split(frame)
    columns = Columns(label="late", time="day")
    data: GateData = gate_data({"train": train, "validation": validation}, make.SIGNATURE, columns)
    manifest = Manifest(
        **{
            "format": 1,
            "name": "m",
            "kind": "onnx",
            "engine": "onnxruntime",
            "entry": "m",
            "task": "classification",
            "classes": (0, 1),
            "signature": make.SIGNATURE,
            "files": {},
            **fields,
        }
    )
    units = data.by_time
    return optimism(manifest, data.train, data.validation, (units["train"], units["validation"]), seed=0)


def test_days_in_both_files_flatter_where_days_matter() -> None:
    leaky = measured(make.baskets(4000, luck=1.5), make.by_row)
    assert leaky.value > 0.04
    assert min(leaky.folds) > 0
    harmless = measured(make.baskets(4000, luck=0.0), make.by_row)
    assert abs(harmless.value) < 0.02


def test_equal_seeds_give_equal_figures() -> None:
    frame = make.baskets(1500)
    assert measured(frame, make.by_row) == measured(frame, make.by_row)


def test_a_regression_leaks_too() -> None:
    frame = make.baskets(3000)
    moods = np.random.default_rng(1).normal(size=400)
    frame["late"] = moods[frame["day"].dt.day_of_year] * 10 + frame["weight"]
    assert measured(frame, make.by_row, task="regression", classes=()).value > 0.2


def test_a_few_days_tell_nothing() -> None:
    assert measured(make.baskets(900, days=6), make.by_row) is None


@pytest.fixture(scope="module")
def flights() -> pd.DataFrame:
    """January to April, one flight in seven."""
    return month(load_flights(), 1, 4).sample(ROWS, random_state=0).sort_index()


def checked(parts: tuple[pd.DataFrame, pd.DataFrame], folder: object) -> Verdict:
    """A small boosted tree, trained on the train part, before the generalization check."""
    with threadpool_limits(limits=1):
        return _checked(*parts, folder)


def _checked(train: pd.DataFrame, validation: pd.DataFrame, folder: object) -> Verdict:
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    model = make_pipeline(
        make_column_transformer((encode, list(TEXTS)), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=8, min_samples_leaf=100, random_state=0),
    ).fit(train[list(FEATURES)], train[LABEL])
    data = gate_data({"train": train, "validation": validation}, SIGNATURE, Columns(label=LABEL, time="departs"))
    engine = make.FunctionEngine(lambda rows: model.predict_proba(rows)[:, 1])
    package = make.package(folder, signature=SIGNATURE, name="flights")
    policy = parse_policy({"checks": {"quality": {}, "generalization": {}}})
    return run(Candidate(package=package, engine=engine, data=data, precision=policy.precision), policy)


def test_a_random_holdout_of_flights_is_refused_with_the_figure(flights: pd.DataFrame, tmp_path: object) -> None:
    verdict = checked(split_by_row(flights), tmp_path)
    assert verdict.outcome == "refuse"
    (leak,) = [one for one in verdict.findings if one.outcome == "refuse" and one.blocking]
    assert "100% of the validation rows are of days that the train file has too (120 of 120)" in leak.message
    assert 0.03 < leak.measured["optimism"] < 0.15
    assert f"flatters by {leak.measured['optimism']:.3f} AUC" in leak.message
    assert "Hold out whole days" in leak.remedy


def test_a_holdout_of_whole_days_passes(flights: pd.DataFrame, tmp_path: object) -> None:
    verdict = checked(split_by_day(flights), tmp_path)
    assert verdict.outcome == "pass", [one.message for one in verdict.findings if one.outcome != "pass"]
    (honest,) = [one for one in verdict.findings if "honest" in one.title]
    assert honest.measured["units_in_both"] == 0
