"""Handlers as TorchServe runs them, inside the sandbox: the entry point of an archive's handler file, and its context.

    MANIFEST.json -> module -> function, or the one class's handle   (or preprocess, inference, postprocess)
    texts -> data: one {"body" or field: bytes, text, JSON} a row -> handler(data, context) -> one answer a row -> texts

Loading runs code that came with a model, so only a sandboxed process may import this file. The environment is the
package's own: a handler that imports torch, or TorchServe's base classes, needs them there. Source: TorchServe 0.12,
``docs/custom_service.md``.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qsl

import numpy as np

from penstock.errors import BadConfig
from penstock.runtime.bodies import JSON_TYPE, OCTETS, PLAIN, from_text, main_type, to_text
from penstock.runtime.multipart import FORM, read_form
from penstock.tensors import Array, Arrays

BODY = "body"
FIELDS = "application/x-www-form-urlencoded"
Handle = Callable[[list[dict[str, object]], "HandlerContext"], object]
_STEPS = ("preprocess", "inference", "postprocess")


class HandlerMetrics:
    """What a handler measures of itself: one line each, in the process's own log."""

    def add_counter(self, name: str, value: float, idx: object = None, dimensions: object = None) -> None:
        """Count."""
        self._say(name, value, "count")

    def add_time(
        self, name: str, value: float, idx: object = None, unit: str = "ms", dimensions: object = None
    ) -> None:
        """A duration."""
        self._say(name, value, unit)

    def add_size(
        self, name: str, value: float, idx: object = None, unit: str = "MB", dimensions: object = None
    ) -> None:
        """A size."""
        self._say(name, value, unit)

    def add_percent(self, name: str, value: float, idx: object = None, dimensions: object = None) -> None:
        """A percentage."""
        self._say(name, value, "percent")

    def add_error(self, name: str, value: object, dimensions: object = None) -> None:
        """An error in words."""
        self._say(name, value, "error")

    def add_metric(
        self, name: str, value: float, unit: str = "", idx: object = None, dimensions: object = None, **more: object
    ) -> None:
        """Any other."""
        self._say(name, value, unit)

    def _say(self, name: str, value: object, unit: str) -> None:
        print(f"[METRICS]{name}.{unit}:{value}", file=sys.stderr)


class HandlerContext:
    """What TorchServe calls the context.

    Attributes:
        manifest: The archive's, as JSON objects.
        system_properties: Where the archive's files are, among others.
        model_yaml_config: The archive's configuration file.
        metrics: Takes what the handler measures.
    """

    def __init__(self, folder: Path, manifest: dict[str, object], name: str, config: dict[str, object]) -> None:
        self.model_name = name
        self.manifest = manifest
        self.model_yaml_config = config
        self.metrics = HandlerMetrics()
        self.system_properties: dict[str, object] = {
            "model_dir": str(folder),
            "gpu_id": None,
            "batch_size": 1,
            "server_name": "Penstock",
            "server_version": "0.12.0",
            "limit_max_image_pixels": True,
        }
        self._types: list[str] = []
        self._answered: dict[int, str] = {}

    def begin(self, types: Sequence[str]) -> None:
        """Rows of these media types come."""
        self._types = list(types)
        self._answered = {}
        self.system_properties["batch_size"] = len(self._types)

    def get_request_id(self, idx: int = 0) -> str:
        """The row's place in this run: who asked is not known in here."""
        return str(idx)

    def get_request_header(self, idx: int, key: str) -> str | None:
        """A header of the request: the content type is the only one that comes this far."""
        return self.get_all_request_header(idx).get(key.lower())

    def get_all_request_header(self, idx: int) -> dict[str, str]:
        """All of them."""
        return {"content-type": self._types[idx]}

    def set_response_content_type(self, idx: int, value: str) -> None:
        """Of one answer."""
        self._answered[idx] = value

    def get_response_content_type(self, idx: int) -> str | None:
        """As it was set."""
        return self._answered.get(idx)

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        """Any other header than the content type would not reach the caller.

        Raises:
            BadConfig: It is another one.
        """
        if key.lower() != "content-type":
            raise BadConfig("an answer has no headers of its own here", "set the content type alone")
        self._answered[idx] = value


