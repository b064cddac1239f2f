"""skops files: what they name, how they say what to do with it, and the zip around that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from zipfile import ZipFile

import numpy as np
import skops.io
from sklearn.linear_model import LogisticRegression

from tests.security.artifacts.artifact import Artifact, Target, file_of, several
from tests.security.artifacts.opcodes import call, pickled
from tests.security.artifacts.zips import tricks, zipped

FAMILY = "skops"
Tree = dict[str, object]


def node(loader: str, name: str, content: object = None, **more: object) -> Tree:
    module, _, kind = name.rpartition(".")
    tree: Tree = {"__class__": kind, "__module__": module, "__loader__": loader, **more}
    return tree if content is None else tree | {"content": content}


def plain(value: object) -> Tree:
    return node("JsonNode", "builtins.str", json.dumps(value), is_json=True)


def listed(*items: Tree, kind: str = "list") -> Tree:
    return node("TupleNode" if kind == "tuple" else "ListNode", f"builtins.{kind}", list(items))


def mapped(**items: Tree) -> Tree:
    keys = listed(*[node("TypeNode", "builtins.str") for _ in items])
    return node("DictNode", "builtins.dict", items, key_types=keys)


def built(name: str, *arguments: object) -> Tree:
    """``name(*arguments)``."""
    return node("ConstructorFromReduceNode", name, listed(*map(plain, arguments), kind="tuple"))


def trees(target: Target) -> Iterator[tuple[str, Tree]]:
    """Schemas."""
    shell, marker = target.shell, target.marker
    for name, argument in (
        ("os.system", shell), ("posix.system", shell), ("builtins.exec", target.source), ("builtins.eval", target.expression),
        ("builtins.open", marker), ("subprocess.getoutput", shell), ("pathlib.PosixPath", marker), ("joblib.load", marker),
        ("ctypes.CDLL", marker), ("lightgbm.basic.NamedTemporaryFile", marker), ("socket.create_connection", marker),
        ("multiprocessing.connection.Client", marker), ("sklearn.callback._transport.Client", marker), ("numpy.load", marker),
        ("sklearn.utils._testing.Temp", marker), ("xgboost.core.ctypes.CDLL", marker), ("importlib.import_module", marker),
    ):  # fmt: skip
        yield f"builds {name}", built(name, argument)
        yield f"a function {name}", mapped(func=node("FunctionNode", name))
    yield (
        "a partial of it",
        node(
            "PartialNode",
            "functools.partial",
            {
                "func": node("FunctionNode", "os.system"),
                "args": listed(plain(shell), kind="tuple"),
                "kwds": mapped(),
                "namespace": mapped(),
            },
        ),
    )
    for operation in ("attrgetter", "methodcaller", "itemgetter", "call", "concat"):
        yield (
            f"operator.{operation}",
            node("OperatorFuncNode", f"operator.{operation}", attrs=listed(plain("system"), kind="tuple")),
        )
    yield "another module's operator", node("OperatorFuncNode", "os.system", attrs=listed(plain(shell), kind="tuple"))
    owner = node("ObjectNode", "sklearn.linear_model._logistic.LogisticRegression", mapped())
    for func in ("__init__", "__reduce__", "__class__", "fit", "set_params", "__setstate__"):
        yield (
            f"a method {func}",
            mapped(
                m=node("MethodNode", "sklearn.linear_model._logistic.LogisticRegression", {"func": func, "obj": owner})
            ),
        )
    yield "a method of another class", node("MethodNode", "os.system", {"func": "system", "obj": owner})
    yield (
        "a method of a module's class",
        node(
            "MethodNode",
            "lightgbm.basic.Booster",
            {"func": "save_model", "obj": node("ObjectNode", "lightgbm.basic.Booster", mapped())},
        ),
    )
    yield (
        "a type as a dict's keys",
        node("DictNode", "builtins.dict", {shell: plain(1)}, key_types=listed(node("TypeNode", "os.system"))),
    )
    yield (
        "a default of it",
        node(
            "DefaultDictNode",
            "collections.defaultdict",
            {"main": mapped(), "default_factory": node("FunctionNode", "os.system")},
        ),
    )
    yield "a list of another type", node("ListNode", "os.system", [plain(shell)])
    yield "a set of another type", node("SetNode", "subprocess.Popen", [plain(shell)])
    yield "a tuple of another type", node("TupleNode", "subprocess.Popen", [plain(shell)])
    yield "a dict of another type", node("DictNode", "os.system", {}, key_types=listed())
    yield "an object of another type", node("ObjectNode", "subprocess.Popen", mapped(args=plain(shell)))
    yield (
        "an array of another type",
        node("NdArrayNode", "os.system", [plain(shell)], type="json", shape=listed(plain(1), kind="tuple")),
    )
    yield "a loader that there is not", node("EvilNode", "os.system", [])
    yield (
        "an estimator with it",
        node(
            "ObjectNode",
            "sklearn.preprocessing._function_transformer.FunctionTransformer",
            mapped(func=node("FunctionNode", "os.system")),
        ),
    )
    yield "an unknown cached node", node("CachedNode", "sklearn.linear_model.LogisticRegression", __id__=77)
    loop = mapped()
    for _ in range(150):
        loop = listed(loop)
    yield "a hundred and fifty lists deep", loop
    yield "a name that cleans the screen", built("\x1b[2Jos.system", shell)
    yield "a long name", built("o" * 100_000 + ".system", shell)
    yield "no schema but a list", {"list": []}


def artifacts() -> Iterator[Artifact]:
    """All of them."""
    yield from several(FAMILY, lambda target: ((name, _file(tree, 2)) for name, tree in trees(target)))
    yield file_of(FAMILY, "a schema of brackets", lambda target: zipped({"schema.json": b"[" * 100_000}))
    for protocol in (0, 1, 3, -1, True, "2", 2**70, None):
        yield file_of(
            FAMILY,
            f"protocol {protocol!r}",
            lambda target, protocol=protocol: _file(built("os.system", target.shell), protocol),
        )
    for old in (0, 1):
        for func in ("__init__", "system"):
            tree = {
                "func": func,
                "obj": node("ObjectNode", "sklearn.linear_model._logistic.LogisticRegression", mapped()),
            }
            yield file_of(
                FAMILY,
                f"a method {func} of protocol {old}",
                lambda target, tree=tree, old=old: _file(mapped(m=node("MethodNode", "os.system", tree)), old),
            )
        yield file_of(
            FAMILY,
            f"a function of protocol {old}",
            lambda target, old=old: _file(
                mapped(m=node("FunctionNode", "os.system", {"module_path": "os", "function": "system"})), old
            ),
        )
    yield file_of(
        FAMILY, "a member that is a pickle",
        lambda target: zipped({
            "schema.json": json.dumps(node("NdArrayNode", "numpy.ndarray", type="numpy", file="a.npy", protocol=2, _skops_version="0.16.0")).encode(),
            "a.npy": b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
            + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n" + pickled(call("os", "system", target.shell)),
        }),
    )  # fmt: skip
    yield from several(FAMILY, lambda target: ((f"zip: {what}", data) for what, data in _tricked(target).items()))


def _tricked(target: Target) -> dict[str, bytes]:
    evil = json.dumps(_whole(built("os.system", target.shell), 2)).encode()
    return tricks(_fitted(), "schema.json", evil, target.secret)


@cache
def _fitted() -> dict[str, bytes]:
    """The members of a model that works."""
    rows = np.random.default_rng(0).normal(size=(40, 3))
    with ZipFile(BytesIO(skops.io.dumps(LogisticRegression().fit(rows, rows[:, 0] > 0)))) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _whole(tree: Tree, protocol: object) -> Tree:
    return tree | {"protocol": protocol, "_skops_version": "0.16.0"}


def _file(tree: Tree, protocol: object) -> bytes:
    return zipped({"schema.json": _json(_whole(tree, protocol)).encode()})


def _json(tree: object) -> str:
    """As `json.dumps`, and deeper."""
    if isinstance(tree, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_json(one)}" for key, one in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(_json, tree)) + "]"
    return json.dumps(tree)
