"""PyTorch: a small CNN and a transformer encoder, as a program, a script, a class with weights, and live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from bench.kinds.kind import Array, Brought, Kind
from bench.kinds.tables import ASKED, TRAINED, flights, numbers

PACKAGED = 200
VOCABULARY, LENGTH = 40, 12
FREE = torch.export.Dim.DYNAMIC
SOURCE = '''
import torch

class Digits(torch.nn.Module):
    """Images of 8 times 8 to ten digits."""

    classes_ = list(range(10))
    probabilities = True

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(1, 8, 3)
        self.second = torch.nn.Conv2d(8, 8, 3)
        self.last = torch.nn.Linear(8 * 16, 10)

    def forward(self, image):
        found = torch.relu(self.second(torch.relu(self.first(image))))
        return torch.softmax(self.last(found.flatten(1)), dim=1)
'''


class Encoder(torch.nn.Module):
    """Token ids and their mask to three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(VOCABULARY, 32)
        self.layer = torch.nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True)
        self.last = torch.nn.Linear(32, 3)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.layer(self.words(ids), src_key_padding_mask=mask == 0)
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return torch.softmax(self.last((hidden * weights).sum(1) / weights.sum(1)), dim=-1)


class Minutes(torch.nn.Module):
    """A table's numbers to one."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)
        )

    def forward(self, row: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(row).squeeze(1)
        return found


def _trained(
    model: torch.nn.Module, inputs: tuple[Array, ...], truth: Array, loss: Callable[..., torch.Tensor]
) -> torch.nn.Module:
    """Fitted a little; the weights are what counts here, not how good they are."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    tensors = tuple(torch.from_numpy(one) for one in inputs)
    for _ in range(30):
        optimizer.zero_grad()
        loss(model(*tensors), torch.from_numpy(truth)).backward()
        optimizer.step()
    return model.eval()


def _likelihood(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.nll_loss(torch.log(found + 1e-9), truth)


def _said(model: torch.nn.Module, *inputs: Array) -> dict[str, Array]:
    """Labels and probabilities."""
    with torch.no_grad():
        found = model(*(torch.from_numpy(one) for one in inputs)).numpy()
    return {"label": found.argmax(axis=1).astype(str), "probabilities": found}


def _digits() -> tuple[torch.nn.Module, Array, Array]:
    data = load_digits()
    images = (data.images[:, None] / 16).astype(np.float32)
    scope: dict[str, type[torch.nn.Module]] = {}
    exec(SOURCE, scope)
    torch.manual_seed(0)
    model = _trained(scope["Digits"](), (images[:1000],), data.target[:1000], _likelihood)
    noise = np.random.default_rng(0).normal(scale=0.1, size=images.shape).astype(np.float32)
    return model, images[:PACKAGED], np.concatenate([images, images + noise])


def _image(save: Callable[[torch.nn.Module, Array, Path], object]) -> Callable[[Path], Brought]:
    def bring(folder: Path) -> Brought:
        model, data, asked = _digits()
        return Brought(save(model, data, folder), data, {"image": asked}, _said(model, asked))

    return bring


def _program(model: torch.nn.Module, data: Array, folder: Path) -> object:
    given = (torch.from_numpy(data[:3]),)
    torch.export.save(torch.export.export(model, given, dynamic_shapes={"image": {0: FREE}}), folder / "digits.pt2")
    return folder / "digits.pt2"


def _script(model: torch.nn.Module, data: Array, folder: Path) -> object:
    torch.jit.save(torch.jit.trace(model, torch.from_numpy(data[:3])), folder / "digits.pt")
    return folder / "digits.pt"


def _code(model: torch.nn.Module, data: Array, folder: Path) -> object:
    del data
    place = folder / "digits"
    place.mkdir()
    (place / "model.py").write_text(SOURCE)
    torch.save(model.state_dict(), place / "weights.pt")
    return place


def _live(model: torch.nn.Module, data: Array, folder: Path) -> object:
    del data, folder
    return model


def _tokens(seed: int, count: int) -> tuple[Array, Array]:
    random = np.random.default_rng(seed)
    ids = random.integers(1, VOCABULARY, (count, LENGTH))
    mask = (np.arange(LENGTH) < random.integers(3, LENGTH + 1, (count, 1))).astype(np.int64)
    return ids * mask, mask


def _encoder(folder: Path) -> Brought:
    torch.manual_seed(1)
    ids, mask = _tokens(0, PACKAGED)
    model = _trained(Encoder(), (ids, mask), ids[:, 0] % 3, _likelihood)
    given = (torch.from_numpy(ids[:3]), torch.from_numpy(mask[:3]))
    shapes = {"ids": {0: FREE, 1: FREE}, "mask": {0: FREE, 1: FREE}}
    torch.export.save(torch.export.export(model, given, dynamic_shapes=shapes, strict=False), folder / "encoder.pt2")
    np.savez(folder / "rows.npz", ids=ids, mask=mask)
    asked = _tokens(1, 2_000)
    return Brought(
        folder / "encoder.pt2",
        folder / "rows.npz",
        dict(zip(("ids", "mask"), asked, strict=True)),
        _said(model, *asked),
    )


def _table(folder: Path) -> Brought:
    frame = flights(TRAINED, 0)
    rows, asked = (numbers(one).to_numpy(np.float32) for one in (frame, flights(ASKED, 1)))
    torch.manual_seed(2)
    truth = frame["minutes"].to_numpy(np.float32)
    model = _trained(Minutes(), (rows,), truth, torch.nn.functional.mse_loss)
    given = (torch.from_numpy(rows[:3]),)
    torch.export.save(torch.export.export(model, given, dynamic_shapes={"row": {0: FREE}}), folder / "minutes.pt2")
    with torch.no_grad():
        answers = model(torch.from_numpy(asked)).numpy()
    return Brought(folder / "minutes.pt2", rows, {"row": asked}, {"prediction": answers})


def kinds() -> Iterator[Kind]:
    """All of them."""
    yield Kind("PyTorch: CNN, a program (.pt2)", _image(_program))
    yield Kind("PyTorch: CNN, TorchScript", _image(_script))
    yield Kind("PyTorch: CNN, a class and its weights", _image(_code))
    yield Kind("PyTorch: CNN, live", _image(_live))
    yield Kind("PyTorch: transformer encoder, a program", _encoder)
    yield Kind("PyTorch: regression over a table", _table)