class ArchivedHandler:
    """A loaded handler.

    Args:
        handle: The entry point.
        context: As it was initialized with.
    """

    def __init__(self, handle: Handle, context: HandlerContext) -> None:
        self._handle = handle
        self._context = context

    def answer_arrays(self, arrays: Mapping[str, Array]) -> Arrays:
        """One answer a row; no rows are answered without asking.

        Raises:
            ValueError: The handler answered no list of one entry a row.
        """
        bodies = [from_text(text) for text in arrays[BODY].tolist()]
        answers: list[object] = []
        if bodies:
            self._context.begin([media_type for media_type, _ in bodies])
            answered = self._handle([_fields(media_type, body) for media_type, body in bodies], self._context)
            if not isinstance(answered, list) or len(answered) != len(bodies):
                raise ValueError(f"the handler has to answer a list of {len(bodies)}, one entry a request")
            answers = answered
        texts = np.empty(len(answers), object)
        texts[:] = [_text(one, self._context.get_response_content_type(at)) for at, one in enumerate(answers)]
        return {BODY: texts}


def open_handler(manifest_file: Path) -> ArchivedHandler:
    """Import an archive's handler and initialize it; this runs its code.

    Args:
        manifest_file: ``MAR-INF/MANIFEST.json`` of the unpacked archive.

    Raises:
        BadConfig: It has no entry point, or its configuration cannot be read here.
    """
    folder = manifest_file.parent.parent
    manifest: dict[str, object] = json.loads(manifest_file.read_bytes())
    model = manifest["model"]
    if not isinstance(model, dict):
        raise BadConfig("the archive's manifest names no model", "make it anew")
    sys.path.insert(0, str(folder))
    file, _, function = str(model["handler"]).partition(":")
    module = import_module(file.rpartition("/")[2].removesuffix(".py"))
    context = HandlerContext(folder, manifest, str(model["modelName"]), _config(folder, model.get("configFile")))
    return ArchivedHandler(_entry(module, function or "handle", context), context)


def _entry(module: ModuleType, function: str, context: HandlerContext) -> Handle:
    """A function of that name, told once that it is initialized; else the one class."""
    found = getattr(module, function, None)
    if callable(found):
        found(None, context)
        handle: Handle = found
        return handle
    kinds = [kind for _, kind in inspect.getmembers(module, inspect.isclass) if kind.__module__ == module.__name__]
    if len(kinds) != 1:
        raise BadConfig(
            f"the handler has no function {function} and {len(kinds)} classes",
            "write one class with handle, or a function handle(data, context)",
        )
    instance = kinds[0]()
    if hasattr(instance, "initialize"):
        instance.initialize(context)
    if hasattr(instance, "handle"):
        handle = instance.handle
        return handle
    if not hasattr(instance, "inference"):
        raise BadConfig("the handler's class has neither handle nor inference", "write one of them")
    return _in_steps(instance)


def _in_steps(instance: object) -> Handle:
    """Those of the three steps that a class has, one after the other."""
    steps = [getattr(instance, name) for name in _STEPS if hasattr(instance, name)]

    def handle(data: list[dict[str, object]], context: HandlerContext) -> object:
        given: object = data
        for step in steps:
            given = step(given)
        return given

    return handle


def _config(folder: Path, name: object) -> dict[str, object]:
    """The archive's own configuration file; its parser is needed only where there is one."""
    if not name:
        return {}
    try:
        yaml = import_module("yaml")
    except ModuleNotFoundError:
        raise BadConfig("the archive's configuration needs pyyaml", "add it to the archive's requirements") from None
    found = yaml.safe_load((folder / str(name)).read_text())
    return found if isinstance(found, dict) else {}


def _fields(media_type: str, body: bytes) -> dict[str, object]:
    """A request as a handler sees it: the fields of a form, else its body."""
    kind = main_type(media_type)
    if kind == FORM:
        return {part.name: _value(part.media_type, part.body) for part in read_form(body, media_type)}
    if kind == FIELDS:
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    return {BODY: _value(media_type, body)}


def _value(media_type: str, body: bytes) -> object:
    """JSON as what it says, text as text, anything else as bytes."""
    kind = main_type(media_type)
    try:
        if kind == JSON_TYPE:
            return json.loads(body)
        if kind.startswith("text/"):
            return body.decode()
    except ValueError:
        pass
    return bytearray(body)


def _text(answer: object, media_type: str | None) -> str:
    """An answer as text: bytes and text as they are, anything else as JSON."""
    if isinstance(answer, bytes | bytearray):
        return to_text(media_type or OCTETS, bytes(answer))
    if isinstance(answer, str):
        return to_text(media_type or PLAIN, answer.encode())
    return to_text(media_type or JSON_TYPE, json.dumps(answer, ensure_ascii=False).encode())
