from __future__ import annotations

from pathlib import Path

import pytest

from penstock.errors import Unready
from penstock.log.outcomes import OutcomeLog
from penstock.log.tail import Tail
from penstock.records import Outcome


def test_outcomes_are_there_when_append_returns(tmp_path: Path) -> None:
    log = OutcomeLog(tmp_path)
    given = [Outcome(prediction=f"a.{i}", value=value, at=1.0) for i, value in enumerate([1, 1.5, True, "late"])]
    log.append(given)
    log.append([])
    assert Tail(tmp_path, Outcome).read() == given
    log.close()


def test_a_disk_that_fails_acknowledges_nothing(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("not a folder")
    with pytest.raises(Unready):
        OutcomeLog(place).append([Outcome(prediction="a.0", value=1, at=1.0)])
