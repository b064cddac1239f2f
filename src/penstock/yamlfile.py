"""A YAML file that a person wrote: settings, a policy, transforms, declared facts.

Comes in: a file, or text. Goes out: plain data, no key twice, or an error that says where. What a key may be called is
`require_known`'s matter, what a value may be that of whoever asked.
"""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import cast

import yaml

from penstock.errors import BadConfig

MOST_BYTES = 1 << 20


def read_yaml(file: Path, what: str, hint: str, *, most_bytes: int = MOST_BYTES) -> object:
    """What a file holds.

    Args:
        file: Where.
        what: As a person calls it, with its article; for errors.
        hint: What to do where it cannot be read.
        most_bytes: It may be no longer.

    Raises:
        BadConfig: It cannot be read, is too long, is no YAML, or names a key twice.
    """
    try:
        with file.open("rb") as content:
            data = content.read(most_bytes + 1)
    except OSError as error:
        raise BadConfig(f"{what} cannot be read", hint, where=file.name) from error
    if len(data) > most_bytes:
        raise BadConfig(f"{what} is too long", f"it may have {most_bytes} bytes", where=file.name)
    return parse_yaml(data, file.name)


def parse_yaml(text: bytes | str, where: str) -> object:
    """Plain data from text.

    Raises:
        BadConfig: It is no YAML, or names a key twice; `where` with the line is in it.
    """
    try:
        loader = _Loader(text)
        try:
            return cast("object", loader.get_single_data())
        finally:
            loader.dispose()
    # A date that there is not is a ValueError, and a key that is a list is a TypeError.
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", "") or "it is not YAML"
        raise BadConfig(f"not to be read as YAML: {problem}", "mend it", where=f"{where}{line}") from error


def require_known(where: str, found: Iterable[object], names: Sequence[str]) -> None:
    """Refuse a key that is none of the names, and say which was meant.

    Args:
        where: What the keys are of.
        found: The keys.
        names: Those that there are.

    Raises:
        BadConfig: There is another.
    """
    for key in found:
        if key in names:
            continue
        near = difflib.get_close_matches(str(key), names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(names)}"
        raise BadConfig(f"there is no key {key}", hint, where=where)


class _Loader(yaml.SafeLoader):
    """Plain data only, and no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        """A mapping whose keys differ."""
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in keys:
                    raise yaml.MarkedYAMLError(problem="a key stands there twice", problem_mark=key.start_mark)
                keys.add(key.value)
        return super().construct_mapping(node, deep=deep)
