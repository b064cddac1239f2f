"""A model that stays Python is loaded by its files' names: whoever swaps them meanwhile has it refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.dummy import DummyRegressor

from penstock.errors import ModelFailed
from penstock.packages.golden import Golden
from penstock.packages.read import CHANGED, Package, open_package
from penstock.runtime import loading
from penstock.tensors import TensorSpec

NUMBER = (TensorSpec(name="X", datatype="FP64", shape=(-1, 1)),)
PREDICTION = (TensorSpec(name="prediction", datatype="FP64", shape=(-1,)),)
ENTRY = "model/original.joblib"
ASKED = {"X": np.array([[1.0]])}


def constant(value: float) -> object:
    return DummyRegressor(strategy="constant", constant=value).fit([[0.0]], [value])


@pytest.fixture
def model(make_package: Callable[..., Package], tmp_path: Path) -> Package:
    """A model that answers 1, in a folder of this test's own."""
    golden = Golden(inputs={"X": np.array([[0.0]])}, outputs={"prediction": np.array([1.0])})
    made = make_package(constant(1.0), NUMBER, PREDICTION, task="regression", golden=golden)
    shutil.copytree(made.folder, tmp_path / "package")
    return open_package(tmp_path / "package", digest=made.digest)


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    """It answers 1 too, so that its examples tell nothing; but it is another file."""
    joblib.dump(constant(1.0), tmp_path / "evil.joblib", compress=1)
    return tmp_path / "evil.joblib"


def swapped_while_loaded(
    monkeypatch: pytest.MonkeyPatch, before: Callable[[], None], after: Callable[[], None]
) -> None:
    """Between what was verified and what the process opens, and again once it has loaded."""
    start_worker: Any = loading.start_worker
    prove: Any = loading.prove

    def start(*args: object, **kwargs: object) -> object:
        before()
        return start_worker(*args, **kwargs)

    def proven(*args: object, **kwargs: object) -> object:
        try:
            return prove(*args, **kwargs)
        finally:
            after()

    monkeypatch.setattr(loading, "start_worker", start)
    monkeypatch.setattr(loading, "prove", proven)


def test_left_alone_it_answers_and_is_loaded_again(model: Package, opened: Callable[[Package], Any]) -> None:
    engine = opened(model)
    assert engine.run(ASKED)["prediction"].tolist() == [1.0]
    loading.start(engine._workers.template.recipe).end()


@pytest.mark.parametrize("put_back", [False, True], ids=["left there", "put back"])
@pytest.mark.parametrize("how", ["renamed", "written", "folder"])
def test_swapped_while_it_is_loaded_it_is_refused(
    model: Package,
    evil: Path,
    opened: Callable[[Package], Any],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    put_back: bool,
) -> None:
    place = model.folder / ENTRY
    kept = model.folder.parent / "kept"
    good = place.read_bytes()
    times = place.stat()

    def swap() -> None:
        if how == "renamed":
            os.rename(place, kept)
            shutil.copy(evil, place)
        elif how == "written":
            place.write_bytes(evil.read_bytes())
        else:
            os.rename(place.parent, kept)
            place.parent.mkdir()
            shutil.copy(evil, place)

    def back() -> None:
        if not put_back:
            return
        if how == "renamed":
            os.rename(kept, place)
        elif how == "written":
            place.write_bytes(good)
            os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))
        else:
            shutil.rmtree(place.parent)
            os.rename(kept, place.parent)

    with monkeypatch.context() as patched:
        swapped_while_loaded(patched, swap, back)
        with pytest.raises(ModelFailed) as refusal:
            opened(model)
    assert refusal.value.code == CHANGED
    if put_back:
        assert opened(model.verified_again()).run(ASKED)["prediction"].tolist() == [1.0]


def test_swapped_after_it_was_loaded_no_new_process_loads_it(
    model: Package, evil: Path, opened: Callable[[Package], Any]
) -> None:
    engine = opened(model)
    recipe = engine._workers.template.recipe
    shutil.copy(evil, model.folder / ENTRY)
    assert engine.run(ASKED)["prediction"].tolist() == [1.0], "what is loaded is what was verified"
    with pytest.raises(ModelFailed) as refusal:
        loading.start(recipe)
    assert "manifest" in refusal.value.message


def test_a_new_signature_beside_the_same_files_changes_nothing(
    model: Package, opened: Callable[[Package], Any], tmp_path: Path
) -> None:
    engine = opened(model)
    (tmp_path / "signature").write_bytes(b"{}")
    os.rename(tmp_path / "signature", model.folder / "signature.json")
    loading.start(engine._workers.template.recipe).end()
