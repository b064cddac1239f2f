"""The build's main line: a trained model becomes a package.

    model -> file -> sandbox (examine) -> checks -> folder -> lock, profile, bill -> manifest -> sign -> rename

What comes in: a live object or the path of a model's file, and a `BuildRequest`. What goes out: a verified
`Package` under ``out/<sha256 of the manifest>``. The model is never loaded in this process: a live object, which
is the caller's own, is written to a file and from there on treated like everybody else's.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

import msgspec

from penstock.adapters import TABLE, load
from penstock.build.applied import prepared, renamed_classes, taught_by, teaching_of, write_teaching
from penstock.build.archived import package_archive
from penstock.build.bom import add_bill
from penstock.build.declaration import as_plain
from penstock.build.dependencies.lock import NAME as LOCK
from penstock.build.dependencies.lock import lock
from penstock.build.dependencies.proving import prove_environment
from penstock.build.dependencies.requirements import differences
from penstock.build.dependencies.surroundings import Surroundings, find_surroundings
from penstock.build.elsewhere import examine_elsewhere
from penstock.build.examine import GOLDEN, GRAPH, MAX_SCORED_ROWS, SCORES, Examined, Looked, Task
from penstock.build.folders import archive_folder
from penstock.build.format import ModelFormat
from penstock.build.headway import headway
from penstock.build.live import write_live
from penstock.build.profile import measure
from penstock.build.proof import NOT_OURS, ask_afresh, sandboxed
from penstock.build.request import BuildRequest, Progress, silent
from penstock.build.rows import Given, read_rows
from penstock.build.sign import sign_folder
from penstock.build.sources import ModelSource, archive_source, find_source
from penstock.build.strides import copied, copied_open, digested, megabytes
from penstock.errors import BadConfig, InvalidInput, ModelFailed, NotFound, Untrusted
from penstock.packages.archive import unpack
from penstock.packages.digests import sha256_bytes
from penstock.packages.golden import decode_golden
from penstock.packages.manifest import FORMAT, MANIFEST, is_numbers
from penstock.packages.read import MAX_GOLDEN_BYTES, Package, open_package
from penstock.packages.tree import open_file, read_bytes, scan
from penstock.packages.typed import require_typed
from penstock.records import FileEntry, Manifest, encode
from penstock.runtime.environments import ENVIRONMENT, parse
from penstock.runtime.providers import declared_for
from penstock.runtime.transform import TRANSFORMS
from penstock.runtime.transformed import MAX_BYTES, decode_transforms, encode_transforms
from penstock.statistics.arraytables import write_table

ENTRY = "penstock.build.examine:examine"
LOOK = "penstock.build.examine:look"
COMPILED = "model/model.onnx"
ORIGINAL = "model/original"
REQUIREMENTS = "requirements.txt"
PROFILE = "profile.json"
PARITY = "parity.json"
MAX_GRAPH_BYTES = 2 << 30
T = TypeVar("T")
_SUFFIX = re.compile(r"/[A-Za-z][A-Za-z0-9_]*(\.[a-z0-9]{1,12})?|\.[a-z0-9]{1,12}")
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
        file = _model_file(model, source, prepared(request, given), place, request.progress)
        if source is not None and source.archive:
            if request.transforms is not None:
                raise BadConfig("an archive's handler prepares its rows itself", "package it without --transforms")
            return finish(*package_archive(source.archive, file, place, request), request)
        named = source is not None and source.named_code
        asked = msgspec.structs.replace(request, allow_code=request.allow_code or named)
        around = None
        if request.requirements is not None:
            looked = _looked(file, place, asked)
            around = find_surroundings(request.requirements, looked, request, place)
            if around.python is not None:
                request.progress("asking it in its own environment")
                frame = None if given is None else given.frame.head(MAX_SCORED_ROWS)
                examined = examine_elsewhere(
                    file,
                    looked,
                    frame,
                    python=around.python,
                    place=place,
                    patience_s=request.patience_s,
                    steps=None if request.transforms is None else (request.transforms, teaching_of(request, given)),
                )
                return put_together(place, examined, given, request, around)
        request.progress(f"auditing, compiling and comparing it in the sandbox ({megabytes(file.stat().st_size)})")
        return put_together(place, _examine(file, given, place, asked), given, request, around)


def put_together(
    place: Path, examined: Examined, given: Given | None, request: BuildRequest, around: Surroundings | None = None
) -> Package:
    """Make a package of what the sandbox left: what `build` does after the model has been examined.

    Args:
        place: Folder with the model in ``given/model``, the sandbox's files in ``scratch``, and an empty ``package``.
        examined: What it answered.
        given: The rows that it was given; None for none.
        request: What to make of it.
        around: What the model was given to run in; None where this interpreter is locked as it is.

    Raises:
        Untrusted: What the sandbox left is not what it should be.
        BadConfig: The original imports what its lock does not have.
    """
    folder = place / "package"
    request.progress("assembling the package")
    lay_out(folder, place / "given" / "model", place / "scratch", examined, request.progress)
    if examined.engine == "python":
        request.progress("asking it again in a fresh process, and listing what it imports")
        examined = _asked_afresh(folder, examined, place, request, around)
    missing = _write_lock(folder, examined, request, around)
    if request.prove_environment:
        missing, request = (), prove_environment(folder, ORIGINAL + examined.suffix, examined, place, request)
    if given is not None:
        request.progress("measuring the reference data")
        answers = read_bytes(place / "scratch", SCORES, limit=MAX_GRAPH_BYTES)
        before = renamed_classes(folder)
        (folder / PROFILE).write_bytes(encode(measure(given, examined, answers, before)))
    manifest = _manifest(folder, examined, request, missing)
    if request.transforms is not None:
        manifest = taught_by(manifest, folder, request, given)
    return finish(folder, add_bill(folder, manifest), request)


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


def _model_file(
    model: object, source: ModelSource | None, given: Given | None, place: Path, progress: Progress
) -> Path:
    """The model as a file of our own: what is examined is what is packaged."""
    file = place / "given" / "model"
    if source is not None:
        archive_source(source, file)
    elif not isinstance(model, Path):
        write_live(model, file, None if given is None else given.frame)
    elif model.is_dir():
        archive_folder(model, file)
    elif model.is_file():
        copied(model, file, "copying the model", progress)
    else:
        raise NotFound("there is no such model file", "check the path", code="build.no_model")
    return file


def _examine(file: Path, given: Given | None, place: Path, request: BuildRequest) -> Examined:
    """Everything that needs the model, in the sandbox."""
    data = ""
    if given is not None:
        data = str(place / "given" / "rows.parquet")
        try:
            write_table(given.frame.head(MAX_SCORED_ROWS), Path(data))
        except (TypeError, ValueError) as error:  # Arrow's errors are these
            raise InvalidInput(
                "the data has a column of several kinds, or two of one name", "make each column one kind", where="data"
            ) from error
    task = Task(model=str(file), data=data, allow_code=request.allow_code)
    if request.transforms is not None:
        taught = write_teaching(teaching_of(request, given), place / "given")
        task = msgspec.structs.replace(task, transforms=as_plain(request.transforms), **taught)
    with headway(place / "scratch", file.stat().st_size, request.progress):
        return _answered(ENTRY, task, place, request, Examined)


def _looked(file: Path, place: Path, request: BuildRequest) -> Looked:
    """What the model's file is; it is not loaded."""
    return _answered(LOOK, Task(model=str(file), allow_code=request.allow_code), place, request, Looked)


