"""Outcomes: acknowledged when they are on the disk, refused when they are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from console_for_tests import Home


def test_outcomes_are_on_the_disk_when_they_are_acknowledged(fresh: Home) -> None:
    otto = fresh.client("otto")
    sent = [{"prediction": f"abc.{row}", "value": value, "at": 1.5} for row, value in enumerate([1, 0.5, "late", True])]
    answer = otto.post("/api/v1/endpoints/flights/outcomes", json=sent)
    assert (answer.status_code, answer.json()["recorded"]) == (201, 4)
    written = b"".join(path.read_bytes() for path in Path(fresh.app.home, "log", "outcomes").glob("*.wal"))
    assert all(f"abc.{row}".encode() in written for row in range(4))


@pytest.mark.parametrize(
    "outcomes", [[], {}, [{"prediction": "abc.0", "value": 1}], [{"prediction": "", "value": 1, "at": 0}]]
)
def test_outcomes_that_are_none(fresh: Home, outcomes: object) -> None:
    assert fresh.client("otto").post("/api/v1/endpoints/flights/outcomes", json=outcomes).status_code == 422
