"""What TensorFlow's files would run is told without TensorFlow: files that it wrote, each spoiled in one place."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.build.assemble import build
from penstock.build.formats.keras import KerasFormat
from penstock.build.formats.savedmodel import SavedModelFormat, audit_folder
from penstock.build.request import BuildRequest
from penstock.build.sources import archive_source, find_source
from penstock.build.tensorflow.checkpoint_index import INDEX, require_contained
from penstock.build.tensorflow.keras_config import CONFIG, audit_config
from penstock.build.tensorflow.saved_messages import read_saved_model
from penstock.errors import BadConfig, InvalidInput, NotFound, PenstockError, Untrusted

GOLDEN = Path(__file__).parents[1] / "golden" / "tensorflow"
KERAS = GOLDEN / "logistic.keras"
OPERATIONS = [
    *("ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "EagerPyFunc", "PyFuncStateless", "ImmutableConst", "Send"),
    *("InitializeTableFromTextFileV2", "TextLineDataset", "XlaCallModule", "PrintV2", "RpcCall", "Restore", "Save"),
    *("DecodeProtoV2", "MyCustomOp"),
]
SHARD = "variables/variables.data-00000-of-00001"

Spoil = Callable[[Any], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A SavedModel to spoil."""
    return Path(shutil.copytree(GOLDEN / "logistic", tmp_path / "model"))


def spoiled(folder: Path, spoil: Spoil) -> Path:
    """The folder with another ``saved_model.pb``."""
    saved = read_saved_model((folder / "saved_model.pb").read_bytes(), "")
    spoil(saved.meta_graphs[0])
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    return folder


def function(meta: Any, part: str) -> Any:
    return next(one for one in meta.graph_def.library.function if part in one.signature.name)


def test_what_tensorflow_wrote_is_let_through(folder: Path) -> None:
    audit = audit_folder(folder)
    assert audit.refused == ()
    assert {"tensorflow", "MatMul", "Sigmoid", "RestoreV2"} <= set(audit.names)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("place", ["graph", "function"])
def test_an_operation_that_is_not_listed_is_refused_by_its_place(folder: Path, operation: str, place: str) -> None:
    def spoil(meta: Any) -> None:
        nodes = meta.graph_def.node if place == "graph" else function(meta, "call").node_def
        nodes.add(name="spoiled", op=operation)

    (refused,) = audit_folder(spoiled(folder, spoil)).refused
    assert refused.startswith(f"{operation} (in ")
    assert ("the graph" in refused) == (place == "graph")


def call_from_function(meta: Any) -> None:
    saver = function(meta, "traced_save").signature.name
    function(meta, "wrapper").node_def.add(name="spoiled", op="StatefulPartitionedCall").attr["f"].func.name = saver


def call_by_its_name(meta: Any) -> None:
    function(meta, "wrapper").node_def.add(name="spoiled", op=function(meta, "traced_save").signature.name)


def call_inside_of_a_list(meta: Any) -> None:
    branches = function(meta, "wrapper").node_def.add(name="spoiled", op="Case").attr["branches"]
    inner = branches.list.func.add(name="other").attr["f"]
    inner.func.name = function(meta, "traced_restore").signature.name


def restore_in_a_function(meta: Any) -> None:
    function(meta, "wrapper").node_def.add(name="spoiled", op="RestoreV2")


def as_an_object(meta: Any) -> None:
    meta.object_graph_def.concrete_functions[function(meta, "traced_save").signature.name].SetInParent()


def as_a_gradient(meta: Any) -> None:
    saver = function(meta, "traced_save").signature.name
    meta.graph_def.library.gradient.add(function_name="any", gradient_func=saver)


def by_a_signature(meta: Any) -> None:
    meta.signature_def["serving_default"].outputs["spoiled"].name = meta.saver_def.save_tensor_name


def by_an_initialiser(meta: Any) -> None:
    meta.collection_def["saved_model_main_op"].node_list.value.append(meta.saver_def.restore_op_name)


