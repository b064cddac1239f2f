"""Which of ONNX Runtime's execution providers run a graph: those that were declared, or an error.

    Sizing.providers -> all there? -> session -> is the first one in it? -> it may run

ONNX Runtime drops a provider that it does not have, or that does not start, and computes on the processor instead:
the answers are right and the bill is wrong. Here that is an error, unless it is allowed.
"""

from __future__ import annotations

import difflib
import logging

import onnxruntime

from penstock.errors import BadConfig
from penstock.records import Sizing

CPU = "CPUExecutionProvider"

_LOG = logging.getLogger(__name__)


def declared_providers(sizing: Sizing, options: onnxruntime.SessionOptions) -> list[str]:
    """The providers to open a session with.

    Args:
        sizing: What was declared.
        options: Of the session; where the processor was not declared, no part of a graph may fall back to it.

    Raises:
        BadConfig: One of them is not here, and falling back is not allowed; the message says which, and what is here.
    """
    if not sizing.providers:
        return [CPU]
    here = onnxruntime.get_available_providers()
    lacking = [name for name in sizing.providers if name not in here]
    if lacking and not sizing.allow_cpu:
        raise BadConfig(_lacking(lacking[0], here), _remedy(lacking[0]), code="runtime.no_provider")
    if lacking:
        _LOG.warning("%s is not here; falling back was allowed", lacking[0])
    kept = [name for name in sizing.providers if name in here]
    if sizing.allow_cpu:
        return [*kept, *([] if CPU in kept else [CPU])]
    if CPU not in kept:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    return kept


def require_first(session: onnxruntime.InferenceSession, sizing: Sizing) -> None:
    """Refuse a session whose first provider did not start.

    Raises:
        BadConfig: ONNX Runtime went on without it, and that is not allowed.
    """
    if not sizing.providers or sizing.allow_cpu:
        return
    first, running = sizing.providers[0], session.get_providers()
    if first not in running:
        raise BadConfig(
            f"{first} is in this build of ONNX Runtime and did not start; it went on with {', '.join(running)}",
            "look for its driver and libraries, or allow the processor with limits.sizing.allow_cpu",
            code="runtime.no_provider",
        )


def _lacking(name: str, here: list[str]) -> str:
    return f"the execution provider {name} is not here; this build of ONNX Runtime has {', '.join(here)}"


def _remedy(name: str) -> str:
    known = onnxruntime.get_all_providers()
    if name not in known:
        plain = {one.lower(): one for one in known}
        near = difflib.get_close_matches(name.lower(), plain, n=1)
        return f"did you mean {plain[near[0]]}?" if near else f"ONNX Runtime knows {', '.join(known)}"
    return "install the build of ONNX Runtime that has it, or allow the processor with limits.sizing.allow_cpu"
