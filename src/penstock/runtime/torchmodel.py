"""A PyTorch model inside the sandbox: an exported program, a script or a module, asked in the package's conventions.

    .pt2 -> torch.export.load -> program ---v
    .pt  -> torch.jit.load    -> script  -> `TorchModel` -> label, probabilities | scores | prediction | outputs by name
    class + weights           -> module ----^

Loading looks up what the audit of `penstock.build.formats` let through, so only a sandboxed process may do it. One
thread: processes are what a model in the sandbox has more of, and they are forked. Source: PyTorch 2.13.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from penstock.errors import BadConfig, InvalidInput, ModelFailed
from penstock.runtime.outerform import OUTER, OuterForm, read_outer
from penstock.runtime.torchprogram import load_program
from penstock.tensors import Array, Arrays, TensorSpec

CLASSES = "classes.json"
"""A program's or script's extra file: a list of labels, or ``{"classes": [...], "probabilities": true}``."""

Labels = tuple[str | int | bool, ...]
Tensors = dict[str, Any]
"""By name; PyTorch has no types that a checker could see where it is not installed."""

MAX_CLASSES = 100_000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")
_DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
_NARROW = ("float16", "bfloat16")
"""Floats that are answered as FP32."""


class TorchModel:
    """A function of named tensors behind the package's conventions.

    Args:
        ask: Answers tensors by name.

    Attributes:
        torch: The library.
        needs: Names of the inputs that have to be given, in order.
        takes: Names of those that may be.
        specs: The inputs where the model says what it takes; else empty, and rows have to tell.
        module: The loaded script or module; None of a program.
        program: The loaded program; None of any other.
        classes_: Only there where it answers classes.
        probable: Its answer is the classes' probabilities; else scores.
        ending: The operator that its one answer comes from; empty where nobody knows.
        form: How its clients know its tensors; None for as it does itself.
    """

    def __init__(
        self, torch: ModuleType, ask: Callable[[Tensors], object], needs: tuple[str, ...], takes: tuple[str, ...] = ()
    ) -> None:
        self.needs, self.takes = needs, takes
        self.specs: tuple[TensorSpec, ...] = ()
        self.module: Any = None
        self.program: Any = None
        self.probable = False
        self.ending = ""
        self.form: OuterForm | None = None
        self.torch = torch
        self._ask = ask

    @property
    def labels(self) -> Labels:
        """Labels of its classes; empty where it answers none."""
        return getattr(self, "classes_", ())

    @property
    def wide(self) -> bool:
        """Whether it computes in doubles."""
        parameters = getattr(self.module, "parameters", tuple)
        return any(kind_of(one.dtype) == "float64" for one in parameters())

    def predict(self, rows: object) -> Array:
        """Its first answer to rows of its one input."""
        return next(iter(self.answer_arrays({self.needs[0]: np.asarray(rows)}).values()))

    def answer_arrays(self, arrays: Mapping[str, Array]) -> Arrays:
        """Its answers: see `penstock.runtime.original.answer`.

        Raises:
            ModelFailed: An answer has not one entry a row, or is no tensor.
        """
        count = len(next(iter(arrays.values())))
        return self._told({name: self._plain(name, one, count) for name, one in self.raw(arrays).items()})

    def raw(self, arrays: Mapping[str, Array]) -> Tensors:
        """Its own answers by name."""
        tensors = {name: self.tensor(array) for name, array in arrays.items()}
        with self.torch.inference_mode():
            return by_name(self._ask(tensors))

    def tensor(self, array: Array) -> Any:
        """An array as a tensor; what cannot be written is copied."""
        return self.torch.from_numpy(array if array.flags.writeable else array.copy())

    def name_classes(self, told: object) -> None:
        """Take a person's word for what its one answer is.

        Raises:
            InvalidInput: It is no list of labels.
        """
        tree = told if isinstance(told, dict) else {"classes": told}
        labels = tree.get("classes")
        kinds = {type(one) for one in labels} if isinstance(labels, list | tuple) else set()
        if not isinstance(labels, list | tuple) or len(kinds) != 1 or not kinds <= {str, int, bool}:
            what = "the classes are no list of labels of one kind"
            raise InvalidInput(what, "give texts or whole numbers", where=CLASSES)
        if not 2 <= len(labels) <= MAX_CLASSES or len(set(labels)) != len(labels):
            raise InvalidInput("the classes are too few, too many, or one stands there twice", where=CLASSES)
        self.classes_: Labels = tuple(labels)
        self.probable = tree.get("probabilities") is True

    def _plain(self, name: str, one: Any, count: int) -> Array:
        if not isinstance(one, self.torch.Tensor) or one.layout != self.torch.strided:
            what = f"the model's output {name} is no dense tensor"
            raise ModelFailed(what, "answer tensors", code="build.bad_answer")
        if kind_of(one.dtype) in _NARROW:
            one = one.float()
        if kind_of(one.dtype) not in _DATATYPES or one.dim() == 0 or len(one) != count or one.dim() > 8:
            raise ModelFailed(
                f"the model's output {name} has not one entry a row, or is of no plain type",
                "have its first dimension be the row",
                code="build.bad_answer",
            )
        array: Array = one.detach().resolve_conj().cpu().contiguous().numpy()
        return array

    def _told(self, named: Arrays) -> Arrays:
        """Under the package's names."""
        if len(named) > 1:
            label = named.get("label")
            if label is None or label.dtype.kind not in "iub" or label.size != len(label):
                return named
            return named | {"label": label.reshape(-1).astype(np.int64)}
        (array,) = named.values()
        if not self.labels and array.dtype.kind == "f" and array.ndim == 2:
            self._count_classes(array.shape[1])
        if self.labels:
            if array.dtype.kind != "f" or array.ndim != 2 or array.shape[1] not in (len(self.labels), 1):
                raise ModelFailed(
                    f"the model has {len(self.labels)} classes and answers {list(array.shape[1:])} numbers a row",
                    "answer one number a class",
                    code="build.bad_answer",
                )
            return self._classified(array)
        if array.dtype.kind != "f":
            return named
        return {"prediction": array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array}

    def _count_classes(self, width: int) -> None:
        """Its classes are numbers where it ends in a softmax, or in the sigmoid of one unit."""
        if (self.ending in ("softmax", "_softmax") and width > 1) or (self.ending == "sigmoid" and width == 1):
            self.name_classes({"classes": list(range(max(width, 2))), "probabilities": True})

    def _classified(self, array: Array) -> Arrays:
        if array.shape[1] == 1:  # the second of two classes
            array = np.concatenate([(1 if self.probable else 0) - array, array], axis=1)
        labels = np.asarray(self.labels)
        known = labels.astype(np.int64) if labels.dtype.kind in "iub" else labels.astype(object)
        return {"label": known[array.argmax(axis=1)], "probabilities" if self.probable else "scores": array}


