"""Requests that do not fit the signature, generated from it: each is refused at its place, none is echoed."""

from __future__ import annotations

import http.client
import json
import math
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataplane_for_tests import DataPlane

CANARY = "c4n4ry"
PATHS = (
    "/v2/models/linear/infer",
    "/v2/models/flights/infer",
    "/v1/models/linear:predict",
    "/v1/models/flights:predict",
)


@pytest.fixture(scope="module")
def wire(plane: DataPlane) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", plane.port, timeout=20)
    yield connection
    connection.close()


def refused(
    wire: http.client.HTTPConnection, path: str, body: str | bytes, headers: dict[str, str] | None = None
) -> None:
    """Send it; hold that it is a 4xx with code and place, and that nothing of ours or of theirs is in it."""
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    wire.request("POST", path, data, headers or {})
    answer = wire.getresponse()
    text = answer.read()
    assert 400 <= answer.status < 500, (answer.status, text, data[:300])
    found = json.loads(text)
    assert found["error"]
    assert found["code"]
    assert found.get("where") or found["code"] in ("input.malformed", "input.invalid"), found
    assert CANARY not in text.decode(), "an input value was echoed"
    assert "Traceback" not in text.decode()
    assert "/src/" not in text.decode()


canaries = st.text("xyz", max_size=3).map(lambda text: CANARY + text)
not_numbers = st.one_of(
    canaries, st.booleans(), st.lists(canaries, max_size=2), st.dictionaries(canaries, canaries, max_size=2)
)
numbers = st.floats(-1e6, 1e6)
rows_of_four = st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=4)


def x_tensor(data: object, shape: object, **changes: object) -> dict[str, object]:
    return {"name": "X", "shape": shape, "datatype": "FP32", "data": data, **changes}


@st.composite
def spoiled_linear(draw: st.DrawFn) -> str:
    """A body for ``linear`` with one thing wrong."""
    rows = draw(rows_of_four)
    flat = [value for row in rows for value in row]
    good = x_tensor(flat, [len(rows), 4])
    at = draw(st.integers(0, len(flat) - 1))
    fault = draw(
        st.sampled_from(
            ["type", "null", "huge", "shape", "name", "datatype", "missing", "extra", "twice", "outputs", "kinds"]
        )
    )
    inputs: list[object] = [good]
    body: dict[str, object] = {"inputs": inputs}
    if fault == "type":
        flat[at] = draw(not_numbers)
    elif fault == "null":
        flat[at] = None
    elif fault == "huge":
        flat[at] = draw(st.sampled_from([1e39, -1e300, 10**39, 10**400]))
        if flat[at] == 10**400:
            return json.dumps(body).replace(str(10**400), "1" + "0" * 400)
    elif fault == "shape":
        good["shape"] = draw(
            st.one_of(
                st.lists(st.integers(-5, 50), max_size=5).filter(lambda s: s != [len(rows), 4]),
                st.just([2**62, 4]),
                st.just("x"),
                st.just([1.5, 4]),
                st.just([[1], 4]),
            )
        )
    elif fault == "name":
        good["name"] = draw(st.one_of(canaries, st.integers(), st.none()))
    elif fault == "datatype":
        good["datatype"] = draw(st.sampled_from(["FP64", "BYTES", "BOOL", "float32", CANARY, "", None, 3, "FP16"]))
    elif fault == "missing":
        del good[draw(st.sampled_from(["name", "shape", "datatype", "data"]))]
    elif fault == "extra":
        inputs.append(x_tensor(flat, [len(rows), 4], name=draw(canaries)))
    elif fault == "twice":
        inputs.append(good)
    elif fault == "outputs":
        body["outputs"] = draw(st.sampled_from([[{"name": CANARY}], [{}], CANARY, [3], {"name": "label"}]))
    else:
        body = draw(
            st.sampled_from([{}, {"inputs": None}, {"inputs": {}}, {"inputs": []}, {"inputs": [1]}, {"inputs": CANARY}])
        )
    return json.dumps(body)


