"""The one map from errors to gRPC statuses, and the grammar of deadlines."""

from __future__ import annotations

import pytest

from penstock import errors
from penstock.serve.service import refuse_rpc, rpc_status, timeout_s

STATUSES = {
    errors.InvalidInput("x"): 3,
    errors.NotFound("x"): 5,
    errors.Conflict("x"): 10,
    errors.Forbidden("x"): 7,
    errors.Forbidden("x", code="access.unauthenticated"): 16,
    errors.BadConfig("x"): 9,
    errors.Overloaded("x"): 8,
    errors.Overloaded("x", code="serve.rate"): 8,
    errors.NotReady("x"): 14,
    errors.DeadlineExceeded("x"): 4,
    errors.Unready("x", code="log.disk"): 14,
    errors.ModelFailed("x"): 13,
    errors.Fault("x"): 13,
    errors.InvalidInput("x", code="serve.too_large"): 8,
    errors.PenstockError("x", code="serve.unsupported"): 12,
    errors.Unready("x", code="serve.cancelled"): 1,
    errors.PenstockError("x"): 2,
}


@pytest.mark.parametrize("error", STATUSES, ids=lambda e: f"{type(e).__name__} {e.code}")
def test_every_error_has_its_status(error: errors.PenstockError) -> None:
    assert rpc_status(error) == STATUSES[error]
    assert refuse_rpc(error).headers.startswith(b"x-error-code: ")


def test_a_fault_says_nothing_but_its_code_and_id() -> None:
    reply = refuse_rpc(errors.ModelFailed("a secret path"), "id7")
    assert b"secret" not in reply.body
    assert reply.body.endswith(b"id7")


def test_who_may_come_back_is_told_when() -> None:
    busy = errors.Overloaded("x")
    busy.retry_after_s = 3
    assert b"grpc-retry-pushback-ms: 3000\r\n" in refuse_rpc(busy).headers
    assert b"grpc-retry-pushback-ms: 1000\r\n" in refuse_rpc(errors.NotReady("x")).headers
    for final in (errors.InvalidInput("x"), errors.DeadlineExceeded("x"), errors.Fault("x")):
        assert b"pushback" not in refuse_rpc(final).headers


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"250m", 0.25), (b"4u", 4e-6), (b"99999999n", 0.099999999), (b"0n", 0)],
)
def test_timeouts(text: bytes, seconds: float) -> None:
    assert timeout_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", [b"", b"5", b"S", b"-1S", b"1.5S", b"123456789S", b" 1S", b"1s"])
def test_what_is_no_timeout(text: bytes) -> None:
    with pytest.raises(errors.InvalidInput):
        timeout_s(text)
