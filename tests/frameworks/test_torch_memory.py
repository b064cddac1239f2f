"""A program's weights are mapped, never copied: from its file to the graph that is made of it."""

from __future__ import annotations

import gc
from importlib import import_module
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import torch
from tests.frameworks.torch_for_tests import ANY
from tests.mapped_for_tests import held, is_mapped

from penstock.build.formats.torch import TorchFormat
from penstock.build.parity import open_graph, run_graph
from penstock.build.torch.graphs import program_graph
from penstock.packages.manifest import is_numbers
from penstock.runtime.torchmodel import open_torch
from penstock.runtime.torchprogram import load_program, writes
from penstock.tensors import TensorSpec

ROWS = np.random.default_rng(1).normal(size=(5, 16)).astype(np.float32)
WIDTH = 200


class Wide(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(16, WIDTH)
        self.second = torch.nn.Linear(WIDTH, WIDTH)
        self.last = torch.nn.Linear(WIDTH, 1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.second(torch.relu(self.first(rows)))))


class Counting(torch.nn.Module):
    """Each answer is one more than the last."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(100_000))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.seen.add_(1.0)
        return rows.sum(dim=1) * 0 + self.seen[-1]


def saved(model: torch.nn.Module, place: Path) -> Path:
    torch.manual_seed(0)
    program = torch.export.export(model.eval(), (torch.from_numpy(ROWS),), dynamic_shapes={"rows": {0: ANY}})
    torch.export.save(program, place)
    return place


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return saved(Wide(), tmp_path_factory.mktemp("program") / "wide.pt2")


def test_a_programs_weights_lie_in_its_file(file: Path) -> None:
    before = file.read_bytes()
    model = open_torch(file)
    assert is_mapped(file)
    assert import_module("torch.export.pt2_archive._package").PT2ArchiveReader.__name__ == "PT2ArchiveReader"
    theirs = torch.export.load(str(file)).module()(torch.from_numpy(ROWS)).detach().numpy()
    assert model.answer_arrays({"rows": ROWS})["prediction"].tobytes() == theirs.tobytes()
    with torch.no_grad():
        for one in model.program.state_dict.values():
            one.zero_()
    assert file.read_bytes() == before
    del model
    gc.collect()
    assert not is_mapped(file)


def test_packed_weights_are_copied_as_ever(file: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.pt2"
    with ZipFile(file) as archive, ZipFile(packed, "w", ZIP_DEFLATED) as other:
        for member in archive.infolist():
            other.writestr(member.filename, archive.read(member))
    model = open_torch(packed)
    assert not is_mapped(packed)
    wanted = open_torch(file).answer_arrays({"rows": ROWS})["prediction"]
    assert model.answer_arrays({"rows": ROWS})["prediction"].tobytes() == wanted.tobytes()


def test_what_a_program_counts_is_kept_and_its_file_is_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = saved(Counting(), tmp_path / "counting.pt2")
    before = place.read_bytes()
    assert writes(load_program(torch, place, {}))
    original = TorchFormat().open(place)
    assert is_mapped(place)
    inputs = original.inputs(None)
    counted = [int(original.answer(inputs, {"rows": ROWS})["prediction"][0]) for _ in range(3)]
    assert counted == [1, 2, 3]
    assert place.read_bytes() == before


class Inside(torch.nn.Module):
    """Writes to what it has just computed, as networks for images do."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        inner = self.network.first(rows).relu_().add_(1.0)
        return self.network.last(self.network.second(inner))


class Through(torch.nn.Module):
    """Writes to a part of what it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(100, 16))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        self.seen[0].view(-1).mul_(2.0)
        return rows + self.seen[0]


@pytest.mark.parametrize(
    ("model", "told"), [(Wide(), False), (Inside(Wide()), False), (Counting(), True), (Through(), True)]
)
@pytest.mark.parametrize("functional", [False, True])
def test_a_program_that_writes_to_what_it_holds_is_told(model: torch.nn.Module, told: bool, functional: bool) -> None:
    program = torch.export.export(model.eval(), (torch.from_numpy(ROWS),), dynamic_shapes={"rows": {0: ANY}})
    assert writes(program.run_decompositions() if functional else program) is told


def test_a_large_programs_graph_has_its_numbers_beside_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    original = TorchFormat().open(file)
    inputs = original.inputs(None)
    wanted = original.answer(inputs, {"rows": ROWS})["prediction"]
    assert held(file) == 0
    outputs = (TensorSpec(name="prediction", datatype="FP32", shape=(-1,)),)
    graph = program_graph(open_torch(file), {"rows": ROWS}, inputs, outputs, apart_bytes=1 << 16)
    assert len(graph) < WIDTH * WIDTH * 4
    assert [one.name for one in tmp_path.iterdir()] == ["model.data"]
    assert is_numbers("model.data")
    answers = run_graph(open_graph(graph), {"rows": ROWS}, ("prediction",))
    np.testing.assert_allclose(answers["prediction"], wanted, atol=1e-6)
