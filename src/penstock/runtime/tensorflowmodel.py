"""A TensorFlow model inside the sandbox: a SavedModel's signature or a Keras model, asked in the package's conventions.

    saved_model.pb + name of a signature -> tf.saved_model.load -> function of named tensors -> `TensorflowModel`
    model.keras                          -> keras.saving.load_model (safe mode, not compiled) ----^

Loading runs what the audit of `penstock.build.formats` let through, so only a sandboxed process may do it. One thread:
processes are what a model in the sandbox has more of. Source: TensorFlow 2.21, Keras 3.15.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from penstock.errors import BadConfig, InvalidInput, ModelFailed
from penstock.runtime.outerform import OUTER, OuterForm, read_outer, require_fit, require_inputs, sizes_after
from penstock.runtime.tracedgraph import last_operation
from penstock.tensors import Array, Arrays, TensorSpec

SAVED_MODEL = "saved_model.pb"
SIGNATURE = "penstock_signature"
"""Beside `SAVED_MODEL`: the name of the signature that is served, where it is not the usual one."""
SERVING = "serving_default"

Tensors = dict[str, Any]
"""By name; TensorFlow has no types that a checker could see."""
Ask = Callable[[Tensors], object]

_LABEL = re.compile(r"label|class|predict", re.IGNORECASE)
_CHANCES = re.compile(r"prob|score|softmax", re.IGNORECASE)
_DATATYPES = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "float16": "FP16", "float32": "FP32", "float64": "FP64",
    "string": "BYTES",
}  # fmt: skip
_NARROW = ("bfloat16",)
"""Floats that no request carries: they are answered as FP32."""


class TensorflowModel:
    """A function of named tensors behind the package's conventions.

    Args:
        tensorflow: The library.
        ask: Answers tensors by the names of `asked`.
        asked: What it takes: a ``tf.TensorSpec`` by name.
        form: How its clients know its tensors; None for as it knows them itself.

    Attributes:
        specs: The inputs as the package has them; one value a row is a column ``[-1, 1]``.
        classes: Numbers of the classes; empty where it tells none.
        given: What `function` takes, in the inputs' order.
        function: The traced function: tensors in, tensors by the package's names out.
    """

    def __init__(
        self, tensorflow: ModuleType, ask: Ask, asked: Mapping[str, Any], form: OuterForm | None = None
    ) -> None:
        self.form = form
        self.specs = tuple(_spec(name, one, as_is=form is not None) for name, one in asked.items())
        self.classes: tuple[int | str, ...] = () if form is None else form.classes
        self._tensorflow = tensorflow
        self._ask = ask
        self._asked = dict(asked)
        self._one_by_one = any(one.shape[0] is not None for one in asked.values())
        self.given = tuple(
            tensorflow.TensorSpec(
                one.shape if one.shape.rank > 1 or form else (*one.shape, 1), one.dtype, name=f"in_{at}"
            )
            for at, one in enumerate(asked.values())
        )
        self.function = tensorflow.function(self._told, input_signature=self.given, autograph=False)
        self.function.get_concrete_function()

    def predict(self, rows: object) -> Array:
        """Its first answer to rows of its one input."""
        return next(iter(self.answer_arrays({self.specs[0].name: np.asarray(rows)}).values()))

    def answer_arrays(self, arrays: Mapping[str, Array]) -> Arrays:
        """Its answers: see `penstock.runtime.original.answer`.

        Raises:
            ModelFailed: An answer has not one entry a row.
        """
        count = len(arrays[self.specs[0].name])
        if not self._one_by_one or count == 1:
            return self._answers(arrays, count)
        parts = [self._answers({name: one[at : at + 1] for name, one in arrays.items()}, 1) for at in range(count)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _answers(self, arrays: Mapping[str, Array], count: int) -> Arrays:
        tensors = [
            self._tensorflow.constant(arrays[name], dtype=one.dtype)
            for name, one in zip(self._asked, self.given, strict=True)
        ]
        answers = {name: _array(tensor) for name, tensor in self.function(*tensors).items()}
        odd = [name for name, array in answers.items() if array.ndim == 0 or len(array) != count]
        if odd:
            raise ModelFailed(
                f"the model's {odd[0]} has not one entry a row",
                "have its first dimension be the row",
                code="build.bad_answer",
            )
        return answers if self.form is None else self.form.with_label(answers)

    def _told(self, *columns: Any) -> Tensors:
        """What is traced: the model's answers under the package's names."""
        tensorflow = self._tensorflow
        tensors = {
            name: tensorflow.squeeze(column, 1) if one.shape.rank == 1 and not self.form else column
            for (name, one), column in zip(self._asked.items(), columns, strict=True)
        }
        named = {name: self._plain(name, one) for name, one in _by_name(self._ask(tensors)).items()}
        if self.form is not None:
            return named
        if len(named) == 1:
            ((name, tensor),) = named.items()
            return self._alone(name, tensor)
        labels = [name for name, one in named.items() if _is_flat(one) and not one.dtype.is_floating]
        chances = [name for name, one in named.items() if one.dtype.is_floating and one.shape.rank == 2]
        if len(named) == 2 and labels and chances and named[labels[0]].dtype.is_integer:
            width = named[chances[0]].shape[1]
            if width and _LABEL.search(labels[0]) and _CHANCES.search(chances[0]):
                self.classes = tuple(range(width))
                label = tensorflow.cast(tensorflow.reshape(named[labels[0]], [-1]), tensorflow.int64)
                return {"label": label, "probabilities": named[chances[0]]}
        return named

    def _alone(self, name: str, tensor: Any) -> Tensors:
        """One answer: of a softmax, or of a sigmoid of one unit, the classes' probabilities; else a prediction."""
        tensorflow = self._tensorflow
        if not tensor.dtype.is_floating:
            return {name: tensor}
        last = last_operation(tensor) if tensor.shape.rank == 2 else ""
        width = tensor.shape[1] if last else None
        if last == "Softmax" and width and width > 1:
            self.classes = tuple(range(width))
            return {"label": tensorflow.argmax(tensor, axis=1), "probabilities": tensor}
        if last == "Sigmoid" and width == 1:
            self.classes = (0, 1)
            label = tensorflow.cast(tensorflow.reshape(tensor > 0.5, [-1]), tensorflow.int64)
            return {"label": label, "probabilities": tensorflow.concat([1.0 - tensor, tensor], axis=1)}
        return {"prediction": tensorflow.reshape(tensor, [-1]) if _is_flat(tensor) else tensor}

    def _plain(self, name: str, tensor: Any) -> Any:
        """An answer, if a package can give it.

        Raises:
            ModelFailed: It is no dense tensor of numbers or text.
        """
        kind = getattr(getattr(tensor, "dtype", None), "name", "")
        if self._tensorflow.is_tensor(tensor) and hasattr(tensor, "op"):
            if kind in _NARROW:
                return self._tensorflow.cast(tensor, self._tensorflow.float32)
            if kind in _DATATYPES:
                return tensor
        raise ModelFailed(
            f"the model's output {name} is no dense tensor of numbers or text",
            "answer tensors of plain types",
            code="build.bad_answer",
        )