def open_torch(path: Path) -> TorchModel:
    """Load an exported program or a script.

    Raises:
        BadConfig: PyTorch is not here, or is of another version than the file.
        InvalidInput: The file takes what no request carries.
    """
    torch = library()
    extra: dict[str, Any] = {CLASSES: "", OUTER: ""}
    try:
        if path.suffix == ".pt2":
            model = _of_program(torch, load_program(torch, path, extra))
        else:
            script = torch.jit.load(str(path), map_location="cpu", _extra_files=extra).eval()
            if extra[OUTER]:
                outer = import_module("penstock.runtime.outertorch")
                said: TorchModel = outer.OuterTorch(torch, script, read_outer(extra[OUTER]))
                return said
            model = of_module(torch, script)
    except (RuntimeError, AssertionError, KeyError, ModuleNotFoundError) as error:
        raise BadConfig(
            f"PyTorch {torch.__version__} cannot load the file: {str(error).strip().splitlines()[0][:300]}",
            "install the version that wrote it, or save it again; a model on a GPU is moved with model.cpu() first",
            code="build.torch_version",
        ) from error
    if extra[CLASSES]:
        try:
            model.name_classes(json.loads(extra[CLASSES]))
        except ValueError as error:
            raise InvalidInput("the classes are no JSON", "write a list of labels", where=CLASSES) from error
    return model


