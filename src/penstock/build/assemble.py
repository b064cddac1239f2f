"""The build's main line: a trained model becomes a package.

    model -> file -> sandbox (examine) -> checks -> folder -> lock, profile, bill -> manifest -> sign -> rename

What comes in: a live object or the path of a model's file, and a `BuildRequest`. What goes out: a verified
`Package` under ``out/<sha256 of the manifest>``. The model is never loaded in this process: a live object, which
is the caller's own, is written to a file and from there on treated like everybody else's.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp

import joblib
import msgspec

from penstock.adapters import TABLE, load
from penstock.build.bom import add_bill
from penstock.build.examine import GOLDEN, GRAPH, MAX_SCORED_ROWS, SCORES, Examined, Task
from penstock.build.folders import archive_folder
from penstock.build.format import ModelFormat
from penstock.build.lock import NAME as LOCK
from penstock.build.lock import lock
from penstock.build.profile import measure
from penstock.build.request import BuildRequest
from penstock.build.requirements import differences
from penstock.build.rows import Given, read_rows
from penstock.build.sign import sign_folder
from penstock.build.sources import ModelSource, archive_source, find_source
from penstock.errors import InvalidInput, ModelFailed, NotFound, Untrusted
from penstock.packages.archive import unpack
from penstock.packages.digests import sha256_bytes, sha256_file
from penstock.packages.golden import decode_golden
from penstock.packages.manifest import FORMAT, MANIFEST
from penstock.packages.read import MAX_GOLDEN_BYTES, Package, open_package
from penstock.packages.tree import read_bytes, scan
from penstock.records import FileEntry, Manifest, encode
from penstock.runtime.environments import parse
from penstock.runtime.imports import Traced
from penstock.runtime.limits import Quota
from penstock.runtime.sandbox import run_task

ENTRY = "penstock.build.examine:examine"
TRACE = "penstock.runtime.imports:trace"
COMPILED = "model/model.onnx"
ORIGINAL = "model/original"
REQUIREMENTS = "requirements.txt"
PROFILE = "profile.json"
PARITY = "parity.json"
MAX_GRAPH_BYTES = 2 << 30
_BEYOND = "the compiled graph answers such rows all the same, as if the value were of no category or of any size"
_ALIKE = "the package refuses such rows as the original does"


def build(model: object, request: BuildRequest) -> Package:
    """Make a package.

    Args:
        model: A fitted estimator or pipeline, or the `pathlib.Path` of a model's file, of an encoder's folder, of a
            class (``FILE.py:Class``, or a folder with ``model.py``), or of a folder that MLflow logged.
        request: What to make of it.

    Returns:
        The package, verified, under ``request.out``; building the same again gives another digest (times differ).

    Raises:
        NotFound: There is no such file.
        InvalidInput: The file is no model, or the data does not fit it.
        Untrusted: Loading it would run code that no model needs.
        ModelFailed: The model could not be loaded or asked.
    """
    request.out.mkdir(parents=True, exist_ok=True)
    given = read_rows(request)
    with _workplace(request.out) as place:
        request.progress("reading the model")
        source = find_source(model) if isinstance(model, Path) else None
        file = _model_file(model, source, place)
        request.progress("auditing, compiling and comparing it in the sandbox")
        named = source is not None and source.named_code
        examined = _examine(
            file, given, place, msgspec.structs.replace(request, allow_code=request.allow_code or named)
        )
        return put_together(place, examined, given, request)


def put_together(place: Path, examined: Examined, given: Given | None, request: BuildRequest) -> Package:
    """Make a package of what the sandbox left: what `build` does after the model has been examined.

    Args:
        place: Folder with the model in ``given/model``, the sandbox's files in ``scratch``, and an empty ``package``.
        examined: What it answered.
        given: The rows that it was given; None for none.
        request: What to make of it.

    Raises:
        Untrusted: What the sandbox left is not what it should be.
    """
    folder = place / "package"
    request.progress("assembling the package")
    lay_out(folder, place / "given" / "model", place / "scratch", examined)
    if examined.suffix.startswith("/") and examined.engine == "python":
        request.progress("asking it again in a fresh process, and listing what it imports")
        examined = _traced(folder, examined, place, request)
    missing = _write_lock(folder, examined, ask_index=request.lock)
    if given is not None:
        request.progress("measuring the reference data")
        answers = read_bytes(place / "scratch", SCORES, limit=MAX_GRAPH_BYTES)
        (folder / PROFILE).write_bytes(encode(measure(given, examined, answers)))
    return _finish(folder, add_bill(folder, _manifest(folder, examined, request, missing)), request)


@contextmanager
def _workplace(out: Path) -> Iterator[Path]:
    """A fresh folder beside the result, gone afterwards."""
    place = Path(mkdtemp(prefix=".building-", dir=out))
    try:
        for name in ("given", "scratch", "package"):
            (place / name).mkdir()
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _model_file(model: object, source: ModelSource | None, place: Path) -> Path:
    """The model as a file of our own: what is examined is what is packaged."""
    file = place / "given" / "model"
    if source is not None:
        archive_source(source, file)
    elif not isinstance(model, Path):
        joblib.dump(model, file)
    elif model.is_dir():
        archive_folder(model, file)
    elif model.is_file():
        shutil.copyfile(model, file)
    else:
        raise NotFound("there is no such model file", "check the path", code="build.no_model")
    return file


def _examine(file: Path, given: Given | None, place: Path, request: BuildRequest) -> Examined:
    """Everything that needs the model, in the sandbox."""
    data = ""
    if given is not None:
        data = str(place / "given" / "rows.parquet")
        try:
            given.frame.head(MAX_SCORED_ROWS).to_parquet(data, index=False)
        except (TypeError, ValueError) as error:  # Arrow's errors are these
            raise InvalidInput(
                "the data has a column of several kinds, or two of one name", "make each column one kind", where="data"
            ) from error
    task = Task(model=str(file), data=data, allow_code=request.allow_code)
    answer = _sandboxed(ENTRY, task, place / "given", place / "scratch", request)
    try:
        return msgspec.convert(answer, Examined)
    except msgspec.ValidationError as error:
        raise ModelFailed("the sandbox answered something else than was asked", code="build.bad_answer") from error


def lay_out(folder: Path, file: Path, scratch: Path, examined: Examined) -> None:
    """Put the original, the graph, the examples and the parity report in their places, each checked first.

    Raises:
        Untrusted: What the sandbox left is not what it should be.
    """
    (folder / "model").mkdir()
    known = load("format", examined.kind)() if examined.kind in TABLE["format"] else None
    if known is None or examined.suffix not in known.suffixes:
        raise Untrusted("the sandbox names a format that is none", "package the model again", code="build.bad_answer")
    if examined.suffix.startswith("/"):
        unpack(file, folder / ORIGINAL)
    elif examined.kind != "onnx":
        shutil.copyfile(file, folder / (ORIGINAL + examined.suffix))
    if examined.engine == "onnxruntime":
        (folder / COMPILED).write_bytes(read_bytes(scratch, GRAPH, limit=MAX_GRAPH_BYTES))
        onnx: ModelFormat = load("format", "onnx")()
        refused = onnx.audit(folder / COMPILED).refused
        if refused:
            raise Untrusted(
                f"the graph is not plain ONNX: {', '.join(refused[:5])}", "export it with standard operators"
            )
    golden = read_bytes(scratch, GOLDEN, limit=MAX_GOLDEN_BYTES)
    decode_golden(golden, examined.signature)
    (folder / GOLDEN).write_bytes(golden)
    report = {"parity": examined.parity, "engine": examined.engine, "seconds": examined.seconds}
    if examined.refused:
        report |= {"refused": examined.refused, "then": _BEYOND if examined.engine == "onnxruntime" else _ALIKE}
    (folder / PARITY).write_bytes(encode(report))


def _traced(folder: Path, examined: Examined, place: Path, request: BuildRequest) -> Examined:
    """With what it really imports, as a process sees it that has nothing else to do."""
    golden = folder / GOLDEN
    task = Traced(
        entry=str(folder.resolve() / (ORIGINAL + examined.suffix)),
        kind=examined.kind,
        signature=examined.signature,
        golden=str(golden.resolve()),
    )
    (place / "traced").mkdir()
    answer = _sandboxed(TRACE, task, folder, place / "traced", request)
    try:
        found = msgspec.convert(answer, tuple[str, ...])
    except msgspec.ValidationError as error:
        raise ModelFailed("the sandbox answered something else than was asked", code="build.bad_answer") from error
    return msgspec.structs.replace(examined, modules=tuple(sorted({*examined.modules, *found})))


def _sandboxed(entry: str, task: msgspec.Struct, read: Path, scratch: Path, request: BuildRequest) -> object:
    """What an entry answers; where the model ended it, the error speaks of the model."""
    limits = Quota(time_s=request.patience_s)
    try:
        return run_task(entry, msgspec.to_builtins(task), read=[read], scratch=scratch, limits=limits)
    except ModelFailed as error:
        if error.code == "runtime.task_failed":
            raise
        hint = error.hint or "something that it calls ended its process: exit(), or a library that crashed"
        raise ModelFailed(error.message.replace(entry, "the model"), hint, code=error.code) from None


def _write_lock(folder: Path, examined: Examined, *, ask_index: bool) -> tuple[str, ...]:
    """Write the lock; which distributions have no hash in it."""
    needs = {*examined.modules, "joblib"} | ({"pandas"} if len(examined.signature.inputs) > 1 else set())
    locked = lock(sorted(needs) if examined.kind != "onnx" else (), ask_index=ask_index)
    (folder / LOCK).write_text(locked.text)
    return locked.missing


def _manifest(folder: Path, examined: Examined, request: BuildRequest, missing: tuple[str, ...]) -> Manifest:
    """What the package says of itself."""
    files = {name: FileEntry(sha256=sha256_file(folder / name), size=size) for name, size in scan(folder).items()}
    compiled = examined.engine == "onnxruntime"
    notes = {"code_allowed": ", ".join(examined.code)} if examined.code else {}
    if f"{ORIGINAL}/{REQUIREMENTS}" in files:
        text = read_bytes(folder, f"{ORIGINAL}/{REQUIREMENTS}", limit=1 << 20).decode(errors="replace")
        other = differences(text, parse((folder / LOCK).read_text()))
        notes |= {"requirements_differ": "; ".join(other[:40])} if other else {}
    if examined.refused:
        notes["refused"] = f"{'; '.join(examined.refused)}; {_BEYOND if compiled else _ALIKE}"
    if missing:
        notes["lock_without_hashes"] = ", ".join(missing)
    return Manifest(
        format=FORMAT,
        name=request.name,
        kind=examined.kind,
        engine=examined.engine,
        entry=COMPILED if compiled else ORIGINAL + examined.suffix,
        task="classification" if examined.classes else "regression",
        signature=examined.signature,
        files=files,
        classes=examined.classes,
        datasets=request.datasets,
        lock_digest=files[LOCK].sha256,
        parity=examined.parity,
        parent=request.parent,
        created_at=request.created_at or time.time(),
        builder=f"penstock {version('penstock')}",
        parameters=request.parameters,
        source={**request.source, **notes},
    )
        declared=request.declared,


def _finish(folder: Path, manifest: Manifest, request: BuildRequest) -> Package:
    """Write the manifest, sign, give the folder its name, and open it as everybody will."""
    data = encode(manifest)
    (folder / MANIFEST).write_bytes(data)
    if request.key is not None:
        request.progress("signing it")
        sign_folder(folder, request.key)
    place = request.out / sha256_bytes(data)
    if not place.exists():
        folder.rename(place)
    return open_package(place, keys=None if request.key is None else [request.key.public_key()])
