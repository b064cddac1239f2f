from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from penstock.serve.exposition import exposition
from penstock.serve.meters import EDGES_S, Label, Meters, forget_gauges, totals

OK = Label("flights", "3", "stable", "ok")


def test_counts_are_summed_over_workers(tmp_path: Path) -> None:
    one, two = Meters(tmp_path / "a.meter"), Meters(tmp_path / "b.meter")
    one.series(OK).add(2, 0.003)
    two.series(OK).add(1, 99.0)
    two.series(OK._replace(code="input.invalid")).add(0, 0.0001)
    two.lost(5)
    one.gauge(3, 1)
    found = totals(tmp_path)
    assert found.series[OK].requests == 2
    assert found.series[OK].rows == 3
    assert found.series[OK].buckets[3] == 1
    assert found.series[OK].buckets[-1] == 1
    assert (found.in_flight, found.queued, found.log_lost) == (3, 1, 5)


def test_counts_outlive_a_killed_worker(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from penstock.serve.meters import Label, Meters\n"
        "series = Meters(Path(sys.argv[1])).series(Label('flights', '3', 'stable', 'ok'))\n"
        "for _ in range(1000): series.add(1, 0.001)\n"
        "os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "a.meter"
    for round_ in (1, 2):
        assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -9
        assert totals(tmp_path).series[OK].requests == 1000 * round_
    Meters(path).gauge(4, 4)
    forget_gauges(path)
    assert totals(tmp_path).in_flight == 0


def test_a_file_of_something_else_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.meter"
    path.write_bytes(os.urandom(1000))
    assert totals(tmp_path).series == {}
    Meters(path).series(OK).add(1, 0.1)
    assert totals(tmp_path).series[OK].requests == 1


def test_a_damaged_file_is_set_aside_and_the_others_still_counted(tmp_path: Path) -> None:
    damaged, whole = tmp_path / "a.meter", tmp_path / "b.meter"
    Meters(damaged).series(OK).add(1, 0.1)
    Meters(whole).series(OK).add(1, 0.1)
    data = bytearray(damaged.read_bytes())
    data[64:70] = b"[[[[[["
    damaged.write_bytes(data)
    assert totals(tmp_path).series[OK].requests == 1
    Meters(damaged).series(OK).add(1, 0.1)
    assert totals(tmp_path).series[OK].requests == 2
    assert damaged.with_suffix(".damaged").read_bytes() == data


def test_a_label_longer_than_its_place_is_counted_without_it(tmp_path: Path) -> None:
    path = tmp_path / "a.meter"
    Meters(path).series(OK._replace(endpoint="e" * 1000)).add(1, 0.1)
    Meters(path).series(OK).add(1, 0.1)
    assert sum(one.requests for one in totals(tmp_path).series.values()) == 2


def test_a_disk_that_takes_nothing_costs_counts_and_no_worker(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    meters = Meters(tmp_path / "file" / "a.meter")
    meters.series(OK).add(1, 0.1)
    meters.gauge(1, 1)


def test_labels_beyond_the_room_share_a_line(tmp_path: Path) -> None:
    meters = Meters(tmp_path / "a.meter")
    for number in range(1500):
        meters.series(OK._replace(version=str(number))).add(1, 0.1)
    found = totals(tmp_path).series
    assert sum(one.requests for one in found.values()) == 1500


def test_exposition_is_what_prometheus_reads(tmp_path: Path) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    meters = Meters(tmp_path / "a.meter")
    meters.series(Label('quo"te', "1", "back\\slash", "ok")).add(2, 0.003)
    meters.series(OK._replace(code="serve.overloaded")).add(0, 0.0)
    text = exposition(tmp_path, {"penstock_ready": 1.0}).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {sample.labels["endpoint"] for sample in families["penstock_requests"].samples} == {'quo"te', "flights"}
    buckets = [s for s in families["penstock_latency_seconds"].samples if s.name.endswith("_bucket")]
    assert len(buckets) == 2 * (len(EDGES_S) + 1)
    assert [s.value for s in families["penstock_errors"].samples] == [1.0]
    assert re.search(r"penstock_ready 1\n", text)


def test_runs_are_counted_by_engine_and_size(tmp_path: Path) -> None:
    one, two = Meters(tmp_path / "a.meter").engine("sha256:aa"), Meters(tmp_path / "b.meter").engine("sha256:aa")
    for rows in (1, 1, 32, 33, 64, 65, 1 << 30):
        one.ran(rows, 1000)
    two.ran(1, 500)
    two.asked(3, 10, 20, 30, 40)
    found = totals(tmp_path).engines["sha256:aa"]
    assert (found.runs, found.run_ns) == (8, 7500)
    assert found.by_size() == [(1, 3, 2500), (32, 1, 1000), (64, 2, 2000), (128, 1, 1000), (1 << 21, 1, 1000)]
    assert found[4:9] == (3, 10, 20, 30, 40)
    assert found.last_ms > 1_600_000_000_000
    again = Meters(tmp_path / "a.meter")
    again.engine("sha256:bb").ran(1, 1)
    again.engine("sha256:aa").ran(1, 1)
    assert {key: one.runs for key, one in totals(tmp_path).engines.items()} == {"sha256:aa": 9, "sha256:bb": 1}


def test_engines_beyond_the_room_share_a_line(tmp_path: Path) -> None:
    meters = Meters(tmp_path / "a.meter")
    for number in range(200):
        meters.engine(f"sha256:{number}").ran(1, 1)
    assert sum(one.runs for one in totals(tmp_path).engines.values()) == 200


def test_a_file_of_format_1_goes_on_with_its_counts(tmp_path: Path) -> None:
    """Written by the version before engines were counted: the same up to the end of the request lines."""
    path = tmp_path / "a.meter"
    Meters(path).series(OK).add(2, 0.003)
    data = path.read_bytes()
    path.write_bytes(b"PSMETER1" + data[8 : 64 + 1024 * (384 + 8 * 17)])
    meters = Meters(path)
    meters.series(OK).add(1, 0.003)
    meters.engine("sha256:aa").ran(1, 1)
    found = totals(tmp_path)
    assert (found.series[OK].requests, found.series[OK].rows) == (2, 3)
    assert found.engines["sha256:aa"].runs == 1
