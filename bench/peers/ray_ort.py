"""Ray Serve: a deployment behind its HTTP proxy, control plane on the loopback address."""

from __future__ import annotations

import logging
import os
import sys
import time

import numpy as np
import ray
from ray import serve
from ray.serve.schema import LoggingConfig
from session import open_session
from starlette.requests import Request


@serve.deployment(
    num_replicas=int(os.environ["BENCH_WORKERS"]), max_ongoing_requests=256, ray_actor_options={"num_cpus": 0.1}
)
class Trees:
    """Answers rows."""

    def __init__(self) -> None:
        self.session = open_session()

    async def __call__(self, request: Request) -> dict:
        """Answer rows."""
        rows = np.array((await request.json())["inputs"], np.float32)
        label, probabilities = self.session.run(["label", "probabilities"], {"X": rows})
        return {"label": label.tolist(), "probabilities": probabilities.tolist()}


if __name__ == "__main__":
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": logging.ERROR}
    ray.init(num_cpus=2, _node_ip_address="127.0.0.1", **quiet)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    logs = LoggingConfig(enable_access_log=False, log_level="ERROR")
    serve.run(Trees.bind(), route_prefix="/predict", logging_config=logs)
    while True:
        time.sleep(3600)
