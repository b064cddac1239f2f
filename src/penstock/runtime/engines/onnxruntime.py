"""Compiled graphs in process: ONNX Runtime, on one thread unless tuned, standard operators only.

What comes in: conformed arrays. What goes out: the signature's outputs. Input goes straight in as numpy arrays
(making an OrtValue a call costs four times the run).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from penstock.errors import ModelFailed
from penstock.packages.manifest import numbers_beside
from penstock.packages.read import Package
from penstock.records import Sizing
from penstock.runtime.engine import ABANDONED
from penstock.runtime.graphfile import FOLDER_OF_NUMBERS, TEXTS, require_whole
from penstock.runtime.memory import NO_MEMORY
from penstock.runtime.nameless import nameless
from penstock.runtime.providers import declared_providers, require_first, sizing_for
from penstock.tensors import DTYPES, Array, Arrays, TensorSpec

_TYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}

# They share no base class but Exception; RuntimeError and ValueError come from the binding itself.
_ERRORS = (
    state.EPFail,
    state.EngineError,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoModel,
    state.NotImplemented,
    state.RuntimeException,
    RuntimeError,
    ValueError,
)

TOO_LARGE = "give it fewer rows or more memory; a graph that always asks for so much is not to be trusted"

_Run = Callable[[list[str], Mapping[str, Array], onnxruntime.RunOptions | None], Sequence[Array]]


class _Input(NamedTuple):
    """How one input has to reach the graph: None where it fits as it is."""

    name: str
    dtype: np.dtype[np.generic] | None
    rank: int


class OnnxRuntimeEngine:
    """One graph, one session.

    Attributes:
        inline: Standard operators run no code of the model's own.
    """

    inline = True

    def __init__(
        self, run: _Run, inputs: Sequence[TensorSpec], nodes: Sequence[_Input], outputs: Sequence[TensorSpec]
    ) -> None:
        self._run: _Run | None = run
        self._inputs = tuple(nodes)
        # Whether the graph wants anything in another type or rank than the signature, whose arrays come in.
        self._other = any(
            node.dtype is not None or node.rank != len(spec.shape) for spec, node in zip(inputs, nodes, strict=True)
        )
        self._outputs = tuple((spec.name, DTYPES[spec.datatype], len(spec.shape)) for spec in outputs)
        self._names = [spec.name for spec in outputs]
        self._word = onnxruntime.RunOptions()  # by which a run can be told to end
        self._abandoned = False

    @classmethod
    def open(cls, package: Package, environments: Path | None, *, sizing: Sizing | None = None) -> OnnxRuntimeEngine:
        """Load the graph.

        Raises:
            Untrusted: It keeps numbers elsewhere than in the package, or was changed since it was verified.
            BadConfig: A provider that was declared is not here.
            NotReady: There is no room for a copy of its numbers.
            ModelFailed: It is no graph that this runtime reads, or lacks an input or output of the signature.
        """
        del environments  # a compiled graph has no dependencies of its own
        options = onnxruntime.SessionOptions()
        sizing = sizing_for(package.manifest, sizing)
        options.intra_op_num_threads = sizing.threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # what fails is raised, and logged by whoever asked
        name = package.manifest.name
        providers = declared_providers(sizing, options)
        graph = package.read(package.manifest.entry)
        with _numbers(package, graph, options):
            try:
                session = onnxruntime.InferenceSession(graph, options, providers=providers)
            except _ERRORS as error:
                first = "".join(one for one in str(error).partition("\n")[0][:300] if one.isprintable())
                raise _failure(
                    error, f"{name}: ONNX Runtime cannot load its graph", first, "package it again"
                ) from error
        require_first(session, sizing)
        signature = package.manifest.signature
        nodes = {node.name: (node.type, len(node.shape)) for node in session.get_inputs()}
        # The inner run skips checks that conform and the lines below do: 1.5 us of 10.
        run: _Run = session._sess.run
        metadata = session.get_modelmeta().custom_metadata_map
        # Few graphs have a tokenizer before them: the others' start does not load any.
        front = import_module("penstock.runtime.textfront").open_front(metadata) if TEXTS in metadata else None
        if front is not None and front.feeds == nodes.keys():
            nodes, run = dict.fromkeys(front.inputs, ("tensor(string)", 2)), front.before(run)
        given = {node.name for node in session.get_outputs()}
        lacking = (set(signature.input_names()) ^ set(nodes)) | ({spec.name for spec in signature.outputs} - given)
        if lacking:
            told = ", ".join(repr(one)[1:-1] for one in sorted(lacking))  # a package's own words
            raise ModelFailed(f"{name}: graph and signature differ in {told}", "package it again")
        wanted = [_input(spec, *nodes[spec.name]) for spec in signature.inputs]
        return cls(run, signature.inputs, wanted, signature.outputs)

    def run(self, inputs: Arrays, *, timeout_s: float | None = None) -> Arrays:
        """Answer rows; see `penstock.runtime.engine.Engine.run`."""
        if self._run is None:
            raise ModelFailed("the engine is closed", code="runtime.closed")
        if self._abandoned:  # that was the run before
            self._word, self._abandoned = onnxruntime.RunOptions(), False
        feeds = {name: _fed(inputs[name], dtype, rank) for name, dtype, rank in self._inputs} if self._other else inputs
        try:
            answers = self._run(self._names, feeds, self._word)
        except _ERRORS as error:
            if self._abandoned:
                raise ModelFailed("the run was ended: nobody waits for it any more", code=ABANDONED) from error
            raise _failure(error, "ONNX Runtime failed", str(error)) from error
        outputs: Arrays = {}
        for (name, dtype, rank), array in zip(self._outputs, answers, strict=True):
            usual = array.dtype is dtype and array.ndim == rank
            outputs[name] = array if usual else _answered(array, dtype, rank)
        return outputs

    def abandon(self) -> None:
        """End the run that goes on, from another thread, between two of the graph's nodes."""
        self._abandoned = True
        self._word.terminate = True

    def close(self) -> None:
        """Let go of the session."""
        self._run = None


