"""Stage 4, serve: where servers of V2 differ and the specification leaves it open, whose habits are followed.

Only the form of an answer ever changes: its status, what of it may be absent. What is true is said in every mode: an
unknown model is never unloaded with a 200, and what a client did wrong is never a 500. Measured with one model on
Triton 2.51, KServe 0.21 and MLServer 1.7.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from penstock.serve.protocol import Compat


class Habits(NamedTuple):
    """What a server does where it may choose.

    Attributes:
        health_body: Health and readiness are answered with JSON; else with nothing.
        unready: Status of a model that is not ready.
        malformed: Status of a body that is no request.
        detail: What is malformed is told under ``detail``, too, as FastAPI's servers do.
        own_id: A request without an id is answered with ours; else with none.
        act_body: A load or unload is answered in words without ``?verbose``.
        nan_tokens: Numbers that JSON does not have leave as tokens, whatever the endpoint says.
    """

    health_body: bool = True
    unready: int = 503
    malformed: int = 400
    detail: bool = False
    own_id: bool = True
    act_body: bool = False
    nan_tokens: bool = False


HABITS: Mapping[Compat, Habits] = MappingProxyType({
    "strict": Habits(),
    "triton": Habits(health_body=False, unready=400, own_id=False, nan_tokens=True),
    "kserve": Habits(malformed=422, detail=True, act_body=True),
    "mlserver": Habits(health_body=False, unready=400, malformed=422, detail=True),
})  # fmt: skip
