"""ONNX graphs: numbers in other files, operators of other people, sizes of nothing that there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, helper

from tests.security.artifacts.artifact import Artifact, Target, file_of

FAMILY = "onnx"
Change = Callable[[ModelProto, Target], None]


def graph() -> ModelProto:
    """A linear regression of three numbers."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 1], [1.0, 2.0, 3.0])
    made = helper.make_graph(
        [helper.make_node("MatMul", ["X", "w"], ["prediction"])],
        "model",
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None, 1])],
        [weights],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def outside(tensor: TensorProto, location: str, *, length: int = 12, offset: int = 0) -> None:
    """Its numbers lie in another file."""
    del tensor.float_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def places(target: Target) -> dict[str, str]:
    """Where numbers might be fetched from."""
    return {
        "an absolute path": target.secret,
        "a path that climbs": "../" * 12 + target.secret.lstrip("/"),
        "a path that climbs inside": f"weights/../../{target.secret}",
        "a path beside it": "weights.bin",
        "its process's environment": "/proc/self/environ",
        "its process's memory": "/proc/self/mem",
        "the users' list": "/etc/passwd",
        "a climbing path to the users' list": "../../../../../../../../etc/passwd",
        "an address in memory": "*/_ORT_MEM_ADDR_/*",
        "a device": "/dev/zero",
        "a server": f"http://127.0.0.1:{target.port}/weights",
        "a scheme of files": f"file://{target.secret}",
        "backslashes": "..\\..\\..\\secret",
        "an empty path": "",
        "a path with a zero": "weights\0.bin",
    }


def changes() -> Iterator[tuple[str, Change]]:
    """What is wrong with it."""
    for place in places(Target(Path("."), "marker", "secret", 1)):
        yield (
            f"external data: {place}",
            lambda model, target, place=place: outside(model.graph.initializer[0], places(target)[place]),
        )
    yield "external data in a constant", _in_constant
    yield "external data in a branch", _in_branch
    yield "external data in a function", _in_function
    yield "external data in a function's branch", lambda model, target: _in_function(model, target, branch=True)
    yield "external data in a sparse tensor", _in_sparse
    yield "external data in a list of tensors", _in_list
    yield "external data in training", _in_training
    yield (
        "external data without a location",
        lambda model, target: setattr(model.graph.initializer[0], "data_location", TensorProto.EXTERNAL),
    )
    for domain in (
        "com.evil",
        "com.microsoft",
        "ai.onnx.contrib",
        "org.pytorch.aten",
        "\x1b[2J",
        "ai.onnx.ml ",
        "e" * 9000,
    ):
        yield f"an operator of {domain[:20]!r}", lambda model, target, domain=domain: _foreign(model, domain)
    yield (
        "an operator of another domain in a branch",
        lambda model, target: _in_branch(model, target, domain="com.evil"),
    )
    yield "an operator of another domain in a function", _foreign_in_function
    yield (
        "an operator of another domain in a function's branch",
        lambda model, target: _foreign_in_function(model, target, branch=True),
    )
    yield "a function that lends its domain's name", _lent_domain
    for domain in ("com.microsoft", "com.microsoft.nchwc", "ai.onnx.ml", "ai.onnx.training", ""):
        yield (
            f"a function in the place of an operator of {domain or 'ONNX'}",
            lambda model, target, domain=domain: _shadow(model, domain),
        )
    yield "a second form of a function", lambda model, target: _shadow(model, "com.microsoft", overload="second")
    yield "a function that calls itself", _endless
    yield "an operator that there is not", lambda model, target: setattr(model.graph.node[0], "op_type", "Evil")
    yield (
        "an operator of Python",
        lambda model, target: _replaced(model, helper.make_node("PyOp", ["X"], ["prediction"], domain="pyopmulti_1")),
    )
    yield (
        "a string of ten million in a loop",
        lambda model, target: _replaced(
            model, helper.make_node("Expand", ["X", "huge"], ["prediction"]), huge=[1 << 40, 1 << 40]
        ),
    )
    yield "a tensor of 2**62 numbers", lambda model, target: model.graph.initializer[0].dims.__setitem__(0, 1 << 62)
    yield "a tensor of fewer than no numbers", lambda model, target: model.graph.initializer[0].dims.__setitem__(0, -3)
    yield "a thousand dimensions", lambda model, target: model.graph.initializer[0].dims.extend([1] * 1000)
    yield "numbers shorter than their shape", lambda model, target: model.graph.initializer[0].dims.__setitem__(0, 3000)
    yield (
        "a shape of 2**40 rows",
        lambda model, target: _replaced(
            model, helper.make_node("ConstantOfShape", ["huge"], ["prediction"]), huge=[1 << 40]
        ),
    )
    yield "an opset of the future", lambda model, target: setattr(model.opset_import[0], "version", 9999)
    yield "no output", lambda model, target: model.graph.ClearField("output")
    yield "a node that reads itself", lambda model, target: model.graph.node[0].input.__setitem__(0, "prediction")
    yield "two nodes of one output", lambda model, target: model.graph.node.add().CopyFrom(model.graph.node[0])


