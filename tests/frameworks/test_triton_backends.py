"""Triton's other backends: SavedModels and scripts asked by the names and sizes of their configuration, or refused."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import torch

from penstock.build.assemble import build
from penstock.build.format import ModelFormat, detect
from penstock.build.request import BuildRequest
from penstock.build.sources import archive_source, find_source
from penstock.errors import BadConfig, InvalidInput
from penstock.packages.read import Package
from penstock.runtime.engine import open_engine, prove
from penstock.tensors import Arrays

pytestmark = pytest.mark.timeout(600)

SCRIPT = """
name: "pairs"
platform: "pytorch_libtorch"
max_batch_size: 16
input [ { name: "INPUT__1" data_type: TYPE_INT64 dims: [ 1 ] reshape { shape: [ ] } },
  { name: "INPUT__0" data_type: TYPE_FP32 dims: [ 6 ] reshape { shape: [ 3, 2 ] } } ]
output [ { name: "OUTPUT__1" data_type: TYPE_FP32 dims: [ 1, 3 ] reshape { shape: [ 3 ] } },
  { name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" } ]
"""
SAVED = """
name: "pairs"
backend: "tensorflow"
max_batch_size: 16
input [ { name: "pairs" data_type: TYPE_FP32 dims: [ 6 ] reshape { shape: [ 3, 2 ] } },
  { name: "offset" data_type: TYPE_INT64 dims: [ 1 ] reshape { shape: [ ] } } ]
output [ { name: "sums" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" },
  { name: "top" data_type: TYPE_FP32 dims: [ 1 ] reshape { shape: [ ] } } ]
parameters { key: "TF_SIGNATURE_DEF" value: { string_value: "summed" } }
"""
LABELS = "low\nmiddle\nhigh\n"


class Pairs(torch.nn.Module):
    """Two tensors in, three out, by place."""

    def forward(self, pairs: torch.Tensor, offset: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        sums = pairs.sum(dim=2) + offset.unsqueeze(1)
        return sums, sums * 2, sums.max(dim=1).values


class Summed(tf.Module):
    """Named tensors in and out; beside it a signature that nobody asks for."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 3, 2], tf.float32, name="pairs"),
            tf.TensorSpec([None], tf.int64, "offset"),
        ]
    )
    def summed(self, pairs: tf.Tensor, offset: tf.Tensor) -> dict[str, tf.Tensor]:
        sums = tf.reduce_sum(pairs, 2) + tf.cast(offset, tf.float32)[:, None]
        return {"top": tf.reduce_max(sums, 1), "sums": sums, "left": sums * 3}

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.string, name="words")])
    def joined(self, words: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"text": tf.strings.join([words[:, 0], words[:, 1]], " "), "long": tf.strings.length(words)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("saved") / "model.savedmodel"
    both = Summed()
    tf.saved_model.save(both, str(place), signatures={"serving_default": both.joined, "summed": both.summed})
    return place


def script(place: Path, config: str = SCRIPT, model: torch.nn.Module | None = None) -> Path:
    (place / "pairs" / "1").mkdir(parents=True)
    torch.jit.save(torch.jit.script(model or Pairs()), place / "pairs" / "1" / "model.pt")
    return written(place / "pairs", config)


def saved_model(place: Path, saved: Path, config: str = SAVED) -> Path:
    (place / "pairs" / "1").mkdir(parents=True)
    (place / "pairs" / "1" / "model.savedmodel").symlink_to(saved, target_is_directory=True)
    return written(place / "pairs", config)


def written(folder: Path, config: str) -> Path:
    (folder / "config.pbtxt").write_text(config)
    (folder / "labels.txt").write_text(LABELS)
    return folder


def pack(folder: Path, out: Path, **more: object) -> Package:
    return build(Path(f"triton:{folder}"), BuildRequest(name="pairs", out=out, lock=False, **more))


ROWS = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
OFFSETS = np.arange(5, dtype=np.int64)[:, None]
SUMS = ROWS.reshape(5, 3, 2).sum(axis=2) + OFFSETS


def asked(known: ModelFormat, place: Path) -> Arrays:
    with chdir(place.parent):  # where it is opened, a name for its file is made
        original = known.open(place)
    return original.answer(original.inputs(None), {"INPUT__0": ROWS, "INPUT__1": OFFSETS})


def test_a_script_is_asked_by_its_configuration_s_names_places_and_sizes(tmp_path: Path) -> None:
    package = pack(script(tmp_path), tmp_path / "out")
    manifest = package.manifest
    assert (manifest.engine, manifest.classes) == ("onnxruntime", ("low", "middle", "high")), manifest.parity
    assert [(one.name, one.datatype, one.shape) for one in manifest.signature.inputs] == [
        ("INPUT__1", "INT64", (-1, 1)),
        ("INPUT__0", "FP32", (-1, 6)),
    ]
    assert [(one.name, one.shape) for one in manifest.signature.outputs] == [
        ("OUTPUT__1", (-1, 1, 3)),
        ("OUTPUT__0", (-1, 3)),
        ("label", (-1,)),
    ]
    engine = open_engine(package)
    prove(engine, package)
    answers = engine.run({"INPUT__0": ROWS, "INPUT__1": OFFSETS})
    engine.close()
    np.testing.assert_allclose(answers["OUTPUT__0"], SUMS, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(answers["OUTPUT__1"], 2 * SUMS[:, None, :], rtol=1e-5, atol=1e-6)
    assert answers["label"].tolist() == [LABELS.split()[at] for at in SUMS.argmax(axis=1)]


def test_a_saved_model_s_named_signature_is_asked_by_its_configuration(tmp_path: Path, saved: Path) -> None:
    package = pack(saved_model(tmp_path, saved), tmp_path / "out")
    manifest = package.manifest
    assert (manifest.engine, manifest.classes) == ("onnxruntime", ("low", "middle", "high")), manifest.parity
    assert {one.name: one.shape for one in manifest.signature.inputs} == {"pairs": (-1, 6), "offset": (-1, 1)}
    assert {one.name: one.shape for one in manifest.signature.outputs} == {
        "sums": (-1, 3),
        "top": (-1, 1),
        "label": (-1,),
    }
    engine = open_engine(package)
    prove(engine, package)
    answers = engine.run({"pairs": ROWS, "offset": OFFSETS})
    engine.close()
    np.testing.assert_allclose(answers["sums"], SUMS, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(answers["top"], SUMS.max(axis=1, keepdims=True), rtol=1e-5, atol=1e-6)
    assert answers["label"].tolist() == [LABELS.split()[at] for at in SUMS.argmax(axis=1)]


def test_what_stays_in_the_sandbox_answers_by_those_names_too(tmp_path: Path, saved: Path) -> None:
    config = """
    name: "pairs" platform: "tensorflow_savedmodel" max_batch_size: 8
    input { name: "words" data_type: TYPE_STRING dims: [ 2, 1 ] reshape { shape: 2 } }
    output [ { name: "text" data_type: TYPE_STRING dims: 1 reshape { shape: [ ] } },
      { name: "long" data_type: TYPE_INT32 dims: 2 } ]
    """
    package = pack(saved_model(tmp_path, saved, config), tmp_path / "out")
    assert package.manifest.engine == "python"
    engine = open_engine(package)
    prove(engine, package)
    answers = engine.run({"words": np.array([[["good"], ["day"]], [["a"], ["b"]]], dtype=object)})
    engine.close()
    assert answers["text"].tolist() == [["good day"], ["a b"]]
    assert answers["long"].tolist() == [[4, 3], [1, 1]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (('"sums"', '"sum"'), "the model has no sum"),
        (('name: "offset"', 'name: "shift"'), "the model's inputs are offset, pairs"),
        (("TYPE_INT64", "TYPE_INT32"), "offset is INT32 there and INT64 in the model"),
        (("shape: [ 3, 2 ]", "shape: [ 2, 3 ]"), r"pairs has the sizes \[-1, 2, 3\] there and \[-1, 3, 2\]"),
    ],
)
def test_a_saved_model_that_is_another_one_is_refused(
    tmp_path: Path, saved: Path, change: tuple[str, str], words: str
) -> None:
    place = tmp_path / "archive"
    source = find_source(Path(f"triton:{saved_model(tmp_path, saved, SAVED.replace(*change))}"))
    assert source is not None
    archive_source(source, place)
    kind, known, _ = detect(place)
    assert kind == "savedmodel"
    with pytest.raises(InvalidInput, match=words):
        known.open(place)


def test_a_signature_that_is_not_there_is_refused(tmp_path: Path, saved: Path) -> None:
    place = tmp_path / "archive"
    source = find_source(Path(f"triton:{saved_model(tmp_path, saved, SAVED.replace('summed', 'other'))}"))
    assert source is not None
    archive_source(source, place)
    with pytest.raises(BadConfig, match="no signature other"):
        detect(place)[1].open(place)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("OUTPUT__1", "OUTPUT__7"), "answers 3 tensors, and OUTPUT__7 is another one"),
        (("INPUT__1", "INPUT__2"), "the script's inputs are pairs, offset"),
        (('label_filename: "labels.txt"', "reshape { shape: [ 3, 1 ] }"), r"the sizes \[-1, 3, 1\] there"),
        (('OUTPUT__0" data_type: TYPE_FP32', 'OUTPUT__0" data_type: TYPE_INT32'), "OUTPUT__0 is INT32 there and FP32"),
        (("dims: [ 3 ]", "dims: [ -1, 3 ]"), r"OUTPUT__0 has the sizes \[-1, -1, 3\] there"),
    ],
)
def test_a_script_that_is_another_one_is_refused(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    place = tmp_path / "archive"
    source = find_source(Path(f"triton:{script(tmp_path, SCRIPT.replace(*change))}"))
    assert source is not None
    archive_source(source, place)
    kind, known, _ = detect(place)
    assert kind == "torch"
    assert not known.audit(place).refused
    with pytest.raises(InvalidInput, match=words):
        asked(known, place)
