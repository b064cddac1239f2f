"""What would a Keras model's configuration make? Told from its ``config.json`` by a reader of our own, without Keras.

    JSON (no key twice, not too deep) -> every object that names a class -> Keras' own? -> names, refusals with places

Keras looks classes and functions up by what the configuration says, and some of them run code or read files that the
configuration names. Only classes of a list are let through; what a model was trained with is not read, since it is
loaded without.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from penstock.build.format import Audit
from penstock.build.tensorflow.keras_classes import ALLOWED, PLAIN
from penstock.errors import Untrusted

CONFIG = "config.json"
MAX_BYTES = 64 << 20
MAX_DEPTH = 200
MAX_NODES = 2_000_000

_LIBRARIES = ("tensorflow", "keras")
_WORD = re.compile(r"[\w.>-]{1,80}")
_FUNCTIONS = frozenset({"fn", "function", "call_fn", "custom_objects", "func", "jit_compile_fn"})
"""Keys under which layers keep functions."""
_PATHS = frozenset({"filepath", "vocabulary", "idf_weights"})
"""Keys under which a text is the path of a file that would be read."""
_SAY_A_CLASS = frozenset({"class_name", "module", "registered_name", "spec_name"})
_TRAINING = "compile_config"


def audit_config(data: bytes) -> Audit:
    """Everything that the configuration names.

    Args:
        data: The file.

    Raises:
        Untrusted: It is no JSON, says one thing twice, or is too large or too deep to be sure of.
    """
    tree = _tree(data)
    if isinstance(tree, dict):
        tree.pop(_TRAINING, None)  # of the whole model; Keras is told to leave it alone
    names: dict[str, None] = {}
    refused: dict[str, None] = {}
    if not isinstance(tree, dict) or "class_name" not in tree:
        raise _wrong("it describes no model")
    for place, one in _objects(tree):
        name, why = _look(one)
        if name and not why:
            names[name] = None
        if why:
            refused[f"{why} at {place}"] = None
    return Audit(names=(*_LIBRARIES, *sorted(names)), refused=tuple(refused))


def _look(one: dict[str, object]) -> tuple[str, str]:
    """What an object of the configuration names, and why it is refused."""
    for key, value in one.items():
        if key in _FUNCTIONS and value not in (None, {}, []):
            return "", f"a function ({key})"
        if key in _PATHS and isinstance(value, str):
            return "", f"a file that would be read ({key})"
    return _look_at_class(one) if _SAY_A_CLASS & one.keys() else ("", "")


def _look_at_class(one: dict[str, object]) -> tuple[str, str]:
    """The same of an object that names a class."""
    kind, module, registered = one.get("class_name"), one.get("module"), one.get("registered_name")
    full = f"{_word(module)}.{_word(kind)}"
    if isinstance(kind, str) and kind in PLAIN and module is None and registered is None:
        return "", ""
    if not isinstance(kind, str) or not isinstance(module, str) or (module, kind) not in ALLOWED:
        return full, full
    return full, "" if registered in (None, kind) else f"{full} registered as {_word(registered)}"


def _objects(tree: object) -> Iterator[tuple[str, dict[str, object]]]:
    """Every mapping of the tree with its place."""
    waiting: list[tuple[str, object, int]] = [("config", tree, 0)]
    count = 0
    while waiting:
        place, node, depth = waiting.pop()
        count += 1
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise _wrong("it is too deep or too long")
        if isinstance(node, dict):
            yield place, node
            waiting += [(f"{place}.{_word(key)}", value, depth + 1) for key, value in node.items()]
        elif isinstance(node, list):
            waiting += [(f"{place}[{at}]", value, depth + 1) for at, value in enumerate(node)]


def _tree(data: bytes) -> object:
    """JSON in which no mapping has a key twice: readers differ in which one counts."""
    if len(data) > MAX_BYTES:
        raise _wrong("it is too large")
    try:
        return json.loads(data.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _wrong("it is no JSON") from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _wrong("it says one thing twice")
    return found


def _word(name: object) -> str:
    """A name out of the file, where it is one."""
    return name if isinstance(name, str) and _WORD.fullmatch(name) else "?"


def _wrong(what: str) -> Untrusted:
    return Untrusted(f"the model's configuration cannot be trusted: {what}", "save the model again", where=CONFIG)