def behind_a_control_edge(meta: Any) -> None:
    name = meta.signature_def["serving_default"].outputs["output_0"].name.partition(":")[0]
    node = next(one for one in meta.graph_def.node if one.name == name)
    node.input.append(f"^{meta.saver_def.restore_op_name}")


@pytest.mark.parametrize(
    "spoil",
    [
        call_from_function,
        call_by_its_name,
        call_inside_of_a_list,
        restore_in_a_function,
        as_an_object,
        as_a_gradient,
        by_a_signature,
        by_an_initialiser,
        behind_a_control_edge,
    ],
)
def test_nothing_but_the_saver_may_touch_files_of_variables(folder: Path, spoil: Spoil) -> None:
    assert audit_folder(spoiled(folder, spoil)).refused


def test_an_object_of_somebodys_class_is_refused(folder: Path) -> None:
    def spoil(meta: Any) -> None:
        meta.object_graph_def.nodes[0].registered_name = "mine.Model"

    assert audit_folder(spoiled(folder, spoil)).refused == ("a class registered as mine.Model",)


def test_names_that_are_none_are_not_repeated(folder: Path) -> None:
    def spoil(meta: Any) -> None:
        meta.graph_def.node.add(name="spoiled", op="secret 4111-1111\n")

    assert audit_folder(spoiled(folder, spoil)).refused == ("a name that is none (in the graph)",)


@pytest.mark.parametrize("name", ["saved_model.pbtxt", "saved_model.cpb", "assets/../x.py", "custom_op.so", "model.py"])
def test_files_that_no_saved_model_has_are_refused(folder: Path, name: str) -> None:
    if ".." in name:
        name = "x.py"
    (folder / name).write_bytes(b"x")
    with pytest.raises(Untrusted, match="no SavedModel has"):
        audit_folder(folder)


def test_links_are_refused_before_they_are_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / "words.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(Untrusted):
        audit_folder(folder)
    found = find_source(folder)
    assert found is not None
    with pytest.raises(Untrusted, match="link"):
        archive_source(found, tmp_path / "archive")


def test_an_asset_outside_of_the_folder_is_refused(folder: Path) -> None:
    def spoil(meta: Any) -> None:
        meta.asset_file_def.add(filename="../../../etc/hosts")

    with pytest.raises(Untrusted, match="asset"):
        audit_folder(spoiled(folder, spoil))


def test_several_models_and_old_ones_are_told_apart(folder: Path) -> None:
    old = spoiled(folder, lambda meta: meta.ClearField("object_graph_def"))
    with pytest.raises(BadConfig, match="TensorFlow 1"):
        audit_folder(old)
    saved = read_saved_model((GOLDEN / "logistic" / "saved_model.pb").read_bytes(), "")
    saved.meta_graphs.add().CopyFrom(saved.meta_graphs[0])
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    with pytest.raises(InvalidInput, match="2 models"):
        audit_folder(folder)


def test_two_functions_of_one_name_are_refused(folder: Path) -> None:
    def spoil(meta: Any) -> None:
        meta.graph_def.library.function.add().signature.name = function(meta, "wrapper").signature.name

    with pytest.raises(Untrusted, match="one name"):
        audit_folder(spoiled(folder, spoil))


def test_a_field_that_nobody_knows_is_refused(folder: Path) -> None:
    file = folder / "saved_model.pb"
    file.write_bytes(file.read_bytes() + b"\xf2\x07\x01x")  # field 126
    with pytest.raises(Untrusted, match=r"TensorFlow 2\.21"):
        audit_folder(folder)


def test_a_second_part_of_the_graph_behind_the_first_is_read_as_well(folder: Path) -> None:
    """protobuf merges what comes twice: a reader that stops at the first would miss it."""
    saved = read_saved_model((folder / "saved_model.pb").read_bytes(), "")
    more = type(saved)()
    more.meta_graphs.add().graph_def.node.add(name="spoiled", op="ReadFile")
    meta = saved.meta_graphs[0].SerializeToString() + more.meta_graphs[0].SerializeToString()
    length = bytes([len(meta) & 0x7F | 0x80, len(meta) >> 7 & 0x7F | 0x80, len(meta) >> 14])
    (folder / "saved_model.pb").write_bytes(b"\x08\x01\x12" + length + meta)
    assert audit_folder(folder).refused == ("ReadFile (in the graph)",)


