"""The settings: typed, small slices, from penstock.yaml, the environment and the flags.

    defaults < penstock.yaml < PENSTOCK_API_PORT=... < --api-port ... -> one frozen Config; a stage gets its slice

An unknown key is an error that suggests the nearest known one. Only the control side reads settings; the data
plane is told what it needs by its command line and its snapshot. To add a setting: one field in its slice.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, cast, get_type_hints

import msgspec
import yaml

from penstock.errors import BadConfig
from penstock.records import Guards, Limits, Record, Scalar
from penstock.yamlfile import parse_yaml, read_yaml

FILE = "penstock.yaml"
PREFIX = "PENSTOCK_"
_NEAR = 0.7

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Tree = dict[str, object]


class ApiConfig(Record, frozen=True, kw_only=True):
    """Where API and console listen; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: Port = 8470


class ServeConfig(Record, frozen=True, kw_only=True):
    """Where predictions are answered, and by how many processes; `behind` names a front that does TLS and tokens.

    Attributes:
        workers: 0 takes one for each processor that the control group grants, 8 at most.
    """

    host: str = "127.0.0.1"
    port: Port = 8471
    workers: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0
    behind: str = ""


class ModelConfig(Record, frozen=True, kw_only=True):
    """What `check` inferred of one model's data, so that it need not be said again."""

    data: str | dict[str, str] = ""
    label: str = ""
    time: str = ""
    group: str = ""


class FeedbackConfig(Record, frozen=True, kw_only=True):
    """What a retraining proposal runs: a program and its arguments, no shell."""

    retrain: tuple[str, ...] = ()


class ExporterConfig(Record, frozen=True, kw_only=True):
    """Who else is told what an endpoint answered.

    Attributes:
        kind: A name of the adapters' ``exporter`` table.
        url: Where to.
        mode: Requests, responses or both.
        share: Part of the exchanges that is told, chosen by their ids.
        protocol: In which of KServe's protocols bodies are written.
        service: Name of the inference service; the endpoint's where empty.
    """

    kind: str = "kserve-logger"
    url: str = ""
    mode: Literal["all", "request", "response"] = "all"
    share: float = 1.0
    protocol: Literal["v1", "v2"] = "v2"
    service: str = ""
    namespace: str = "default"
    component: str = "predictor"


class Config(Record, frozen=True, kw_only=True):
    """All settings.

    Attributes:
        home: The folder that holds all state.
        policy: The gate's policy file; empty is the starter policy.
        approvals: Roles that must each approve a version before it is released.
        exporters: By endpoint.
    """

    home: str = ".penstock"
    policy: str = ""
    approvals: tuple[str, ...] = ()
    api: ApiConfig = ApiConfig()
    serve: ServeConfig = ServeConfig()
    limits: Limits = Limits()
    guards: Guards = Guards()
    monitors: dict[str, Scalar] = {}
    feedback: FeedbackConfig = FeedbackConfig()
    models: dict[str, ModelConfig] = {}
    exporters: dict[str, ExporterConfig] = {}


