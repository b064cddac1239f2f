"""A model that is somebody's code, or a folder of MLflow's or TensorFlow's, becomes one archive.

    my_model.py:Churn, FOLDER[:Churn], mlflow:FOLDER, savedmodel:FOLDER[:SIGNATURE], triton:FOLDER -> `find_source`
        -> `archive_source` -> zip of plain files: what is examined is what is packaged

Nothing is imported here, not even looked into: the archive is opened in the sandbox.
"""

from __future__ import annotations

import keyword
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import msgspec

from penstock.build.graphs.files import GraphFiles, find_graph, triton_graph
from penstock.build.triton.outer import outer_form
from penstock.build.triton.repository import find_triton
from penstock.errors import BadConfig, InvalidInput, NotFound, Untrusted
from penstock.packages.tree import check_name, open_file
from penstock.runtime.outerform import OUTER
from penstock.runtime.ownclass import ENTRY
from penstock.runtime.tensorflowmodel import SAVED_MODEL, SIGNATURE

MAIN = "model.py"
MLMODEL = "MLmodel"
MAX_FILES = 2000
MAX_BYTES = 4 << 30
MAX_FILE_BYTES = (2 << 30) - (1 << 20)
"""Of one file: what the sandbox may write as one, and what an archive holds without its larger form."""
_LEFT_OUT = frozenset({"__pycache__", "node_modules"})


class ModelSource(NamedTuple):
    """Where a model's files are.

    Attributes:
        folder: That they are relative to.
        file: Its one file; empty for the whole folder.
        entry: What the archive's `ENTRY` says; empty for a folder of MLflow's, which says by itself what it holds.
        signature: Of a SavedModel, the one to serve; empty for its usual one, and for all others.
        names: Files of an ONNX graph, the graph's own first; empty for all others.
        alone: The one file is the model itself, and needs no archive.
        archive: A name of the adapters' ``archive`` table, whose reader makes a package of it; empty for all others.
        outer: How its clients know its tensors, as `OUTER` has it; empty for as it knows them itself.
    """

    folder: Path
    file: str
    entry: str
    signature: str = ""
    names: tuple[str, ...] = ()
    alone: bool = False
    archive: str = ""
    outer: bytes = b""

    @property
    def named_code(self) -> bool:
        """Whether who packages it named code to be run."""
        return bool(self.entry)


def find_source(model: Path) -> ModelSource | None:
    """What a person meant; None for any other file or folder.

    Raises:
        NotFound: There is no such file or folder.
        InvalidInput: The class or its file has a name that cannot be imported.
    """
    text = str(model)
    scheme, colon, named = text.partition(":")
    if colon and scheme in _SCHEMES:
        return _SCHEMES[scheme](named)
    if model.is_dir() and ((model / MLMODEL).is_file() or (model / SAVED_MODEL).is_file()):
        return ModelSource(model, "", "")
    if model.exists():
        return _source(model, "import {} as source\n") or _graph(find_graph(model))
    name, _, kind = text.rpartition(":")
    if not name or not (Path(name).is_dir() or name.endswith(".py")):
        return None
    if not kind.isidentifier() or keyword.iskeyword(kind):
        raise InvalidInput("what stands behind the colon is no name of a class", "give FILE.py:Class")
    source = _source(Path(name), f"from {{}} import {kind} as Model\n")
    if source is None:
        raise NotFound(f"there is no such file, or no {MAIN} in that folder", "check the path", code="build.no_model")
    return source


def _logged(text: str) -> ModelSource:
    """A folder that MLflow logged."""
    folder = Path(text)
    if not (folder / MLMODEL).is_file():
        raise NotFound(f"there is no {MLMODEL} in that folder", "give the folder that MLflow logged")
    return ModelSource(folder, "", "")


def _saved_model(text: str) -> ModelSource:
    """Of ``FOLDER``, or of ``FOLDER:SIGNATURE``.

    Raises:
        NotFound: There is no such SavedModel.
    """
    folder, _, name = text.rpartition(":")
    if not folder or (Path(text) / SAVED_MODEL).is_file():
        folder, name = text, ""
    if not (Path(folder) / SAVED_MODEL).is_file():
        raise NotFound(f"there is no {SAVED_MODEL} in that folder", "give the folder that TensorFlow exported")
    return ModelSource(Path(folder), "", "", name)


def _triton(text: str) -> ModelSource:
    """The newest version of a model in a Triton repository.

    Raises:
        PenstockError: There is none that is read here, or its configuration cannot be trusted.
    """
    model = find_triton(Path(text))
    file = model.folder / model.version / model.file
    form = outer_form(model)
    outer = b"" if form is None else msgspec.json.encode(form)
    if model.backend == "tensorflow":
        signature = model.config.signature if model.config else ""
        return _saved_model(f"{file}:{signature}" if signature else str(file))._replace(outer=outer)
    if model.backend == "onnxruntime":
        source = _graph(triton_graph(model))
        assert source is not None
        return source._replace(outer=outer)
    return ModelSource(file.parent, file.name, "", alone=True, outer=outer)


