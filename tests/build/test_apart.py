"""A large graph's numbers lie beside it from the sandbox to the engine; nobody else's file ever does."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from penstock.build.assemble import COMPILED, put_together
from penstock.build.examine import Laps, examine_original
from penstock.build.formats.onnx import OnnxFormat
from penstock.build.forms import FormTask, make_forms
from penstock.build.graphs.apart import LARGE_BYTES, PAGE_BYTES, NumbersPlace, read_skeleton, settle
from penstock.build.request import BuildRequest
from penstock.build.rows import read_rows
from penstock.build.sources import archive_source, find_source
from penstock.errors import Untrusted
from penstock.gate.contents import content_of
from penstock.packages.archive import pack, unpack
from penstock.packages.manifest import HEAD_OF_NUMBERS, model_bytes
from penstock.packages.read import CHANGED, Package, open_package
from penstock.runtime.engine import Engine, open_engine, prove
from penstock.runtime.graphfile import require_whole

WIDTH = 180
CHANCE = np.random.default_rng(5)
FIRST = (CHANCE.normal(size=(4, WIDTH)) / 2).astype(np.float32)
SECOND = (CHANCE.normal(size=(WIDTH, WIDTH)) / 13).astype(np.float32)
THIRD = (CHANCE.normal(size=(WIDTH, WIDTH)) / 13).astype(np.float32)
ROWS = CHANCE.normal(size=(30, 4)).astype(np.float32)
FEW = 100_000


def graph() -> ModelProto:
    """Three products: a small one, one in bytes, one whose numbers are a list of floats."""
    third = helper.make_tensor("third", TensorProto.FLOAT, THIRD.shape, THIRD.reshape(-1))
    assert not third.raw_data
    constants = [numpy_helper.from_array(FIRST, "first"), numpy_helper.from_array(SECOND, "second"), third]
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Tanh", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["c"]),
        helper.make_node("MatMul", ["c", "third"], ["d"]),
        helper.make_node("ReduceMax", ["d"], ["y"], axes=[1], keepdims=1),
    ]
    body = helper.make_graph(
        nodes,
        "large",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        constants,
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


WANTED = (np.tanh(ROWS @ FIRST) @ SECOND @ THIRD).max(axis=1)


def require_right(engine: Engine) -> None:
    given = engine.run({"x": ROWS})["prediction"]
    np.testing.assert_allclose(given.astype(np.float64), WANTED, rtol=1e-4)
    engine.close()


def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path) -> Package:
    """A package as the sandbox and the process outside of it make it, both here."""
    place = tmp_path / "place"
    for name in ("given", "scratch", "package"):
        (place / name).mkdir(parents=True)
    shutil.copy(model, place / "given" / "model")
    monkeypatch.chdir(place / "scratch")
    frame = pd.DataFrame(ROWS, columns=list("abcd"))
    original = OnnxFormat(apart_bytes=FEW).open(place / "given" / "model")
    examined = examine_original(original, frame, place / "scratch", Laps())
    request = BuildRequest(name="large", out=tmp_path / "out", data=frame, lock=False)
    request.out.mkdir()
    monkeypatch.chdir(tmp_path)
    named = msgspec.structs.replace(examined, kind="onnx", suffix=".onnx")
    return put_together(place, named, read_rows(request), request)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    onnx.save(graph(), tmp_path / "model.onnx")
    return packaged(tmp_path, monkeypatch, tmp_path / "model.onnx")


def test_large_numbers_are_stepped_over() -> None:
    data = graph().SerializeToString()
    found = read_skeleton(io.BytesIO(data))
    assert found is not None
    assert len(found.model.SerializeToString()) < FIRST.nbytes + 2000
    assert [data[at : at + length] for at, length in found.places.values()] == [SECOND.tobytes(), THIRD.tobytes()]
    assert [found.model.graph.initializer[at].name for at in found.places] == ["second", "third"]


def test_numbers_in_a_form_of_their_own_stay() -> None:
    model = graph()
    long = np.arange(20_000, dtype=np.int64)
    model.graph.initializer.append(helper.make_tensor("long", TensorProto.INT64, long.shape, long))
    twice = numpy_helper.from_array(SECOND, "twice")
    twice.float_data.extend([1.0])
    model.graph.initializer.append(twice)
    found = read_skeleton(io.BytesIO(model.SerializeToString()))
    assert found is not None
    assert list(found.places) == [1, 2]
    assert found.model.graph.initializer[3:] == model.graph.initializer[3:]


def test_what_is_cut_or_turned_is_no_graph() -> None:
    data = graph().SerializeToString()
    for cut in (*range(0, 400, 7), *range(400, len(data) - 1, 20_011)):
        assert read_skeleton(io.BytesIO(data[:cut])) is None
    for at in range(2, 300):
        read_skeleton(io.BytesIO(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]))


@pytest.mark.parametrize(("most_bytes", "files"), [(1 << 30, 1), (LARGE_BYTES, 2)])
def test_they_lie_in_files_as_onnx_has_them(tmp_path: Path, most_bytes: int, files: int) -> None:
    whole = tmp_path / "whole.onnx"
    onnx.save(graph(), whole)
    with whole.open("rb") as file:
        found = read_skeleton(file)
    assert found is not None
    (tmp_path / "apart").mkdir()
    places = {at: NumbersPlace(whole, *place) for at, place in found.places.items()}
    settle(found.model, places, tmp_path / "apart", apart_bytes=FEW, most_bytes=most_bytes)
    beside = {one.name: one.stat().st_size for one in (tmp_path / "apart").iterdir()}
    assert len(beside) == files
    assert require_whole(found.model.SerializeToString(), beside)
    for tensor in found.model.graph.initializer[1:]:
        assert int({one.key: one.value for one in tensor.external_data}["offset"]) % PAGE_BYTES == 0
    onnx.load_external_data_for_model(found.model, str(tmp_path / "apart"))
    for tensor, numbers in zip(found.model.graph.initializer, (FIRST, SECOND, THIRD), strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), numbers)


def test_few_numbers_stay_in_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(graph(), tmp_path / "model.onnx")
    original = OnnxFormat().open(tmp_path / "model.onnx")
    assert [one.name for one in tmp_path.iterdir()] == ["model.onnx"]
    (compiled,) = original.graphs((), ())
    assert not require_whole(compiled())


def test_more_than_can_be_mapped_is_refused_in_words(tmp_path: Path) -> None:
    """As the sandbox has its limit; in a process of its own, since a limit cannot be told from this one's needs."""
    onnx.save(graph(), tmp_path / "model.onnx")
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from penstock.build.formats.onnx import OnnxFormat, _SPARE_BYTES\n"
        "from penstock.errors import InvalidInput\n"
        "has = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (has + _SPARE_BYTES + int(sys.argv[1]), resource.RLIM_INFINITY))\n"
        "try:\n    OnnxFormat(apart_bytes=100_000).open(Path('model.onnx'))\n"
        "except InvalidInput as error:\n    print(error.code, error.message)\n"
    )
    for room, said in ((100_000, "build.too_large the graph's numbers are 0 MiB"), (64 << 20, "")):
        (tmp_path / "model.data").unlink(missing_ok=True)
        words = [sys.executable, "-c", script, str(room)]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.startswith(said), done
        assert bool(said) == bool(done.stdout)
        assert (tmp_path / "model.data").exists() != bool(said)


