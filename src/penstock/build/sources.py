"""A model that is somebody's code, or a folder of MLflow's, becomes one archive: what is examined is what is packaged.

    my_model.py:Churn, FOLDER[:Churn], mlflow:FOLDER -> `find_source` -> `archive_source` -> zip of plain files

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
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from penstock.errors import BadConfig, InvalidInput, NotFound, Untrusted
from penstock.packages.tree import check_name
from penstock.runtime.ownclass import ENTRY

MAIN = "model.py"
MLMODEL = "MLmodel"
MAX_FILES = 2000
MAX_BYTES = 4 << 30
_SCHEME = "mlflow:"
_LEFT_OUT = frozenset({"__pycache__", "node_modules"})


class ModelSource(NamedTuple):
    """Where a model's files are.

    Attributes:
        folder: That they are relative to.
        file: Its one file; empty for the whole folder.
        entry: What the archive's `ENTRY` says; empty for a folder of MLflow's, which says by itself what it holds.
    """

    folder: Path
    file: str
    entry: str

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
    if text.startswith(_SCHEME):
        folder = Path(text.removeprefix(_SCHEME))
        if not (folder / MLMODEL).is_file():
            raise NotFound(f"there is no {MLMODEL} in that folder", "give the folder that MLflow logged")
        return ModelSource(folder, "", "")
    if model.is_dir() and (model / MLMODEL).is_file():
        return ModelSource(model, "", "")
    if model.exists():
        return _source(model, "import {} as source\n")
    name, _, kind = text.rpartition(":")
    if not name or not (Path(name).is_dir() or name.endswith(".py")):
        return None
    if not kind.isidentifier() or keyword.iskeyword(kind):
        raise InvalidInput("what stands behind the colon is no name of a class", "give FILE.py:Class")
    source = _source(Path(name), f"from {{}} import {kind} as Model\n")
    if source is None:
        raise NotFound(f"there is no such file, or no {MAIN} in that folder", "check the path", code="build.no_model")
    return source


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
    left = MAX_BYTES
    names = [source.file] if source.file else sorted(_walk(source.folder))
    if len(names) > MAX_FILES:
        raise InvalidInput(f"the folder holds more than {MAX_FILES} files", "leave what the model does not need out")
    with ZipFile(place, "w", ZIP_STORED) as archive:
        for name in names:
            file = source.folder / check_name(name)
            if file.is_symlink() or not file.is_file():
                raise Untrusted("a file of the model is a link, or no file", "copy what it points to", where=name)
            if name == ENTRY:
                raise InvalidInput("a file of the model has a name that is made here", "give it another", where=name)
            left -= file.stat().st_size
            if left < 0:
                raise InvalidInput(f"the model's files are more than {MAX_BYTES >> 30} GiB", "leave some out")
            with file.open("rb") as content, archive.open(_member(name), "w", force_zip64=False) as member:
                shutil.copyfileobj(content, member, 1 << 20)
        if source.entry:
            archive.writestr(_member(ENTRY), "# Made when the model was packaged.\n" + source.entry)


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
