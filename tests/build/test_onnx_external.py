"""Graphs whose numbers lie in files beside them become one graph; what points elsewhere is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from penstock.build.assemble import build
from penstock.build.formats.onnx import OnnxFormat
from penstock.build.graphs import externals
from penstock.build.graphs.externals import take_in, tensors_in
from penstock.build.graphs.files import find_graph
from penstock.build.request import BuildRequest
from penstock.build.sources import archive_source, find_source
from penstock.errors import InvalidInput, PenstockError, Untrusted
from penstock.runtime.engine import open_engine, prove

WEIGHTS = np.random.default_rng(3).normal(size=(4, 300)).astype(np.float32)
BIAS = np.arange(300, dtype=np.float64)


def graph() -> onnx.ModelProto:
    """A product with weights of the graph and a bias that is a node's."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(BIAS, "b")),
        helper.make_node("Cast", ["p"], ["q"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["q", "b"], ["y"]),
    ]
    body = helper.make_graph(
        nodes,
        "far",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["N", 300])],
        [numpy_helper.from_array(WEIGHTS, "w")],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def saved(folder: Path, *, one_file: bool = True) -> Path:
    folder.mkdir()
    onnx.save(
        graph(), folder / "net.onnx", save_as_external_data=True, all_tensors_to_one_file=one_file,
        location="net.data" if one_file else None, size_threshold=0, convert_attribute=True,
    )  # fmt: skip
    return folder / "net.onnx"


def request(out: Path) -> BuildRequest:
    return BuildRequest(name="far", out=out, lock=False)


@pytest.mark.parametrize("one_file", [True, False])
@pytest.mark.parametrize("as_folder", [True, False])
def test_a_graph_and_its_data_become_one_graph(tmp_path: Path, one_file: bool, as_folder: bool) -> None:
    file = saved(tmp_path / "m", one_file=one_file)
    (tmp_path / "m" / "README.md").write_text("not of the model")
    package = build(file.parent if as_folder else file, request(tmp_path / "out"))
    assert package.manifest.kind == "onnx"
    model = onnx.load(package.entry, load_external_data=False)
    assert not any(externals.is_outside(one) for one in tensors_in(model))
    engine = open_engine(package)
    prove(engine, package)
    x = np.random.default_rng(4).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_allclose(engine.run({"x": x})["prediction"], (x @ WEIGHTS).astype(np.float64) + BIAS, rtol=1e-6)
    engine.close()


def test_it_is_known_by_its_content(tmp_path: Path) -> None:
    file = saved(tmp_path / "m")
    wrong = file.rename(file.with_name("net.bin"))
    found = find_source(wrong)
    assert found is not None
    assert found.names == ("net.bin", "net.data")
    archive_source(found, tmp_path / "a.zip")
    assert OnnxFormat().sniff(tmp_path / "a.zip") == ".onnx"
    with ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("more.txt", "of nobody")
    assert OnnxFormat().sniff(tmp_path / "a.zip") == "", "an archive that holds more than a graph is something else"


def test_a_graph_alone_is_one_file(tmp_path: Path) -> None:
    onnx.save(graph(), tmp_path / "net.onnx")
    assert find_graph(tmp_path / "net.onnx") is None
    assert find_graph(tmp_path) == (tmp_path, ("net.onnx",))


Say = Callable[[onnx.ModelProto], None]


def said(**words: str | None) -> Say:
    """Changes what the first weights say of their place; None leaves the word out."""

    def change(model: onnx.ModelProto) -> None:
        (tensor,) = model.graph.initializer
        known = {one.key: one.value for one in tensor.external_data} | words
        del tensor.external_data[:]
        for key, value in known.items():
            if value is not None:
                entry = tensor.external_data.add()
                entry.key, entry.value = key, value

    return change


def twice(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].external_data.add(key="location", value="net.data")


def own_numbers(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].raw_data = b"1234"


def of_text(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = TensorProto.STRING


def without_size(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -1


WRONG: dict[str, Say] = {
    "an absolute place": said(location="/etc/hostname", length=None),
    "a place above": said(location="../secret.bin"),
    "a place above, further in": said(location="a/../../secret.bin"),
    "a place with a backslash": said(location="a\\net.data"),
    "a hidden place": said(location=".net.data"),
    "a file that is not there": said(location="none.data"),
    "a link": said(location="link.data"),
    "a hard link": said(location="second.data"),
    "a folder that is a link": said(location="linked/secret.bin"),
    "a folder": said(location="folder"),
    "no place": said(location=None),
    "an offset beyond": said(offset="999999999"),
    "an offset below": said(offset="-1"),
    "an offset that is no number": said(offset="1e3"),
    "a length beyond": said(length="999999999"),
    "a length too short": said(length="16"),
    "a length that is no number": said(length="0x10"),
    "an unknown word": said(basepath="/etc"),
    "a place twice": twice,
    "numbers of its own as well": own_numbers,
    "text": of_text,
    "no size": without_size,
}


@pytest.mark.parametrize("name", WRONG)
def test_what_points_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    file = saved(tmp_path / "m")
    secret = tmp_path / "secret.bin"
    secret.write_bytes(WEIGHTS.tobytes() * 2)
    (tmp_path / "m" / "folder").mkdir()
    (tmp_path / "m" / "link.data").symlink_to(secret)
    (tmp_path / "m" / "linked").symlink_to(tmp_path)
    shutil.copy(secret, tmp_path / "m" / "first.data")
    os.link(tmp_path / "m" / "first.data", tmp_path / "m" / "second.data")
    model = onnx.load(file, load_external_data=False)
    WRONG[name](model)
    file.write_bytes(model.SerializeToString())
    with pytest.raises((Untrusted, InvalidInput)):  # as the sandbox sees it, given the whole folder
        take_in(model, file.parent)
    source = find_source(file)
    assert source is not None
    assert not {"link.data", "second.data", "linked/secret.bin", "../secret.bin"} & set(source.names)
    if name in ("an absolute place", "a link", "an offset beyond"):  # and as a person does: each takes a process
        with pytest.raises(PenstockError) as refusal:
            build(file, request(tmp_path / "out"))
        assert refusal.value.code in ("build.external_data", "packages.untrusted")


def test_the_rest_of_that_test_is_right(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path / "m"), load_external_data=False)
    said()(model)
    take_in(model, tmp_path / "m")
    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), WEIGHTS)


def test_more_than_one_message_can_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = onnx.load(saved(tmp_path / "m"), load_external_data=False)
    monkeypatch.setattr(externals, "MAX_GRAPH_BYTES", 4000)
    with pytest.raises(InvalidInput) as refusal:
        take_in(model, tmp_path / "m")
    assert refusal.value.code == "build.too_large"


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path / "m", one_file=False)
    monkeypatch.setattr("penstock.build.graphs.files.MAX_LOCATIONS", 1)
    with pytest.raises(InvalidInput):
        find_graph(file)


def test_a_file_of_more_than_two_gibibytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """One of zeros that takes no room: what is read of it would be seen in the time."""
    place = saved(tmp_path / "given")
    os.truncate(place.with_name("net.data"), 5 << 30)
    with pytest.raises(InvalidInput, match=r"5\.0 GiB") as refused:
        build(place, request(tmp_path / "out"))
    assert (refused.value.code, refused.value.where) == ("build.too_large", "net.data")
    assert "all_tensors_to_one_file=False" in refused.value.hint
