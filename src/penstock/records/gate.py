"""What the gate found, and its verdict."""

from __future__ import annotations

from typing import Literal

from penstock.records.package import Dataset
from penstock.records.record import JSON, Record, Scalar

Outcomes = Literal["pass", "refuse", "unknown"]


class Finding(Record, frozen=True, kw_only=True):
    """What one check found.

    Attributes:
        check: Name in the adapters' ``check`` table.
        title: The question in the reader's words.
        outcome: ``unknown`` means not enough evidence ("not shown").
        blocking: Whether the policy lets this outcome block the verdict.
        message: The answer in one sentence, figures included.
        remedy: What to do about it; empty where all is well.
        measured: The figures the answer rests on, by name.
        limits: The policy's limits they were held against.
        evidence: Tables and curves for the report.
    """

    check: str
    title: str
    outcome: Outcomes
    message: str
    blocking: bool = True
    remedy: str = ""
    measured: dict[str, Scalar] = {}
    limits: dict[str, Scalar] = {}
    evidence: JSON = {}


class Verdict(Record, frozen=True, kw_only=True):
    """The gate's answer on one package under one policy."""

    model: str
    version: int
    digest: str
    outcome: Outcomes
    findings: tuple[Finding, ...]
    policy: str
    datasets: tuple[Dataset, ...] = ()
    champion: str = ""
    at: float = 0.0
    seconds: float = 0.0
    report: str = ""
