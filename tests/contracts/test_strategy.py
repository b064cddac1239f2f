"""Every way to roll out keeps the same promises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.adapters import TABLE, load
from penstock.errors import BadConfig
from penstock.records import Guards, Release, Variant
from penstock.release.strategy import Stage

OLD = Variant(name="stable", model="m", version=1, digest="sha256:" + "1" * 64)
NEW = Variant(name="stable", model="m", version=2, digest="sha256:" + "2" * 64)
strategies = pytest.mark.parametrize("name", sorted(TABLE["strategy"]))
shares = st.floats(0.001, 0.999)


def stages(name: str, guards: Guards, stable: tuple[Variant, ...] = (OLD,)) -> tuple[Stage, ...]:
    release = Release(endpoint="e", revision=2, variants=(NEW,), strategy=name, guards=guards)
    found: tuple[Stage, ...] = load("strategy", name)().stages(release, stable)
    return found


@strategies
@given(first=shares, more=st.lists(shares, max_size=5).map(sorted))
def test_every_stage_gives_all_traffic_away_once(name: str, first: float, more: list[float]) -> None:
    for stage in stages(name, Guards(share=first, steps=tuple(more))):
        answering = [variant for variant in stage.variants if not variant.shadow]
        assert sum(variant.share for variant in answering) == pytest.approx(1.0)
        assert all(0.0 <= variant.share <= 1.0 for variant in stage.variants)
        assert len({variant.name for variant in stage.variants}) == len(stage.variants)
        assert {variant.digest for variant in stage.variants} <= {OLD.digest, NEW.digest}


@strategies
@given(first=shares, more=st.lists(shares, max_size=5).map(sorted))
def test_the_candidates_share_only_grows_and_it_lies_first(name: str, first: float, more: list[float]) -> None:
    before = 0.0
    for stage in stages(name, Guards(share=first, steps=tuple(more))):
        if stage.until == "report":
            assert stage.variants[0].digest == OLD.digest
            continue
        assert stage.variants[0].digest == NEW.digest
        assert stage.variants[0].share >= before
        before = stage.variants[0].share


@strategies
def test_the_same_wish_gives_the_same_stages(name: str) -> None:
    assert stages(name, Guards()) == stages(name, Guards())


@strategies
def test_a_new_endpoint_has_nothing_to_go_through(name: str) -> None:
    if name == "shadow":
        with pytest.raises(BadConfig, match="answers"):
            stages(name, Guards(), ())
    else:
        assert stages(name, Guards(), ()) == ()


@strategies
def test_only_a_shadow_answers_nobody(name: str) -> None:
    for stage in stages(name, Guards()):
        assert any(variant.shadow for variant in stage.variants) == (stage.until == "report")
