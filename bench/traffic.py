"""What a server is asked, and how its answers are judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Answer(NamedTuple):
    """What came back; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Traffic(NamedTuple):
    """Different requests of one kind, with the numbers that must come back.

    Attributes:
        path: Where they are sent.
        headers: The same for all of them.
        bodies: One a request.
        expected: Shape ``(len(bodies), numbers)``.
        read: The numbers in an answer; raises `LookupError`, `TypeError` or `ValueError` where there are none.
        grpc: Over gRPC; the headers are its metadata.
        tolerance: How far a number may be off, absolute; servers print floats in different ways.
    """

    path: str
    headers: dict[str, str]
    bodies: list[bytes]
    expected: Floats
    read: Callable[[Answer], Floats]
    tolerance: float = 1e-4
    grpc: bool = False


def fault(traffic: Traffic, index: int, answer: Answer) -> str:
    """What is wrong with the answer to body `index`; empty where it is right."""
    if answer.status != 200:
        return f"status {answer.status}: {answer.body[:200]!r}"
    try:
        found = traffic.read(answer)
    except (LookupError, TypeError, ValueError) as error:
        return f"no numbers in the answer ({type(error).__name__}: {error}): {answer.body[:200]!r}"
    wanted = traffic.expected[index]
    if found.shape != wanted.shape:
        return f"{found.size} numbers instead of {wanted.size}"
    if not np.allclose(found, wanted, rtol=0, atol=traffic.tolerance):
        return f"off by {np.abs(found - wanted).max():.3g}"
    return ""
