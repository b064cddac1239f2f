"""mosec: Rust front, Python worker processes, dynamic batching."""

from __future__ import annotations

import os

import msgspec
import numpy as np
from mosec import Server, Worker
from session import open_session


class Rows(msgspec.Struct):
    """What comes in."""

    inputs: list[list[float]]


class Trees(Worker):
    """Answers a batch of requests."""

    resp_mime_type = "application/json"

    def __init__(self) -> None:
        self.session = open_session()
        self.decode = msgspec.json.Decoder(Rows).decode
        self.encode = msgspec.json.Encoder().encode

    def deserialize(self, data: bytes) -> list[list[float]]:
        """One request's rows."""
        return self.decode(data).inputs

    def serialize(self, data: object) -> bytes:
        """One request's answer."""
        return self.encode(data)

    def forward(self, data: list[list[list[float]]]) -> list[dict[str, object]]:
        """All requests of a batch in one run."""
        rows = np.array([row for rows in data for row in rows], np.float32)
        label, probabilities = self.session.run(["label", "probabilities"], {"X": rows})
        answers: list[dict[str, object]] = []
        start = 0
        for one in data:
            end = start + len(one)
            answers.append({"label": label[start:end].tolist(), "probabilities": probabilities[start:end].tolist()})
            start = end
        return answers


if __name__ == "__main__":
    server = Server()
    server.append_worker(Trees, num=int(os.environ["BENCH_WORKERS"]), max_batch_size=64, max_wait_time=1)
    server.run()
