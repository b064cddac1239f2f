"""Bodies refuse what they do not know and become the records the use cases take."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from penstock.api.bodies import GuardsBody, LimitsBody, OutcomeBody, ReleaseBody
from penstock.records import Guards, Limits


def test_a_body_s_defaults_are_the_records_own() -> None:
    assert GuardsBody().record() == Guards()
    assert LimitsBody().record() == Limits()
    assert ReleaseBody(version="m@1").guards is None


@pytest.mark.parametrize("value", [True, 1, 0.5, "late"])
def test_an_outcome_keeps_its_type(value: object) -> None:
    record = OutcomeBody(prediction="a.0", value=value, at=1.0).record()
    assert (record.value, type(record.value)) == (value, type(value))


@pytest.mark.parametrize(
    "wrong", [{"share": 0}, {"share": 1.5}, {"alpha": 1}, {"steps": [0.1, 2]}, {"unknown": 1}, {"margin": float("nan")}]
)
def test_what_no_guard_can_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        GuardsBody(**wrong)
