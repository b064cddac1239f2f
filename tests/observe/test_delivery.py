"""What was answered is told on over real HTTP: all of it, in order, through crashes, refusals and absence."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.config import ExporterConfig
from penstock.errors import NotFound
from penstock.log import captures
from penstock.log.journal import Journal
from penstock.log.tables import compact, prune
from penstock.log.tail import payload
from penstock.observe.delivery import FIRST_PAUSE_S, LONGEST_PAUSE_S, REFUSALS, Delivery, chosen
from penstock.observe.exporters.kserve_logger import KServeLogger
from penstock.records import Exchange
from penstock.tensors import Signature, TensorSpec
from sink_for_tests import Sink

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP64", shape=(-1, 1)),),
    outputs=(TensorSpec(name="label", datatype="INT64", shape=(-1,)),),
)


def made(own_id: str, **changes: object) -> Exchange:
    usual = {
        "id": own_id, "endpoint": "e", "release": 1, "model": "m", "version": 1, "variant": "stable", "share": 1.0,
        "key": "k", "event_time": 1000.25, "received_at": time.time() - 5, "latency_s": 0.001, "code": "ok", "rows": 1,
        "inputs": {"x": [1.5]}, "outputs": {"label": [1]},
    }  # fmt: skip
    return Exchange(**usual | changes)  # type: ignore[arg-type]


def signature(model: str, version: int) -> Signature:
    if model != "m":
        raise NotFound("there is no such model")
    return SIGNATURE


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    writer = Journal(tmp_path / "journal", "worker-0")
    yield writer
    writer.close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as listening:
        yield listening


def delivery(place: Path, url: str, **settings: object) -> Delivery:
    config = ExporterConfig(url=url, **settings)  # type: ignore[arg-type]
    return Delivery(place, "e", share=config.share, exporter=KServeLogger("e", config), signature=signature)


def write(journal: Journal, *exchanges: Exchange) -> None:
    for exchange in exchanges:
        journal.append(payload(exchange))


def both(*ids: str) -> list[str]:
    return [f"{own_id} {kind}" for own_id in ids for kind in ("request", "response")]


def test_each_exchange_is_told_in_order_over_one_connection(tmp_path: Path, journal: Journal, sink: Sink) -> None:
    one = delivery(tmp_path, sink.url)
    write(journal, *(made(f"a{number}") for number in range(50)))
    one.turn()
    assert sink.ids == both(*(f"a{number}" for number in range(50)))
    assert len(sink.connections) == 1
    assert (one.sent, one.refused, one.behind_s, one.trouble) == (50, 0, 0, "")
    event = sink.taken[0]
    assert event.path == "/events?from=penstock"
    assert event.headers["ce-specversion"] == "1.0"
    assert event.headers["ce-time"] == "1970-01-01T00:16:40.250000Z"
    assert json.loads(event.body)["inputs"] == [{"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [1.5]}]


def test_who_is_set_up_later_is_told_from_then_on(tmp_path: Path, journal: Journal, sink: Sink) -> None:
    write(journal, made("before"))
    one = delivery(tmp_path, sink.url)
    write(journal, made("after"))
    one.turn()
    assert sink.ids == both("after")


def test_whoever_stops_goes_on_there_and_a_crash_repeats_but_leaves_nothing_out(
    tmp_path: Path, journal: Journal, sink: Sink
) -> None:
    one = delivery(tmp_path, sink.url)
    write(journal, made("a0"))
    one.turn()
    one.close()
    write(journal, made("a1"))
    two = delivery(tmp_path, sink.url)
    two._saved_at = time.monotonic() + 3600
    two.save, saved = (lambda: None), two.save  # type: ignore[method-assign]
    two.turn()
    assert sink.ids == both("a0", "a1")
    write(journal, made("a2"))
    three = delivery(tmp_path, sink.url)
    three.turn()
    assert sink.ids == both("a0", "a1", "a1", "a2"), "the second one died before it wrote how far it was"
    saved()


def test_a_receiver_that_is_away_loses_nothing(tmp_path: Path, journal: Journal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    one = delivery(tmp_path, f"http://127.0.0.1:{port}/")
    write(journal, *(made(f"a{number}") for number in range(5)))
    pauses = [one.turn() for _ in range(12)]
    assert pauses[0] == FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert max(pauses) == LONGEST_PAUSE_S
    assert one.behind_s > 4
    assert "does not answer" in one.trouble
    one.close()
    two = delivery(tmp_path, f"http://127.0.0.1:{port}/")
    two.turn()
    with Sink(port) as sink:
        two.turn()
        assert sink.ids == both(*(f"a{number}" for number in range(5)))
    assert (two.behind_s, two.trouble) == (0, "")


def test_one_that_fails_or_is_busy_is_asked_again(tmp_path: Path, journal: Journal, sink: Sink) -> None:
    """Also where the request went through and the response did not: it does not come twice."""
    one = delivery(tmp_path, sink.url)
    write(journal, made("a0"), made("a1"))
    sink.statuses = [503, 200, 429, 500, 401, 302, 200]
    for _ in range(20):
        if one.turn() and not one.trouble:
            break
    assert sink.ids == both("a0", "a1")


def test_an_interruption_within_a_run_of_many_requests_repeats_none(
    tmp_path: Path, journal: Journal, sink: Sink
) -> None:
    one = delivery(tmp_path, sink.url)
    capture = captures.captured(made("a0"))
    ids = [f"a{number}" for number in range(10)]
    blocks = (captures.Block("x", "", (10,), [float(number) for number in range(10)]),)
    labels = (captures.Block("label", "", (10,), list(range(10))),)
    fields = {"ids": ids, "latencies_s": [0.1] * 10, "inputs": blocks, "outputs": labels}
    changed = {name: fields.get(name, getattr(capture, name)) for name in capture.__struct_fields__}
    changed |= {"rows": (), "keys": (), "event_times": (), "client_ids": (), "subjects": ()}
    journal.append(captures.pack(captures.Capture(**changed)))
    sink.statuses = [200] * 7 + [503]
    assert one.turn() == FIRST_PAUSE_S
    one.turn()
    assert sink.ids == both(*ids)
    values = [json.loads(event.body)["inputs"][0]["data"] for event in sink.taken if event.kind == "request"]
    assert values == [[float(number)] for number in range(10)]


def test_what_is_never_taken_is_passed_after_a_few_tries_and_counted(
    tmp_path: Path, journal: Journal, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    one = delivery(tmp_path, sink.url)
    write(journal, made("bad"), made("good"))
    sink.refuse = {"bad": 422}
    turns = 0
    while one.turn() and one.trouble:
        turns += 1
    assert turns == REFUSALS - 1
    assert sink.asked == REFUSALS + 2
    assert sink.ids == both("good")
    assert (one.sent, one.refused) == (1, 1)
    assert "bad is passed" in caplog.text


def test_only_what_was_answered_to_somebody_is_told(tmp_path: Path, journal: Journal, sink: Sink) -> None:
    one = delivery(tmp_path, sink.url)
    write(
        journal,
        made("other", endpoint="f"),
        made("shadow", shadow=True),
        made("undecoded", code="input.invalid", inputs={}, outputs={}, rows=0),
        made("late", code="serve.deadline", outputs={}),
        made("fine"),
    )
    one.turn()
    assert sink.ids == ["late request", *both("fine")]


@pytest.mark.parametrize(("mode", "kinds"), [("request", {"request"}), ("response", {"response"})])
def test_one_half_can_be_had_alone(tmp_path: Path, journal: Journal, sink: Sink, mode: str, kinds: set[str]) -> None:
    one = delivery(tmp_path, sink.url, mode=mode)
    write(journal, made("a0"), made("a1"))
    one.turn()
    assert [event.kind for event in sink.taken] == [*kinds, *kinds]


def test_a_share_is_the_same_share_each_time(tmp_path: Path, journal: Journal, sink: Sink) -> None:
    ids = [os.urandom(8).hex() for _ in range(400)]
    one = delivery(tmp_path, sink.url, share=0.25, mode="request")
    write(journal, *(made(own_id) for own_id in ids))
    one.turn()
    told = [event.headers["ce-id"] for event in sink.taken]
    assert told == [own_id for own_id in ids if chosen(own_id, 0.25)]
    assert 60 < len(told) < 145


def test_journals_keep_what_was_not_told(tmp_path: Path, journal: Journal, sink: Sink) -> None:
    one = delivery(tmp_path, sink.url)
    write(journal, made("a0"))
    journal.close()
    compact(tmp_path)
    (segment,) = (tmp_path / "journal").glob("*.wal")
    assert one.holds() == {segment.name}
    assert prune(tmp_path, keep_s=-1, held=one.holds()) == []
    one.turn()
    assert sink.ids == both("a0")
    assert one.holds() == frozenset()
    assert prune(tmp_path, keep_s=-1, held=one.holds()) == [segment]
    assert one.turn() > 0, "a segment that went is no trouble"


def test_a_damaged_segment_ends_where_the_damage_is_and_no_other(tmp_path: Path, journal: Journal, sink: Sink) -> None:
    one = delivery(tmp_path, sink.url)
    write(journal, made("a0"), made("a1"))
    journal.close()
    (segment,) = (tmp_path / "journal").glob("*.wal")
    data = bytearray(segment.read_bytes())
    data[-3] ^= 0xFF
    segment.write_bytes(data)
    other = Journal(tmp_path / "journal", "worker-1")
    write(other, made("b0"))
    other.close()
    one.turn()
    one.turn()
    assert sink.ids == both("b0"), "what cannot be read in one part is not told at all"
    assert one.holds() == frozenset()


def test_a_model_that_is_gone_is_passed_like_an_event_that_is_refused(
    tmp_path: Path, journal: Journal, sink: Sink
) -> None:
    one = delivery(tmp_path, sink.url)
    write(journal, made("a0", model="gone"), made("a1"))
    for _ in range(REFUSALS):
        one.turn()
    assert sink.ids == both("a1")
    assert one.refused == 1
