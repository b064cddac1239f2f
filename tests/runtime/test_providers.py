"""Execution providers: what was declared runs, or the load fails and says what is missing; no silent processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from msgspec.structs import replace
from sklearn.linear_model import LinearRegression

from dataplane_for_tests import DataPlane, route, until, v2
from packages_for_tests import linear_package
from penstock.app.opening import open_app
from penstock.app.packaging import PackageRequest
from penstock.app.packaging import package as package_model
from penstock.config import load_config
from penstock.errors import BadConfig, ModelFailed
from penstock.packages.manifest import MANIFEST, read_manifest
from penstock.packages.read import Package, open_package
from penstock.records import Limits, Sizing, encode
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


# -- declared for a package ----------------------------------------------------------------------


def made_for(folder: Path, *declared: str, allow_cpu: bool = False) -> Package:
    """`linear_package` with providers in its manifest."""
    linear_package(folder)
    manifest = replace(read_manifest(folder), providers=declared, allow_cpu=allow_cpu)
    (folder / MANIFEST).write_bytes(encode(manifest))
    return open_package(folder)


def test_a_packages_own_providers_hold_where_nobody_says_more(tmp_path: Path) -> None:
    package = made_for(tmp_path / "p", CUDA, CPU)
    for sizing in (None, Sizing(), Sizing(threads=2)):
        with pytest.raises(BadConfig, match=CUDA):
            open_engine(package, sizing=sizing)
    prove(open_engine(package, sizing=Sizing(providers=(CPU,))), package)
    prove(open_engine(package, sizing=Sizing(allow_cpu=True)), package)
    prove(open_engine(made_for(tmp_path / "q", CUDA, allow_cpu=True)), package)
    # A release that names its own goes by its own, allowance included.
    sizing, allowed = Sizing(providers=("TensorrtExecutionProvider",)), made_for(tmp_path / "r", CPU, allow_cpu=True)
    with pytest.raises(BadConfig, match="Tensorrt"):
        open_engine(allowed, sizing=sizing)


def test_a_package_whose_provider_takes_nothing_is_not_served_by_the_processor(tmp_path: Path) -> None:
    if AZURE not in onnxruntime.get_available_providers():
        pytest.skip("this build has no provider that takes nothing")
    with pytest.raises(ModelFailed, match=r"(?i)fallback to CPU"):
        open_engine(made_for(tmp_path / "p", AZURE))
    prove(open_engine(made_for(tmp_path / "q", AZURE, CPU)), open_package(tmp_path / "q"))


def test_a_manifest_without_them_is_written_as_before(tmp_path: Path) -> None:
    linear_package(tmp_path / "p")
    assert b"providers" not in (tmp_path / "p" / MANIFEST).read_bytes()
    assert encode(read_manifest(tmp_path / "p")) == (tmp_path / "p" / MANIFEST).read_bytes()


def test_they_are_packaged_and_a_slip_is_told_before_anything_is_done(tmp_path: Path) -> None:
    app = open_app(tmp_path / ".penstock")
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["a", "b"]).assign(c=lambda x: x.a * 2)
    model = LinearRegression().fit(frame[["a", "b"]].to_numpy(), frame.c)
    request = PackageRequest(
        name="linear", model=model, tables={"validation": frame}, label="c", providers=(CUDA, CPU), allow_cpu=True
    )
    version, manifest = package_model(app, request)
    assert (manifest.providers, manifest.allow_cpu) == ((CUDA, CPU), True)
    kept = app.open_package(version.digest)
    assert kept.manifest.providers == (CUDA, CPU)
    prove(open_engine(kept), kept)
    request.__dict__["providers"] = ("CudaExecutionProvider",)
    with pytest.raises(BadConfig) as refused:
        package_model(app, request)
    assert refused.value.hint == f"did you mean {CUDA}?"
    request.__dict__["providers"] = ()
    with pytest.raises(BadConfig, match="none is declared"):
        package_model(app, request)
    assert len(app.state().model("linear").versions) == 1


def test_a_model_that_did_not_compile_has_no_graph_for_them() -> None:
    with pytest.raises(BadConfig, match="compiled graphs alone"):
        providers.declared_for("python", (CUDA,))
    assert providers.declared_for("python", ()) == ()


@pytest.mark.parametrize("options", [(), ("--provider", CPU), ("--allow-cpu",)])
def test_who_serves_a_package_says_last_what_runs_it(tmp_path: Path, options: tuple[str, ...]) -> None:
    made_for(tmp_path / "linear", CUDA)
    body = v2([[1.0, 2.0, 3.0, 4.0]])
    plane = DataPlane(tmp_path)
    try:
        plane.start("--package", str(tmp_path / "linear"), *options, workers=1)
        if options:
            until(lambda: plane.ask("POST", "/v2/models/linear/infer", body).status == 200)
        else:
            until(lambda: any(CUDA in why for one in plane.statuses() for why in one.failed.values()))
            assert plane.ask("POST", "/v2/models/linear/infer", body).status == 503
    finally:
        assert plane.stop() == 0
