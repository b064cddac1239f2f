"""One of several processes that want the same: each tries to be first at every generation of two aliases.

Prints one JSON line an attempt: what it expected, and the generation it got, or null where somebody else was first.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from penstock.errors import Conflict
from penstock.records import AliasMove
from penstock.registry.registry import Registry


def main(home: Path, number: int, rounds: int) -> None:
    registry = Registry.open(home)
    admin = registry.identity_of(registry.local_token())
    chance = random.Random(number)
    sys.stdin.readline()
    for _ in range(rounds):
        model = chance.choice("mn")
        expected = registry.state().generation(f"model/{model}")
        move = AliasMove(model=model, alias="champion", version=1, reason=f"{number}")
        try:
            event = registry.append("alias.moved", f"model/{model}", move, by=admin, expect=expected)
            got = [event.seq, event.generation]
        except Conflict:
            got = None
        print(json.dumps({"model": model, "expected": expected, "got": got}), flush=True)
    registry.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
