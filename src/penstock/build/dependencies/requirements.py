"""Somebody's requirements beside the lock: where a model was logged with other versions than it was packaged with.

Comes in: the text of a ``requirements.txt`` and pins. Goes out: differences in words; lines that are no plain
requirement are counted, not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from packaging.requirements import InvalidRequirement, Requirement

from penstock.build.dependencies.lock import normalised

MAX_LINES = 2000


def differences(text: str, pins: Mapping[str, str]) -> tuple[str, ...]:
    """What the requirements ask for and the pins do not hold.

    Args:
        text: pip requirements.
        pins: Versions by normalised name.
    """
    found, odd = [], 0
    for line in _lines(text):
        try:
            asked = Requirement(line)
            applies = asked.marker is None or asked.marker.evaluate({"extra": ""})
        except (InvalidRequirement, ValueError, KeyError):
            odd += 1
            continue
        pin = pins.get(normalised(asked.name))
        if not applies or (pin and asked.specifier.contains(pin, prereleases=True)):
            continue
        wanted = f"{asked.name}{asked.specifier}"
        found.append(f"{wanted}: {pin} here" if pin else f"{wanted}: not in the lock")
    if odd:
        found.append(f"{odd} lines that are no name and version")
    return tuple(found)


def _lines(text: str) -> Iterator[str]:
    """Lines without comments and hashes."""
    for line in text.splitlines()[:MAX_LINES]:
        plain = line.split(" #")[0].split(" --hash")[0].strip().removesuffix("\\").strip()
        if plain and not plain.startswith(("#", "--hash")):
            yield plain