@contextmanager
def _numbers(package: Package, graph: bytes, options: onnxruntime.SessionOptions) -> Iterator[None]:
    """Give a session the numbers beside its graph; it maps them, and lets go of what it packs anew.

    Raises:
        Untrusted: The graph keeps numbers elsewhere than there, or they were changed since they were verified.
        NotReady: There is no room for a copy.
    """
    beside = numbers_beside(package.manifest)
    if not require_whole(graph, beside):
        yield
        return
    with nameless(sum(beside.values())) as folder:
        for one in beside:
            package.copy(str(PurePosixPath(package.manifest.entry).with_name(one)), folder / one)
        options.add_session_config_entry(FOLDER_OF_NUMBERS, str(folder.resolve()))
        yield


def _failure(error: Exception, what: str, why: str, hint: str = "") -> ModelFailed:
    """What an exception of the runtime's says."""
    if NO_MEMORY.search(str(error)):
        return ModelFailed(f"{what}: the graph asks for more memory than there is", TOO_LARGE, code="runtime.memory")
    return ModelFailed(f"{what}: {why}", hint)


def _input(spec: TensorSpec, kind: str, rank: int) -> _Input:
    """What an input's arrays have to become, worked out once."""
    wanted = DTYPES.get(_TYPES.get(kind, ""))
    if wanted is None:
        raise ModelFailed(f"the graph's input {spec.name} is a {kind}, not a tensor", "package it again")
    return _Input(spec.name, None if wanted == DTYPES[spec.datatype] else wanted, rank)


def _fed(array: Array, dtype: np.dtype[np.generic] | None, rank: int) -> Array:
    """The array in the graph's type and rank."""
    if dtype is not None:
        array = array.astype(dtype)
    return array if array.ndim == rank else _ranked(array, rank)


def _answered(array: Array, dtype: np.dtype[np.generic], rank: int) -> Array:
    """The answer in the signature's type and rank."""
    if array.dtype != dtype:
        array = array.astype(str).astype(object) if dtype.kind == "O" else array.astype(dtype)
    return array if array.ndim == rank else _ranked(array, rank)


def _ranked(array: Array, rank: int) -> Array:
    """``(rows, 1)`` as ``(rows,)`` and the reverse; anything else as it is, for the runtime to refuse."""
    if rank == 1 and array.ndim == 2 and array.shape[1] == 1:
        return array.reshape(len(array))
    return array.reshape(len(array), 1) if rank == 2 and array.ndim == 1 else array
