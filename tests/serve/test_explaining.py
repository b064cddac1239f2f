"""Explanations through the listener: right against the definition written out, bounded, cancelled, never in the log."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from dataplane_for_tests import Answered, DataPlane, route, until, v2
from packages_for_tests import echo_package, flights_answers, linear_answers, linear_package, slow_package, wide_package
from penstock.packages.read import open_package
from penstock.serve.explaining import AT_ONCE, MOST_ROWS, PART_ROWS
from penstock.statistics.shapley import MOST_MIXTURES

ROW = [[1.0, -2.0, 3.0, 0.5]]
FLIGHT = {"distance": 100.0, "carrier": "UA", "delay": None}


def explained(plane: DataPlane, endpoint: str, rows: list, **more: object) -> Answered:
    return plane.ask("POST", f"/v1/models/{endpoint}:explain", json.dumps({"instances": rows, **more}))


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    """One worker with a model that takes a while, and another to switch to."""
    home = tmp_path_factory.mktemp("slow")
    started = DataPlane(home)
    digest = started.add(slow_package, home / "slow", rounds=40)
    started.add(linear_package, home / "linear", bias=0.25)
    started.write(route("slow", digest))
    started.start("--spares", "0", workers=1)
    try:
        started.settled(workers=1)
        yield started
    finally:
        started.stop()


def runs(plane: DataPlane) -> int:
    lines = plane.ask("GET", "/metrics").body.decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("penstock_engine_runs_total{"))


def test_numbers_get_what_the_definition_says(plane: DataPlane) -> None:
    answer = explained(plane, "linear", ROW)
    assert answer.status == 200, answer.body
    (one,) = answer.json["explanations"]
    background = open_package(Path(plane.packages[_digest(plane, "linear")])).golden().inputs["X"]
    label = int(linear_answers(np.array(ROW, np.float32))["label"][0])
    wanted = _by_all_orders(
        ROW[0], background.tolist(), lambda x: linear_answers(np.array(x, np.float32))["probabilities"][:, label]
    )
    np.testing.assert_allclose(one["values"], wanted, atol=1e-6)
    assert one["standard_errors"] == [0, 0, 0, 0]
    assert one["class"] == str(label)
    assert one["output"] == "probabilities"
    assert one["base"] + sum(one["values"]) == pytest.approx(one["answer"], abs=1e-12)
    predicted = plane.ask("POST", "/v1/models/linear:predict", json.dumps({"instances": ROW}))
    assert one["answer"] == pytest.approx(predicted.json["predictions"][0]["probabilities"][label], abs=1e-7)
    assert (answer.json["method"], answer.json["background_rows"]) == ("exact", 8)
    assert answer.json["explanation_id"] == answer.headers["x-explanation-id"]
    assert "x-prediction-id" not in answer.headers
    assert (answer.headers["x-model-version"], answer.headers["x-variant"]) == ("1", "stable")


def test_text_and_missing_values_are_features_too(plane: DataPlane) -> None:
    rows = [FLIGHT, {"distance": 900.0, "carrier": "B6", "delay": 0.25}]
    answer = explained(plane, "flights", rows)
    assert answer.status == 200, answer.body
    background = [
        {"distance": 100.0, "carrier": "UA", "delay": 0.5},
        {"distance": 900.0, "carrier": "B6", "delay": None},
        {"distance": 2000.0, "carrier": "UA", "delay": -1.0},
    ]
    names = list(FLIGHT)
    for row, one in zip(rows, answer.json["explanations"], strict=True):
        late = one["class"] == "late"

        def chance(mixed: list[list], late: bool = late) -> np.ndarray:
            return flights_answers([dict(zip(names, values, strict=True)) for values in mixed])["probabilities"][
                :, int(late)
            ]

        wanted = _by_all_orders(list(row.values()), [list(one.values()) for one in background], chance)
        assert list(one["values"]) == names
        np.testing.assert_allclose(list(one["values"].values()), wanted, atol=1e-9)
    assert [one["class"] for one in answer.json["explanations"]] == ["late", "on time"]


def test_a_class_or_an_output_can_be_asked_for(plane: DataPlane) -> None:
    late, early = (
        explained(plane, "flights", [FLIGHT], parameters={"class": name}).json["explanations"][0]
        for name in ("late", "on time")
    )
    assert late["class"] == "late"
    assert early["class"] == "on time"
    np.testing.assert_allclose(list(late["values"].values()), [-value for value in early["values"].values()], atol=1e-9)
    label = explained(plane, "flights", [FLIGHT], parameters={"output": "label"}).json["explanations"][0]
    assert label["class"] == "late"
    assert label["answer"] == 1
    assert label["base"] == pytest.approx(1 / 3), "one of three golden flights is late"


def test_v2_answers_tensors(plane: DataPlane) -> None:
    by_v1 = explained(plane, "linear", ROW).json["explanations"][0]
    raw = np.array(ROW, "<f4").tobytes()
    binary = {"name": "X", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"id": "mine", "parameters": {"class": 1}, "inputs": [binary]}).encode()
    for answer in (
        plane.ask("POST", "/v2/models/linear/explain", v2(ROW, id="mine", parameters={"class": 1})),
        plane.ask("POST", "/v2/models/linear/versions/1/explain", v2(ROW, id="mine", parameters={"class": "1"})),
        plane.ask("POST", "/v2/models/linear/explain", head + raw, {"Inference-Header-Content-Length": str(len(head))}),
    ):
        assert answer.status == 200, answer.body
        assert answer.json["id"] == "mine"
        assert answer.json["parameters"]["output"] == "probabilities"
        tensors = {one["name"]: one for one in answer.json["outputs"]}
        assert tensors["explanation"]["shape"] == tensors["standard_error"]["shape"] == [1, 4]
        assert tensors["explanation"]["data"] == pytest.approx(by_v1["values"], abs=1e-9)
        assert tensors["base"]["data"] == pytest.approx([by_v1["base"]])
        assert tensors["answer"]["data"] == pytest.approx([by_v1["answer"]])
        assert tensors["features"]["data"] == ["0", "1", "2", "3"]
        assert tensors["class"]["data"] == ["1"]
    alone = plane.ask("POST", "/v2/models/linear/explain", raw, {"Inference-Header-Content-Length": "0"})
    assert alone.status == 200


BAD = {
    "class": ({"instances": ROW, "parameters": {"class": "purple"}}, 400, "parameters.class"),
    "class as a list": ({"instances": ROW, "parameters": {"class": [1]}}, 400, "parameters.class"),
    "output": ({"instances": ROW, "parameters": {"output": "chance"}}, 400, "parameters.output"),
    "output as a number": ({"instances": ROW, "parameters": {"output": 1}}, 400, "parameters.output"),
    "parameters": ({"instances": ROW, "parameters": 3}, 400, "parameters"),
    "rows": ({"instances": ROW * (MOST_ROWS + 1)}, 400, "inputs"),
    "no rows": ({"instances": []}, 400, "inputs.X.shape"),
    "a short row": ({"instances": [[1]]}, 400, "instances[0]"),
}


@pytest.mark.parametrize("what", BAD)
def test_refuses_in_the_dialects_words(plane: DataPlane, what: str) -> None:
    body, status, where = BAD[what]
    answer = plane.ask("POST", "/v1/models/linear:explain", json.dumps(body))
    assert (answer.status, answer.json.get("where")) == (status, where), answer.body
    assert "purple" not in answer.body.decode()


def test_no_such_endpoint_version_or_method(plane: DataPlane) -> None:
    assert explained(plane, "nothing", ROW).status == 404
    assert plane.ask("POST", "/v2/models/linear/versions/7/explain", v2(ROW)).status == 404
    assert plane.ask("GET", "/v2/models/linear/explain").status == 405


def test_it_is_counted_and_not_logged(plane: DataPlane) -> None:
    def counted() -> int:
        lines = plane.ask("GET", "/metrics").body.decode().splitlines()
        start = 'penstock_requests_total{endpoint="linear",version="1",variant="stable",code="ok"}'
        return sum(int(line.split()[-1]) for line in lines if line.startswith(start))

    before, logged = counted(), len(plane.exchanges())
    answer = explained(plane, "linear", ROW)
    plane.ask("POST", "/v1/models/linear:predict", json.dumps({"instances": ROW}))
    assert counted() == before + 2
    new = plane.exchanges()[logged:]
    assert len(new) == 1
    assert answer.headers["x-explanation-id"] not in repr(new)


@pytest.fixture(scope="module")
def regressions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    home = tmp_path_factory.mktemp("regressions")
    started = DataPlane(home)
    echo = started.add(echo_package, home / "echo")
    wide = started.add(wide_package, home / "wide")
    started.write(route("echo", echo), route("wide", wide))
    started.start("--spares", "0", workers=1)
    try:
        started.settled(workers=1)
        yield started
    finally:
        started.stop()


def test_a_regression_of_several_values_is_explained_by_place(regressions: DataPlane) -> None:
    (one,) = explained(regressions, "echo", [[5, 7]], parameters={"class": 1}).json["explanations"]
    assert (one["base"], one["values"], one["class"]) == (2, [0, 5], "1")
    missing = explained(regressions, "echo", [[5, None]], parameters={"class": "1"})
    assert missing.status == 200
    assert missing.json["explanations"][0]["values"][1] is None, "JSON has no NaN"


def test_many_features_are_sampled_in_parts(regressions: DataPlane) -> None:
    rows = np.random.default_rng(1).normal(size=(3, 20))
    answer = explained(regressions, "wide", rows.tolist())
    assert (answer.json["method"], answer.json["background_rows"]) == ("sampled", 6)
    background = open_package(Path(regressions.packages[_digest(regressions, "wide")])).golden().inputs["x"]
    for row, one in zip(rows, answer.json["explanations"], strict=True):
        assert "class" not in one
        np.testing.assert_allclose(one["values"], np.arange(20) * (row - background.mean(axis=0)), atol=1e-9)
        np.testing.assert_allclose(one["standard_errors"], 0, atol=1e-9)
    stats = regressions.ask("GET", "/v2/models/wide/stats").json["model_stats"][0]
    assert max(one["batch_size"] for one in stats["batch_stats"]) <= PART_ROWS
    assert stats["execution_count"] > 3 * MOST_MIXTURES / PART_ROWS - 4


def test_a_deadline_ends_it(slow: DataPlane) -> None:
    late = slow.ask("POST", "/v1/models/slow:explain", json.dumps({"instances": ROW * 16}), {"X-Deadline-Ms": "40"})
    assert late.status == 504, late.body


def test_only_some_are_explained_at_once(slow: DataPlane) -> None:
    rows = [[float(at), 0.0, 1.0, 2.0] for at in range(MOST_ROWS)]
    with ThreadPoolExecutor(3 * AT_ONCE) as threads:
        asked = [threads.submit(explained, slow, "slow", rows) for _ in range(3 * AT_ONCE)]
        answers = [one.result() for one in asked]
    assert any(b"too many explanations" in answer.body for answer in answers)
    assert {answer.status for answer in answers} <= {200, 503, 504}
    assert explained(slow, "slow", rows[:1]).status == 200, "the places are free again"


def test_whoever_goes_is_explained_nothing_more(slow: DataPlane) -> None:
    body = json.dumps({"instances": ROW * MOST_ROWS}).encode()
    whole = runs(slow)
    assert explained(slow, "slow", ROW * MOST_ROWS).status == 200
    whole = runs(slow) - whole
    before = runs(slow)
    with socket.create_connection(("127.0.0.1", slow.port)) as wire:
        head = f"POST /v1/models/slow:explain HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        wire.sendall(head.encode() + body)
        until(lambda: runs(slow) > before)

    def rests() -> bool:
        so_far = runs(slow)
        time.sleep(0.1)
        return runs(slow) == so_far

    until(rests)
    until(lambda: "penstock_requests_in_flight 0\n" in slow.ask("GET", "/metrics").body.decode())
    # Where the client was slow to go, most were run; but never all.
    assert runs(slow) - before < 0.9 * whole, (runs(slow) - before, whole)


def test_a_switch_in_the_middle_ends_no_explanation(slow: DataPlane) -> None:
    """The old model stays open for as long as one of its explanations goes on, and is closed then."""
    old, new = slow.packages
    heard: list[Answered] = []
    asking = threading.Thread(target=lambda: heard.append(explained(slow, "slow", ROW * MOST_ROWS)))
    before = runs(slow)
    asking.start()
    until(lambda: runs(slow) > before)
    slow.write(route("slow", new, version=2))
    slow.settled(workers=1)
    assert asking.is_alive(), "it was over before the switch: the test shows nothing"
    newer = slow.ask("POST", "/v1/models/slow:predict", json.dumps({"instances": ROW}))
    assert newer.headers["x-model-version"] == "2"
    asking.join(30)
    assert heard[0].status == 200, heard[0].body
    assert heard[0].headers["x-model-version"] == "1"
    until(lambda: all(old not in one.ready for one in slow.statuses()))


def _digest(plane: DataPlane, name: str) -> str:
    return next(digest for digest, folder in plane.packages.items() if folder.endswith(name))


def _by_all_orders(row: list, background: list[list], function) -> list[float]:
    """The definition: the mean gain of a feature over all orders and all background rows."""
    values = np.zeros(len(row))
    orders = list(permutations(range(len(row))))
    for order in orders:
        mixed = [list(one) for one in background]
        last = np.asarray(function(mixed), float)
        for feature in order:
            for one in mixed:
                one[feature] = row[feature]
            now = np.asarray(function(mixed), float)
            values[feature] += (now - last).mean()
            last = now
    return (values / len(orders)).tolist()
