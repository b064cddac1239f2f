"""The taxonomy: three branches, stable codes, words for people."""

from __future__ import annotations

import pytest

from penstock import errors

LEAVES = [
    (errors.Refused, ["InvalidInput", "NotFound", "Conflict", "Untrusted", "Forbidden", "BadConfig"]),
    (errors.Unready, ["NotReady", "Overloaded", "DeadlineExceeded"]),
    (errors.Fault, ["ModelFailed", "TargetFailed", "Corrupt"]),
]


@pytest.mark.parametrize(("branch", "names"), LEAVES)
def test_each_error_stands_on_one_branch(branch: type, names: list[str]) -> None:
    for name in names:
        kind = getattr(errors, name)
        assert issubclass(kind, branch)
        assert sum(issubclass(kind, other) for other, _ in LEAVES) == 1
        assert name in (errors.__doc__ or "")


def test_codes_are_stable_and_their_own() -> None:
    codes = [getattr(errors, name).code for _, names in LEAVES for name in names]
    assert len(set(codes)) == len(codes)
    assert all(code.count(".") == 1 for code in codes)


def test_it_says_where_what_and_what_next() -> None:
    error = errors.InvalidInput("the value is missing", "send one", where="inputs[0].data[3]")
    assert str(error) == "inputs[0].data[3]: the value is missing (send one)"
    assert errors.Conflict("somebody was first", code="release.raced").code == "release.raced"
