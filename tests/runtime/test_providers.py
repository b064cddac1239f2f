"""Execution providers: what was declared runs, or the load fails and says what is missing; no silent processor."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
from msgspec.structs import replace

from dataplane_for_tests import DataPlane, route, until, v2
from packages_for_tests import linear_package
from penstock.config import load_config
from penstock.errors import BadConfig, ModelFailed
from penstock.packages.read import Package, open_package
from penstock.records import Limits, Sizing
from penstock.runtime import providers
from penstock.runtime.engine import open_engine, prove
from penstock.tuning.settings import Setting, limits_with, setting_of

CUDA = "CUDAExecutionProvider"
AZURE = "AzureExecutionProvider"
CPU = "CPUExecutionProvider"


@pytest.fixture
def package(tmp_path: Path) -> Package:
    linear_package(tmp_path / "linear")
    return open_package(tmp_path / "linear")


@pytest.mark.parametrize("declared", [(CUDA,), (CUDA, CPU), ("TensorrtExecutionProvider", CUDA, CPU)])
def test_a_provider_that_is_not_here_is_an_error_that_says_what_is(package: Package, declared: tuple[str, ...]) -> None:
    with pytest.raises(BadConfig) as refused:
        open_engine(package, sizing=Sizing(providers=declared))
    assert refused.value.code == "runtime.no_provider"
    assert declared[0] in refused.value.message
    assert CPU in refused.value.message
    assert "allow_cpu" in refused.value.hint


def test_falling_back_can_be_allowed(package: Package, caplog: pytest.LogCaptureFixture) -> None:
    engine = open_engine(package, sizing=Sizing(providers=(CUDA,), allow_cpu=True))
    prove(engine, package)
    assert CUDA in caplog.text


def test_a_provider_that_leaves_the_work_to_the_processor_is_an_error(package: Package) -> None:
    """Azure's provider is in every build and takes no operator of ours: ONNX Runtime would compute on the processor."""
    if AZURE not in onnxruntime.get_available_providers():
        pytest.skip("this build has no provider that takes nothing")
    with pytest.raises(ModelFailed, match=r"(?i)fallback to CPU"):
        open_engine(package, sizing=Sizing(providers=(AZURE,)))
    prove(open_engine(package, sizing=Sizing(providers=(AZURE, CPU))), package)
    prove(open_engine(package, sizing=Sizing(providers=(AZURE,), allow_cpu=True)), package)


def test_a_provider_that_did_not_start_is_an_error() -> None:
    """As where CUDA's libraries are not those that the build wants: the session has the processor alone."""

    class Session:
        def get_providers(self) -> list[str]:
            return [CPU]

    with pytest.raises(BadConfig, match="did not start"):
        providers.require_first(Session(), Sizing(providers=(CUDA, CPU)))
    providers.require_first(Session(), Sizing(providers=(CUDA,), allow_cpu=True))


def test_a_name_that_is_nearly_right_is_suggested(package: Package) -> None:
    with pytest.raises(BadConfig) as refused:
        open_engine(package, sizing=Sizing(providers=("CudaExecutionProvider",)))
    assert refused.value.hint == f"did you mean {CUDA}?"


def test_settings_carry_them_and_tuning_leaves_them(tmp_path: Path) -> None:
    (tmp_path / "penstock.yaml").write_text(f"limits: {{sizing: {{providers: [{CUDA}, {CPU}], allow_cpu: true}}}}\n")
    limits = load_config(tmp_path).limits
    assert limits.sizing == Sizing(providers=(CUDA, CPU), allow_cpu=True)
    tuned = limits_with(limits, Setting(sizing=Sizing(workers=2, threads=2)))
    assert tuned.sizing == Sizing(workers=2, threads=2, providers=(CUDA, CPU), allow_cpu=True)
    assert setting_of(limits, 2) == Setting(sizing=Sizing(workers=2))


def test_an_endpoint_that_declares_one_is_not_served_without_it(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    digest = plane.add(linear_package, tmp_path / "p")
    plane.write(route("linear", digest))
    plane.start(workers=1)
    body = v2([[1.0, 2.0, 3.0, 4.0]])
    try:
        plane.settled(workers=1)
        wanted = Sizing(providers=(CUDA, CPU))
        plane.write(route("linear", digest, limits=Limits(sizing=wanted)))
        until(lambda: any(CUDA in one.failed.get(digest, "") for one in plane.statuses()))
        assert plane.ask("POST", "/v2/models/linear/infer", body).status == 200, "what answered before goes on"
        plane.write(route("linear", digest, limits=Limits(sizing=replace(wanted, allow_cpu=True))))
        plane.settled(workers=1)
        assert plane.ask("POST", "/v2/models/linear/infer", body).status == 200
    finally:
        assert plane.stop() == 0
