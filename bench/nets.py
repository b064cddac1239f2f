"""Two small networks on scikit-learn's handwritten digits, trained here: convolutions, and a transformer's encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import nn

STEPS = 450
BATCH = 64
TRAINED_ON = 900


class Convolutions(nn.Module):
    """Four convolutions, two layers, over 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 128, 3, padding=1, stride=2), nn.ReLU(),
            nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(128 * 16, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return answered(self.body(rows.reshape(-1, 1, 8, 8)))


class Encoder(nn.Module):
    """Two layers of attention over the eight lines of a picture."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(torch.randn(8, width) / 10)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8 * width, 10)

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lines = self.body(self.embed(rows.reshape(-1, 8, 8)) + self.place)
        return answered(self.head(lines.reshape(-1, 8 * lines.shape[-1])))


def answered(scores: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return scores.argmax(1), torch.softmax(scores, 1)


def digits() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows and validation rows: 64 pixels from 0 to 1, and ``digit``."""
    pixels, truth = load_digits(return_X_y=True)
    frame = pd.DataFrame((pixels / 16).astype(np.float32), columns=[f"p{at}" for at in range(64)])
    frame["digit"] = truth
    mixed = frame.sample(frac=1, random_state=0, ignore_index=True)
    return mixed[:TRAINED_ON], mixed[TRAINED_ON:].reset_index(drop=True)


def trained_graph(net: nn.Module, frame: pd.DataFrame, place: Path) -> None:
    """Train a network on one thread and export it; the same each time."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    chance = np.random.default_rng(0)
    pictures = frame.drop(columns="digit").to_numpy(np.float32)
    truth = torch.tensor(frame["digit"].tolist())
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.01)
    slower = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=STEPS)
    for _ in range(STEPS):
        chosen = chance.integers(0, len(frame), BATCH)
        moved = np.roll(pictures[chosen].reshape(-1, 8, 8), chance.integers(-1, 2, 2), (1, 2)).reshape(-1, 64)
        _, probabilities = net(torch.from_numpy(np.ascontiguousarray(moved)))
        loss = nn.functional.nll_loss(torch.log(probabilities + 1e-9), truth[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        slower.step()
    net.eval()
    torch.onnx.export(
        net,
        (torch.from_numpy(pictures[:3]),),
        place,
        input_names=["rows"],
        output_names=["label", "probabilities"],
        dynamic_shapes={"rows": {0: torch.export.Dim("n")}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
