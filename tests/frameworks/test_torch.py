"""PyTorch's models, packaged and asked over HTTP: a program, a script, a class with weights, a live module."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.dataplane_for_tests import DataPlane, route, until
from tests.frameworks.torch_for_tests import (
    ANY,
    SOURCE,
    Both,
    Digits,
    Encoder,
    digit_images,
    tokens,
    trained_digits,
    trained_encoder,
    write_files,
)

from penstock.build.assemble import build
from penstock.build.format import detect
from penstock.build.request import BuildRequest
from penstock.errors import BadConfig, InvalidInput, PenstockError, Untrusted
from penstock.packages.read import Package
from penstock.runtime.engine import open_engine, prove


@pytest.fixture(scope="session")
def images() -> tuple[np.ndarray, np.ndarray]:
    return digit_images()


@pytest.fixture(scope="session")
def digits(images: tuple[np.ndarray, np.ndarray]) -> Digits:
    return trained_digits(images)


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return trained_encoder()


@pytest.fixture(scope="session")
def files(
    digits: Digits, encoder: Encoder, images: tuple[np.ndarray, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_files(folder, digits, encoder, images[0][:3])
    return folder


Pack = Callable[..., Package]


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    out = tmp_path_factory.mktemp("packages")

    def run(model: object, data: object = None, **more: object) -> Package:
        return build(model, BuildRequest(name="model", out=out, data=data, lock=False, **more))

    return run


@pytest.fixture(scope="session")
def served(
    files: Path, images: tuple[np.ndarray, np.ndarray], pack: Pack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Packages by what they are made of, each made and served when it is first asked for."""
    rows = images[0][1200:1260]
    np.savez(files / "images.npz", image=rows, digit=images[1][1200:1260])
    made = {
        "program": lambda: pack(files / "digits.pt2", files / "images.npz", labels="digit"),
        "script": lambda: pack(files / "digits.pt", rows),
        "code": lambda: pack(files / "code", rows),
        "encoder": lambda: pack(files / "encoder.pt2"),
        "waves": lambda: pack(files / "waves.pt2"),
    }
    plane = DataPlane(tmp_path_factory.mktemp("home"))
    plane.run.mkdir(parents=True)
    served = Served(plane, made)
    yield served
    if plane.process is not None:
        plane.stop()


class Served:
    def __init__(self, plane: DataPlane, made: dict[str, Callable[[], Package]]) -> None:
        self.plane = plane
        self._made = made
        self._packages: dict[str, Package] = {}

    def package(self, name: str) -> Package:
        if name not in self._packages:
            package = self._packages[name] = self._made[name]()
            self.plane.packages[package.digest] = str(package.folder)
            self.plane.write(*(route(one, package.digest) for one, package in self._packages.items()))
            if self.plane.process is None:
                self.plane.start(workers=1)
            # A sandboxed process imports PyTorch before it answers.
            until(lambda: any(one.snapshot == self.plane.number for one in self.plane.statuses()), seconds=240)
        return self._packages[name]


