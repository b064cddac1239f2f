"""What is read of a Hugging Face folder, and nothing beside it: which files, from an archive of them, and its tensors.

    archive -> configuration, tokenizer, weights in one file or several with an index -> contents by name

What comes in: the archive that `penstock.build.folders` wrote. What goes out: contents by name. No name of a file is
taken from the folder: the index may only name shards as transformers does.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from penstock.errors import Corrupt, InvalidInput
from penstock.runtime.network import CONFIG, LIMITS, MODULES, POOLING
from penstock.runtime.safetensors import Tensors, read_tensors
from penstock.runtime.vocabulary import MERGES, PARTS, SETTINGS, TOKENIZER, WORDS, parsed

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
FILES = (CONFIG, WEIGHTS, TOKENIZER, MODULES, POOLING, LIMITS, SETTINGS, WORDS, PARTS, MERGES, INDEX)
"""All that is read of a folder, beside the shards."""
MAX_FILE_BYTES = 2 << 30
MAX_SHARDS = 1000
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


def read_folder(path: Path) -> dict[str, bytes]:
    """The files that are read, by name.

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
            return {name: archive.read(name) for name in names}
    except BadZipFile:
        raise Corrupt("the model's archive is damaged", "package it again", code="build.folder") from None


def read_weights(files: Mapping[str, bytes]) -> Tensors:
    """All tensors, of one file or of as many as the index names.

    Raises:
        Corrupt: A file is no safetensors, or a shard is not there.
        InvalidInput: The index is none, or places a tensor where it is not.
    """
    if WEIGHTS in files:
        return read_tensors(files[WEIGHTS])
    places = parsed(files, INDEX).get("weight_map")
    names = shards(places)
    found: Tensors = {}
    for name in names:
        if name not in files:
            raise Corrupt("the model's folder lacks a shard of its weights", "save the model again", where=name)
        for tensor, array in read_tensors(files[name]).items():
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
