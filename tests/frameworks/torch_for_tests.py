"""Small models of PyTorch's, trained here, and the files that they are saved to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

ANY = torch.export.Dim.DYNAMIC
SOURCE = """
import torch

class Digits(torch.nn.Module):
    classes_ = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Conv2d(1, 8, 3)
        self.last = torch.nn.Linear(8 * 36, 10)

    def forward(self, image):
        return self.last(torch.relu(self.first(image)).flatten(1))
"""


class Digits(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(1, 8, 3)
        self.last = torch.nn.Linear(8 * 36, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(image)).flatten(1))


class Chances(torch.nn.Module):
    """The same with a softmax: its classes are numbers."""

    def __init__(self, digits: Digits) -> None:
        super().__init__()
        self.digits = digits

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.digits(image), dim=1)


class Encoder(torch.nn.Module):
    """Token ids and their mask to three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(40, 16)
        self.layer = torch.nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.last = torch.nn.Linear(16, 3)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.layer(self.words(ids), src_key_padding_mask=mask == 0)
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return torch.softmax(self.last((hidden * weights).sum(1) / weights.sum(1)), dim=-1)


class Waves(torch.nn.Module):
    """Of an operator that ONNX does not have."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(rows).sum(dim=1)


class Both(torch.nn.Module):
    """Several outputs by name, one of any shape."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"total": left + right, "table": left[:, None, None] * torch.ones(1, 2, 3, dtype=left.dtype)}


def trained(model: torch.nn.Module, inputs: tuple[torch.Tensor, ...], truth: torch.Tensor, steps: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(*inputs), truth)
        loss.backward()
        optimizer.step()
    model.eval()


def digit_images() -> tuple[np.ndarray, np.ndarray]:
    data = load_digits()
    return (data.images[:, None] / 16).astype(np.float32), data.target


def trained_digits(images: tuple[np.ndarray, np.ndarray]) -> Digits:
    torch.manual_seed(0)
    model = Digits()
    trained(model, (torch.from_numpy(images[0][:1200]),), torch.from_numpy(images[1][:1200]), 40)
    with torch.no_grad():
        right = model(torch.from_numpy(images[0][1200:])).argmax(1).numpy() == images[1][1200:]
    assert right.mean() > 0.85
    return model


def trained_encoder() -> Encoder:
    torch.manual_seed(1)
    model = Encoder()
    ids, mask = tokens(200)
    trained(model, (torch.from_numpy(ids), torch.from_numpy(mask)), torch.from_numpy(ids[:, 0] % 3), 20)
    return model


def tokens(rows: int, length: int = 9) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    ids = random.integers(1, 40, (rows, length))
    mask = (np.arange(length) < random.integers(3, length + 1, (rows, 1))).astype(np.int64)
    return ids * mask, mask


def write_files(folder: Path, digits: Digits, encoder: Encoder, image: np.ndarray) -> None:
    """A program of each, a script, a folder with a class and its weights, and what ONNX has no operator for."""
    program = torch.export.export(Chances(digits), (torch.from_numpy(image),), dynamic_shapes={"image": {0: ANY}})
    torch.export.save(program, folder / "digits.pt2")
    torch.jit.save(torch.jit.script(digits), folder / "digits.pt")
    code = folder / "code"
    code.mkdir()
    (code / "model.py").write_text(SOURCE)
    torch.save(digits.state_dict(), code / "weights.pt")
    given = tuple(map(torch.from_numpy, tokens(3)))
    shapes = {"ids": {0: ANY, 1: ANY}, "mask": {0: ANY, 1: ANY}}
    torch.export.save(torch.export.export(encoder, given, dynamic_shapes=shapes, strict=False), folder / "encoder.pt2")
    waves = torch.export.export(Waves(), (torch.rand(3, 4),), dynamic_shapes={"rows": {0: ANY}})
    torch.export.save(waves, folder / "waves.pt2")
