"""PyTorch's files, read before PyTorch sees them: what would do more than compute is refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.frameworks.torch_for_tests import Digits, digit_images, trained_digits, trained_encoder, write_files

from penstock.build.format import detect
from penstock.build.formats.torch import TorchFormat
from penstock.errors import Untrusted


@pytest.fixture(scope="session")
def digits() -> Digits:
    return trained_digits(digit_images())


@pytest.fixture(scope="session")
def files(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write_files(folder, digits, trained_encoder(), np.zeros((3, 1, 8, 8), np.float32))
    return folder


def test_ordinary_files_name_nothing_strange(files: Path) -> None:
    for name in ("digits.pt2", "encoder.pt2", "waves.pt2", "digits.pt"):
        audit = TorchFormat().audit(files / name)
        assert audit.names == ("torch",)
        assert not audit.refused


def test_old_files_and_weights_alone_are_refused(digits: Digits, tmp_path: Path) -> None:
    known = TorchFormat()
    torch.save(digits.state_dict(), tmp_path / "weights.pt")
    torch.save(digits.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name, code in (("weights.pt", "build.only_weights"), ("old.pt", "build.legacy_torch")):
        assert detect(tmp_path / name)[0] == "torch"
        with pytest.raises(Untrusted) as refusal:
            known.audit(tmp_path / name)
        assert refusal.value.code == code


def rewritten(source: Path, place: Path, change: Callable[[str, bytes], bytes | None], **more: bytes) -> Path:
    """A copy with other contents, as PyTorch itself lays its zips out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as new:
        for one in old.infolist():
            data = change(one.filename.partition("/")[2], old.read(one))
            if data is not None:
                new.writestr(zipfile.ZipInfo(one.filename), data)
        for name, data in more.items():
            new.writestr(zipfile.ZipInfo(f"{source.stem}/{name}"), data)
    return place


def same(name: str, data: bytes) -> bytes:
    del name
    return data


SPOILT_PROGRAMS: dict[str, Callable[[dict], object]] = {
    "operator": lambda tree: tree["graph_module"]["graph"]["nodes"][0].update(target="torch.hub.load"),
    "module": lambda tree: tree["graph_module"]["graph"]["nodes"][0].update(target="torch.os.system"),
    "file": lambda tree: tree["graph_module"]["graph"]["nodes"][0].update(target="torch.ops.aten.from_file.default"),
    "size": lambda tree: tree["graph_module"]["graph"]["sym_int_values"].update(
        s0={"as_expr": {"expr_str": "__import__('os').getpid()", "hint": None}}
    ),
    "attribute": lambda tree: tree["graph_module"]["graph"]["sym_int_values"].update(
        s0={"as_expr": {"expr_str": "Symbol.__init__.__globals__", "hint": None}}
    ),
    "guard": lambda tree: tree.update(guards_code=["L['image'].size()[0] == __import__('os').getpid()"]),
    "name": lambda tree: tree["graph_module"]["graph"]["nodes"][0].update(name="x=1\nimport os"),
    "size's name": lambda tree: tree["graph_module"]["graph"]["nodes"][0]["outputs"].append(
        {"as_sym_int": {"as_name": "x=print(1)"}}
    ),
    "argument": lambda tree: tree["graph_module"]["module_call_graph"][0]["signature"].update(
        forward_arg_names=["a=print(1)"]
    ),
    "outputs": lambda tree: tree["graph_module"]["module_call_graph"][0]["signature"].update(
        out_spec='[1, {"type": "collections.defaultdict", "context": "{}", "children_spec": []}]'
    ),
}


@pytest.mark.parametrize("spoil", SPOILT_PROGRAMS)
def test_a_program_that_would_do_more_than_compute_is_refused(files: Path, tmp_path: Path, spoil: str) -> None:

    def change(name: str, data: bytes) -> bytes:
        if name != "models/model.json":
            return data
        tree = json.loads(data)
        SPOILT_PROGRAMS[spoil](tree)
        return json.dumps(tree).encode()

    known = TorchFormat()
    assert not known.audit(rewritten(files / "digits.pt2", tmp_path / "same.pt2", same)).refused
    spoilt = rewritten(files / "digits.pt2", tmp_path / "spoilt.pt2", change)
    try:
        assert known.audit(spoilt).refused
    except Untrusted as refusal:
        assert refusal.code == "build.odd_torch"  # noqa: PT017


@pytest.mark.parametrize(
    ("file", "name", "data"),
    [
        ("digits.pt2", "data/aotinductor/model/model.so", b"\x7fELF"),
        ("digits.pt2", "data/constants/opaque_obj_0", b"\x80\x02."),
        ("digits.pt2", "data/constants/custom_obj_0", b"\x80\x02."),
        ("digits.pt2", "data/weights/other.pt", b"\x80\x02cos\nsystem\n(S'true'\ntR."),
        ("digits.pt", "code/__torch__/more.py", b"def f(x: str) -> None:\n  torch.save(x, x)\n"),
        ("digits.pt", "code/__torch__/more.py", b"def f(x: str):\n  return ops.mine.run(x)\n"),
        ("digits.pt", "code/__torch__/more.py", b"def f(x: str):\n  return torch . from_file(x)\n"),
        ("digits.pt", "data/more.pkl", b"\x80\x02cos\nsystem\n(S'true'\ntR."),
        ("digits.pt", "library.so", b"\x7fELF"),
    ],
)
def test_a_member_that_no_such_file_has_is_refused(
    files: Path, tmp_path: Path, file: str, name: str, data: bytes
) -> None:
    spoilt = rewritten(files / file, tmp_path / file, same, **{name: data})
    try:
        assert TorchFormat().audit(spoilt).refused
    except Untrusted as refusal:
        assert refusal.code == "build.odd_torch"  # noqa: PT017


@pytest.mark.parametrize("file", ["digits.pt2", "digits.pt"])
def test_a_pickle_in_a_file_names_tensors_alone(files: Path, tmp_path: Path, file: str) -> None:
    evil = b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R."

    def change(name: str, data: bytes) -> bytes:
        if name == "data.pkl":
            return evil
        if name == "data/sample_inputs/model.pt":
            (tmp_path / "inner.pt").write_bytes(data)
            return rewritten(tmp_path / "inner.pt", tmp_path / "evil.pt", change).read_bytes()
        return data

    assert TorchFormat().audit(rewritten(files / file, tmp_path / file, change)).refused == ("posix.system",)