def test_a_package_keeps_them_beside_its_graph(package: Package, tmp_path: Path) -> None:
    numbers = "model/model.data"
    assert {COMPILED, numbers} <= package.manifest.files.keys()
    assert package.manifest.files[COMPILED].size < 10_000
    assert model_bytes(package.manifest) > SECOND.nbytes + THIRD.nbytes
    parity = package.manifest.parity
    assert parity is not None
    assert parity.passed
    unpack(pack(package.folder, tmp_path / "a.tar"), tmp_path / "copy")
    copy = open_package(tmp_path / "copy", digest=package.digest)
    engine = open_engine(copy)
    prove(engine, copy)
    require_right(engine)
    with (tmp_path / "copy" / numbers).open("r+b") as file:
        file.seek(PAGE_BYTES + 5)
        file.write(b"\x41")
    with pytest.raises(Untrusted):
        open_package(tmp_path / "copy", digest=package.digest)


def test_numbers_that_are_changed_after_they_were_verified_are_refused(package: Package) -> None:
    with (package.folder / "model" / "model.data").open("r+b") as file:
        file.seek(PAGE_BYTES + 5)
        file.write(b"\x41")
    with pytest.raises(Untrusted) as refusal:
        open_engine(package)
    assert refusal.value.code == CHANGED


