"""An MLflow model's folder: its MLmodel file read strictly, and what it names loaded.

    MLmodel (YAML, checked before it is built) -> `LoggedModel`
        sklearn, LightGBM, XGBoost  -> its file, as any other file of that kind
        a loader of its own         -> module._load_pyfunc(data)                     (runs its code)
        anything else of MLflow's   -> mlflow.pyfunc.load_model, where mlflow is     (runs its code)

Only a sandboxed process may load; reading runs nothing. Source: MLflow 3.17, ``mlflow/models/model.py``.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp

import msgspec

from penstock.errors import BadConfig, Untrusted
from penstock.packages.tree import check_name
from penstock.runtime.ownclass import OwnClass, Predicting, guarded

MLMODEL = "MLmodel"
MAX_BYTES = 1 << 20
MAX_DEPTH = 24
MAX_NODES = 50_000
MAX_COLUMNS = 10_000
NATIVE = {
    "mlflow.sklearn": ("sklearn", ("pickled_model",)),
    "mlflow.lightgbm": ("lightgbm", ("data", "lgb_model")),
    "mlflow.xgboost": ("xgboost", ("data", "xgb_model")),
    "mlflow.catboost": ("catboost", ("data",)),
    "mlflow.onnx": ("onnx", ("data",)),
}
"""MLflow's loader -> name of its flavor, and where that says which file it is."""

_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,15}")
_TABLES = ("dataframe", "ndarray")
_PANDAS = {
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "boolean": "bool",
    "string": "object",
}


class LoggedColumn(msgspec.Struct, frozen=True):
    """A column of a signature; a tensor has no name, perhaps.

    Attributes:
        type: MLflow's: integer, long, float, double, boolean, string, tensor, ...
        required: It may not be missing.
    """

    type: object = ""
    name: str = ""
    required: bool = True


class Example(msgspec.Struct, frozen=True):
    """What is said of the input example."""

    artifact_path: str = ""
    type: str = ""


class LoggedModel(msgspec.Struct, frozen=True):
    """What an MLmodel file says.

    Attributes:
        flavor: Of MLflow's own that is read here: sklearn, lightgbm, xgboost, catboost, onnx; else empty.
        file: The flavor's file, relative to the folder; empty without one.
        loader: Module that MLflow loads it with.
        code: Folder of its modules; empty for none.
        data: What a loader of its own is given; empty for the whole folder.
        columns: Of the signature's inputs; empty where there is none.
        example: File of the input example, a table; empty for none.
        version: Of the MLflow that wrote it.
    """

    flavor: str
    file: str
    loader: str
    code: str
    data: str
    columns: tuple[LoggedColumn, ...]
    example: str
    version: str

    @property
    def runs_code(self) -> bool:
        """Whether it is more than one of the known files."""
        return not self.flavor

    @property
    def names(self) -> tuple[str, ...]:
        """Of the signature's columns; empty where they have none."""
        return tuple(one.name for one in self.columns) if all(one.name for one in self.columns) else ()


class _Said(msgspec.Struct, frozen=True):
    """The file as it is; what is not read is left out."""

    flavors: dict[str, dict[str, object]]
    signature: dict[str, object] | None = None
    saved_input_example_info: Example | None = None
    mlflow_version: str = ""


def read_mlmodel(folder: Path) -> LoggedModel:
    """What a folder's MLmodel says; nothing of the folder is run.

    Raises:
        Untrusted: It is no plain YAML of this kind, too large, or names a file outside of the folder or none.
        BadConfig: It names no loader.
    """
    try:
        said = msgspec.convert(_tree((folder / MLMODEL).open("rb").read(MAX_BYTES + 1)), _Said)
        columns = _columns(said.signature)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise _wrong("it is not what MLflow writes") from error
    python = said.flavors.get("python_function", {})
    loader = python.get("loader_module")
    if loader is None and "onnx" in said.flavors:
        loader = "mlflow.onnx"
    if not isinstance(loader, str) or not _MODULE.fullmatch(loader):
        raise BadConfig("the MLmodel file names no loader", "log the model with its python_function flavor")
    flavor, keys = NATIVE.get(loader, ("", ()))
    conf = said.flavors.get(flavor, {})
    file = next((value for key in keys if (value := conf.get(key, python.get(key)))), "")
    example = said.saved_input_example_info or Example()
    return LoggedModel(
        flavor=flavor,
        file=_contained(folder, file or python.get("data") or "") if flavor else "",
        loader=loader,
        code=_contained(folder, python.get("code") or ""),
        data="" if flavor else _contained(folder, python.get("data") or ""),
        columns=columns,
        example=_contained(folder, example.artifact_path)
        if example and example.type in ("dataframe", "ndarray")
        else "",
        version=said.mlflow_version[:40],
    )


def open_logged(path: Path) -> object:
    """Load what a folder holds, as `penstock.runtime.original.load_original` does; this runs what it says.

    Args:
        path: Its MLmodel file.

    Raises:
        BadConfig: It needs a module that is not here.
        ModelFailed: It cannot be loaded.
    """
    folder = path.parent
    logged = read_mlmodel(folder)
    if logged.flavor:
        load = import_module("penstock.runtime.original").load_original
        model: object = load(*native_file(folder, logged))
        return model
    return open_own(folder, logged)


