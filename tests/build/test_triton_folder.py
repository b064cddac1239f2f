"""Triton's repositories: the configuration read as Triton reads it, the graph held to it, its names kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import model_config_pb2

from penstock.build.assemble import build
from penstock.build.request import BuildRequest
from penstock.build.triton.pbtxt import Word, read_fields
from penstock.build.triton.repository import TritonConfig, TritonTensor, find_triton, parse_triton
from penstock.errors import BadConfig, InvalidInput, NotFound, PenstockError, Untrusted
from penstock.runtime.engine import open_engine, prove

CONFIG = """
# Of Triton's own example, more or less.
name: "simple"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [
  { name: "INPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
  { name: "INPUT1" data_type: TYPE_INT32 dims: [ 16 ] }
]
output [ { name: "OUTPUT0", data_type: TYPE_INT32, dims: [ 16 ] }, { name: "OUTPUT1" data_type: TYPE_INT32 dims: 16 } ]
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
instance_group [ { count: 2 kind: KIND_CPU } ]
parameters { key: "quirk" value: { string_value: "ye" "s\\n" } }
"""


def graph(*, batch: object = "N") -> onnx.ModelProto:
    """Sum and difference of two rows of numbers."""
    sizes = [helper.make_tensor_value_info(name, TensorProto.INT32, [batch, 16]) for name in ("INPUT0", "INPUT1")]
    given = [helper.make_tensor_value_info(f"OUTPUT{at}", TensorProto.INT32, [batch, 16]) for at in (0, 1)]
    nodes = [
        helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
        helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
    ]
    body = helper.make_graph(nodes, "simple", sizes, given)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def repository(place: Path, config: str = CONFIG, *, versions: tuple[str, ...] = ("1",), batch: object = "N") -> Path:
    model = place / "repository" / "simple"
    for version in versions:
        (model / version).mkdir(parents=True)
        onnx.save(graph(batch=batch), model / version / "model.onnx")
    if config:
        (model / "config.pbtxt").write_text(config)
    return place / "repository"


def request(out: Path, **more: object) -> BuildRequest:
    return BuildRequest(name="simple", out=out, lock=False, **more)


def test_a_repository_becomes_a_package_that_its_clients_go_on_asking(tmp_path: Path) -> None:
    place = repository(tmp_path, versions=("1", "2", "10"))
    package = build(Path(f"triton:{place}"), request(tmp_path / "out"))
    signature = package.manifest.signature
    assert [(one.name, one.datatype, one.shape) for one in signature.inputs] == [
        ("INPUT0", "INT32", (-1, 16)),
        ("INPUT1", "INT32", (-1, 16)),
    ]
    assert [(one.name, one.datatype, one.shape) for one in signature.outputs] == [
        ("OUTPUT0", "INT32", (-1, 16)),
        ("OUTPUT1", "INT32", (-1, 16)),
    ]
    engine = open_engine(package)
    prove(engine, package)
    one, two = np.arange(48, dtype=np.int32).reshape(3, 16), np.full((3, 16), 5, np.int32)
    answers = engine.run({"INPUT0": one, "INPUT1": two})
    engine.close()
    np.testing.assert_array_equal(answers["OUTPUT0"], one + two)
    np.testing.assert_array_equal(answers["OUTPUT1"], one - two)


def test_data_beside_the_graph_come_along(tmp_path: Path) -> None:
    weights = np.arange(2048, dtype=np.float32).reshape(16, 128)
    body = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "far",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 128])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    version = tmp_path / "far" / "3" / "model.onnx"
    version.mkdir(parents=True)
    onnx.save(model, version / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "far" / "config.pbtxt").write_text(
        'backend: "onnxruntime" max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: -1 }'
        ' output { name: "y" data_type: TYPE_FP32 dims: 128 } version_policy { specific { versions: [ 3 ] } }'
    )
    package = build(Path(f"triton:{tmp_path / 'far'}"), request(tmp_path / "out"))
    assert set(package.manifest.files) & {"model/w.bin", "model/original/w.bin"} == set()
    engine = open_engine(package)
    prove(engine, package)
    x = np.ones((2, 16), np.float32)
    np.testing.assert_allclose(engine.run({"x": x})["y"], x @ weights)
    engine.close()


def test_the_version_is_the_newest_that_triton_would_serve(tmp_path: Path) -> None:
    place = repository(tmp_path, versions=("1", "2", "10"))
    (place / "simple" / "007").mkdir()
    (place / "simple" / "draft").mkdir()
    assert find_triton(place).version == "10"
    (place / "simple" / "config.pbtxt").write_text(CONFIG + "version_policy: { specific: { versions: [1, 2] } }")
    assert find_triton(place / "simple").version == "2"
    (place / "simple" / "config.pbtxt").write_text(CONFIG + "version_policy: { all { } }")
    assert find_triton(place).version == "10"
    (place / "simple" / "config.pbtxt").write_text(CONFIG + "version_policy: { specific: { versions: 3 } }")
    with pytest.raises(NotFound):
        find_triton(place)


def test_without_a_configuration_the_graph_says_all(tmp_path: Path) -> None:
    place = repository(tmp_path, config="")
    found = find_triton(place)
    assert (found.backend, found.file, found.config) == ("onnxruntime", "model.onnx", None)


def test_one_of_several_models_has_to_be_named(tmp_path: Path) -> None:
    place = repository(tmp_path)
    (place / "other" / "1").mkdir(parents=True)
    with pytest.raises(InvalidInput) as refusal:
        find_triton(place)
    assert "triton:FOLDER/other" in refusal.value.hint
    assert find_triton(place / "simple").folder.name == "simple"
    with pytest.raises(NotFound):
        find_triton(tmp_path / "nowhere")


WRONG = {
    "another name": (CONFIG.replace("INPUT1", "INPUT9"), "inputs are INPUT0, INPUT1"),
    "another type": (CONFIG.replace("TYPE_INT32", "TYPE_INT64"), "INPUT0 is INT64"),
    "another size": (CONFIG.replace("dims: 16", "dims: 17"), r"OUTPUT1 has the sizes \[-1, 17\]"),
    "another rank": (CONFIG.replace("dims: 16", "dims: [16, 1]"), "OUTPUT1 has the sizes"),
    "no batch": (CONFIG.replace("max_batch_size: 8", ""), "INPUT0 has the sizes"),
    "an output that is not there": (CONFIG.replace("OUTPUT1", "OUTPUT2"), "has no OUTPUT2"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_graph_that_is_not_what_its_configuration_says_is_refused(tmp_path: Path, name: str) -> None:
    config, words = WRONG[name]
    place = repository(tmp_path, config)
    with pytest.raises(InvalidInput, match=words):
        build(Path(f"triton:{place}"), request(tmp_path / "out"))


def test_a_graph_with_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no batch of any size") as refusal:
        build(Path(f"triton:{repository(tmp_path, batch=8)}"), request(tmp_path / "out"))
    assert refusal.value.code == "build.fixed_batch"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("ensemble_scheduling { step [ { model_name: 'a' } ] }", "graph of other models"),
        ("sequence_batching { }", "hang on the requests before"),
        ("model_operations { op_library_filename: 'x.so' }", "operators of its own"),
        ("model_transaction_policy { decoupled: true }", "many answers"),
        ("input { name: 'z' data_type: TYPE_FP32 dims: 1 allow_ragged_batch: true }", "different sizes"),
    ],
)
def test_what_would_change_the_answers_is_refused(more: str, words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        parse_triton((CONFIG + more).encode())


@pytest.mark.parametrize(
    ("platform", "words"),
    [
        ("python", "a class of your own"),
        ("tensorrt_plan", "one kind of GPU"),
        ("ensemble", "package each of them"),
        ("tensorflow_graphdef", "SavedModel"),
        ("somebodys", "read here are"),
    ],
)
def test_a_backend_that_is_not_read_is_refused_with_the_way_out(tmp_path: Path, platform: str, words: str) -> None:
    place = repository(tmp_path, f'name: "simple" backend: "{platform}"')
    with pytest.raises(BadConfig) as refusal:
        find_triton(place)
    assert refusal.value.code == "build.triton_backend"
    assert words in refusal.value.hint


@pytest.mark.parametrize(
    "config",
    [
        'name: "other"',
        "name: simple",
        'name: "a" name: "b"',
        "max_batch_size: -1",
        "max_batch_size: 'x'",
        "max_batch_size: 1e3",
        "frobnicate: 1",
        'default_model_filename: "../../etc/passwd"',
        'default_model_filename: "/etc/passwd"',
        "input { name: 'x' data_type: TYPE_WRONG dims: 1 }",
        "input { name: 'x' data_type: 'TYPE_FP32' dims: 1 }",
        "input { name: 'x' data_type: TYPE_FP32 dims: 0 }",
        "input { name: 'x' data_type: TYPE_FP32 dims: -2 }",
        "input { name: 'x' data_type: TYPE_FP32 dims: 1.5 }",
        "input { name: 'x' data_type: TYPE_FP32 surprise: 1 }",
        "input [ { name: 'x' data_type: TYPE_FP32 }, { name: 'x' data_type: TYPE_FP32 } ]",
        "input { data_type: TYPE_FP32 dims: 1 }",
        "input { name: 'x' data_type: TYPE_FP32 dims: 1 reshape { shape: [ ] } }",  # and no batch
        "max_batch_size: 2 input { name: 'x' data_type: TYPE_FP32 dims: [ 2 ] reshape { shape: [ ] } }",
        "input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 4 ] reshape { shape: [ -1, 5 ] } }",
        "input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 4 ] reshape { shape: [ -1, -1 ] } }",
        "input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 4 ] reshape { shape: [ 4, -1 ] } }",
        "input { name: 'x' data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 4, 0 ] } }",
        "input { name: 'x' data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ -2, -2 ] } }",
        "input { name: 'x' data_type: TYPE_FP32 dims: [ 4 ] reshape { shape: [ 4 ] surprise: 1 } }",
        "input { name: 'x' data_type: TYPE_FP32 dims: [ 4 ] reshape: 4 }",
        "output { name: 'x' data_type: TYPE_FP32 dims: [ 4 ] label_filename: '../labels.txt' }",
        "input: 3",
        "version_policy { surprise { } }",
        "version_policy { latest { num_versions: 1 surprise: 2 } }",
        "version_policy: 1",
        "name 'x'",
        "name: 'x",
        "name: \x00",
        "name:",
        "input [ { ] }",
        "input {",
        "}",
        "[ext.field]: 1",
        "a: '\\q'",
        "a: '\\400'",
        "a: 0x1ffffffffffffffff",
        "a: 09",
        "a: 12x",
        "a {" * 40 + "}" * 40,
        "a: 1 " * 60_000,
        "#" + "x" * (1 << 20),
    ],
)
def test_a_configuration_that_says_too_much_or_too_little_is_refused(tmp_path: Path, config: str) -> None:
    with pytest.raises((Untrusted, BadConfig)):
        find_triton(repository(tmp_path, config))


def test_a_link_for_a_configuration_is_refused(tmp_path: Path) -> None:
    place = repository(tmp_path, config="")
    (place / "simple" / "config.pbtxt").symlink_to("/etc/hostname")
    with pytest.raises(Untrusted):
        find_triton(place)


def test_what_it_says_is_what_triton_s_own_reader_reads() -> None:
    ours = parse_triton(CONFIG.encode())
    theirs = text_format.Parse(CONFIG, model_config_pb2.ModelConfig())
    assert ours == TritonConfig(
        name=theirs.name,
        backend="onnxruntime",
        max_batch_size=theirs.max_batch_size,
        inputs=tuple(TritonTensor(one.name, "INT32", tuple(one.dims)) for one in theirs.input),
        outputs=tuple(TritonTensor(one.name, "INT32", tuple(one.dims)) for one in theirs.output),
    )


def as_fields(message: object) -> dict[str, list[object]]:
    """A message of protobuf's own library as our reader tells it."""
    found: dict[str, list[object]] = {}
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            kind = field.message_type.fields_by_name["value"].message_type
            found[field.name] = [
                {"key": [key], "value": [as_fields(value[key]) if kind else value[key]]} for key in sorted(value)
            ]
            continue
        values = list(value) if hasattr(value, "append") or hasattr(value, "add") else [value]
        if field.message_type is not None:
            found[field.name] = [as_fields(one) for one in values]
        elif field.enum_type is not None:
            found[field.name] = [Word(field.enum_type.values_by_number[one].name) for one in values]
        elif field.type == field.TYPE_BOOL:
            found[field.name] = [Word("true" if one else "false") for one in values]
        else:
            found[field.name] = values
    return found


TEXT = st.text(max_size=12)
CONFIGS = st.builds(
    lambda name, batch, dims, key, delay, share: model_config_pb2.ModelConfig(
        name=name,
        max_batch_size=batch,
        input=[model_config_pb2.ModelInput(name=name, data_type=1 + batch % 14, dims=dims)],
        output=[model_config_pb2.ModelOutput(name=key, data_type=11, dims=dims, is_shape_tensor=batch % 2 == 0)] * 2,
        parameters={key: model_config_pb2.ModelParameter(string_value=name), "z": {"string_value": "\\\"'\n"}},
        dynamic_batching={"max_queue_delay_microseconds": delay, "priority_levels": 2},
        instance_group=[{"count": 2, "kind": 2, "gpus": [0, 1]}],
        optimization={"execution_accelerators": {"gpu_execution_accelerator": [{"name": name or "x"}]}},
        model_warmup=[{"name": key or "w", "inputs": {"a": {"dims": dims, "zero_data": True}}}],
        metric_tags={"share": str(share)},
    ),
    TEXT, st.integers(0, 2**31 - 1), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    st.text(min_size=1, max_size=12), st.integers(0, 2**64 - 1), st.floats(allow_nan=False),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(config=CONFIGS, one_line=st.booleans(), short=st.booleans(), angles=st.booleans())
def test_whatever_protobuf_writes_is_read_as_it_was(config: object, one_line: bool, short: bool, angles: bool) -> None:
    text = text_format.MessageToString(
        config, as_one_line=one_line, use_short_repeated_primitives=short, pointy_brackets=angles
    )
    assert read_fields(text.encode()) == as_fields(config)


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.sampled_from("ab1-.:,;[]{}<>\"'\\ \nx0e#"), max_size=40))
def test_any_text_is_read_or_refused_and_never_more_loosely_than_protobuf(text: str) -> None:
    try:
        read_fields(text.encode())
    except PenstockError:
        return
    # What is read here, protobuf reads too, but for fields that it does not know.
    refused = ""
    try:
        text_format.Parse(text, model_config_pb2.ModelConfig(), allow_unknown_field=True)
    except text_format.ParseError as error:
        refused = str(error)
    assert not refused or "no field named" in refused, refused