def _answered(entry: str, task: Task, place: Path, request: BuildRequest, kind: type[T]) -> T:
    """What an entry of the sandbox answers."""
    answer = sandboxed(entry, task, place / "given", place / "scratch", patience_s=request.patience_s)
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise ModelFailed(
            "the sandbox answered something else than was asked", NOT_OURS, code="build.bad_answer"
        ) from error


def lay_out(folder: Path, file: Path, scratch: Path, examined: Examined, progress: Progress = silent) -> None:
    """Put the original, the graph, the examples and the parity report in their places, each checked first.

    Raises:
        Untrusted: What the sandbox left is not what it should be.
    """
    require_typed(examined.signature)
    (folder / "model").mkdir()
    # The format itself would say which suffixes it has, and its libraries take seconds to import.
    if examined.kind not in TABLE["format"] or not _SUFFIX.fullmatch(examined.suffix):
        raise Untrusted("the sandbox names a format that is none", "package the model again", code="build.bad_answer")
    if examined.suffix.startswith("/"):
        unpack(file, folder / ORIGINAL)
    elif examined.kind != "onnx":
        shutil.copyfile(file, folder / (ORIGINAL + examined.suffix))
    if examined.engine == "onnxruntime":
        _copy_graph(scratch, folder / COMPILED, progress)
        onnx: ModelFormat = load("format", "onnx")()
        refused = onnx.audit(folder / COMPILED).refused
        if refused:
            raise Untrusted(
                f"the graph is not plain ONNX: {', '.join(refused[:5])}", "export it with standard operators"
            )
    if TRANSFORMS in os.listdir(scratch):  # a library may leave more there
        steps = decode_transforms(read_bytes(scratch, TRANSFORMS, limit=MAX_BYTES))
        (folder / TRANSFORMS).write_bytes(encode_transforms(steps))
    golden = read_bytes(scratch, GOLDEN, limit=MAX_GOLDEN_BYTES)
    decode_golden(golden, examined.signature)
    (folder / GOLDEN).write_bytes(golden)
    report = {"parity": examined.parity, "engine": examined.engine, "seconds": examined.seconds}
    if examined.refused:
        report |= {"refused": examined.refused, "then": _BEYOND if examined.engine == "onnxruntime" else _ALIKE}
    (folder / PARITY).write_bytes(encode(report))