def test_the_index_of_variables_holds_to_its_files(folder: Path) -> None:
    index = (folder / INDEX).read_bytes()
    size = (folder / SHARD).stat().st_size
    require_contained(index, {INDEX: len(index), SHARD: size})
    for sizes in ({INDEX: 1}, {INDEX: 1, SHARD: size - 1}, {INDEX: 1, SHARD: size, "variables/variables.data-1": 1}):
        with pytest.raises(Untrusted):
            require_contained(index, sizes)
    for bad in (b"", index[:-1], index[:40], b"\xff" * 400):
        with pytest.raises(Untrusted):
            require_contained(bad, {INDEX: 1, SHARD: size})


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 369), value=st.integers(0, 255))
def test_a_spoiled_index_is_refused_or_still_contained(at: int, value: int) -> None:
    data = bytearray((GOLDEN / "logistic" / INDEX).read_bytes())
    data[at % len(data)] = value
    with suppress(Untrusted):
        require_contained(bytes(data), {INDEX: len(data), SHARD: 674})


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 21_000), value=st.binary(min_size=1, max_size=4))
def test_a_spoiled_graph_raises_nothing_but_refusals(folder: Path, at: int, value: bytes) -> None:
    data = bytearray((GOLDEN / "logistic" / "saved_model.pb").read_bytes())
    data[at : at + len(value)] = value
    (folder / "saved_model.pb").write_bytes(data)
    with suppress(PenstockError):
        audit_folder(folder)


def test_a_named_signature_travels_in_the_archive(folder: Path, tmp_path: Path) -> None:
    for text, signature in ((f"savedmodel:{folder}", ""), (f"savedmodel:{folder}:other", "other"), (str(folder), "")):
        found = find_source(Path(text))
        assert found is not None
        assert (found.folder, found.signature, found.named_code) == (folder, signature, False)
        archive_source(found, tmp_path / "archive")
        assert SavedModelFormat().sniff(tmp_path / "archive") == "/saved_model.pb"
        with zipfile.ZipFile(tmp_path / "archive") as archive:
            assert ("penstock_signature" in archive.namelist()) == bool(signature)
        assert SavedModelFormat().audit(tmp_path / "archive").refused == ()
    with pytest.raises(NotFound):
        find_source(Path(f"savedmodel:{tmp_path}"))
    found = find_source(Path(f"savedmodel:{folder}:no/name of a signature"))
    assert found is not None
    archive_source(found, tmp_path / "archive")
    with pytest.raises(Untrusted):
        SavedModelFormat().audit(tmp_path / "archive")


# -- Keras


def config() -> Any:
    with zipfile.ZipFile(KERAS) as archive:
        return json.loads(archive.read(CONFIG))


def dense(tree: Any) -> Any:
    return tree["config"]["layers"][1]


