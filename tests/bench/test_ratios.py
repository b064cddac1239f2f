"""The harness's arithmetic: ratios within a round, and what voids a point."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.points import CLAIMS, YARDSTICK, YARDSTICK_US, Claim, Figure, Spot, spots_of, stages_of
from bench.ratios import Samples, judge
from bench.run import PAIRED, again
from bench.table import shown

OURS, THEIRS, LOOP = Spot("penstock", "v2", 16), Spot("fastapi", "rows", 16), Spot("ort")


def claim(figure: Figure = Figure.PER_CPU, theirs: tuple[Spot, ...] = (THEIRS,), must: float = 6.5) -> Claim:
    return Claim("P1", "core", "one", figure, OURS, theirs, must, 8)


def sample(spot: Spot, number: int, **figures: float) -> dict[str, object]:
    return {"kind": "sample", "stage": "core", "round": number, "system": spot.system, "spot": str(spot), **figures}


def test_a_noisy_round_does_not_count_because_both_sides_had_it() -> None:
    noise = {0: 1.0, 1: 9.0, 2: 1.2}
    samples = Samples(
        [sample(OURS, n, cpu_us=20 * factor) for n, factor in noise.items()]
        + [sample(THEIRS, n, cpu_us=140 * factor) for n, factor in noise.items()]
    )
    verdict = judge(claim(), samples)
    assert verdict.value == pytest.approx(7.0)
    assert verdict.holds


def test_a_must_that_is_not_reached_does_not_hold() -> None:
    samples = Samples([sample(OURS, 0, cpu_us=20), sample(THEIRS, 0, cpu_us=129)])
    assert judge(claim(), samples).holds is False
    assert judge(claim(must=6.4), samples).holds is True


def test_of_times_less_is_better() -> None:
    samples = Samples([sample(OURS, 0, p99_ms=4.0), sample(THEIRS, 0, p99_ms=10.0)])
    assert judge(claim(Figure.P99, must=0.5), samples) == (0.4, True, "", True, None)
    assert judge(claim(Figure.P99, must=0.3), samples).holds is False


def test_the_limit_is_the_sum_of_its_parts() -> None:
    hello = Spot("hello", "fixed", 16)
    samples = Samples([sample(OURS, 0, cpu_us=20), sample(hello, 0, cpu_us=10), sample(LOOP, 0, cpu_us=9)])
    verdict = judge(claim(theirs=(hello, LOOP), must=0.9), samples)
    assert verdict.value == pytest.approx(0.95)


@pytest.mark.parametrize("trouble", ["failed", "wrong"])
def test_one_bad_answer_voids_the_point(trouble: str) -> None:
    samples = Samples([sample(OURS, 0, cpu_us=10, **{trouble: 1}), sample(THEIRS, 0, cpu_us=140)])
    verdict = judge(claim(), samples)
    assert (verdict.value, verdict.holds) == (None, False)
    assert "1 requests failed or were answered wrong" in verdict.why


def test_a_system_that_was_left_out_says_why() -> None:
    skip: dict[str, object] = {"kind": "skip", "stage": "core", "system": "fastapi", "reason": "there is no java"}
    verdict = judge(claim(), Samples([sample(OURS, 0, cpu_us=10), skip]))
    assert verdict == (None, False, "fastapi: there is no java", False, None)


@given(st.lists(st.tuples(st.floats(1, 1e4), st.floats(1, 1e4)), min_size=1, max_size=9))
def test_the_ratio_lies_between_those_of_the_rounds(rounds: list[tuple[float, float]]) -> None:
    lines = [sample(OURS, n, cpu_us=ours) for n, (ours, _) in enumerate(rounds)]
    lines += [sample(THEIRS, n, cpu_us=theirs) for n, (_, theirs) in enumerate(rounds)]
    value = judge(claim(), Samples(lines)).value
    ratios = [theirs / ours for ours, theirs in rounds]
    assert value is not None
    assert min(ratios) <= value <= max(ratios)


def test_no_aim_stays_behind_its_must() -> None:
    for one in CLAIMS:
        assert one.aim > one.must if one.figure.more_is_better else one.aim < one.must or one.aim == 0, one.what


def test_a_difference_is_measured_side_by_side_and_in_both_orders() -> None:
    (claim,) = [claim for claim in CLAIMS if claim.figure is Figure.ADDED]
    rounds = again("core", [claim], 3)
    assert again("images", [claim], 3) == []
    pairs = [rounds[at : at + 2] for at in range(0, len(rounds), 2)]
    spots = [claim.ours, *claim.theirs]
    assert [pair[0][0] for pair in pairs] == list(range(3, 3 + PAIRED))
    assert all(pair[0][0] == pair[1][0] and {pair[0][1], pair[1][1]} == set(spots) for pair in pairs)
    assert sum(pair[0][1] == claim.ours for pair in pairs) == PAIRED / 2


def test_a_time_that_stands_alone_is_told_at_the_pace_of_the_machine_of_its_must() -> None:
    hop = Claim("P12", "hop", "the hop", Figure.HOP, Spot("hop"), (), 80, 50)
    record = sample(Spot("hop"), 0, cpu_us=130.0) | {"stage": "hop"}
    slow = Samples([sample(YARDSTICK, 0, cpu_us=2 * YARDSTICK_US), record])
    verdict = judge(hop, slow)
    assert (verdict.value, verdict.raw, verdict.holds) == (65.0, 130.0, True)
    assert shown(hop, verdict) == "65.0 us (130.0 here)"
    quick = Samples([sample(YARDSTICK, 0, cpu_us=YARDSTICK_US), record])
    assert not judge(hop, quick).holds
    assert not judge(hop, Samples([record])).measured


def test_who_claims_a_time_measures_the_yardstick_too() -> None:
    hop = [claim for claim in CLAIMS if claim.figure is Figure.HOP]
    assert stages_of(hop) == ["core", "hop"]
    assert spots_of("core", hop) == [YARDSTICK]
    cold = [claim for claim in CLAIMS if claim.figure is Figure.START]
    assert stages_of(cold) == ["start"]