def asked(plane: DataPlane, name: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    kinds = {"float32": "FP32", "int64": "INT64"}
    inputs = [
        {"name": one, "datatype": kinds[str(array.dtype)], "shape": list(array.shape), "data": array.ravel().tolist()}
        for one, array in arrays.items()
    ]
    answered = plane.ask("POST", f"/v2/models/{name}/infer", json.dumps({"inputs": inputs}))
    assert answered.status == 200, answered.body
    return {one["name"]: np.array(one["data"]).reshape(one["shape"]) for one in answered.json["outputs"]}


@pytest.mark.parametrize("name", ["program", "script", "code"])
def test_a_network_for_images_answers_over_http_as_pytorch_does(
    served: Served, digits: Digits, images: tuple[np.ndarray, np.ndarray], name: str
) -> None:
    manifest = served.package(name).manifest
    assert manifest.engine == "onnxruntime"
    (spec,) = manifest.signature.inputs
    assert (spec.name, spec.datatype, spec.shape) == ("image", "FP32", (-1, 1, 8, 8))
    rows = images[0][1300:1500]
    with torch.no_grad():
        scores = digits(torch.from_numpy(rows))
    answered = asked(served.plane, name, {"image": rows})
    if name == "program":
        assert manifest.classes == tuple(range(10))
        assert answered["label"].tolist() == scores.argmax(1).tolist()
        np.testing.assert_allclose(answered["probabilities"], torch.softmax(scores, 1).numpy(), atol=1e-5)
    elif name == "code":
        assert manifest.classes[:3] == ("zero", "one", "two")
        assert answered["label"].tolist() == [manifest.classes[at] for at in scores.argmax(1).tolist()]
        np.testing.assert_allclose(answered["scores"], scores.numpy(), atol=1e-4)
    else:
        assert manifest.classes == ()
        np.testing.assert_allclose(answered["prediction"], scores.numpy(), atol=1e-4)
        assert answered["prediction"].argmax(1).tolist() == scores.argmax(1).tolist()


def test_a_transformer_takes_ids_and_mask_of_any_length(served: Served, encoder: Encoder) -> None:
    manifest = served.package("encoder").manifest
    assert manifest.engine == "onnxruntime"
    assert [(one.name, one.datatype, one.shape) for one in manifest.signature.inputs] == [
        ("ids", "INT64", (-1, -1)),
        ("mask", "INT64", (-1, -1)),
    ]
    for length in (9, 5, 17):
        ids, mask = tokens(40, length)
        with torch.no_grad():
            chances = encoder(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
        answered = asked(served.plane, "encoder", {"ids": ids, "mask": mask})
        assert answered["label"].tolist() == chances.argmax(1).tolist()
        np.testing.assert_allclose(answered["probabilities"], chances, atol=1e-5)


def test_what_does_not_compile_answers_from_the_sandbox(served: Served) -> None:
    manifest = served.package("waves").manifest
    assert manifest.engine == "python"
    assert manifest.parity is not None
    assert "no form in ONNX for prims.bessel_j0" in manifest.parity.reason
    assert "torch==" in (served.package("waves").folder / "requirements.lock").read_text()
    rows = np.random.default_rng(3).random((20, 4), dtype=np.float32)
    answered = asked(served.plane, "waves", {"rows": rows})
    expected = torch.special.bessel_j0(torch.from_numpy(rows)).sum(dim=1).numpy()
    np.testing.assert_allclose(answered["prediction"], expected, atol=1e-6)


def test_a_live_module_is_exported_and_stays_as_it_was(
    digits: Digits, images: tuple[np.ndarray, np.ndarray], pack: Pack
) -> None:
    digits.train()
    package = pack(digits, {"image": images[0][:50]})
    assert digits.training
    digits.eval()
    assert package.manifest.kind == "torch"
    assert package.manifest.engine == "onnxruntime"
    assert (package.folder / "model" / "original.pt2").is_file()
    engine = open_engine(package)
    prove(engine, package)
    with torch.no_grad():
        scores = digits(torch.from_numpy(images[0][50:90])).numpy()
    np.testing.assert_allclose(engine.run({"image": images[0][50:90]})["prediction"], scores, atol=1e-4)
    engine.close()


def test_several_inputs_and_outputs_of_any_shape(pack: Pack, files: Path) -> None:
    given = (torch.rand(3), torch.rand(3))
    program = torch.export.export(Both(), given, dynamic_shapes={"left": {0: ANY}, "right": {0: ANY}})
    torch.export.save(program, files / "both.pt2")
    package = pack(files / "both.pt2")
    assert [one.shape for one in package.manifest.signature.inputs] == [(-1,), (-1,)]
    assert {one.name: one.shape for one in package.manifest.signature.outputs} == {
        "total": (-1,),
        "table": (-1, 2, 3),
    }
    engine = open_engine(package)
    left, right = np.arange(5, dtype=np.float32), np.ones(5, np.float32)
    answered = engine.run({"left": left, "right": right})
    assert answered["total"].tolist() == (left + right).tolist()
    assert answered["table"][:, 1, 2].tolist() == left.tolist()
    engine.close()


def test_classes_of_scores_are_named_in_the_file(
    digits: Digits, images: tuple[np.ndarray, np.ndarray], pack: Pack, files: Path
) -> None:
    names = [f"digit {at}" for at in range(10)]
    extra = {"classes.json": json.dumps(names)}
    torch.jit.save(torch.jit.script(digits), files / "named.pt", _extra_files=extra)
    package = pack(files / "named.pt", images[0][:40])
    assert package.manifest.classes == tuple(names)
    assert [one.name for one in package.manifest.signature.outputs] == ["label", "scores"]
    assert package.manifest.engine == "onnxruntime"


def test_a_traced_script_keeps_what_it_was_traced_with(
    digits: Digits, images: tuple[np.ndarray, np.ndarray], pack: Pack, files: Path
) -> None:
    torch.jit.save(torch.jit.trace(digits, torch.from_numpy(images[0][:3])), files / "traced.pt")
    assert pack(files / "traced.pt", images[0][:40]).manifest.engine == "onnxruntime"


def test_files_are_known_by_what_is_in_them(files: Path, tmp_path: Path) -> None:
    for name, suffix in (("digits.pt2", ".pt2"), ("digits.pt", ".pt")):
        other = tmp_path / "model.joblib"
        other.write_bytes((files / name).read_bytes())
        assert detect(other)[0::2] == ("torch", suffix)


def test_a_pickled_module_is_refused_with_what_to_do(digits: Digits, tmp_path: Path, pack: Pack) -> None:
    torch.save(digits, tmp_path / "whole.pt")
    with pytest.raises(Untrusted, match="pickled module") as refusal:
        pack(tmp_path / "whole.pt")
    assert refusal.value.code == "build.pickled_module"
    assert "torch.export.save" in refusal.value.hint


def test_weights_of_another_class_or_none_at_all_are_refused(digits: Digits, tmp_path: Path, pack: Pack) -> None:
    (tmp_path / "model.py").write_text(SOURCE)
    with pytest.raises(BadConfig) as refusal:
        pack(tmp_path, np.zeros((4, 1, 8, 8), np.float32))
    assert refusal.value.code == "build.no_weights"
    torch.save({**digits.state_dict(), "more": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(PenstockError) as refusal:
        pack(tmp_path, np.zeros((4, 1, 8, 8), np.float32))
    assert refusal.value.code == "build.other_weights"


def test_a_program_of_one_batch_size_says_how_to_export_it(digits: Digits, tmp_path: Path, pack: Pack) -> None:
    torch.export.save(torch.export.export(digits, (torch.zeros(2, 1, 8, 8),)), tmp_path / "fixed.pt2")
    with pytest.raises(InvalidInput) as refusal:
        pack(tmp_path / "fixed.pt2")
    assert refusal.value.code == "build.fixed_batch"
    assert "dynamic_shapes" in refusal.value.hint
