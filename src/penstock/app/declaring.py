"""What a person declares of a model, before it is packaged and signed with it.

Comes in: a YAML file, or a mapping from a notebook. Goes out: `Declared`. What nobody measures stands there in
somebody's own words; who signed it is the package's author.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from penstock.errors import BadConfig, NotFound
from penstock.records import Declared
from penstock.yamlfile import read_yaml

MAX_LETTERS = 4000
_MAX_BYTES = 1 << 17
_FIELDS = Declared.__struct_fields__


def read_declared(file: Path) -> Declared:
    """What a YAML file declares: the fields of `Declared` by name.

    Raises:
        NotFound: There is no such file.
        BadConfig: It is no such mapping.
    """
    if not file.is_file():
        raise NotFound("there is no such file of declared facts", "check the path", where=file.name)
    said = read_yaml(file, "the file of declared facts", "write `intended_use: ...`", most_bytes=_MAX_BYTES)
    if not isinstance(said, dict):
        raise BadConfig("the declared facts are no mapping", "write `intended_use: ...`", where=file.name)
    return declared_of(said)


def declared_of(said: Mapping[str, object]) -> Declared:
    """The record of a mapping.

    Raises:
        BadConfig: A name is unknown, a value is no text or too long, or the risk is none of low, medium and high.
    """
    for name, value in said.items():
        if name not in _FIELDS:
            near = difflib.get_close_matches(str(name), _FIELDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(_FIELDS)}"
            raise BadConfig("that cannot be declared of a model", hint, where=str(name)[:64])
        if not isinstance(value, str) or len(value) > MAX_LETTERS:
            raise BadConfig(f"a declared fact is a text of up to {MAX_LETTERS} letters", "write it so", where=name)
    texts = {name: str(value).strip() for name, value in said.items()}
    try:
        return msgspec.convert(texts, Declared)
    except msgspec.ValidationError as error:
        raise BadConfig("the risk is low, medium or high", "say which", where="risk") from error