def native_file(folder: Path, logged: LoggedModel) -> tuple[Path, str]:
    """The one file of a known flavor under a name that its loader goes by, and which format it is.

    Raises:
        BadConfig: It is of no kind that is loaded here.
    """
    file = folder / logged.file
    if file.is_dir() or not logged.file:
        raise BadConfig(f"the {logged.flavor} model is no single file", "log it with MLflow 2 or later")
    with file.open("rb") as content:
        head = content.read(64)
    kind, suffix = logged.flavor, file.suffix
    if head.startswith(b"PK\x03\x04") and logged.flavor == "sklearn":
        kind = "skops"
    elif head.startswith(b"\x80") or logged.flavor == "sklearn":
        kind = "sklearn"
    elif logged.flavor == "lightgbm":
        suffix = ".txt"
    elif logged.flavor == "catboost":
        suffix = ".cbm" if head.startswith(b"CBM1") else ".json"
    elif logged.flavor == "xgboost":
        suffix = ".ubj" if head.startswith(b"{L") else ".json"
    if suffix == file.suffix:
        return file, kind
    return Path(shutil.copyfile(file, Path(mkdtemp(prefix="flavor-")) / f"model{suffix}")), kind


def open_own(folder: Path, logged: LoggedModel) -> OwnClass:
    """A model that is code: by its own loader, or by MLflow; this runs it.

    Raises:
        BadConfig: MLflow, or a module that the model needs, is not here.
        ModelFailed: It cannot be loaded.
    """
    if logged.loader.startswith("mlflow."):
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        try:
            import_module("mlflow.pyfunc")
        except ModuleNotFoundError as error:
            raise BadConfig(
                f"the model is loaded by {logged.loader}, and {error.name} is not installed here",
                f"install mlflow=={logged.version or '3'} and what its requirements.txt names beside Penstock,"
                " or log it as scikit-learn, LightGBM, XGBoost or ONNX",
                code="build.missing_module",
            ) from error
        model = guarded(lambda: import_module("mlflow.pyfunc").load_model(str(folder)), folder)
    else:
        sys.path.insert(0, str(folder / logged.code) if logged.code else str(folder))
        place = str(folder / logged.data) if logged.data else str(folder)
        model = guarded(lambda: import_module(logged.loader)._load_pyfunc(place), folder)
    return OwnClass(_TypedRows(model, logged))  # type: ignore[arg-type]


class _TypedRows:
    """Gives a model its columns in the types that its signature says."""

    def __init__(self, model: Predicting, logged: LoggedModel) -> None:
        self._model = model
        self._types = {one.name: _PANDAS[str(one.type)] for one in logged.columns if str(one.type) in _PANDAS}
        self.columns = logged.names
        tensors = [one for one in logged.columns if one.type == "tensor"]
        self.rows = "array" if len(tensors) == 1 and not logged.names else "frame"

    def predict(self, rows: object) -> object:
        """What it answers to rows of its types."""
        if self.rows == "frame":
            types = {name: kind for name, kind in self._types.items() if name in rows}  # type: ignore[operator]
            rows = rows.astype(types)  # type: ignore[attr-defined]
        return self._model.predict(rows)


def _tree(data: bytes) -> object:
    """Plain YAML: scalars, lists and mappings; no aliases, no tags, no key twice; nothing is built before that."""
    if len(data) > MAX_BYTES:
        raise _wrong("it is too large")
    try:
        yaml = import_module("yaml")
    except ModuleNotFoundError:
        raise BadConfig("MLflow's folders need pyyaml", "install it", code="build.missing_module") from None
    try:
        depth = 0
        for count, event in enumerate(yaml.parse(data.decode(), Loader=yaml.SafeLoader)):
            kind = type(event).__name__
            depth += kind.endswith("StartEvent") - kind.endswith("EndEvent")
            if count > MAX_NODES or depth > MAX_DEPTH:
                raise _wrong("it is too deep or too long")
            if kind == "AliasEvent" or getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise _wrong("it has aliases or tags")
        node = yaml.compose(data.decode(), Loader=yaml.SafeLoader)
        _require_once(node)
        return yaml.safe_load(data.decode())
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise _wrong("it is no YAML") from error


def _require_once(node: object) -> None:
    """Refuse a mapping with a key twice: readers differ in which one counts."""
    waiting = [node]
    while waiting:
        value = getattr(waiting.pop(), "value", None)
        if not isinstance(value, list):
            continue
        pairs = [one for one in value if isinstance(one, tuple)]
        keys = [str(key.value) for key, _ in pairs]
        if len(set(keys)) != len(keys):
            raise _wrong("it says one thing twice")
        waiting += [part for one in pairs for part in one] or value


def _columns(signature: Mapping[str, object] | None) -> tuple[LoggedColumn, ...]:
    """Of the signature's inputs, which are JSON inside of YAML."""
    text = (signature or {}).get("inputs")
    if not isinstance(text, str):
        return ()
    columns = msgspec.json.decode(text, type=tuple[LoggedColumn, ...])
    names = [one.name for one in columns if one.name]
    if len(columns) > MAX_COLUMNS or len(set(names)) != len(names):
        raise _wrong("its signature has a column twice, or too many")
    return columns


def _contained(folder: Path, name: object) -> str:
    """A plain name of something in the folder; empty stays empty."""
    if name == "":
        return ""
    if not isinstance(name, str):
        raise _wrong("a path in it is no text")
    place = folder / check_name(name)
    if place.is_symlink() or not place.exists():
        raise _wrong("it names a file that the folder lacks")
    return name


def _wrong(what: str) -> Untrusted:
    return Untrusted(f"the MLmodel file cannot be trusted: {what}", "log the model again", where=MLMODEL)