def _copy_graph(scratch: Path, place: Path, progress: Progress) -> None:
    """Copy the graph that the sandbox left, and numbers that it set apart: piece by piece, they may be large."""
    for name in (GRAPH, *filter(is_numbers, sorted(os.listdir(scratch)))):
        with open_file(scratch, name) as source, place.with_name(name).open("xb") as copy:
            if os.fstat(source.fileno()).st_size > MAX_GRAPH_BYTES:
                raise Untrusted("the graph is longer than two gibibytes", "it is not what it says it is", where=name)
            copied_open(source, copy, "copying its numbers", progress)


def _asked_afresh(
    folder: Path, examined: Examined, place: Path, request: BuildRequest, around: Surroundings | None
) -> Examined:
    """With what it really imports, as a process sees it that has nothing else to do, and no more than the lock."""
    (place / "afresh").mkdir()
    found = ask_afresh(
        folder,
        folder / (ORIGINAL + examined.suffix),
        examined,
        scratch=place / "afresh",
        patience_s=request.patience_s,
        python=around.python if around else None,
        barred=around.barred if around else (),
    )
    return msgspec.structs.replace(examined, modules=tuple(sorted({*examined.modules, *found})))


def _write_lock(
    folder: Path, examined: Examined, request: BuildRequest, around: Surroundings | None
) -> tuple[str, ...]:
    """Write the lock; which distributions have no hash in it."""
    if around is not None:
        (folder / LOCK).write_text(around.lock)
        return ()
    needs = {*examined.modules, "joblib"} | ({"pandas"} if len(examined.signature.inputs) > 1 else set())
    locked = lock(sorted(needs) if examined.kind != "onnx" else (), ask_index=request.lock)
    (folder / LOCK).write_text(locked.text)
    return locked.missing


def _manifest(folder: Path, examined: Examined, request: BuildRequest, missing: tuple[str, ...]) -> Manifest:
    """What the package says of itself."""
    files = {
        name: FileEntry(sha256=digested(folder / name, f"digest of {name}", request.progress), size=size)
        for name, size in scan(folder).items()
    }
    compiled = examined.engine == "onnxruntime"
    notes = {"code_allowed": ", ".join(examined.code)} if examined.code else {}
    if f"{ORIGINAL}/{REQUIREMENTS}" in files:
        text = read_bytes(folder, f"{ORIGINAL}/{REQUIREMENTS}", limit=1 << 20).decode(errors="replace")
        other = differences(text, parse((folder / LOCK).read_text()))
        notes |= {"requirements_differ": "; ".join(other[:40])} if other else {}
    if examined.refused:
        notes["refused"] = f"{'; '.join(examined.refused)}; {_BEYOND if compiled else _ALIKE}"
    if request.requirements is not None:
        notes[ENVIRONMENT] = f"Python {sys.version_info[0]}.{sys.version_info[1]} on {platform.machine()}"
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
        declared=request.declared,
        providers=declared_for(examined.engine, request.providers),
        allow_cpu=request.allow_cpu,
    )


def finish(folder: Path, manifest: Manifest, request: BuildRequest) -> Package:
    """Write the manifest, sign, give the folder its name, and open it as everybody will.

    Args:
        folder: Everything but manifest and signature; it is moved.
        manifest: Lists all of it.
        request: Where to, and who signs.
    """
    data = encode(manifest)
    (folder / MANIFEST).write_bytes(data)
    if request.key is not None:
        request.progress("signing it")
        sign_folder(folder, request.key)
    place = request.out / sha256_bytes(data)
    if not place.exists():
        folder.rename(place)
    return open_package(place, keys=None if request.key is None else [request.key.public_key()])