def load_config(
    place: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """The settings in force.

    Args:
        place: A settings file, which must be there; or a folder, whose ``penstock.yaml`` is taken if there is one;
            None is the working directory.
        environment: None takes the process's own.
        flags: Dotted path to value (``api.port``); None values are flags that were not given.

    Raises:
        BadConfig: A key is unknown, a value is of the wrong type or out of range; `where` is its path.
    """
    file = _settings_file(place)
    tree = _read(file) if file is not None else {}
    for name in ("home", "policy"):
        if file is not None and tree.get(name) and isinstance(tree[name], str):
            tree[name] = str(file.parent / str(tree[name]))
    _check_keys(tree, Config, "")
    for path, text in _from_environment(os.environ if environment is None else environment):
        _put(tree, path, _parsed(text, path))
    for path, value in (flags or {}).items():
        if value is not None:
            if path not in PATHS:
                raise _unknown(path, PATHS, "flag")
            _put(tree, path, value)
    return _converted(tree)


def write_inferred(inferred: Config, file: Path) -> tuple[str, ...]:
    """Write what was inferred into the settings file, for people to read and change.

    A section that the file has already is a person's: it stays as it is, comments included.

    Returns:
        The sections that were written.

    Raises:
        BadConfig: The file is no settings file.
    """
    there = _read(file) if file.exists() else {}
    known = cast("Tree", msgspec.to_builtins(inferred))
    fresh = {name: value for name, value in known.items() if name not in there}
    if not fresh:
        return ()
    head = "" if file.exists() else "# Penstock's settings. What stands here was inferred; change what you like.\n"
    with file.open("a", encoding="utf-8") as out:
        out.write(head + yaml.safe_dump(fresh, sort_keys=False, allow_unicode=True))
    return tuple(fresh)


def _settings_file(place: Path | None) -> Path | None:
    if place is not None and not place.is_dir() and place.suffix:
        return place
    file = (place or Path()) / FILE
    return file if file.is_file() else None


def _read(place: Path) -> Tree:
    return _mapping(read_yaml(place, "the settings file", "name another with --config"), place.name)


def _mapping(value: object, where: str) -> Tree:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise BadConfig("there should be names with values here", "write `name: value`", where=where)
    return value


def _slices(kind: type[Record]) -> dict[str, object]:
    return get_type_hints(kind)


def _is_slice(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Record)


def _paths(kind: type[Record], before: str = "") -> Iterator[str]:
    for name, inner in _slices(kind).items():
        if _is_slice(inner):
            yield from _paths(cast("type[Record]", inner), f"{before}{name}.")
        else:
            yield f"{before}{name}"


PATHS = frozenset(_paths(Config))
"""Every setting, as a dotted path."""
VARIABLES = MappingProxyType({PREFIX + path.replace(".", "_").upper(): path for path in sorted(PATHS)})
"""Environment variable -> dotted path."""
_SECTIONS = tuple(f"{PREFIX}{name.upper()}_" for name, kind in _slices(Config).items() if _is_slice(kind))


_NAMED: dict[str, type[Record]] = {"models": ModelConfig, "exporters": ExporterConfig}
"""Sections whose names are the writer's own -> what each of them is."""


def _check_keys(tree: Tree, kind: type[Record], before: str) -> None:
    """Refuse what no field is called; the types are msgspec's matter."""
    known = _slices(kind)
    for name, value in tree.items():
        if name not in known:
            raise _unknown(f"{before}{name}", {f"{before}{field}" for field in known}, "key")
        inner = known[name]
        if _is_slice(inner):
            tree[name] = _mapping(value, f"{before}{name}")
            _check_keys(cast("Tree", tree[name]), cast("type[Record]", inner), f"{before}{name}.")
        elif name in _NAMED:
            for key, settings in _mapping(value, name).items():
                _check_keys(_mapping(settings, f"{name}.{key}"), _NAMED[name], f"{name}.{key}.")


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Path and text of every variable that is a setting; one that nearly is one is an error, others are not ours."""
    for name, text in sorted(environment.items()):
        if name in VARIABLES:
            yield VARIABLES[name], text
        elif name.startswith(_SECTIONS) or (name.startswith(PREFIX) and _nearly(name)):
            raise _unknown(name, VARIABLES, "environment variable")


def _nearly(variable: str) -> bool:
    known = [name.removeprefix(PREFIX) for name in VARIABLES]
    return bool(difflib.get_close_matches(variable.removeprefix(PREFIX), known, n=1, cutoff=_NEAR))


def _parsed(text: str, path: str) -> object:
    """Lists and mappings are written as YAML (``[0.1, 0.5]``); all else is text, converted by the field's type."""
    return parse_yaml(text, path) if text.lstrip().startswith(("[", "{")) else text


def _put(tree: Tree, path: str, value: object) -> None:
    section, _, name = path.rpartition(".")
    inner = cast("Tree", tree.setdefault(section, {})) if section else tree
    inner[name] = value


def _unknown(name: str, known: Mapping[str, object] | frozenset[str] | set[str], noun: str) -> BadConfig:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
    return BadConfig(f"there is no such {noun}", hint, where=name, code="config.unknown")


def _converted(tree: Tree) -> Config:
    try:
        config = msgspec.convert(tree, Config, strict=False)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        # msgspec quotes the value it did not expect; a setting may be a secret.
        raise BadConfig(re.sub(r" '.*'", "", message), "change the value", where=place.strip("`.")) from error
    for fault, where in _contradictions(config):
        raise BadConfig(fault, "change the value", where=where)
    return config


def _contradictions(config: Config) -> Iterator[tuple[str, str]]:
    limits, guards = config.limits, config.guards
    if not config.home:
        yield "the home folder needs a name", "home"
    if not 0 < limits.deadline_s <= 3600:
        yield "a deadline lies above 0 and at most at an hour", "limits.deadline_s"
    if limits.queue < 1 or limits.max_rows < 1:
        yield "at least one must be let in", "limits.queue" if limits.queue < 1 else "limits.max_rows"
    if not 0 < guards.alpha < 1:
        yield "a chance lies between 0 and 1", "guards.alpha"
    if not 0 < guards.share <= 1:
        yield "a share lies above 0 and at most at 1", "guards.share"
    if list(guards.steps) != sorted(set(guards.steps)) or any(not 0 < share < 1 for share in guards.steps):
        yield "the shares rise from above 0 to below 1", "guards.steps"
    for name, exporter in config.exporters.items():
        if not re.match(r"https?://[^/?#\s]+", exporter.url):
            yield "an address begins with http:// or https://", f"exporters.{name}.url"
        if not 0 < exporter.share <= 1:
            yield "a share lies above 0 and at most at 1", f"exporters.{name}.share"
    if guards.min_units < 1 or guards.latency_s <= 0 or guards.margin < 1 or guards.wait_s < 0:
        yield "a guard is below what it can be", "guards"
