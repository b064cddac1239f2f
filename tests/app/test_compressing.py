"""A version is compressed under its gates: the cheapest form that passes is the next version; what loses is refused."""

from __future__ import annotations

import json
from pathlib import Path

import lightgbm
import onnx
import pytest
from msgspec.structs import replace

from graphs_for_tests import convolutions, digits, spoiled, trees
from penstock.app.app import App
from penstock.app.compressing import Compressed, CompressRequest, compress, table_rows
from penstock.app.opening import open_app
from penstock.app.packaging import PackageRequest, package
from penstock.build.forms import FormTask, make_forms
from penstock.errors import BadConfig, NotFound
from penstock.runtime.engine import open_engine, prove
from penstock.runtime.processors import usable_cpus

QUICK = CompressRequest(seconds=0.3)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    folder = tmp_path_factory.mktemp("compressing")
    (folder / "policy.yaml").write_text(
        "version: 1\nname: short\nchecks: {quality: {}, latency: {budget_s: 1}, scan: {}}\n"
    )
    (folder / "penstock.yaml").write_text("policy: policy.yaml\n")
    app = open_app(folder / ".penstock")
    train, validation = digits()
    tables = {"train": train, "validation": validation}
    for name, graph in (("pictures", convolutions()), ("forest", trees())):
        place = folder / f"{name}.onnx"
        place.write_bytes(graph.SerializeToString())
        package(app, PackageRequest(name=name, model=place, tables=dict(tables), label="digit"))
    return app


@pytest.fixture(scope="module")
def pictures(app: App) -> Compressed:
    # Its filters are random, and its answers less sure than those of a network that was trained to the end.
    return compress(
        app, "pictures@1", CompressRequest(kinds=("static_int8", "pruning"), by="size", seconds=0.3, flips=0.01)
    )


def test_a_network_in_integers_becomes_the_next_version(app: App, pictures: Compressed) -> None:
    assert pictures.version is not None, pictures.why
    assert pictures.version.ref == "pictures@2"
    parent = app.resolve("pictures@1").version
    assert pictures.version.parent == parent.digest
    made = app.open_package(pictures.version.digest)
    assert made.manifest.parent == parent.digest
    assert made.manifest.source["form"] == pictures.chosen
    assert made.entry.stat().st_size * 3 <= pictures.before.size_bytes
    engine = open_engine(made)
    prove(engine, made)
    engine.close()


def test_its_examples_are_the_parents_with_the_tolerance_that_was_found(app: App, pictures: Compressed) -> None:
    assert pictures.version is not None
    before = app.open_package(pictures.version.parent).golden()
    after = app.open_package(pictures.version.digest).golden()
    assert before.tolerance < after.tolerance <= 2 * QUICK.tolerance
    assert len(after.outputs["label"]) > len(before.outputs["label"]) / 2
    answers = {
        tuple(row): label for row, label in zip(before.inputs["rows"].tolist(), before.outputs["label"], strict=True)
    }
    for row, label in zip(after.inputs["rows"].tolist(), after.outputs["label"], strict=True):
        assert answers[tuple(row)] == label


def test_table_and_verdict_are_on_record(app: App, pictures: Compressed) -> None:
    assert pictures.version is not None
    package = app.open_package(pictures.version.digest)
    kept = json.loads(package.path("forms.json").read_bytes())
    assert [one["label"] for one in kept["tried"]] == [one.label for one in pictures.tried]
    verdict = app.resolve(pictures.version.ref).verdict
    assert verdict is not None
    assert verdict.outcome == "pass"
    assert verdict.champion == "pictures@1"
    assert {"quality", "latency", "scan", "likeness", "compression"} == {one.check for one in verdict.findings}
    assert app.registry.reports.path(verdict.report, suffix=".html").is_file()


def test_a_label_that_was_not_named_at_packaging_is_told(app: App) -> None:
    train, validation = digits()
    pixels = train.drop(columns="digit")
    model = lightgbm.LGBMClassifier(n_estimators=5, num_leaves=15, verbose=-1, n_jobs=1).fit(pixels, train["digit"])
    package(app, PackageRequest(name="unnamed", model=model, tables={"validation": validation}, label=""))
    asked = CompressRequest(kinds=("pruning",), by="size", seconds=0.3, dry_run=True)
    with pytest.raises(BadConfig, match="say --label"):
        compress(app, "unnamed@1", asked)
    assert compress(app, "unnamed@1", replace(asked, label="digit")).chosen