def artifacts() -> Iterator[Artifact]:
    """All of them; what ONNX Runtime itself would follow also as a package that somebody made by hand."""
    for name, change in changes():

        def data(target: Target, change: Change = change) -> bytes:
            model = graph()
            change(model, target)
            return model.SerializeToString()

        yield file_of(FAMILY, name, data)
        if name.startswith("external") or name in ("a function that calls itself", "an operator that there is not"):
            yield file_of("package", f"an ONNX graph with {name}", data, door="serve")
    for cut in (20, 60, 100):
        yield file_of(FAMILY, f"cut after {cut} bytes", lambda target, cut=cut: graph().SerializeToString()[:cut])
    yield file_of("package", "ONNX Runtime's own form", lambda target: b"\x18\0\0\0ORTM" + bytes(200), door="serve")
    yield file_of("package", "an ONNX graph cut off", lambda target: graph().SerializeToString()[:70], door="serve")


def _replaced(model: ModelProto, node: NodeProto, huge: list[int] | None = None) -> None:
    del model.graph.node[:]
    model.graph.node.append(node)
    if huge is not None:
        model.graph.initializer.append(helper.make_tensor("huge", TensorProto.INT64, [len(huge)], huge))


def _shadow(model: ModelProto, domain: str, overload: str = "") -> None:
    """A function that is called as one of the runtime's own operators, which is what runs."""
    opsets = [helper.make_opsetid("", 19)]
    own = helper.make_function(domain, "Gelu", ["x"], ["y"], [helper.make_node("Neg", ["x"], ["y"])], opsets)
    own.overload = overload
    model.functions.append(own)
    model.graph.node[0].output[0] = "between"
    model.graph.node.append(helper.make_node("Gelu", ["between"], ["prediction"], domain=domain))
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))


def _foreign(model: ModelProto, domain: str) -> None:
    model.opset_import.append(helper.make_opsetid(domain, 1))
    model.graph.node[0].domain = domain


def _far(target: Target, name: str = "far") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[3, 1])
    outside(tensor, target.secret)
    return tensor


def _branch(nodes: list[NodeProto], output: str = "b") -> GraphProto:
    return helper.make_graph(nodes, "branch", [], [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)])


def _if(model: ModelProto | None, then: GraphProto, output: str = "chosen") -> NodeProto:
    other = _branch([helper.make_node("Identity", ["X"], ["b"])])
    return helper.make_node("If", ["yes"], [output], then_branch=then, else_branch=other)


def _in_constant(model: ModelProto, target: Target) -> None:
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=_far(target)))


def _in_branch(model: ModelProto, target: Target, domain: str = "") -> None:
    then = _branch([helper.make_node("Identity", ["X"], ["b"], domain=domain)])
    if not domain:
        then.initializer.append(_far(target))
    model.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    model.graph.node.append(_if(model, then))
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))


def _function(model: ModelProto, nodes: list[NodeProto], domain: str = "own", more: tuple[str, ...] = ()) -> None:
    opsets = [helper.make_opsetid("", 19), *(helper.make_opsetid(one, 1) for one in more)]
    model.functions.append(helper.make_function(domain, "Helper", ["X"], ["Y"], nodes, opsets))
    model.opset_import.append(helper.make_opsetid(domain, 1))
    model.graph.node.append(helper.make_node("Helper", ["X"], ["helped"], domain=domain))


def _in_function(model: ModelProto, target: Target, *, branch: bool = False) -> None:
    far = helper.make_node("Constant", [], ["c"], value=_far(target))
    nodes = [far, helper.make_node("Identity", ["X"], ["Y"])]
    if branch:
        yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("y", TensorProto.BOOL, [], [True]))
        nodes = [yes, _if(None, _branch([far, helper.make_node("Identity", ["c"], ["b"])]), "Y")]
    _function(model, nodes)


def _foreign_in_function(model: ModelProto, target: Target, *, branch: bool = False) -> None:
    evil = helper.make_node("Evil", ["X"], ["Y"], domain="com.evil")
    nodes = [evil]
    if branch:
        yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("y", TensorProto.BOOL, [], [True]))
        nodes = [yes, _if(None, _branch([helper.make_node("Evil", ["X"], ["b"], domain="com.evil")]), "Y")]
    _function(model, nodes, more=("com.evil",))


def _lent_domain(model: ModelProto, target: Target) -> None:
    _function(model, [helper.make_node("Identity", ["X"], ["Y"])], domain="com.microsoft")
    model.graph.node.append(helper.make_node("Gelu", ["X"], ["g"], domain="com.microsoft"))


def _endless(model: ModelProto, target: Target) -> None:
    _function(model, [helper.make_node("Helper", ["X"], ["Y"], domain="own")], more=("own",))


def _in_sparse(model: ModelProto, target: Target) -> None:
    sparse = SparseTensorProto(dims=[3, 1])
    sparse.values.CopyFrom(_far(target))
    sparse.indices.CopyFrom(helper.make_tensor("i", TensorProto.INT64, [3], [0, 1, 2]))
    model.graph.sparse_initializer.append(sparse)


def _in_list(model: ModelProto, target: Target) -> None:
    model.graph.node[0].attribute.append(
        AttributeProto(name="more", type=AttributeProto.TENSORS, tensors=[_far(target)])
    )


def _in_training(model: ModelProto, target: Target) -> None:
    model.training_info.add().initialization.initializer.append(_far(target))
