"""What waits for one model, in the order in which it is fair to run it.

    put(job) --> a start tag --> pop(): the job whose turn it is

Start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996): a flow is a subject at a priority; a job starts, in
virtual time, when its flow's job before it has ended, and rows are what it takes. Each level of priority has twice
the share of the next, so nobody starves, and a flow that asks seldom goes first.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush

from penstock.serve.lane import Job

_DEFAULT = 4
LOWEST = 8
_MOST_FLOWS = 4096
_OWN_SHARE = 3


class FairQueue:
    """Jobs that wait.

    Attributes:
        rows: Rows of all that wait, those included that nobody waits for any more.
    """

    __slots__ = ("_ends", "_heap", "_held", "_number", "_time", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self._heap: list[tuple[float, int, Job]] = []
        self._ends: dict[tuple[str, int], float] = {}
        self._held: dict[str, list[int]] = {}
        self._time = 0.0
        self._number = 0

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, job: Job) -> None:
        """Let a job wait for its turn."""
        flow = (job.subject, _level(job))
        start = max(self._time, self._ends.get(flow, 0.0))
        self._ends[flow] = start + job.rows * _cost(flow[1])
        self._number += 1
        heappush(self._heap, (start, self._number, job))
        self._count(job, 1)
        if len(self._ends) > _MOST_FLOWS:
            self._ends = {name: end for name, end in self._ends.items() if end > self._time}

    def first(self) -> Job:
        """The job whose turn is next."""
        return self._heap[0][2]

    def pop(self) -> Job:
        """Take the job whose turn is next."""
        start, _, job = heappop(self._heap)
        self._count(job, -1)
        if self._heap:
            self._time = start
        else:
            self._time = 0.0
            self._ends.clear()
        return job

    def drop(self, unwanted: Callable[[Job], bool]) -> None:
        """Take out all that are unwanted; the others keep their turns."""
        dropped = [job for _, _, job in self._heap if unwanted(job)]
        if not dropped:
            return
        gone = set(map(id, dropped))
        # What is sorted is a heap; numbers are unique, so that no two jobs are compared.
        self._heap = sorted(entry for entry in self._heap if id(entry[2]) not in gone)
        for job in dropped:
            self._count(job, -1)

    def ahead_of(self, job: Job) -> int:
        """Rows that would run before a job: each other subject gets as much as its own has in front of it."""
        own = self._held.get(job.subject)
        subjects = len(self._held) + (own is None)
        mine = (own[1] if own else 0) * subjects + (subjects - 1) * job.rows
        return min(self.rows, int(mine * min(_cost(_level(job)), 1.0)))

    def over_its_share(self, subject: str, limit: int) -> bool:
        """Whether a subject already has so much of the queue that others might find no room.

        A subject may hold three times what is free (Choudhury and Hahne's dynamic threshold, 1998): alone it gets
        three quarters, and there is room for a newcomer at any time. Nobody in particular is no subject.
        """
        own = self._held.get(subject) if subject else None
        return own is not None and own[0] >= _OWN_SHARE * max(limit - len(self._heap), 0)

    def beyond_its_part(self, subject: str) -> bool:
        """Whether others wait too, and less than this subject."""
        own = self._held.get(subject)
        return own is not None and len(self._held) > 1 and own[1] * len(self._held) > self.rows

    def _count(self, job: Job, sign: int) -> None:
        held = self._held.setdefault(job.subject, [0, 0])
        held[0] += sign
        held[1] += sign * job.rows
        self.rows += sign * job.rows
        if not held[0]:
            del self._held[job.subject]


def _level(job: Job) -> int:
    return min(job.priority, LOWEST) or _DEFAULT


def _cost(level: int) -> float:
    """What a row takes at a level of priority, in virtual time."""
    return float(2.0 ** (level - _DEFAULT))
