"""What became of the flights, reported as it became known: each outcome when its flight has landed, by event time."""

from __future__ import annotations

import http.client
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlsplit

import msgspec
import numpy as np

from penstock.demo.replay import Flights, ReplayAnswers
from penstock.errors import TargetFailed

BATCH = 4_000


class Reporter:
    """Posts outcomes to the control plane's API, beside the replay.

    Args:
        console: Address of the control plane.
        token: Whose hand reports.
        endpoint: Where the flights were predicted.
        flights: What is being replayed.
    """

    def __init__(self, console: str, token: str, endpoint: str, flights: Flights) -> None:
        self.acknowledged = 0
        self._place = urlsplit(console)
        self._path = f"/api/v1/endpoints/{endpoint}/outcomes"
        self._token = token
        self._flights = flights
        self._landing = np.argsort(flights.lands, kind="stable")
        self._next = 0
        self._poster = ThreadPoolExecutor(1, thread_name_prefix="outcomes")
        self._posts: list[Future[int]] = []

    def report(self, sent: int, answers: ReplayAnswers, *, everything: bool = False) -> None:
        """Queue the outcomes of all flights that have landed by the time the `sent`-th departed.

        A flight whose prediction failed has no outcome to report.
        """
        now = float("inf") if everything else float(self._flights.departs[max(sent - 1, 0)])
        due = []
        while self._next < len(self._landing):
            position = int(self._landing[self._next])
            if self._flights.lands[position] > now or (position >= sent and not everything):
                break
            self._next += 1
            if answers.predictions[position]:
                due.append(
                    {
                        "prediction": answers.predictions[position],
                        "value": self._flights.late[position],
                        "at": self._flights.lands[position],
                    }
                )
        for start in range(0, len(due), BATCH):
            self._posts.append(self._poster.submit(self._post, msgspec.json.encode(due[start : start + BATCH])))

    def finish(self) -> int:
        """Wait until all that was queued is acknowledged.

        Returns:
            How many were.

        Raises:
            TargetFailed: A post was refused.
        """
        self.acknowledged += sum(post.result() for post in self._posts)
        self._posts.clear()
        self._poster.shutdown()
        return self.acknowledged

    def _post(self, body: bytes) -> int:
        """One batch; acknowledged means on disk."""
        connection = http.client.HTTPConnection(self._place.hostname or "127.0.0.1", self._place.port, timeout=60)
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/json"}
        try:
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise TargetFailed(f"outcomes were refused with {response.status}: {answer[:200]!r}")
        return msgspec.json.decode(answer, type=_Recorded).recorded


class _Recorded(msgspec.Struct):
    """What the API answers."""

    recorded: int
