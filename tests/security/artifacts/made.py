"""Files that PyTorch, Keras and TensorFlow themselves wrote, with something in them that runs; none where they are not.

The library is there when the judge runs them, so that what is refused is refused before the library has its chance.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.security.artifacts.artifact import Artifact, Target

Make = Callable[[Path, Target], Path]


class Runs:
    """Pickles as a call of ``exec``."""

    def __init__(self, source: str) -> None:
        self.source = source

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (self.source,)


def torch_files() -> Iterator[tuple[str, Make]]:
    """`torch.save`, `torch.jit.save`, `torch.export.save`."""
    for zipped in (True, False):
        for what, wrap in {
            "alone": lambda torch, evil: evil,
            "beside its tensors": lambda torch, evil: {"w": torch.zeros(2), "x": evil},
            "in a module": lambda torch, evil: _with(torch.nn.Linear(2, 1), evil),
            "in an optimizer's state": lambda torch, evil: {"state": {0: evil}, "param_groups": []},
            "as a key": lambda torch, evil: [(evil, torch.zeros(1))],
        }.items():

            def make(folder: Path, target: Target, zipped: bool = zipped, wrap: Any = wrap) -> Path:
                import torch

                torch.save(wrap(torch, Runs(target.source)), folder / "model.pt", _use_new_zipfile_serialization=zipped)
                return folder / "model.pt"

            yield f"made: torch.save {'as a zip' if zipped else 'of old'}, a call {what}", make
    for name, data in {
        "a pickle among its constants": ("constants.pkl", None), "source that saves": ("code/__torch__/evil.py", b"def f(x: Tensor) -> None:\n  torch.save(x, 'x')\n"),
        "source with another's operator": ("code/__torch__/evil.py", b"def f(x: Tensor) -> Tensor:\n  return ops.evil.run(x)\n"),
        "a class of another's": ("code/__torch__/evil.py", b"def f() -> None:\n  _0 = __torch__.torch.classes.evil.Run()\n"),
        "a library": ("data/evil.so", b"\x7fELF"), "a pickle of nobody": ("data/evil.pkl", None),
    }.items():  # fmt: skip

        def script(folder: Path, target: Target, name: str = name, data: Any = data) -> Path:
            import torch

            torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 1).eval(), torch.zeros(1, 2)), folder / "whole.pt")
            return _changed(folder, "whole.pt", {data[0]: data[1] or pickle.dumps(Runs(target.source), 2)})

        yield f"made: torch.jit.save with {name}", script
    for name, change in {
        "os.system as an operator": lambda tree, target: _node(tree).update(target="torch.os.system"),
        "an operator of a file": lambda tree, target: _node(tree).update(target="torch.ops.aten.from_file.default"),
        "a loader as an operator": lambda tree, target: _node(tree).update(target="torch.hub.load"),
        "a size that runs": lambda tree, target: tree["graph_module"]["graph"]["sym_int_values"].update(s0={"as_expr": {"expr_str": target.expression, "hint": None}}),
        "a guard that runs": lambda tree, target: tree.update(guards_code=[target.expression]),
        "a name that runs": lambda tree, target: _node(tree).update(name="x=1\n" + target.source),
        "outputs of a class": lambda tree, target: tree["graph_module"]["module_call_graph"][0]["signature"].update(out_spec='[1, {"type": "subprocess.Popen", "context": "[]", "children_spec": []}]'),
    }.items():  # fmt: skip

        def program(folder: Path, target: Target, change: Any = change) -> Path:
            import torch

            rows = torch.export.Dim("rows", min=1, max=99)
            made = torch.export.export(torch.nn.Linear(2, 1).eval(), (torch.zeros(3, 2),), dynamic_shapes=({0: rows},))
            torch.export.save(made, folder / "whole.pt2")

            def changed(data: bytes) -> bytes:
                tree = json.loads(data)
                change(tree, target)
                return json.dumps(tree).encode()

            return _changed(folder, "whole.pt2", {"models/model.json": changed})

        yield f"made: torch.export.save with {name}", program
    for member in ("data/aotinductor/model/model.so", "data/constants/custom_obj_0", "data/weights/evil.pt"):

        def archive(folder: Path, target: Target, member: str = member) -> Path:
            import torch

            torch.export.save(
                torch.export.export(torch.nn.Linear(2, 1).eval(), (torch.zeros(3, 2),)), folder / "whole.pt2"
            )
            return _changed(folder, "whole.pt2", {member: pickle.dumps(Runs(target.source), 2)})

        yield f"made: torch.export.save with a member {member}", archive


def keras_files() -> Iterator[tuple[str, Make]]:
    """`keras.Model.save`."""
    for suffix in (".keras", ".h5"):

        def lambdas(folder: Path, target: Target, suffix: str = suffix) -> Path:
            import keras

            given = keras.Input((2,))
            function = eval(f"lambda x: (exec({target.source!r}), x)[1]")
            keras.Model(given, keras.layers.Lambda(function, output_shape=(2,))(given)).save(folder / f"model{suffix}")
            return folder / f"model{suffix}"

        yield f"made: keras with a Lambda, {suffix}", lambdas
    for what, change in {
        "a module of the system's": lambda layer, target: layer.update(module="os", class_name="system", config={"command": target.shell}, registered_name="system"),
        "a vocabulary that is a file": lambda layer, target: layer.update(class_name="StringLookup", config={"vocabulary": target.secret}),
        "a text's vocabulary that is a file": lambda layer, target: layer.update(class_name="TextVectorization", config={"vocabulary": target.secret}),
        "a download": lambda layer, target: layer.update(module="keras.utils", class_name="get_file", config={"fname": target.marker, "origin": f"http://127.0.0.1:{target.port}/"}),
        "a SavedModel elsewhere": lambda layer, target: layer.update(class_name="TFSMLayer", config={"filepath": str(target.folder)}),
        "an activation by name": lambda layer, target: layer["config"].update(activation={"module": "builtins", "class_name": "function", "config": "exec", "registered_name": "function"}),
        "an initializer with a function": lambda layer, target: layer["config"].update(kernel_initializer={"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}),
        "a class's second name": lambda layer, target: layer.update(registered_name="os>system"),
    }.items():  # fmt: skip

        def configured(folder: Path, target: Target, change: Any = change) -> Path:
            import keras

            keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(folder / "whole.keras")

            def changed(data: bytes) -> bytes:
                tree = json.loads(data)
                change(tree["config"]["layers"][-1], target)
                return json.dumps(tree).encode()

            return _changed(folder, "whole.keras", {"config.json": changed})

        yield f"made: keras with {what}", configured
    for what in ("a link outside", "an array outside", "a virtual array", "a filter of nobody"):

        def weights(folder: Path, target: Target, what: str = what) -> Path:
            import h5py
            import keras

            keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(folder / "whole.keras")
            with zipfile.ZipFile(folder / "whole.keras") as whole:
                (folder / "w.h5").write_bytes(whole.read("model.weights.h5"))
            with h5py.File(folder / "w.h5", "a") as file:
                if what == "a link outside":
                    file["evil"] = h5py.ExternalLink(target.secret, "/")
                elif what == "an array outside":
                    file.create_dataset("evil", (4,), "u1", external=[(target.secret, 0, 4)])
                elif what == "a virtual array":
                    layout = h5py.VirtualLayout((4,), "u1")
                    layout[:] = h5py.VirtualSource(target.secret, "x", (4,))
                    file.create_virtual_dataset("evil", layout)
                else:
                    file["evil"] = h5py.SoftLink("/../../elsewhere")
            return _changed(folder, "whole.keras", {"model.weights.h5": (folder / "w.h5").read_bytes()})

        yield f"made: keras with weights that have {what}", weights


def saved_models() -> Iterator[tuple[str, Make]]:
    """`tf.saved_model.save`."""
    for what, body in {
        "reads the secret": lambda tf, target, x: tf.strings.length(tf.io.read_file(target.secret)),
        "writes the marker": lambda tf, target, x: _after(tf, tf.io.write_file(target.marker, "harm")),
        "prints": lambda tf, target, x: _after(tf, tf.print(x, output_stream="file://" + target.marker)),
        "calls Python": lambda tf, target, x: tf.py_function(lambda: 1.0, [], tf.float32),
        "calls numpy": lambda tf, target, x: tf.numpy_function(lambda: 1.0, [], tf.float64),
        "lists files": lambda tf, target, x: tf.size(tf.io.matching_files("/*")),
        "saves elsewhere": lambda tf, target, x: _after(tf, tf.raw_ops.SaveV2(prefix=target.marker, tensor_names=["x"], shape_and_slices=[""], tensors=[x])),
        "restores from elsewhere": lambda tf, target, x: tf.raw_ops.RestoreV2(prefix=target.secret, tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32])[0],
        "maps a file into memory": lambda tf, target, x: tf.raw_ops.ImmutableConst(dtype=tf.float32, shape=[4], memory_region_name=target.secret),
        "summarizes": lambda tf, target, x: _after(tf, tf.raw_ops.CreateSummaryFileWriter(writer=tf.raw_ops.SummaryWriter(), logdir=target.marker, max_queue=1, flush_millis=1, filename_suffix="x")),
        "reads a dataset": lambda tf, target, x: tf.raw_ops.TextLineDataset(filenames=[target.secret], compression_type="", buffer_size=1) is not None and x,
    }.items():  # fmt: skip

        def make(folder: Path, target: Target, body: Any = body) -> Path:
            import tensorflow as tf

            class Evil(tf.Module):  # type: ignore[misc]
                @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")], autograph=False)
                def serve(self, x: Any) -> Any:
                    with tf.control_dependencies([tf.convert_to_tensor(body(tf, target, x))]):
                        return {"y": tf.identity(x)}

            model = Evil()
            tf.saved_model.save(model, str(folder / "saved"), signatures={"serving_default": model.serve})
            return folder / "saved"

        yield f"made: a SavedModel that {what}", make
    for what, step in {
        "with a file of its own": lambda saved, target: (saved / "evil.so").write_bytes(b"\x7fELF"),
        "with a text graph beside it": lambda saved, target: (saved / "saved_model.pbtxt").write_text("x"),
        "with a fast-loading graph beside it": lambda saved, target: (saved / "saved_model.cpb").write_bytes(b"x"),
        "whose asset is a link": lambda saved, target: ((saved / "assets").mkdir(exist_ok=True), (saved / "assets" / "words.txt").symlink_to(target.secret)),
        "whose numbers are a link": lambda saved, target: ((saved / "variables" / "variables.index").unlink(), (saved / "variables" / "variables.index").symlink_to(target.secret)),
        "cut in half": lambda saved, target: (saved / "saved_model.pb").write_bytes((saved / "saved_model.pb").read_bytes()[:200]),
    }.items():  # fmt: skip

        def spoilt(folder: Path, target: Target, step: Any = step) -> Path:
            import tensorflow as tf

            class Plain(tf.Module):  # type: ignore[misc]
                def __init__(self) -> None:
                    super().__init__()
                    self.w = tf.Variable([[1.0], [2.0]])

                @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")], autograph=False)
                def serve(self, x: Any) -> Any:
                    return {"y": tf.matmul(x, self.w)}

            model = Plain()
            tf.saved_model.save(model, str(folder / "saved"), signatures={"serving_default": model.serve})
            step(folder / "saved", target)
            return folder / "saved"

        yield f"made: a SavedModel {what}", spoilt


def artifacts() -> Iterator[Artifact]:
    """All of them; none where the libraries are not."""
    if find_spec("torch") is None or find_spec("tensorflow") is None:
        return
    for family, told in (("torch", torch_files), ("keras", keras_files), ("tensorflow", saved_models)):
        for name, make in told():
            yield Artifact(family, name, "build", make)


def _with(module: Any, evil: object) -> Any:
    module.evil = evil
    return module


def _after(tf: Any, step: Any) -> Any:
    with tf.control_dependencies([step] if step is not None else []):
        return tf.constant(1)


def _node(tree: Any) -> Any:
    return tree["graph_module"]["graph"]["nodes"][0]


def _changed(folder: Path, name: str, changes: dict[str, Any]) -> Path:
    """A copy of a zip with other members, of which a function is told what stood there."""
    place = folder / f"model{Path(name).suffix}"
    with zipfile.ZipFile(folder / name) as old, zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as new:
        left = dict(changes)
        for one in old.infolist():
            inner = one.filename.partition("/")[2] if name.endswith((".pt", ".pt2")) else one.filename
            data = old.read(one)
            if inner in left:
                change = left.pop(inner)
                data = change(data) if callable(change) else change
            new.writestr(zipfile.ZipInfo(one.filename), data)
        root = f"{Path(name).stem}/" if name.endswith((".pt", ".pt2")) else ""
        for inner, data in left.items():
            new.writestr(zipfile.ZipInfo(root + inner), data)
    (folder / name).unlink()
    return place