def test_the_table_has_every_figure_and_says_why_not(pictures: Compressed) -> None:
    rows = table_rows(pictures)
    assert rows[0]["form"] == "pictures@1 as it is"
    for row in rows[:2]:
        assert all(row[name] for name in ("size, KB", "p50, us", "p99, us", "memory, MB", "CPU s per 1,000")), row
    ways = [name for name in rows[0] if name.endswith("p50 / p99, us")]
    assert any(name.startswith("32 rows, 1 thread,") for name in ways)
    if usable_cpus() > 1:
        assert {name.split(",")[0] for name in ways if f"{usable_cpus()} threads" in name} == {"1 row", "32 rows"}
    assert all(row[name] for row in rows[:2] for name in (*ways, "best run"))
    last = rows[-1]
    assert last["form"] == "pruning"
    assert "nothing to act on" in str(last["why not"])


def test_a_form_that_keeps_no_latency_is_refused(app: App) -> None:
    request = CompressRequest(kinds=("pruning",), seconds=0.3, dry_run=True, p99_s=1e-7)
    found = compress(app, "forest@1", request)
    assert not found.chosen
    assert "99 have to end within 0.0001 ms" in found.tried[0].reason


def test_a_graph_that_lost_accuracy_is_refused(app: App, tmp_path: Path) -> None:
    """Planted: a third of the answers of the last layer are noise. Likeness is told to look away: quality sees it."""
    graph = onnx.load(str(app.open_package(app.resolve("pictures@1").version.digest).entry))
    planted = tmp_path / "planted.onnx"
    planted.write_bytes(spoiled(graph, "top", 12.0).SerializeToString())
    before = app.state().model("pictures").versions
    found = compress(app, "pictures@1", CompressRequest(graphs=(str(planted),), seconds=0.3, flips=1.0, tolerance=9.0))
    assert not found.chosen
    assert found.version is None
    (tried,) = found.tried
    assert tried.outcome == "refuse"
    assert tried.reason.startswith("quality: No:")
    assert app.state().model("pictures").versions == before


def test_the_same_graph_is_refused_for_its_answers_too(app: App, tmp_path: Path) -> None:
    graph = onnx.load(str(app.open_package(app.resolve("pictures@1").version.digest).entry))
    planted = tmp_path / "planted.onnx"
    planted.write_bytes(spoiled(graph, "top", 0.3).SerializeToString())
    found = compress(app, "pictures@1", CompressRequest(graphs=(str(planted),), seconds=0.3))
    (tried,) = found.tried
    assert tried.outcome == "refuse"
    assert tried.reason.startswith("likeness: No:")
    assert "labels differ" in tried.reason or "lie more than" in tried.reason


def test_a_forest_is_written_shorter_and_answers_the_same(app: App) -> None:
    # Of the smallest nobody asks how quick it is.
    request = CompressRequest(kinds=("pruning",), by="size", seconds=0.3, dry_run=True, p99_s=1e-7)
    found = compress(app, "forest@1", request)
    exact = found.tried[0]
    assert exact.outcome == "pass", exact.reason
    assert exact.cost is not None
    assert exact.cost.size_bytes * 2 < found.before.size_bytes
    assert found.chosen
    assert found.version is None
    assert len(app.state().model("forest").versions) == 1
    fewest = found.tried[-1]
    assert fewest.outcome == "refuse", "a quarter of the trees does not answer like all of them"


def test_a_graph_that_ends_the_runtime_is_told_and_the_others_count(tmp_path: Path) -> None:
    """`make` runs behind walls: what is no graph at all ends it, or raises, and is one line of the table."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x09" + bytes(100))
    whole = tmp_path / "whole.onnx"
    whole.write_bytes(trees(2).SerializeToString())
    _, validation = digits()
    rows = {"rows": validation.drop(columns="digit").to_numpy("float32")[:8]}
    (made,) = make_forms(FormTask(graph=str(whole), rows="", outputs=("label",), own=str(broken)), rows)
    assert made.reason
    assert not made.graph


def test_what_is_asked_wrongly_is_refused(app: App, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no compression called"):
        compress(app, "pictures@1", CompressRequest(kinds=("magic",)))
    with pytest.raises(NotFound, match="no such graph"):
        compress(app, "pictures@1", CompressRequest(graphs=(str(tmp_path / "none.onnx"),)))
    source = tmp_path / "own.py"
    source.write_text(
        "class Always:\n    classes_ = [0, 1]\n    def predict(self, rows):\n        return [0] * len(rows)\n"
    )
    train, _ = digits()
    request = PackageRequest(
        name="own", model=Path(f"{source}:Always"), tables={"validation": train.drop(columns="digit")}, label=""
    )
    package(app, request)
    with pytest.raises(BadConfig, match="nothing to compress"):
        compress(app, "own@1", QUICK)