def _mar(text: str) -> ModelSource:
    """TorchServe's archive."""
    file = Path(text)
    if not file.is_file():
        raise NotFound("there is no such archive", "give the file that torch-model-archiver made")
    return ModelSource(file.parent, file.name, "", alone=True, archive="mar")


_SCHEMES = {"mar": _mar, "mlflow": _logged, "savedmodel": _saved_model, "triton": _triton}
"""What a person may write before a path and a colon, to say what it is."""


def _graph(found: GraphFiles | None) -> ModelSource | None:
    """A graph that is more than one file."""
    return None if found is None else ModelSource(found.folder, "", "", names=found.names)


def _source(place: Path, entry: str) -> ModelSource | None:
    """Of a file of Python, or of a folder with `MAIN`; None of anything else."""
    if place.is_dir():
        return ModelSource(place, "", entry.format(_module(MAIN))) if (place / MAIN).is_file() else None
    return ModelSource(place.parent, place.name, entry.format(_module(place.name))) if _is_python(place) else None


def _is_python(place: Path) -> bool:
    return place.suffix == ".py" and place.is_file()


def archive_source(source: ModelSource, place: Path) -> None:
    """Put a source's files into one archive; equal files make equal archives.

    Raises:
        Untrusted: One is a link or no regular file, or has a name that no package has.
        InvalidInput: There are too many, or too large ones.
    """
    if source.alone:
        with open_file(source.folder, check_name(source.file)) as content, place.open("wb") as copy:
            shutil.copyfileobj(content, copy, 1 << 20)
        if source.outer:
            _add_extra(place, source.outer)
        return
    left = MAX_BYTES
    names = [source.file] if source.file else sorted(source.names or _walk(source.folder))
    if len(names) > MAX_FILES:
        raise InvalidInput(f"the folder holds more than {MAX_FILES} files", "leave what the model does not need out")
    with ZipFile(place, "w", ZIP_STORED) as archive:
        for name in names:
            file = source.folder / check_name(name)
            if file.is_symlink() or not file.is_file():
                raise Untrusted("a file of the model is a link, or no file", "copy what it points to", where=name)
            if name in (ENTRY, SIGNATURE, OUTER):
                raise InvalidInput("a file of the model has a name that is made here", "give it another", where=name)
            with open_file(source.folder, name) as content:
                size = os.fstat(content.fileno()).st_size
                if size >= MAX_FILE_BYTES:
                    raise InvalidInput(
                        f"a file of the model has {size / (1 << 30):.1f} GiB, and one file may have two",
                        "save its numbers in several; for ONNX: onnx.save(..., all_tensors_to_one_file=False)",
                        code="build.too_large",
                        where=name,
                    )
                left -= size
                if left < 0:
                    raise InvalidInput(f"the model's files are more than {MAX_BYTES >> 30} GiB", "leave some out")
                with archive.open(_member(name), "w", force_zip64=False) as member:
                    shutil.copyfileobj(content, member, 1 << 20)
        if source.signature:
            archive.writestr(_member(SIGNATURE), source.signature)
        if source.outer:
            archive.writestr(_member(OUTER), source.outer)
        if source.entry:
            archive.writestr(_member(ENTRY), "# Made when the model was packaged.\n" + source.entry)


def _add_extra(place: Path, outer: bytes) -> None:
    """Put what is said of its tensors into a script's archive, where PyTorch keeps extra files.

    Raises:
        InvalidInput: It is no archive.
    """
    try:
        with ZipFile(place) as archive:
            root = archive.namelist()[0].partition("/")[0]
        with ZipFile(place, "a", ZIP_STORED) as archive:
            archive.writestr(_member(f"{root}/extra/{OUTER}"), outer)
    except (BadZipFile, IndexError) as error:
        raise InvalidInput(
            "the model's file is no TorchScript", "save it with torch.jit.save", where="model"
        ) from error


def _walk(folder: Path) -> Iterator[str]:
    """Files below a folder by relative name; hidden ones and caches are left out, links to folders are told."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith(".")]
        for name in (*files, *(one for one in folders if (Path(place) / one).is_symlink())):
            if not name.startswith(".") and not name.endswith(".pyc"):
                yield (Path(place) / name).relative_to(folder).as_posix()


def _module(file: str) -> str:
    """The name that a file is imported by.

    Raises:
        BadConfig: It is none, or a module's of the standard library.
    """
    name = file.removesuffix(".py")
    if not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name in sys.stdlib_module_names:
        raise BadConfig(
            "the file's name cannot be imported, or is a module's of Python itself",
            "rename it: letters, digits and '_'",
            code="build.bad_name",
        )
    return name


def _member(name: str) -> ZipInfo:
    """Without time and owner."""
    member = ZipInfo(name)
    member.external_attr = 0o100644 << 16
    return member
