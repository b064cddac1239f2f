"""A rate is held exactly, by one process and by several, and nothing that restarts forgets it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, alive, route, until, v2
from packages_for_tests import linear_package
from penstock.access.tokens import new_token, token_sha256
from penstock.errors import Overloaded
from penstock.records import Grant
from penstock.serve.rates import Rates
from penstock.serve.refusals import refuse

PATH = "/v2/models/linear/infer"
BODY = v2([[1.0, 2.0, 3.0, 4.0]])
FREE = new_token()
ASKER = """
import sys, time
from pathlib import Path
from penstock.errors import Overloaded
from penstock.records import Grant
from penstock.serve.rates import Rates

rates = Rates(Path(sys.argv[1]))
grant = Grant(token_sha256="", subject="shared", permissions=(), rate_per_s=2000.0, burst=20)
given, begun, end = 0, time.monotonic(), time.monotonic() + 1.5
while time.monotonic() < end:
    try:
        rates.take(grant)
        given += 1
    except Overloaded:
        pass
print(given, begun, time.monotonic())
"""


def grant(subject: str = "a", *, rate_per_s: float = 1e-3, burst: int = 5) -> Grant:
    return Grant(token_sha256="", subject=subject, permissions=(), rate_per_s=rate_per_s, burst=burst)


def taken(rates: Rates, asked: Grant, times: int = 50) -> int:
    given = 0
    for _ in range(times):
        try:
            rates.take(asked)
        except Overloaded:
            continue
        given += 1
    return given


def test_a_burst_is_given_and_then_no_more(tmp_path: Path) -> None:
    rates = Rates(tmp_path / "rates")
    assert taken(rates, grant()) == 5
    with pytest.raises(Overloaded) as caught:
        rates.take(grant())
    reply = refuse(caught.value)
    assert reply.status == 429
    assert b"retry-after: 1000\r\n" in reply.headers or b"retry-after: 999\r\n" in reply.headers


def test_subjects_have_buckets_of_their_own(tmp_path: Path) -> None:
    rates = Rates(tmp_path / "rates")
    assert [taken(rates, grant(f"subject-{n}")) for n in range(300)] == [5] * 300
    assert [taken(rates, grant(f"subject-{n}")) for n in range(300)] == [0] * 300


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    first = Rates(tmp_path / "rates")
    assert taken(first, grant(), times=3) == 3
    first.close()
    assert taken(Rates(tmp_path / "rates"), grant()) == 2


def test_a_larger_rate_is_given_at_once_and_a_smaller_one_held(tmp_path: Path) -> None:
    rates = Rates(tmp_path / "rates")
    assert taken(rates, grant()) == 5
    time.sleep(0.02)
    assert taken(rates, grant(rate_per_s=1e9, burst=2)) >= 2


def test_several_processes_share_one_rate_within_a_hundredth(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASKER, str(tmp_path / "rates")]
    asking = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate(timeout=30)[0].split() for process in asking]
    given = sum(int(words[0]) for words in told)
    seconds = max(float(words[2]) for words in told) - min(float(words[1]) for words in told)
    assert given <= 20 + 2000 * seconds * 1.01
    assert given >= 0.9 * 2000 * 1.5


def test_all_workers_count_as_one_and_neither_reload_nor_restart_forgets(tmp_path: Path) -> None:
    token = new_token()
    limited = Grant(token_sha256=token_sha256(token), subject="ann", permissions=("predict",), rate_per_s=1e-3, burst=8)
    free = Grant(token_sha256=token_sha256(FREE), subject="bob", permissions=("predict",))
    plane = DataPlane(tmp_path)
    linear = route("linear", plane.add(linear_package, tmp_path / "linear"), public=False)

    def asked(secret: str, times: int) -> list[int]:
        # A connection each, so that both workers are asked.
        answers = [plane.ask("POST", PATH, BODY, {"Authorization": f"Bearer {secret}"}) for _ in range(times)]
        assert all("retry-after" in answer.headers for answer in answers if answer.status == 429)
        return [answer.status for answer in answers]

    plane.write(linear, grants=(limited, free))
    plane.start(workers=2)
    try:
        plane.settled(workers=2)
        assert asked(token, 5) == [200] * 5
        plane.write(linear, grants=(limited, free))
        plane.settled(workers=2)
        assert sorted(asked(token, 10)) == [200] * 3 + [429] * 7
        for status in plane.statuses():
            os.kill(status.pid, signal.SIGKILL)
        until(lambda: len(plane.statuses()) == 2 and all(alive(one.pid) for one in plane.statuses()))
        assert set(asked(token, 10)) == {429}
        assert asked(FREE, 10) == [200] * 10
    finally:
        plane.stop()
