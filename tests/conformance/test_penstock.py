"""Our own server has no deviation, whatever it serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataplane_for_tests import DataPlane, route
from packages_for_tests import echo_package, flights_like, linear_package, raising_package
from penstock.conformance.kit import KitOptions
from penstock.conformance.opening import open_kit
from penstock.conformance.suite import ConformanceReport, chosen_cases, run_suite

PACKAGES = {"linear": linear_package, "flights": flights_like, "echo": echo_package, "raising": raising_package}
EXAMPLE = {"inputs": [{"name": "i", "shape": [4], "datatype": "INT64", "data": [0, 1, 2, 3]}]}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    home = tmp_path_factory.mktemp("conformance")
    plane = DataPlane(home)
    plane.write(*(route(name, plane.add(package, home / name)) for name, package in PACKAGES.items()))
    plane.start("--grpc-port", "0", "--spares", "0", "--allow", "load,share", workers=1)
    try:
        plane.settled(workers=1)
        yield plane
    finally:
        plane.stop()


def asked(plane: DataPlane, model: str, **options: object) -> ConformanceReport:
    url, grpc = f"http://127.0.0.1:{plane.port}", f"127.0.0.1:{plane.grpc_port}"
    kit = open_kit(KitOptions(**{"url": url, "grpc": grpc, "model": model, "changes": True, **options}))
    try:
        return run_suite(kit, chosen_cases("extension", ""), lambda *_: None)
    finally:
        kit.close()


@pytest.mark.parametrize("model", PACKAGES)
def test_no_case_deviates(plane: DataPlane, model: str) -> None:
    # A model that looks its input up in a table takes the table's indices alone.
    report = asked(plane, model, example=EXAMPLE if model == "raising" else None)
    assert [(one.id, one.reason, one.request) for one in report.of("deviates")] == []
    assert len(report.of("kept")) > 170
    assert {one.transport for one in report.of("kept")} == {"rest", "grpc", "both"}
    assert {one.level for one in report.of("kept")} == {"required", "recommended", "extension"}


def test_what_is_not_asked_says_why(plane: DataPlane) -> None:
    skipped = {one.id: one.reason for one in asked(plane, "linear").of("skipped")}
    assert skipped["trace.settings"] == "the server does not list the extension trace"
    assert skipped["infer.datatype.BYTES"] == "the model has no input of BYTES"
    assert not any("answer" in why for why in skipped.values())


def test_another_seed_asks_other_values(plane: DataPlane) -> None:
    reports = [asked(plane, "flights", seed=seed, examples=60) for seed in (1, 2)]
    assert [report.of("deviates") for report in reports] == [[], []]


def test_grpc_alone_is_judged_alone(plane: DataPlane) -> None:
    report = asked(plane, "flights", url="")
    assert report.of("deviates") == []
    assert {one.transport for one in report.of("kept")} == {"grpc"}
    assert report.server["name"] == "penstock"


def test_without_permission_extensions_are_not_judged(tmp_path: Path) -> None:
    plane = DataPlane(tmp_path)
    plane.write(route("echo", plane.add(echo_package, tmp_path / "echo")))
    plane.start("--spares", "0", workers=1)
    try:
        plane.settled(workers=1)
        report = asked(plane, "echo", grpc="")
    finally:
        plane.stop()
    assert report.of("deviates") == []
    assert "does not allow" in next(one.reason for one in report.of("skipped") if one.id == "repository.cycle")