def open_saved(path: Path) -> TensorflowModel:
    """Load a SavedModel's signature.

    Args:
        path: Its ``saved_model.pb``; beside it may lie `SIGNATURE`.

    Raises:
        BadConfig: TensorFlow is not here, or the model lacks the signature.
        InvalidInput: The signature takes what no request carries.
    """
    tensorflow = _tensorflow()
    folder = path.parent
    name = (folder / SIGNATURE).read_text().strip() if (folder / SIGNATURE).exists() else SERVING
    loaded = tensorflow.saved_model.load(str(folder))
    there = sorted(loaded.signatures)
    if name not in loaded.signatures and name == SERVING and len(there) == 1:
        name = there[0]
    if name not in loaded.signatures:
        raise BadConfig(
            f"the SavedModel has no signature {name}",
            f"it has {', '.join(there[:8]) or 'none'}; name one: savedmodel:FOLDER:SIGNATURE",
            code="build.no_signature",
        )
    function = loaded.signatures[name]
    asked = dict(sorted(function.structured_input_signature[1].items()))
    if (folder / OUTER).exists():
        form = read_outer((folder / OUTER).read_bytes())
        model = _outward(tensorflow, function, asked, form)
    else:
        model = TensorflowModel(tensorflow, lambda tensors: function(**tensors), asked)
    model.loaded = loaded  # type: ignore[attr-defined]  # a function alone does not keep its variables alive
    return model


