"""What is read of a Hugging Face folder, and nothing beside it: which files, from an archive of them, and its tensors.

    archive -> configuration, tokenizer, weights in one file or several with an index -> contents by name

What comes in: the archive that `penstock.build.folders` wrote. What goes out: contents by name; weights are mapped
where they lie, so that all processes together hold them once at most. No name of a file is taken from the folder: the
index may only name shards as transformers does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import MappingProxyType
from typing import IO
from zipfile import BadZipFile, ZipFile

from penstock.errors import Corrupt, InvalidInput
from penstock.packages.zip import place_of
from penstock.runtime.network import CONFIG, LIMITS, MODULES, POOLING
from penstock.runtime.safetensors import Tensors, Widen, read_tensors, widened
from penstock.runtime.vocabulary import MERGES, PARTS, SETTINGS, TOKENIZER, WORDS, parsed

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
FILES = (CONFIG, WEIGHTS, TOKENIZER, MODULES, POOLING, LIMITS, SETTINGS, WORDS, PARTS, MERGES, INDEX)
"""All that is read of a folder, beside the shards."""
MAX_FILE_BYTES = 2 << 30
MAX_SHARDS = 1000
PAGE_BYTES = 4096
"""Weights begin at a multiple of this in an archive, so that they can be mapped and computed with as they lie."""
Weights = Mapping[str, memoryview]
NONE_MAPPED: Weights = MappingProxyType({})
_CHUNK_BYTES = 1 << 20
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")


def is_read(name: str) -> bool:
    """Whether a file of a folder is read."""
    return name in FILES or _SHARD.fullmatch(name) is not None


def lacking(names: Collection[str]) -> str:
    """What a folder lacks; empty where it has all that it needs."""
    if CONFIG not in names:
        return CONFIG
    if MODULES in names and POOLING not in names:
        return POOLING
    if WEIGHTS not in names and INDEX not in names:
        return WEIGHTS
    known = TOKENIZER in names or WORDS in names or {PARTS, MERGES} <= set(names)
    return "" if known else TOKENIZER


def is_weights(name: str) -> bool:
    """Whether a file of a folder is tensors."""
    return name == WEIGHTS or _SHARD.fullmatch(name) is not None


def read_folder(path: Path) -> tuple[dict[str, bytes], Weights]:
    """The files that are read, by name, and apart from them those that were mapped.

    Raises:
        Corrupt: It is no archive, or lacks one.
    """
    try:
        with ZipFile(path) as archive:
            names = [name for name in dict.fromkeys(archive.namelist()) if is_read(name)]
            missing = lacking(names)
            if missing:
                raise Corrupt(f"the model's folder lacks {missing}", "save the model again", code="build.folder")
            if any(archive.getinfo(name).file_size > MAX_FILE_BYTES for name in names):
                raise Corrupt("a file of the model's folder is too large", "two gibibytes are the most")
            with path.open("rb") as file:
                mapped = _mapped(file, archive, [name for name in names if is_weights(name)])
            return {name: archive.read(name) for name in names if name not in mapped}, mapped
    except BadZipFile:
        raise Corrupt("the model's archive is damaged", "package it again", code="build.folder") from None


def _mapped(file: IO[bytes], archive: ZipFile, names: list[str]) -> Weights:
    """Members that lie as they are, from the start of a page on; each is read once, to see that it is whole.

    Raises:
        BadZipFile: One is not.
    """
    places = {name: place_of(file, archive.getinfo(name)) for name in names}
    fitting = {name: at for name, at in places.items() if at and at % PAGE_BYTES == 0}
    if not fitting:
        return NONE_MAPPED
    whole = memoryview(mmap(file.fileno(), 0, access=ACCESS_READ))
    found = {}
    for name, at in fitting.items():
        with archive.open(name) as member:
            while member.read(_CHUNK_BYTES):
                pass
        found[name] = whole[at : at + archive.getinfo(name).file_size]
    return found


def read_weights(files: Mapping[str, bytes], mapped: Weights = NONE_MAPPED, widen: Widen = widened) -> Tensors:
    """All tensors, of one file or of as many as the index names.

    Args:
        files: Contents by name.
        mapped: Of files of weights, where they are not among the others.
        widen: As `penstock.runtime.safetensors.read_tensors` takes it.

    Raises:
        Corrupt: A file is no safetensors, or a shard is not there.
        InvalidInput: The index is none, or places a tensor where it is not.
    """
    given: dict[str, bytes | memoryview] = {**files, **mapped}
    if WEIGHTS in given:
        return read_tensors(given[WEIGHTS], widen)
    places = parsed(files, INDEX).get("weight_map")
    names = shards(places)
    found: Tensors = {}
    for name in names:
        if name not in given:
            raise Corrupt("the model's folder lacks a shard of its weights", "save the model again", where=name)
        for tensor, array in read_tensors(given[name], widen).items():
            if tensor in found or not isinstance(places, dict) or places.get(tensor) != name:
                raise InvalidInput("a tensor is in another shard than the index says", "save it again", where=INDEX)
            found[tensor] = array
    return found


def shards(places: object) -> list[str]:
    """The shards of an index, in order.

    Raises:
        InvalidInput: It names other files.
    """
    names = (
        sorted(set(places.values()), key=str)
        if isinstance(places, dict) and all(isinstance(one, str) for one in places.values())
        else []
    )
    if not 0 < len(names) <= MAX_SHARDS or not all(_SHARD.fullmatch(name) for name in names):
        raise InvalidInput("the index names other files than shards", "save the model again", where=INDEX)
    return names
