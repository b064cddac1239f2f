"""A policy is read strictly, written wholly, and named by all it says."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from penstock import adapters
from penstock.errors import BadConfig
from penstock.gate.policy import parse_policy, plain, read_policy, starter, write_policy


def test_the_starter_asks_every_check_and_no_approval() -> None:
    policy = starter()
    assert list(policy.checks) == list(adapters.TABLE["check"])
    assert policy.approvals == ()
    assert all("unknown" in limits.blocks and limits.missing == "allow" for limits in policy.checks.values())


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    write_policy(starter(), path)
    again = read_policy(path)
    assert plain(again) == plain(starter())
    assert again.digest == starter().digest
    assert "margin: 0.01" in path.read_text(), "every limit is written out"


def test_the_digest_covers_every_limit_and_defaults_too() -> None:
    short = parse_policy({"checks": {"quality": {}}})
    spelt = parse_policy({"checks": {"quality": plain(short)["checks"]["quality"]}})
    changed = parse_policy({"checks": {"quality": {"margin": 0.02}}})
    assert short.digest == spelt.digest
    assert len({short.digest, changed.digest, starter().digest}) == 3


def test_what_is_not_said_keeps_its_default() -> None:
    policy = parse_policy(
        {"name": "strict", "approvals": ["approver"], "checks": {"quality": {"floors": {"auc": 0.7}}, "scan": None}}
    )
    assert policy.approvals == ("approver",)
    assert policy.checks["quality"].floors == {"auc": 0.7}
    assert policy.checks["quality"].min_rows == 100
    assert list(policy.checks) == ["quality", "scan"]


@pytest.mark.parametrize(
    ("found", "where", "said"),
    [
        ({"chekcs": {}}, "policy", "did you mean checks?"),
        ({"checks": {"qualty": {}}}, "policy.checks", "did you mean quality?"),
        ({"checks": {"quality": {"margn": 1}}}, "policy.checks.quality", "did you mean margin?"),
        ({"checks": {"quality": {"margin": "wide"}}}, "policy.checks.quality.margin", "Expected `float`"),
        ({"checks": {"quality": {"blocks": ["perhaps"]}}}, "policy.checks.quality.blocks[0]", "Invalid enum"),
        ({"checks": {"quality": 3}}, "policy.checks.quality", "table of keys"),
        ({"checks": {}}, "policy.checks", "names no check"),
        ({"confidence": 1.5, "checks": {"scan": {}}}, "policy.confidence", "0.5 to 1"),
        ({"version": 9, "checks": {"scan": {}}}, "policy.version", "version 1"),
        (["quality"], "policy", "table of keys"),
    ],
)
def test_a_mistake_is_named_with_its_place(found: object, where: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        parse_policy(found)
    assert caught.value.where == where
    assert said in f"{caught.value.message} {caught.value.hint}"


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("checks: !!python/object/apply:os.system ['true']")
    with pytest.raises(BadConfig):
        read_policy(path)
    with pytest.raises(BadConfig):
        read_policy(tmp_path / "gone.yaml")


def test_limits_are_frozen() -> None:
    with pytest.raises(AttributeError):
        starter().checks["quality"].margin = 1.0
    assert msgspec.structs.replace(starter().checks["quality"], margin=1.0).margin == 1.0
