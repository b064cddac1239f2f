"""Which steps stand before and behind a model: a YAML file or a mapping, read and typed; nothing is learned here.

    version: 1
    preprocess:
      - impute: {columns: [age], with: median}
      - encode: {columns: [city], as: one-hot}
    postprocess:
      - threshold: {class: "yes", at: 0.3}

What comes in: a file or plain data. What goes out: a `Declaration`. Each step is typed in its own file below
``runtime/transforms``; a key that it does not have is refused, and the one that was meant is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec

from penstock.adapters import TABLE, load
from penstock.errors import BadConfig, NotFound
from penstock.packages.read import Package
from penstock.packages.tree import read_bytes
from penstock.runtime.transform import TRANSFORMS, AfterStep, BeforeStep
from penstock.runtime.transformed import AFTER, BEFORE, MAX_BYTES, decode_transforms
from penstock.yamlfile import read_yaml, require_known

VERSION = 1
MAX_STEPS = 200
_MAX_FILE_BYTES = 4 << 20
_LAST = "answer"
_FOUND = ("learned", "classes")


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """Steps as they were declared, in their order.

    Attributes:
        before: Name and step; what a step learns is not in it yet.
        after: The same, behind the model.
    """

    before: tuple[tuple[str, BeforeStep], ...] = ()
    after: tuple[tuple[str, AfterStep], ...] = ()

    @property
    def calibrated_on(self) -> str:
        """The part of the data that calibration is learned from; empty where nothing is calibrated."""
        return next((str(getattr(step, "part", "")) for name, step in self.after if name == "calibrate"), "")


def read_transforms(file: Path) -> Declaration:
    """Steps from a YAML file.

    Raises:
        NotFound: There is no such file.
        BadConfig: It cannot be read, or holds an unknown key or a value of the wrong type.
    """
    if not file.is_file():
        raise NotFound("there is no such file of transforms", "check the path", where=file.name)
    return parse_transforms(read_yaml(file, "the file of transforms", "it is a YAML file", most_bytes=_MAX_FILE_BYTES))


def parse_transforms(found: object) -> Declaration:
    """Steps from plain data.

    Raises:
        BadConfig: As `read_transforms`.
    """
    if not isinstance(found, Mapping):
        raise BadConfig("the transforms are not a table of keys", f"write {BEFORE} and {AFTER}", where="transforms")
    require_known("transforms", found, ("version", BEFORE, AFTER))
    if found.get("version", VERSION) != VERSION:
        raise BadConfig(f"this version reads transforms of version {VERSION}", "write them anew", where="transforms")
    before = [(name, cast("BeforeStep", step)) for name, step in _steps(BEFORE, found.get(BEFORE))]
    after = [(name, cast("AfterStep", step)) for name, step in _steps(AFTER, found.get(AFTER))]
    names = [name for name, _ in after]
    if _LAST in names[:-1]:
        raise BadConfig("steps stand behind the answer", "the answer is the last step", where=f"transforms.{AFTER}")
    if names.count("calibrate") > 1:
        raise BadConfig("it is calibrated twice", "once is enough", where=f"transforms.{AFTER}")
    if not before and not after:
        raise BadConfig("the transforms name no step", f"list some under {BEFORE} or {AFTER}", where="transforms")
    return Declaration(before=tuple(before), after=tuple(after))


def declaration_of(package: Package) -> Declaration | None:
    """What a package's steps were declared as, so that its successor learns them anew; None where it has none."""
    if TRANSFORMS not in package.manifest.files:
        return None
    known = decode_transforms(read_bytes(package.folder, TRANSFORMS, limit=MAX_BYTES))
    return Declaration(
        before=tuple((name, cast("BeforeStep", _forgotten(step))) for name, step in known.before),
        after=tuple((name, cast("AfterStep", _forgotten(step))) for name, step in known.after),
    )


def as_plain(declaration: Declaration) -> dict[str, object]:
    """Plain data that `parse_transforms` reads back."""
    return {
        "version": VERSION,
        BEFORE: [{name: msgspec.to_builtins(step)} for name, step in declaration.before],
        AFTER: [{name: _bare(step)} for name, step in declaration.after],
    }


def _bare(step: AfterStep) -> object:
    """As a person writes it."""
    fields = msgspec.to_builtins(step)
    return fields[step.bare] if list(fields) == [step.bare] else fields


def _forgotten(step: object) -> msgspec.Struct:
    """A step without what it learned."""
    known = cast("msgspec.Struct", step)
    fields = {name: value for name, value in _defaults(type(known)).items() if name in _FOUND}
    return msgspec.structs.replace(known, **fields)


def _defaults(kind: type[msgspec.Struct]) -> dict[str, object]:
    return {
        one.name: () if one.default is msgspec.NODEFAULT else one.default for one in msgspec.structs.fields(kind)
    } | {
        one.name: one.default_factory()
        for one in msgspec.structs.fields(kind)
        if one.default_factory is not msgspec.NODEFAULT
    }


def _steps(kind: str, found: object) -> list[tuple[str, object]]:
    """Every step of one list."""
    if found is None:
        return []
    where = f"transforms.{kind}"
    if not isinstance(found, Sequence) or isinstance(found, str) or len(found) > MAX_STEPS:
        raise BadConfig(f"the steps are no list of up to {MAX_STEPS}", "begin each with a dash", where=where)
    made: list[tuple[str, object]] = []
    for place, one in enumerate(found):
        here = f"{where}[{place}]"
        if not isinstance(one, Mapping) or len(one) != 1:
            raise BadConfig("a step is one name with its settings", "write `- scale: {...}`", where=here)
        require_known(here, one, tuple(TABLE[kind]))
        ((name, settings),) = one.items()
        made.append((str(name), _step(load(kind, str(name)), settings, f"{here}.{name}")))
    return made


def _step(kind: type, settings: object, where: str) -> object:
    """One step, typed."""
    names = tuple(one.encode_name for one in msgspec.structs.fields(kind) if one.name not in _FOUND)
    bare: str = kind.bare  # type: ignore[attr-defined]
    table = isinstance(settings, Mapping)
    # What is a table by itself, names of labels say, is always meant so.
    if bare and (not table or kind.__struct_fields__[0] in ("names", "outputs")):  # type: ignore[attr-defined]
        settings = {bare: settings}
    elif not table:
        raise BadConfig("a step's settings are a table of keys", f"the keys are {', '.join(names)}", where=where)
    fields = {str(key): value for key, value in cast("Mapping[object, object]", settings).items()}
    require_known(where, fields, names)
    try:
        return msgspec.convert(_plain(fields), kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at ")
        field = place.strip("`").removeprefix("$")
        raise BadConfig(reason, f"the keys are {', '.join(names)}", where=f"{where}{field}") from error


def _plain(found: object) -> object:
    """Keys as text: YAML reads those of numbers as numbers."""
    if isinstance(found, Mapping):
        return {str(key): _plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_plain(one) for one in found]
    return found
