"""Makes ``torch/``: one logistic regression as an exported program, in the frameworks' environment.

.venv/frameworks/bin/python tests/golden/make_torch.py
"""

from __future__ import annotations

from pathlib import Path

import torch

PLACE = Path(__file__).parent / "torch"


class Logistic(torch.nn.Module):
    """One unit and its sigmoid: the second class's probability."""

    def __init__(self) -> None:
        super().__init__()
        self.unit = torch.nn.Linear(3, 1)
        with torch.no_grad():
            self.unit.weight.copy_(torch.tensor([[2.0, 0.5, -1.0]]))
            self.unit.bias.copy_(torch.tensor([0.25]))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.unit(rows))


def main() -> None:
    PLACE.mkdir(exist_ok=True)
    shapes = {"rows": {0: torch.export.Dim.DYNAMIC}}
    program = torch.export.export(Logistic(), (torch.zeros(2, 3),), dynamic_shapes=shapes)
    for node in program.graph.nodes:  # where on which machine it was made
        node.meta.pop("stack_trace", None)
    torch.export.save(program, PLACE / "logistic.pt2")


if __name__ == "__main__":
    main()
