"""Which of ONNX Runtime's execution providers run a graph: those that were declared, or an error.

    a release's Sizing.providers, else the manifest's, else the processor
                     -> all there? -> session -> is the first one in it? -> it may run

ONNX Runtime drops a provider that it does not have, or that does not start, and computes on the processor instead:
the answers are right and the bill is wrong. Here that is an error, unless it is allowed.
"""

from __future__ import annotations

import difflib
import logging

import onnxruntime
from msgspec.structs import replace

from penstock.errors import BadConfig
from penstock.records import Manifest, Sizing

CPU = "CPUExecutionProvider"
_ALLOW = "allow the processor: limits.sizing.allow_cpu of a release, --allow-cpu of package and serve"

_LOG = logging.getLogger(__name__)


def sizing_for(manifest: Manifest, sizing: Sizing | None) -> Sizing:
    """What a release says, or whoever serves; where that names no provider, those that the package was made for."""
    sizing = sizing or Sizing()
    if sizing.providers or not manifest.providers:
        return sizing
    return replace(sizing, providers=manifest.providers, allow_cpu=sizing.allow_cpu or manifest.allow_cpu)


def declared_for(engine: str, providers: tuple[str, ...]) -> tuple[str, ...]:
    """The providers to write into a manifest.

    Raises:
        BadConfig: There is no graph that they could run.
    """
    if providers and engine != "onnxruntime":
        raise BadConfig(
            "the model did not compile, and execution providers run compiled graphs alone",
            "package it without --provider; without it, the command says why it did not compile",
            code="runtime.no_graph",
        )
    return providers


def require_known(providers: tuple[str, ...]) -> None:
    """Refuse names that ONNX Runtime has in no build; whether they are here is asked where they run.

    Raises:
        BadConfig: One of them is none.
    """
    for name in providers:
        if name not in onnxruntime.get_all_providers():
            raise BadConfig(f"ONNX Runtime has no execution provider {name}", _remedy(name), code="runtime.no_provider")


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
            f"look for its driver and libraries, or {_ALLOW}",
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
    return f"install the build of ONNX Runtime that has it, or {_ALLOW}"
