"""What waits is served in shares: by subject, by priority, and nobody starves."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from penstock.serve.lane import Job
from penstock.serve.queue import FairQueue


def job(subject: str = "", *, rows: int = 1, priority: int = 0) -> Job:
    made = Job({}, rows, 0.0)
    made.subject = subject
    made.priority = priority
    return made


def filled(*jobs: Job) -> FairQueue:
    queue = FairQueue()
    for one in jobs:
        queue.put(one)
    return queue


def test_one_subject_is_served_in_order() -> None:
    jobs = [job("a") for _ in range(20)]
    queue = filled(*jobs)
    assert [queue.pop() for _ in jobs] == jobs


def test_who_asks_little_does_not_wait_for_who_asks_much() -> None:
    queue = filled(*[job("much") for _ in range(100)])
    queue.pop()
    late = job("little")
    queue.put(late)
    assert late in [queue.pop(), queue.pop()]


def test_shares_are_by_rows() -> None:
    queue = filled(*[job("wide", rows=10) for _ in range(40)], *[job("narrow") for _ in range(400)])
    rows: Counter[str] = Counter()
    for _ in range(200):
        one = queue.pop()
        rows[one.subject] += one.rows
    assert abs(rows["wide"] - rows["narrow"]) <= 10


def test_a_higher_priority_has_twice_the_share_and_the_lowest_is_not_starved() -> None:
    jobs = [job(name, priority=level) for _ in range(200) for name, level in (("high", 1), ("next", 2), ("low", 8))]
    queue = filled(*jobs)
    served = Counter(queue.pop().subject for _ in range(300))
    assert 1.7 < served["high"] / served["next"] < 2.3 or served["high"] == 200
    assert served["low"] >= 1


def test_no_priority_is_the_fourth() -> None:
    queue = filled(*[job("a", priority=0) for _ in range(50)], *[job("b", priority=4) for _ in range(50)])
    served = Counter(queue.pop().subject for _ in range(50))
    assert served["a"] == served["b"] == 25


def test_a_subject_leaves_room_for_others() -> None:
    queue = FairQueue()
    while not queue.over_its_share("flood", 100):
        queue.put(job("flood"))
    assert len(queue) == 75
    assert not queue.over_its_share("other", 100)
    assert not queue.over_its_share("", 100)


def test_ahead_of_a_newcomer_is_little() -> None:
    queue = filled(*[job("flood") for _ in range(50)])
    assert queue.ahead_of(job("flood")) == 50
    assert queue.ahead_of(job("new")) == 1
    assert queue.ahead_of(job("flood", priority=1)) < 10


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9), st.integers(0, 9), st.booleans()), max_size=60))
def test_every_job_comes_out_once_unless_it_was_dropped(asked: list[tuple[str, int, int, bool]]) -> None:
    jobs = [job(subject, rows=rows, priority=priority) for subject, rows, priority, _ in asked]
    for one, (_, _, _, cancelled) in zip(jobs, asked, strict=True):
        one.cancelled = cancelled
    queue = filled(*jobs)
    queue.drop(lambda one: one.cancelled)
    kept = [one for one in jobs if not one.cancelled]
    assert queue.rows == sum(one.rows for one in kept)
    out = [queue.pop() for _ in range(len(queue))]
    assert sorted(map(id, out)) == sorted(map(id, kept))
    assert queue.rows == 0
