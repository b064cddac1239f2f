"""A model's folder in a Triton repository: its configuration read strictly, and which version's file it means.

    config.pbtxt -> `TritonConfig`;  REPOSITORY or MODEL -> `find_triton` -> version's folder, file, backend

Nothing is loaded. Fields that only say how it is scheduled or placed are read over: Penstock schedules for itself.
Fields that change what is answered are honoured or refused; unknown ones are refused. Source: Triton 2.73,
``model_config.proto`` and ``docs/user_guide/model_repository.md``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from penstock.build.triton.pbtxt import MAX_TEXT_BYTES, Fields, Word, read_fields
from penstock.build.triton.reshape import fault_of
from penstock.errors import BadConfig, InvalidInput, NotFound, Untrusted
from penstock.packages.tree import check_name, read_bytes

CONFIG = "config.pbtxt"
T = TypeVar("T")
TRITON_TYPES = {
    "TYPE_BOOL": "BOOL",
    "TYPE_STRING": "BYTES",
    **{f"TYPE_{name}": name for name in ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")},
    **{f"TYPE_{name}": name for name in ("FP16", "FP32", "FP64", "BF16")},
}
_BACKENDS = {"onnxruntime_onnx": "onnxruntime", "tensorflow_savedmodel": "tensorflow", "pytorch_libtorch": "pytorch"}
_FILES = {"onnxruntime": "model.onnx", "tensorflow": "model.savedmodel", "pytorch": "model.pt", "python": "model.py"}
_WHY_NOT = {
    "python": "its model.py is code for Triton's own process: write a class of your own around it (FILE.py:Class)",
    "ensemble": "it is a graph of other models: package each of them",
    "tensorrt": "a TensorRT plan runs on one kind of GPU alone: package the ONNX file that it was made of",
    "tensorrt_plan": "a TensorRT plan runs on one kind of GPU alone: package the ONNX file that it was made of",
    "tensorflow_graphdef": "a frozen graph has no signature: save it as a SavedModel",
    "fil": "package the booster's own file: XGBoost's, LightGBM's",
}
_READ_OVER = frozenset({
    "optimization", "dynamic_batching", "instance_group", "metric_tags", "parameters", "model_warmup",
    "response_cache", "model_metrics", "cc_model_filenames", "runtime",
})  # fmt: skip
_REFUSED = {
    "ensemble_scheduling": "it is a graph of other models",
    "sequence_batching": "its answers hang on the requests before",
    "batch_input": "Triton makes inputs for it",
    "batch_output": "Triton cuts its outputs",
    "model_operations": "it loads operators of its own",
    "model_repository_agents": "an agent changes its files",
}
_TENSOR = frozenset({"name", "data_type", "dims", "format", "label_filename", "optional"})
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


class TritonTensor(msgspec.Struct, frozen=True):
    """An input or an output.

    Attributes:
        datatype: The protocol's name of its type.
        dims: Without the batch where the model has one; -1 is any size.
        inner: What it is reshaped to for the model; None where it is not.
        labels: The file of its labels, in the model's folder; empty for none.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]
    inner: tuple[int, ...] | None = None
    labels: str = ""


class TritonConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a configuration says of a model.

    Attributes:
        backend: Empty where it does not say.
        max_batch_size: 0 where `TritonTensor.dims` are the whole shape.
        file: Its default file; empty for the backend's usual one.
        only: The versions that are served; empty for the newest.
        signature: Of a SavedModel; empty for its usual one.
    """

    name: str = ""
    backend: str = ""
    max_batch_size: int = 0
    file: str = ""
    inputs: tuple[TritonTensor, ...] = ()
    outputs: tuple[TritonTensor, ...] = ()
    only: tuple[int, ...] = ()
    signature: str = ""


class TritonModel(NamedTuple):
    """What a Triton repository holds of a model.

    Attributes:
        folder: The model's, which may have a `CONFIG`.
        version: Name of the version's folder.
        file: Below that.
        backend: Triton's name of what runs it.
        config: What its `CONFIG` says; None without one.
    """

    folder: Path
    version: str
    file: str
    backend: str
    config: TritonConfig | None


def find_triton(place: Path) -> TritonModel:
    """The newest served version of a model.

    Args:
        place: A model's folder, or a repository that holds one model.

    Raises:
        NotFound: There is no model, or no version of it.
        InvalidInput: There are several models.
        BadConfig: It is of a backend that is not read here.
        Untrusted: Its configuration cannot be read, or is for something else.
    """
    folder = _model_folder(place)
    configured = (folder / CONFIG).exists() or (folder / CONFIG).is_symlink()
    config = parse_triton(read_bytes(folder, CONFIG, limit=MAX_TEXT_BYTES)) if configured else TritonConfig()
    if config.name and config.name != folder.resolve().name:
        raise Untrusted("the configuration is of another model than its folder", "give both one name", where=CONFIG)
    version = _newest(folder, config)
    backend = config.backend or _told_by_file(folder / version)
    if backend not in _FILES or backend in _WHY_NOT:
        why = _WHY_NOT.get(backend, "read here are onnxruntime, tensorflow and pytorch")
        raise BadConfig(f"the model's backend is {backend[:40] or 'not named'}", why, code="build.triton_backend")
    file = config.file or _FILES[backend]
    if not (folder / version / file).exists():
        raise NotFound(f"the version {version} has no file {file}", "see default_model_filename", code="build.no_model")
    return TritonModel(folder, version, file, backend, config if configured else None)


def parse_triton(data: bytes) -> TritonConfig:
    """What a ``config.pbtxt`` says.

    Raises:
        Untrusted: It is none, or says one thing twice.
        BadConfig: It asks for what would change the answers and is not done here.
    """
    said = read_fields(data)
    for name, why in _REFUSED.items():
        if said.get(name):
            raise _not_done(name, why)
    known = {"name", "platform", "backend", "max_batch_size", "input", "output", "default_model_filename"}
    _require_known(said, known | {"version_policy", "model_transaction_policy"} | _READ_OVER)
    policy = _one(said, "model_transaction_policy", dict) or {}
    if policy.get("decoupled", [Word("false")]) != [Word("false")]:
        raise _not_done("decoupled", "one request may have many answers")
    platform = _one(said, "platform", str) or ""
    file = _one(said, "default_model_filename", str) or ""
    batch = _one(said, "max_batch_size", int) or 0
    if not 0 <= batch < 1 << 31:
        raise _wrong("max_batch_size is none")
    return TritonConfig(
        name=_one(said, "name", str) or "",
        backend=_one(said, "backend", str) or _BACKENDS.get(platform, platform),
        max_batch_size=batch,
        file=file and check_name(file),
        inputs=_tensors(said, "input", batched=batch > 0),
        outputs=_tensors(said, "output", batched=batch > 0),
        only=_served(_one(said, "version_policy", dict) or {}),
        signature=_parameter(said, "TF_SIGNATURE_DEF"),
    )


def _parameter(said: Fields, key: str) -> str:
    """One of the parameters that a backend reads."""
    for one in said.get("parameters", ()):
        if isinstance(one, dict) and one.get("key") == [key]:
            return _one(_one(one, "value", dict) or {}, "string_value", str) or ""
    return ""


def _served(policy: Fields) -> tuple[int, ...]:
    """The versions that are named; where others are asked for, the newest is always one of them."""
    _require_known(policy, {"latest", "all", "specific"})
    for name, fields in (("latest", {"num_versions"}), ("all", set()), ("specific", {"versions"})):
        _require_known(_one(policy, name, dict) or {}, fields)
    return tuple(_whole(one) for one in (_one(policy, "specific", dict) or {}).get("versions", ()))


def _tensors(said: Fields, kind: str, *, batched: bool) -> tuple[TritonTensor, ...]:
    """Inputs or outputs, each name once."""
    found = []
    for one in said.get(kind, ()):
        if not isinstance(one, dict):
            raise _wrong(f"an {kind} is no message")
        for name, wanted in (("is_shape_tensor", "a shape is given as a value"),
                             ("allow_ragged_batch", "rows of different sizes go together"),
                             ("is_non_linear_format_io", "its layout is a device's own")):  # fmt: skip
            if one.get(name, [Word("false")]) != [Word("false")]:
                raise _not_done(name, wanted)
        _require_known(one, _TENSOR | {"is_shape_tensor", "reshape", "allow_ragged_batch", "is_non_linear_format_io"})
        datatype = TRITON_TYPES.get(str(_one(one, "data_type", Word)))
        dims = tuple(_whole(size) for size in one.get("dims", ()))
        name = _one(one, "name", str) or ""
        if datatype is None or not name or any(size < -1 or size == 0 for size in dims):
            raise _wrong(f"an {kind} has no name, no type or a size that is none")
        inner = _inner(one, name, dims, batched=batched)
        labels = _one(one, "label_filename", str) or ""
        found.append(TritonTensor(name, datatype, dims, inner, labels and check_name(labels)))
    if len({one.name for one in found}) != len(found):
        raise _wrong(f"an {kind} stands there twice")
    return tuple(found)


def _inner(one: Fields, name: str, dims: tuple[int, ...], *, batched: bool) -> tuple[int, ...] | None:
    """The sizes that the model has instead of dims."""
    reshape = _one(one, "reshape", dict)
    if reshape is None:
        return None
    _require_known(reshape, {"shape"})
    inner = tuple(_whole(size) for size in reshape.get("shape", ()))
    fault = fault_of(dims, inner, batched=batched)
    if fault:
        raise _wrong(f"the reshape of {name[:80]} cannot be: {fault}")
    return inner


def _model_folder(place: Path) -> Path:
    """The model that is meant: the folder itself, or the only one of a repository."""
    if not place.is_dir():
        raise NotFound("there is no such folder", "give a Triton repository, or one model's folder of it")
    if (place / CONFIG).is_file() or _versions(place):
        return place
    models = sorted(one.name for one in place.iterdir() if one.is_dir() and ((one / CONFIG).exists() or _versions(one)))
    if not models:
        raise NotFound("the folder holds no model of Triton's", f"a model has {CONFIG} and folders of versions")
    if len(models) > 1:
        raise InvalidInput(
            f"the repository holds {len(models)} models", f"name one: triton:FOLDER/{models[0]}", where="model"
        )
    return place / models[0]


def _versions(folder: Path) -> list[int]:
    """Numbers of the versions that lie there."""
    return sorted(int(one.name) for one in folder.iterdir() if _VERSION.fullmatch(one.name) and one.is_dir())


def _newest(folder: Path, config: TritonConfig) -> str:
    """The highest version that Triton would serve."""
    there = [number for number in _versions(folder) if not config.only or number in config.only]
    if not there:
        raise NotFound("no version of the model is served", "versions are folders: 1, 2, ...; see version_policy")
    return str(there[-1])


def _told_by_file(version: Path) -> str:
    """The backend whose usual file lies there, as Triton completes a configuration."""
    return next((backend for backend, file in _FILES.items() if (version / file).exists()), "")


def _one(said: Fields, name: str, kind: type[T]) -> T | None:
    """The value of a field that may stand there once."""
    values: Sequence[object] = said.get(name, ())
    if not values:
        return None
    value = values[0]
    fits = isinstance(value, kind) and (kind is not str or not isinstance(value, Word))
    if len(values) > 1 or not fits:
        raise _wrong(f"{name} stands there twice, or is of another type")
    return value  # type: ignore[return-value]


def _whole(value: object) -> int:
    if not isinstance(value, int):
        raise _wrong("a size or number is none")
    return value


def _require_known(said: Fields, known: set[str] | frozenset[str]) -> None:
    """Refuse a field that nobody reads: it may matter."""
    strange = sorted(said.keys() - known)
    if strange:
        raise _wrong(f"it has a field that is not known here: {strange[0][:40]}")


def _not_done(field: str, why: str) -> BadConfig:
    return BadConfig(f"the configuration asks for {field}: {why}", "that is not done here", code="build.triton_field")


def _wrong(what: str) -> Untrusted:
    return Untrusted(f"the configuration cannot be trusted: {what}", "write it as Triton reads it", where=CONFIG)
