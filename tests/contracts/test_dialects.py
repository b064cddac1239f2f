"""Every dialect: good requests answer the model's own values, bad ones that dialect's own status and error shape.

Each is described in ``dialects/NAME.json``:

    options      further words for the data plane's command line
    environment  its environment variables (``{run}`` is the run folder)
    serves       its endpoints; linear and flights where nothing is said
    error        what an error's body must hold: name -> type (``string``, ``number``); ``text`` means any plain text
    contract     for ``test_protocol.py``: how a prediction of endpoint ``m`` is asked for, with one row [1, 2.5] of X,
                 or with the ``texts`` that it says
    good         what, ask ("POST /path"), headers, one of json | text | base64 | lines; then: model (``linear``,
                 ``flights``), rows, at (where the answers stand, ``predictions/*/label``), output (of the model),
                 or ``has`` (parts of the answer) where nothing is predicted; status (200)
    bad          what, ask, headers, json | text | base64 | lines; status; error (where it is another one); has
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dataplane_for_tests import Answered, DataPlane, route, until
from packages_for_tests import (
    flights_answers,
    flights_like,
    linear_answers,
    linear_package,
    words_answers,
    words_package,
)
from penstock.adapters import TABLE

FOLDER = Path(__file__).parent / "dialects"
DIALECTS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
CASES = [
    pytest.param(name, kind, case, id=f"{name}: {case['what']}")
    for name, dialect in DIALECTS.items()
    for kind in ("good", "bad")
    for case in dialect[kind]
]
ANSWERS = {"linear": linear_answers, "flights": flights_answers, "words": words_answers}
KINDS = {"string": str, "number": int, "object": dict, "list": list, "null": type(None)}
ENOUGH_BAD = 30


@pytest.fixture(scope="module")
def planes(plane: DataPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, DataPlane]]:
    """The usual one, and one of its own for each dialect that lives in an environment."""
    started: dict[str, DataPlane] = {}

    class Planes(dict[str, DataPlane]):
        def __missing__(self, name: str) -> DataPlane:
            dialect = DIALECTS[name]
            if not any(dialect.get(word) for word in ("options", "environment", "serves")):
                return plane
            started[name] = self[name] = _own_plane(dialect, tmp_path_factory.mktemp(name))
            return self[name]

    try:
        yield Planes()
    finally:
        for one in started.values():
            one.stop()


def _own_plane(dialect: dict, home: Path) -> DataPlane:
    own = DataPlane(home)
    builders = {"linear": linear_package, "flights": flights_like, "words": words_package}
    served = dialect.get("serves", ["linear", "flights"])
    own.write(*(route(name, own.add(builders[name], home / name)) for name in served))
    environment = {name: value.format(run=own.run) for name, value in dialect.get("environment", {}).items()}
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        own.start("--spares", "0", "--grpc-port", "0", *dialect.get("options", ()), workers=1)
    finally:
        os.environ.clear()
        os.environ.update(before)
    own.settled(workers=1)
    return own


def asked(plane: DataPlane, case: dict) -> Answered:
    method, _, path = case["ask"].partition(" ")
    if "json" in case:
        body = json.dumps(case["json"]).encode()
    elif "lines" in case:
        body = b"".join(json.dumps(line).encode() + b"\n" for line in case["lines"])
    elif "base64" in case:
        body = base64.b64decode(case["base64"])
    else:
        body = case.get("text", "").encode()
    return plane.ask(method, path, body, case.get("headers"))


def found(value: object, path: str) -> object:
    """What stands at ``a/*/b``: a star means each of a list."""
    here, _, rest = path.partition("/")
    if not here:
        return value
    if here == "*":
        return [found(one, rest) for one in value]
    return found(value[int(here)] if isinstance(value, list) else value[here], rest)


@pytest.mark.parametrize(("name", "kind", "case"), CASES)
def test_case(planes: dict[str, DataPlane], name: str, kind: str, case: dict) -> None:
    answer = asked(planes[name], case)
    text = answer.body.decode("utf-8", "replace")
    assert answer.status == case.get("status", 200), text
    assert answer.status < 500 or case["status"] in (501, 503, 507), text
    assert all(part in text for part in case.get("has", ())), text
    if "type" in case:
        assert answer.headers["content-type"] == case["type"]
    if kind == "bad":
        shape = case.get("error", DIALECTS[name]["error"])
        assert "Traceback" not in text
        if shape == "text":
            assert text
        else:
            for field, kind_of in shape.items():
                assert isinstance(found(answer.json, field), KINDS[kind_of]), text
    elif "rows" in case:
        wanted = ANSWERS[case["model"]](_inputs(case))[case["output"]]
        values = found(answer.json if "at" in case else _table(text), case.get("at", ""))
        if wanted.dtype.kind == "f":
            np.testing.assert_allclose(np.array(values, np.float64).reshape(wanted.shape), wanted, atol=1e-6)
        else:
            assert np.array(values, wanted.dtype).reshape(wanted.shape).tolist() == wanted.tolist()


def _inputs(case: dict) -> object:
    return np.array(case["rows"], np.float32) if case["model"] == "linear" else case["rows"]


def _table(text: str) -> list[object]:
    """Lines of numbers or texts, with commas between."""
    return [line.split(",") if "," in line else line for line in text.split("\n") if line]


def first(name: str) -> dict:
    """A prediction whose answer is known, in the dialect's usual form."""
    return next(case for case in DIALECTS[name]["good"] if "at" in case)


def compared(case: dict, answer: object) -> None:
    """The values are the model's own."""
    wanted = ANSWERS[case["model"]](_inputs(case))[case["output"]]
    values = np.array(found(answer, case["at"]), wanted.dtype).reshape(wanted.shape)
    if wanted.dtype.kind == "f":
        np.testing.assert_allclose(values, wanted, atol=1e-6)
    else:
        assert values.tolist() == wanted.tolist()


@pytest.mark.parametrize("name", list(DIALECTS))
def test_in_events(planes: dict[str, DataPlane], name: str) -> None:
    case = first(name)
    method, _, path = case["ask"].partition(" ")
    headers = {**case.get("headers", {}), "Accept": "text/event-stream"}
    ask = f"{method} {path}{'&' if '?' in path else '?'}rows=100"
    answer = asked(planes[name], {**case, "ask": ask, "headers": headers})
    assert answer.headers["content-type"] == "text/event-stream", answer.body
    (event,) = answer.body.decode().split("\n\n")[:-1]
    compared(case, json.loads("\n".join(line.removeprefix("data: ") for line in event.split("\n"))))


@pytest.mark.parametrize("name", list(DIALECTS))
def test_later(planes: dict[str, DataPlane], name: str) -> None:
    case = first(name)
    headers = {**case.get("headers", {}), "Prefer": "respond-async"}
    answer = asked(planes[name], {**case, "headers": headers})
    assert answer.status == 202, answer.body
    result = answer.json["result"]
    until(lambda: planes[name].ask("GET", result).status != 202)
    later = planes[name].ask("GET", result)
    assert later.status == 200, later.body
    compared(case, later.json)


@pytest.mark.parametrize("name", sorted(TABLE["protocol"]))
def test_each_is_described_and_refuses_enough(name: str) -> None:
    dialect = DIALECTS[name]
    assert any("rows" in case for case in dialect["good"]), "some request must answer a model's values"
    assert len(dialect["bad"]) >= ENOUGH_BAD
    assert len({case["what"] for case in dialect["bad"]}) == len(dialect["bad"])
