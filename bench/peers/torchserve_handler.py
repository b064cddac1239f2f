"""TorchServe's handler around the same graph."""

from __future__ import annotations

import json

import numpy as np
from session import open_session
from ts.torch_handler.base_handler import BaseHandler


class Handler(BaseHandler):
    """Answers the requests that TorchServe batched."""

    def initialize(self, context: object) -> None:
        """Once a worker."""
        self.session = open_session()
        self.initialized = True

    def handle(self, data: list[dict], context: object) -> list[dict]:
        """All of them in one run."""
        parts = [self._rows(one.get("body") or one.get("data")) for one in data]
        label, probabilities = self.session.run(["label", "probabilities"], {"X": np.concatenate(parts)})
        answers, start = [], 0
        for part in parts:
            end = start + len(part)
            answers.append({"label": label[start:end].tolist(), "probabilities": probabilities[start:end].tolist()})
            start = end
        return answers

    @staticmethod
    def _rows(body: dict | bytes | bytearray) -> np.ndarray:
        given = json.loads(body) if isinstance(body, bytes | bytearray) else body
        return np.array(given["inputs"], np.float32)
