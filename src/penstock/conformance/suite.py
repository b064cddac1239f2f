"""The conformance kit's run: every case asked and judged, whatever the server does.

Comes in: an open `Kit` and the cases. Goes out: a `ConformanceReport`. A server that hangs or closes makes its case
deviate; one that has stopped answering is not asked on and on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

import msgspec

from penstock import __version__
from penstock.conformance.case import LEVELS, CaseLevel, ExpectedAnswer, ProtocolCase, all_cases
from penstock.conformance.judge import deviation
from penstock.conformance.kit import Kit, rng_of
from penstock.conformance.properties import PROPERTIES
from penstock.conformance.template import Unfit
from penstock.conformance.transport import Unheard

FORMAT = 1
"""Of the JSON report. To raise it: change this, and say in docs/conformance.md what changed."""
MOST_UNHEARD = 3
"""So many cases in a row without an answer, and the way is not asked any more."""
FORBIDDEN = ("UNAUTHENTICATED", "PERMISSION_DENIED")
CaseOutcome = Literal["kept", "deviates", "skipped"]
OnResult = Callable[["CaseResult", int, int], None]


class CaseResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of one case.

    Attributes:
        id: The case's, as the following four.
        title: What was expected.
        level: How binding.
        transport: By which way.
        source: Where it is written.
        note: Where the specification contradicts itself.
        outcome: Kept, deviates, or not asked.
        reason: What was not as expected, or why it was not asked.
        request: A line to paste that shows it.
        answer: The beginning of what came.
        seconds: Of all its requests.
    """

    id: str
    title: str
    level: CaseLevel
    transport: str
    source: str
    outcome: CaseOutcome
    note: str = ""
    reason: str = ""
    request: str = ""
    answer: str = ""
    seconds: float = 0.0


class ConformanceReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole run.

    Attributes:
        format: Of this record.
        kit: The kit's version.
        cases: How many it has, asked or not.
        moment: When it began.
        server: Name, version and extensions, as the server says them.
        url: Of REST.
        grpc: Address of gRPC.
        model: Which was asked.
        seed: Of values and properties.
        examples: Of each property.
        level: Down to which it was run.
        results: In the cases' order.
        seconds: Of all.
    """

    format: int
    kit: str
    cases: int
    moment: str
    server: dict[str, str]
    extensions: tuple[str, ...]
    url: str
    grpc: str
    model: str
    seed: int
    examples: int
    level: CaseLevel
    results: tuple[CaseResult, ...]
    seconds: float

    def of(self, outcome: CaseOutcome, level: CaseLevel | None = None) -> list[CaseResult]:
        """The results of one outcome, and of one level where it is given."""
        return [one for one in self.results if one.outcome == outcome and level in (None, one.level)]

    def fails(self, level: CaseLevel) -> bool:
        """Whether a case of this level, or of one above it, deviates."""
        counted = LEVELS[: LEVELS.index(level) + 1]
        return any(one.level in counted for one in self.of("deviates"))


def chosen_cases(level: CaseLevel, only: str) -> list[ProtocolCase]:
    """Those down to a level whose id has a part."""
    counted = LEVELS[: LEVELS.index(level) + 1]
    return [case for case in all_cases() if case.level in counted and only in case.id]


def run_suite(kit: Kit, cases: Sequence[ProtocolCase], on_result: OnResult) -> ConformanceReport:
    """Ask every case; never raises for what the server does.

    Args:
        kit: Open.
        cases: To ask.
        on_result: Told each result, its number from 1, and how many there are.
    """
    begun, moment = time.monotonic(), datetime.now(UTC)
    results: list[CaseResult] = []
    unheard = dict.fromkeys(kit.transports, 0)
    for number, case in enumerate(cases, 1):
        result, silent = _judged(kit, case, unheard)
        if result.outcome != "skipped":
            for name in unheard.keys() & _ways(case):
                unheard[name] = unheard[name] + 1 if silent else 0
        results.append(result)
        on_result(result, number, len(cases))
    options = kit.options
    return ConformanceReport(
        format=FORMAT,
        kit=__version__,
        cases=len(all_cases()),
        moment=moment.isoformat(timespec="seconds"),
        server={"name": kit.server.name, "version": kit.server.version},
        extensions=kit.server.extensions,
        url=options.url,
        grpc=options.grpc,
        model=kit.model.name,
        seed=options.seed,
        examples=options.examples,
        level=options.level,
        results=tuple(results),
        seconds=round(time.monotonic() - begun, 2),
    )


def _judged(kit: Kit, case: ProtocolCase, unheard: dict[str, int]) -> tuple[CaseResult, bool]:
    """A case's result, and whether it is that nobody answered."""
    begun = time.monotonic()
    source = str(case.source)
    result = CaseResult(case.id, case.title, case.level, case.transport, source, "kept", case.note)
    why = kit.unfit(case)
    if not why and any(unheard.get(name, 0) >= MOST_UNHEARD for name in _ways(case)):
        why = "the server has stopped answering"
    if why:
        return msgspec.structs.replace(result, outcome="skipped", reason=why), False
    kit.last, kit.heard, silent = None, None, False
    try:
        wrong = _property(kit, case) if case.example else _steps(kit, case)
    except Unfit as reason:
        return msgspec.structs.replace(result, outcome="skipped", reason=str(reason)), False
    except Unheard as reason:
        wrong, silent = str(reason), True
    took = round(time.monotonic() - begun, 4)
    if not wrong:
        return msgspec.structs.replace(result, seconds=took), False
    request = kit.transports[kit.last[0]].shown(kit.last[1]) if kit.last else ""
    answer = kit.heard.shown() if kit.heard else "none"
    shown = {"outcome": "deviates", "reason": wrong, "request": request, "answer": answer, "seconds": took}
    return msgspec.structs.replace(result, **shown), silent


def _steps(kit: Kit, case: ProtocolCase) -> str:
    """Every step on one connection; the first that is not as expected ends it."""
    for number, asked in enumerate(case.ask, 1):
        expected = case.expect if number == len(case.ask) else asked.expect or ExpectedAnswer()
        sent = kit.filler.fill(asked)
        heard = kit.ask("grpc" if asked.rpc else "rest", sent)
        if case.level == "extension" and (heard.status in (401, 403) or heard.code in FORBIDDEN):
            raise Unfit("the server does not allow it to this caller")
        wrong = deviation(expected, heard, kit.model, kit.plain)
        if wrong:
            return f"step {number}: {wrong}" if len(case.ask) > 1 else wrong
    return ""


def _property(kit: Kit, case: ProtocolCase) -> str:
    """The first example that shows that it does not hold."""
    for index in range(kit.options.examples):
        wrong = PROPERTIES[case.example](kit, rng_of(kit, case.id, index), index)
        if wrong:
            return f"example {index + 1} of seed {kit.options.seed}: {wrong}"
    return ""


def _ways(case: ProtocolCase) -> set[str]:
    return {"rest", "grpc"} if case.transport == "both" else {case.transport}