def _outward(tensorflow: ModuleType, function: Any, asked: Mapping[str, Any], form: OuterForm) -> TensorflowModel:
    """A signature by the names and sizes that are said of it.

    Raises:
        InvalidInput: It is not what is said of it.
    """
    there = {name: _known(one) for name, one in asked.items()}
    answered = {name: _known(one) for name, one in function.structured_outputs.items()}
    require_inputs(form.inputs, there)
    require_fit(form.outputs, answered)
    outside = dict(asked)
    for one in form.inputs:
        sizes = [None if size == -1 else size for size in one.shape]
        outside[one.name] = tensorflow.TensorSpec(sizes, asked[one.name].dtype, name=one.name)

    def turned(tensor: Any, before: tuple[int, ...], after: tuple[int, ...]) -> Any:
        sizes = tensorflow.unstack(tensorflow.shape(tensor), num=len(before))
        return tensor if before == after else tensorflow.reshape(tensor, sizes_after(sizes, before, after))

    def ask(tensors: Tensors) -> object:
        inner = {one.name: turned(tensors[one.name], one.shape, one.within) for one in form.inputs}
        answers = function(**{**tensors, **inner})
        return {one.name: turned(answers[one.name], one.within, one.shape) for one in form.outputs} or answers

    return TensorflowModel(tensorflow, ask, outside, form)


def _known(one: Any) -> tuple[str, tuple[int, ...]]:
    """Type and sizes of a tensor of a signature."""
    return _DATATYPES.get(one.dtype.name, ""), tuple(-1 if size is None else int(size) for size in one.shape)


def open_keras(path: Path) -> TensorflowModel:
    """Load a Keras v3 file, nothing of whose training is needed.

    Args:
        path: The ``.keras`` file.

    Raises:
        BadConfig: Keras is not here.
        InvalidInput: The model does not say what it takes.
    """
    tensorflow = _tensorflow()
    keras = import_module("keras")
    model = keras.saving.load_model(str(path), compile=False, safe_mode=True)
    inputs = list(getattr(model, "inputs", None) or ())
    if not inputs:
        raise InvalidInput(
            "the Keras model does not say what it takes", "begin it with keras.Input(shape)", where="model"
        )
    names = [str(one.name) for one in inputs]
    if len(set(names)) != len(names):
        names = [f"input_{at}" for at in range(len(names))]
    asked = {
        name: tensorflow.TensorSpec(one.shape, one.dtype, name=name) for name, one in zip(names, inputs, strict=True)
    }
    outputs = [str(one) for one in getattr(model, "output_names", ())]

    def ask(tensors: Tensors) -> object:
        given = [tensors[name] for name in names]
        answered = model(given if len(given) > 1 else given[0], training=False)
        if isinstance(answered, list | tuple):
            alike = len(set(outputs)) == len(answered)
            return dict(zip(outputs if alike else map("output_{}".format, range(len(answered))), answered, strict=True))
        return answered

    return TensorflowModel(tensorflow, ask, asked)


def _tensorflow() -> ModuleType:
    """The library, quiet, on one thread and without a GPU.

    Raises:
        BadConfig: It is not here.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        tensorflow = import_module("tensorflow")
    except ModuleNotFoundError as error:
        raise BadConfig(
            f"the model needs the module {error.name}, which is not installed here",
            "pip install 'penstock[tensorflow]'",
            code="build.missing_module",
        ) from error
    with suppress(RuntimeError):  # it has begun to compute already
        tensorflow.config.threading.set_intra_op_parallelism_threads(1)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    return tensorflow


def _spec(name: str, given: Any, *, as_is: bool = False) -> TensorSpec:
    """An input as the package has it.

    Raises:
        InvalidInput: It is of a type, or of dimensions, that no request carries.
    """
    datatype = _DATATYPES.get(given.dtype.name if hasattr(given.dtype, "name") else str(given.dtype))
    if datatype is None or not given.shape.rank:
        raise InvalidInput(
            "the model has an input that no request can carry",
            "take tensors whose first dimension is the row",
            where=name,
        )
    if given.shape[0] not in (None, 1):
        raise InvalidInput(
            f"the model takes {given.shape[0]} rows at once, no more and no less",
            "export it with None as the first dimension",
            where=name,
        )
    rest = tuple(-1 if size is None else int(size) for size in given.shape[1:])
    return TensorSpec(name=name, datatype=datatype, shape=(-1, *(rest or (() if as_is else (1,)))))


def _by_name(answered: object) -> Tensors:
    """Answers by name, in one order."""
    if isinstance(answered, Mapping):
        return {str(name): one for name, one in sorted(answered.items())}
    return {"output": answered}


def _is_flat(tensor: Any) -> bool:
    """One value a row."""
    return bool(tensor.shape.rank == 1 or (tensor.shape.rank == 2 and tensor.shape[1] == 1))


def _array(tensor: Any) -> Array:
    """A tensor as a package's array; text is decoded."""
    array: Array = np.asarray(tensor.numpy())
    if array.dtype.kind not in "OS":
        return array
    texts = [one.decode(errors="replace") if isinstance(one, bytes) else str(one) for one in array.reshape(-1).tolist()]
    return np.array(texts, dtype=object).reshape(array.shape)
