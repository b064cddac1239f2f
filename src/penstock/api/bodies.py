"""What clients may send: typed bodies that refuse unknown fields.

What comes in: JSON. What goes out: the records the use cases take. A refusal names the field, never its value.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Header
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from penstock.records import Guards, Limits, Outcome
from penstock.web.callers import Caller, caller_of

Acting = Annotated[Caller, Depends(caller_of)]
"""The caller whom the route's guard admitted."""
Expected = Annotated[str | None, Header(alias="if-match")]
"""The ETag the caller last saw; a change made on an older state is refused with 409."""


class Body(BaseModel):
    """The base of all bodies."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=4096, allow_inf_nan=False)


class GuardsBody(Body):
    """See `penstock.records.Guards`."""

    alpha: float = Field(0.05, gt=0, lt=1)
    share: float = Field(0.1, gt=0, le=1)
    steps: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.1, 0.5)
    min_units: int = Field(100, ge=1)
    latency_s: float = Field(0.1, gt=0)
    margin: float = Field(1.1, gt=1)
    wait_s: float = Field(0.0, ge=0)

    def record(self) -> Guards:
        """The same as the record."""
        return Guards(
            alpha=self.alpha,
            share=self.share,
            steps=self.steps,
            min_units=self.min_units,
            latency_s=self.latency_s,
            margin=self.margin,
            wait_s=self.wait_s,
        )


class LimitsBody(Body):
    """See `penstock.records.Limits`."""

    deadline_s: float = Field(10.0, gt=0)
    queue: int = Field(1024, ge=1)
    max_rows: int = Field(10_000, ge=1)
    log: Literal["normal", "strict", "off"] = "normal"

    def record(self) -> Limits:
        """The same as the record."""
        return Limits(deadline_s=self.deadline_s, queue=self.queue, max_rows=self.max_rows, log=self.log)


class ReleaseBody(Body):
    """The wish for a release: which version, how it gets there, what it must not make worse."""

    version: str = Field(description="model@3, model@champion or model")
    strategy: str = "at-once"
    target: str = "local"
    guards: GuardsBody | None = None
    limits: LimitsBody | None = None
    reason: str = ""
    bypass: str = Field("", description="why the gate is passed by; needs the permission 'bypass'")


class RollbackBody(Body):
    """Where to go back to: a revision, or the last one that was good."""

    to: int | None = Field(None, ge=1)
    reason: str = ""


class ApprovalBody(Body):
    """A named person's yes."""

    role: str = Field(min_length=1)
    comment: str = ""


class AliasBody(Body):
    """The version an alias should mean."""

    version: int = Field(ge=1)


class OutcomeBody(Body):
    """What became true of one prediction; `at` is event time, seconds since the epoch."""

    prediction: StrictStr = Field(min_length=1)
    value: StrictBool | StrictInt | StrictFloat | StrictStr
    at: float
    source: str = ""

    def record(self) -> Outcome:
        """The same as the record."""
        return Outcome(prediction=self.prediction, value=self.value, at=self.at, source=self.source)
