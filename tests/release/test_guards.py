"""What a watch makes of traffic: silent faults are found, harmless candidates are let go."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from msgspec.structs import replace
from traffic_for_tests import Scores, constant, exchanges, release, retrained, upside_down, usual

from penstock.records import Exchange, Measurement, Outcome
from penstock.release.guards import TESTS, Watch
from penstock.serve.router import position


def judged(watch: Watch, traffic: Iterable[Exchange]) -> tuple[str, int, int]:
    """Which test had enough, after how many requests of the candidate and in all; empty when none ever."""
    candidate = number = 0
    for number, exchange in enumerate(traffic, 1):
        watch.see([exchange])
        candidate += exchange.variant == "canary"
        if number % 20 == 0:
            for one in watch.measurements():
                if one.against >= one.threshold:
                    return one.test, candidate, number
    return "", candidate, number


def measured(watch: Watch) -> dict[str, Measurement]:
    return {one.test: one for one in watch.measurements()}


@pytest.mark.parametrize("fault", [upside_down, constant])
def test_a_silent_fault_is_found_within_a_few_hundred_answers(fault: Scores) -> None:
    """It answers, fast, status ok, and wrong: at a share of 10 %."""
    for seed in range(6):
        test, candidate, _ = judged(Watch(release()), exchanges(6_000, seed=seed, candidate=fault))
        assert test == "shift"
        assert candidate <= 300


def test_two_equal_versions_are_never_told_apart() -> None:
    found = [judged(Watch(release()), exchanges(2_000, seed=seed, errors=(0.02, 0.02)))[0] for seed in range(12)]
    assert sum(map(bool, found)) <= 1


def test_a_retrained_model_may_move_its_scores() -> None:
    assert not any(judged(Watch(release()), exchanges(3_000, seed=s, candidate=retrained))[0] for s in range(5))


def test_a_good_candidate_is_spoken_for_by_every_test() -> None:
    watch = Watch(release())
    watch.see(exchanges(4_000, share=0.5, candidate=retrained, keys=3_000))
    assert all(measured(watch)[name].supporting >= 20 for name in ("error", "latency", "invalid"))
    assert measured(watch)["shift"].supporting >= 1


@pytest.mark.parametrize(("test", "options"), [("error", {"errors": (0.005, 0.2)}), ("latency", {"slow": (0.01, 0.3)})])
def test_errors_and_slowness_are_found(test: str, options: dict) -> None:
    assert judged(Watch(release()), exchanges(6_000, **options))[0] == test


def test_slow_may_mean_slower_than_the_stable_version() -> None:
    traffic = exchanges(6_000, slow=(0.04, 0.5))
    assert judged(Watch(release(latency_s=0.0)), traffic)[0] == "latency"


def test_what_befalls_both_is_not_the_candidates() -> None:
    assert not judged(Watch(release()), exchanges(4_000, seed=2, errors=(0.4, 0.4), slow=(0.3, 0.3)))[0]


def test_an_invalid_answer_is_harm() -> None:
    def spoiled() -> Iterable[Exchange]:
        for exchange in exchanges(6_000):
            bad = exchange.variant == "canary"
            yield replace(exchange, outputs={"probabilities": [[float("nan"), 0.5]]}) if bad else exchange

    assert judged(Watch(release()), spoiled())[0] == "invalid"


def test_outcomes_tell_that_answers_were_wrong() -> None:
    watch = Watch(release())
    for exchange in exchanges(6_000):
        truth = exchange.outputs["label"][0] if exchange.variant == "stable" else 1 - exchange.outputs["label"][0]  # type: ignore[operator]
        watch.see([exchange])
        watch.learn([(exchange, Outcome(prediction=f"{exchange.id}.0", value=truth, at=1.0))])
    assert measured(watch)["outcome_loss"].against >= measured(watch)["outcome_loss"].threshold
    assert measured(watch)["error"].against <= 1


def test_without_traffic_nothing_is_measured() -> None:
    watch = Watch(release())
    assert watch.measurements() == ()
    watch.see(replace(e, release=9) for e in exchanges(50))
    watch.see(replace(e, endpoint="another") for e in exchanges(50))
    watch.see(replace(e, variant="") for e in exchanges(50))
    assert watch.measurements() == ()


def test_a_caller_who_names_the_version_was_not_assigned_by_chance() -> None:
    watch = Watch(release())
    watch.see(
        replace(e, variant="canary", share=0.1, code="runtime.model_failed", outputs={})
        for e in exchanges(2_000)
        if e.variant == "stable"
    )
    assert watch.measurements() == ()


def test_units_lie_where_the_router_puts_them() -> None:
    """One contract, two parts that may not import each other."""
    watched = [e for e in exchanges(500) if (position("e/2", e.key) < 0.1) == (e.variant == "canary")]
    assert len(watched) == 500


def test_units_start_again_at_a_larger_share() -> None:
    watch = Watch(release())
    watch.see(exchanges(2_000, share=0.1))
    before = measured(watch)["error"]
    watch.see(exchanges(40, share=0.5, start=2_000))
    after = measured(watch)["error"]
    assert (before.share, after.share) == (0.1, 0.5)
    assert after.began == 2_000.0
    assert after.units["canary"] < before.units["canary"]
    assert after.supporting < before.supporting
    assert after.requests["stable"] > before.requests["stable"]


def test_a_straggler_of_the_smaller_share_changes_no_units() -> None:
    watch = Watch(release())
    watch.see(exchanges(500, share=0.5))
    before = measured(watch)["error"]
    watch.see(exchanges(200, share=0.1, seed=9))
    assert measured(watch)["error"].units == before.units


def test_reading_the_log_again_gives_the_same() -> None:
    first, again = Watch(release()), Watch(release())
    traffic = list(exchanges(1_500, errors=(0.02, 0.02)))
    first.see(traffic)
    for start in range(0, 1_500, 100):
        again.see(traffic[start : start + 100])
    assert first.measurements() == again.measurements()
    assert [one.test for one in again.measurements()] == list(TESTS)


def shadowed(count: int, fault: Scores) -> Iterable[Exchange]:
    """Every request answered by the stable version, and its copy's record."""
    copies = exchanges(count, seed=1, share=1.0 - 1e-12, candidate=fault)
    for answer, copy in zip(exchanges(count, share=1e-12, stable=usual), copies, strict=True):
        yield replace(answer, variant="stable", share=1.0)
        yield replace(copy, variant="shadow", share=0.0, shadow=True, key=answer.key)


def test_a_shadows_copies_are_compared_pair_by_pair() -> None:
    good, bad = Watch(release(strategy="shadow")), Watch(release(strategy="shadow"))
    good.see(shadowed(1_500, usual))
    bad.see(shadowed(1_500, upside_down))
    assert measured(bad)["shift"].against >= measured(bad)["shift"].threshold
    assert all(one.against < one.threshold for one in good.measurements())
    assert measured(good)["error"].units["shadow"] > 500