@given(body=spoiled_linear())
@settings(
    max_examples=900, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_v2_matrix(wire: http.client.HTTPConnection, body: str) -> None:
    refused(wire, PATHS[0], body)


COLUMNS = {
    "distance": ("FP64", numbers),
    "carrier": ("BYTES", st.text(max_size=3)),
    "delay": ("FP64", st.none() | numbers),
}


@st.composite
def spoiled_flights(draw: st.DrawFn) -> str:
    """A body for ``flights`` with one column wrong."""
    rows = draw(st.integers(1, 3))
    columns = {
        name: {"name": name, "datatype": datatype, "shape": [rows, 1],
               "data": draw(st.lists(values, min_size=rows, max_size=rows))}
        for name, (datatype, values) in COLUMNS.items()
    }  # fmt: skip
    victim = columns[draw(st.sampled_from(list(columns)))]
    wrong = {"FP64": not_numbers, "BYTES": st.one_of(st.none(), numbers, st.booleans(), st.just({CANARY: 1}))}
    fault = draw(st.sampled_from(["type", "rows", "missing", "shape", "datatype"]))
    if fault == "type":
        victim["data"][draw(st.integers(0, rows - 1))] = draw(wrong[victim["datatype"]])
    elif fault == "rows":
        victim["shape"] = [rows + 1, 1]
        victim["data"] = [*victim["data"], victim["data"][0]]
    elif fault == "missing":
        del columns[victim["name"]]
    elif fault == "shape":
        victim["shape"] = draw(st.sampled_from([[1, rows + 1], [rows, 2], [0], [], [-1, 1], [rows, 1, 1, 2]]))
    else:
        victim["datatype"] = "BOOL"
    return json.dumps({"inputs": list(columns.values()), "id": CANARY})


@given(body=spoiled_flights())
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_v2_columns(wire: http.client.HTTPConnection, body: str) -> None:
    refused(wire, PATHS[1], body)


@st.composite
def spoiled_rows(draw: st.DrawFn) -> str:
    """A V1 body for ``flights`` with one row wrong."""
    rows = [{"distance": 1.0, "carrier": "UA", "delay": None} for _ in range(draw(st.integers(1, 3)))]
    row = rows[draw(st.integers(0, len(rows) - 1))]
    name = draw(st.sampled_from(list(row)))
    fault = draw(st.sampled_from(["type", "missing", "extra", "row", "short"]))
    if fault == "type":
        row[name] = draw(st.just({"a": CANARY}) | st.booleans() | (st.integers() if name == "carrier" else canaries))
    elif fault == "missing":
        del row[name]
    elif fault == "extra":
        row[draw(canaries)] = 1
    elif fault == "row":
        return json.dumps({"instances": [*rows, draw(st.one_of(st.none(), canaries, st.just([[1]]), st.just([])))]})
    else:
        return json.dumps({"instances": [[1.0, "UA"]]})
    return json.dumps({"instances": rows})


@given(body=spoiled_rows())
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_v1_rows(wire: http.client.HTTPConnection, body: str) -> None:
    refused(wire, PATHS[3], body)


@given(body=st.binary(max_size=200) | st.text(max_size=100).map(lambda t: t.encode("utf-8", "surrogatepass")))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise(wire: http.client.HTTPConnection, body: bytes) -> None:
    for path in PATHS:
        refused(wire, path, body)


@given(cut=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cut_or_broken_json(wire: http.client.HTTPConnection, cut: float, flip: int) -> None:
    body = json.dumps({"inputs": [x_tensor([CANARY], [1, 4])]}).encode()
    refused(wire, PATHS[0], body[: int(cut * len(body))])
    broken = bytearray(body)
    broken[int(cut * len(body))] ^= flip
    refused(wire, PATHS[0], bytes(broken))


DEEP = 250_000
SHAPES = {
    "deep lists": "[" * DEEP,
    "deep closed lists": "[" * DEEP + "]" * DEEP,
    "deep objects": '{"a":' * DEEP,
    "deep data": '{"inputs":[{"name":"X","shape":[1,4],"datatype":"FP32","data":' + "[" * DEEP + "]" * DEEP + "}]}",
    "deep parameters": '{"parameters":{"a":' + "[" * DEEP + "]" * DEEP + '},"inputs":[]}',
    "deep unknown field": '{"x":' + "[" * DEEP + "]" * DEEP + ',"inputs":[]}',
    "deep with NaN": '{"x":[NaN,' + "[" * DEEP + "]" * DEEP + '],"inputs":[]}',
    "infinity": json.dumps({"inputs": [x_tensor([math.inf, 1, 1, 1], [1, 4])]}),
    "NaN": json.dumps({"inputs": [x_tensor([math.nan, 1, 1, 1], [1, 4])]}),
    "lone surrogate": '{"inputs":[{"name":"\ud800","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}',
    "UTF-16": json.dumps({"inputs": [x_tensor([1, 2, 3, 4], [1, 4])]}).encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + json.dumps({"inputs": []}).encode(),
    "two documents": '{"inputs":[]}{"inputs":[]}',
    "a timeout of text": json.dumps({"inputs": [x_tensor([1, 2, 3, 4], [1, 4])], "parameters": {"timeout": CANARY}}),
    "an event time of text": json.dumps(
        {"inputs": [x_tensor([1, 2, 3, 4], [1, 4])], "parameters": {"event_time": CANARY}}
    ),
    "a routing key of none": json.dumps(
        {"inputs": [x_tensor([1, 2, 3, 4], [1, 4])], "parameters": {"routing_key": []}}
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_known_shapes(wire: http.client.HTTPConnection, shape: str) -> None:
    for path in PATHS:
        refused(wire, path, SHAPES[shape])


@pytest.mark.parametrize("header", ["x-event-time", "x-deadline-ms"])
@pytest.mark.parametrize("value", [CANARY, "-1", "nan", "1e30", "\xff"])
def test_headers_that_mean_nothing(wire: http.client.HTTPConnection, header: str, value: str) -> None:
    body = json.dumps({"inputs": [x_tensor([1, 2, 3, 4], [1, 4])]})
    refused(wire, PATHS[0], body, {header: value})