def table() -> ModelProto:
    """A row of a table by the first of four numbers: nothing that the runtime could pack anew and let go of."""
    nodes = [
        helper.make_node("Gather", ["x", "zero"], ["first"], axis=1),
        helper.make_node("Cast", ["first"], ["at"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "at"], ["row"]),
        helper.make_node("ReduceMax", ["row"], ["y"], axes=[1], keepdims=1),
    ]
    body = helper.make_graph(
        nodes,
        "table",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.array(0), "zero"), numpy_helper.from_array(SECOND, "table")],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("how", ["written", "cut", "replaced"])
def test_numbers_that_are_changed_while_they_are_served_are_not_those_that_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """The kernel reads a mapped page again from whatever its file holds by then."""
    onnx.save(table(), tmp_path / "model.onnx")
    package = packaged(tmp_path, monkeypatch, tmp_path / "model.onnx")
    numbers = package.folder / "model" / "model.data"
    engine = open_engine(package)
    if how == "written":
        with numbers.open("r+b") as file:
            file.seek(PAGE_BYTES)
            file.write(b"\x41" * (numbers.stat().st_size - PAGE_BYTES))
    elif how == "cut":
        os.truncate(numbers, 10)
    else:
        numbers.unlink()
        numbers.write_bytes(b"")
    given = engine.run({"x": np.full((WIDTH, 4), 1.0, np.float32) * np.arange(WIDTH, dtype=np.float32)[:, None]})
    np.testing.assert_array_equal(given["prediction"], SECOND.max(axis=1))
    engine.close()
    with pytest.raises(Untrusted):
        open_package(package.folder, digest=package.digest)


def test_a_graph_whose_files_are_several_keeps_one_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "saved").mkdir()
    onnx.save(
        graph(), tmp_path / "saved" / "net.onnx", save_as_external_data=True, location="theirs.bin", size_threshold=0
    )
    source = find_source(tmp_path / "saved" / "net.onnx")
    assert source is not None
    archive_source(source, tmp_path / "archive")
    made = packaged(tmp_path, monkeypatch, tmp_path / "archive")
    assert "model/model.data" in made.manifest.files
    engine = open_engine(made)
    require_right(engine)


ELSEWHERE: dict[str, dict[str, str | None]] = {
    "another file": {"location": "golden.json"},
    "a path": {"location": "../model/model.data"},
    "an address in memory": {"location": "*/_ORT_MEM_ADDR_/*"},
    "beyond the file": {"offset": "99999999"},
    "no offset": {"offset": ""},
    "a sign": {"offset": "-4096"},
    "no length": {"length": None},
    "more words": {"checksum": "abc"},
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_other_place_is_taken(package: Package, name: str) -> None:
    file = package.folder / COMPILED
    beside = {"model.data": (package.folder / "model" / "model.data").stat().st_size}
    model = onnx.load(file, load_external_data=False)
    assert require_whole(file.read_bytes(), beside)
    with pytest.raises(Untrusted):
        require_whole(file.read_bytes())
    tensor = model.graph.initializer[1]
    said = {one.key: one.value for one in tensor.external_data} | ELSEWHERE[name]
    del tensor.external_data[:]
    for key, value in said.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    with pytest.raises(Untrusted):
        require_whole(model.SerializeToString(), beside)
    if name in ("another file", "a path", "an address in memory", "beyond the file", "a sign"):
        file.write_bytes(model.SerializeToString())
        with pytest.raises(Untrusted):  # as the process outside of the sandbox asks it
            OnnxFormat().audit(file)


def test_only_the_graphs_own_constants_may_lie_there(package: Package) -> None:
    model = onnx.load(package.folder / COMPILED, load_external_data=False)
    moved = model.graph.initializer[1]
    model.graph.node.append(helper.make_node("Constant", [], ["k"], value=moved))
    with pytest.raises(Untrusted):
        require_whole(model.SerializeToString(), {"model.data": 1 << 30})


def test_a_file_of_numbers_is_told_by_its_head(tmp_path: Path) -> None:
    (tmp_path / "model.data").write_bytes(HEAD_OF_NUMBERS + b"\x80\x04cos\nsystem\n")
    assert content_of("model/model.data", tmp_path / "model.data")[1:] == ("a graph's numbers", False, "")


def test_it_can_be_compressed(package: Package) -> None:
    task = FormTask(graph=str(package.entry), rows="", outputs=("prediction",), compression="dynamic_int8")
    made = make_forms(task, {"x": ROWS})
    assert any(one.graph and len(one.graph) < THIRD.nbytes for one in made), made
    assert not any(one.graph and require_whole(one.graph) for one in made)