SPOILS: dict[str, tuple[Spoil, str]] = {
    "lambda layer": (lambda tree: dense(tree).update(class_name="Lambda"), "keras.layers.Lambda"),
    "other module": (lambda tree: dense(tree).update(module="os", class_name="system"), "os.system"),
    "keras function": (lambda tree: dense(tree).update(module="keras.utils", class_name="get_file"), "get_file"),
    "no module": (lambda tree: dense(tree).update(module=None), "Dense"),
    "registered": (lambda tree: dense(tree).update(registered_name="mine>Dense"), "mine>Dense"),
    "loads a model": (lambda tree: dense(tree).update(class_name="TFSMLayer"), "TFSMLayer"),
    "torch": (lambda tree: dense(tree).update(class_name="TorchModuleWrapper"), "TorchModuleWrapper"),
    "function": (
        lambda tree: dense(tree)["config"].update(
            activation={"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "exec"}
        ),
        "builtins.function",
    ),
    "marshalled": (
        lambda tree: dense(tree)["config"].update(activation={"class_name": "__lambda__", "config": {"value": "4wAA"}}),
        "__lambda__",
    ),
    "type": (
        lambda tree: dense(tree)["config"].update(
            activation={"class_name": "__typespec__", "spec_name": "x", "module": "os", "config": []}
        ),
        "__typespec__",
    ),
    "nested": (
        lambda tree: dense(tree)["config"].update(units=[[{"class_name": "Lambda", "config": {}, "module": "keras"}]]),
        "keras.Lambda",
    ),
    "under fn": (lambda tree: dense(tree)["config"].update(fn="anything"), "fn"),
    "reads a file": (lambda tree: dense(tree)["config"].update(vocabulary="/etc/passwd"), "vocabulary"),
    "no text": (lambda tree: dense(tree).update(module=["os"]), "?.Dense"),
    "no name": (lambda tree: dense(tree).update(class_name={"a": 1}), "?"),
}


@pytest.mark.parametrize("name", SPOILS)
def test_what_is_code_in_a_configuration_is_refused_by_its_place(name: str) -> None:
    spoil, named = SPOILS[name]
    tree = config()
    spoil(tree)
    (refused,) = audit_config(json.dumps(tree).encode()).refused
    assert named in refused
    assert " at config.config.layers[1]" in refused
    assert "passwd" not in refused


def test_what_a_model_was_trained_with_is_not_loaded_and_not_asked_for() -> None:
    tree = config()
    tree["compile_config"] = {"loss": {"module": "mine", "class_name": "function", "config": "loss"}}
    assert audit_config(json.dumps(tree).encode()).refused == ()
    dense(tree)["compile_config"] = tree["compile_config"]
    assert audit_config(json.dumps(tree).encode()).refused


def test_a_configuration_that_says_one_thing_twice_is_refused() -> None:
    text = json.dumps(config())
    twice = text.replace('"class_name": "Sequential"', '"class_name": "Sequential", "class_name": "Sequential"', 1)
    for bad in (twice, text[:-1], "[1]", "{}", '{"class_name": ' * 5000, "\xff"):
        with pytest.raises(Untrusted):
            audit_config(bad.encode("latin-1"))


def packed(place: Path, changes: dict[str, bytes], *, names: Callable[[str], str] = str) -> Path:
    """The Keras file with other members."""
    with zipfile.ZipFile(KERAS) as archive:
        members = {name: archive.read(name) for name in archive.namelist()} | changes
    with zipfile.ZipFile(place, "w") as archive:
        for name, data in members.items():
            archive.writestr(names(name), data)
    return place


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "assets/../../outside", "model.py", "weights.npz"])
def test_a_zip_with_more_than_keras_writes_is_refused_and_not_unpacked(tmp_path: Path, name: str) -> None:
    file = packed(tmp_path / "model", {name: b"outside"})
    assert KerasFormat().sniff(file) == ".keras"
    with pytest.raises(Untrusted):
        build(file, BuildRequest(name="model", out=tmp_path / "out", lock=False))
    assert not (tmp_path / "outside").exists()


def test_a_zip_with_one_member_twice_is_refused(tmp_path: Path) -> None:
    file = packed(tmp_path / "model", {})
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(CONFIG, b"{}")
    with pytest.raises(Untrusted):
        KerasFormat().audit(file)


def test_a_zip_in_front_of_which_something_stands_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"PK\x03\x04" + b"#" * 60 + KERAS.read_bytes())
    with pytest.raises(Untrusted):
        KerasFormat().audit(file)


def test_older_files_are_refused_with_a_way_on(tmp_path: Path) -> None:
    file = tmp_path / "model.h5"
    file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000))
    assert KerasFormat().sniff(file) == ".h5"
    with pytest.raises(BadConfig) as refusal:
        build(file, BuildRequest(name="model", out=tmp_path / "out", lock=False))
    assert "model.keras" in refusal.value.hint
    old = packed(tmp_path / "model", {"metadata.json": b'{"keras_version": "2.15.0"}'})
    with pytest.raises(BadConfig, match="version 3"):
        KerasFormat().audit(old)