def of_module(torch: ModuleType, module: Any) -> TorchModel:
    """A script, or a module that was made of a class; its inputs are what its ``forward`` is given."""
    needs, takes = _parameters(module)
    model = TorchModel(torch, lambda tensors: module(**tensors), needs, takes)
    model.module = module
    if not isinstance(module, torch.jit.ScriptModule):
        known = getattr(module, "classes_", None)
        if known is not None:
            labels = np.asarray(known).tolist()
            model.name_classes({"classes": labels, "probabilities": getattr(module, "probabilities", False) is True})
        return model
    with suppress(RuntimeError, AttributeError):
        values = list(module.inlined_graph.outputs())
        model.ending = values[0].node().kind().removeprefix("aten::") if len(values) == 1 else ""
    return model


def library() -> ModuleType:
    """PyTorch, on one thread.

    Raises:
        BadConfig: It is not here.
    """
    try:
        torch = import_module("torch")
    except ModuleNotFoundError as error:
        raise BadConfig(
            f"the model needs the module {error.name}, which is not installed here",
            "pip install 'penstock[torch]'",
            code="build.missing_module",
        ) from error
    torch.set_num_threads(1)
    with suppress(RuntimeError):  # it has begun to compute already
        torch.set_num_interop_threads(1)
    torch.set_grad_enabled(False)
    return torch


def kind_of(dtype: object) -> str:
    """A dtype of PyTorch's by numpy's name."""
    return str(dtype).removeprefix("torch.")


def by_name(answered: object) -> Tensors:
    """Answers by name: of a dict its keys, of several their places."""
    if isinstance(answered, Mapping):
        named = {str(name): one for name, one in answered.items() if one is not None}
        if named and all(_NAME.fullmatch(name) for name in named):
            return named
        answered = list(named.values())
    if isinstance(answered, list | tuple):
        return {f"output_{at}": one for at, one in enumerate(one for one in answered if one is not None)}
    return {"output": answered}


def _parameters(module: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names that ``forward`` needs, and those that it may be given."""
    schema = getattr(module.forward, "schema", None)
    if schema is not None:
        arguments = [(str(one.name), one.has_default_value()) for one in schema.arguments[1:]]
    else:
        parameters = import_module("inspect").signature(module.forward).parameters.values()
        arguments = [(one.name, one.default is not one.empty) for one in parameters if one.kind not in (2, 4)]
    needs = tuple(name for name, optional in arguments if not optional)
    takes = tuple(name for name, optional in arguments if optional)
    return needs or takes[:1], takes if needs else takes[1:]


def _of_program(torch: ModuleType, program: Any) -> TorchModel:
    """A program, which says what it takes."""
    tree = import_module("torch.utils._pytree")
    specs: list[TensorSpec] = []
    flat: list[tuple[str, object]] = []
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    for one in program.graph_signature.input_specs:
        if one.kind.name != "USER_INPUT":
            continue
        if hasattr(one.arg, "value"):
            flat.append(("", one.arg.value))
            continue
        specs.append(_spec(one.arg.name, values[one.arg.name]))
        flat.append((one.arg.name, None))
    try:
        module = program.module(check_guards=False)
    except TypeError:  # before PyTorch 2.9
        module = program.module()

    def ask(tensors: Tensors) -> object:
        leaves = [tensors[name] if name else value for name, value in flat]
        given, named = tree.tree_unflatten(leaves, program.call_spec.in_spec)
        return module(*given, **named)

    model = TorchModel(torch, ask, tuple(spec.name for spec in specs))
    model.specs, model.program = tuple(specs), program
    (answers,) = (node.args[0] for node in program.graph.nodes if node.op == "output")
    if len(answers) == 1:
        model.ending = str(getattr(answers[0], "target", "")).removeprefix("aten.").partition(".")[0]
    return model


def _spec(name: str, value: Any) -> TensorSpec:
    """An input as the package has it.

    Raises:
        InvalidInput: It is of a type, or of dimensions, that no request carries.
    """
    datatype = _DATATYPES.get(kind_of(getattr(value, "dtype", "")))
    if datatype is None or value.dim() == 0:
        raise InvalidInput("the model has an input that no request can carry", "take tensors of rows", where=name)
    sizes = [int(one) if isinstance(one, int) else -1 for one in value.shape]
    if sizes[0] != -1:
        raise InvalidInput(
            f"the program takes {sizes[0]} rows at once, no more and no less",
            f"export it with dynamic_shapes={{'{name}': {{0: torch.export.Dim.DYNAMIC}}}} and two example rows or more",
            where=name,
            code="build.fixed_batch",
        )
    return TensorSpec(name=name, datatype=datatype, shape=tuple(sizes))
