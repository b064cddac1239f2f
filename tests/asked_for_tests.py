"""Many rows asked over HTTP, and rows next to borders: what a package is held to beside the library that trained it."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np

from tests.dataplane_for_tests import DataPlane, route, until

BATCH = 1000


def rows_near(rows: np.ndarray, borders: Iterable[tuple[int, float]], *, count: int) -> np.ndarray:
    """So many rows, of which as many as there are places lie on a border or one step of float64 or float32 beside."""
    made = rows[np.arange(count) % len(rows)].astype(np.float64)
    places = []
    for column, border in borders:
        near = np.float32(border)
        for value in (
            border, np.nextafter(border, -np.inf), np.nextafter(border, np.inf), float(near),
            float(np.nextafter(near, np.float32(-np.inf))), float(np.nextafter(near, np.float32(np.inf))),
        ):  # fmt: skip
            if np.isfinite(value):  # below the lowest border, which parts what is missing from all numbers, is nothing
                places.append((column, value))
    for at in range(min(count, 6 * len(places))):
        column, value = places[at % len(places)]
        made[at, column] = value
    return made


def served(plane: DataPlane, packages: dict[str, object]) -> DataPlane:
    """A data plane that answers by these packages, each under a name."""
    for package in packages.values():
        plane.packages[package.digest] = str(package.folder)  # type: ignore[attr-defined]
    plane.write(*(route(name, package.digest) for name, package in packages.items()))  # type: ignore[attr-defined]
    plane.start(workers=1)
    until(lambda: len(plane.statuses()) == 1, seconds=60)
    for name in packages:
        until(lambda name=name: plane.ask("GET", f"/v2/models/{name}/ready").status == 200, seconds=60)  # type: ignore[misc]
    return plane


def asked(plane: DataPlane, name: str, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All answers to these rows, over HTTP; a missing number is null."""
    found: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(next(iter(columns.values()))), BATCH):
        inputs = []
        for key, whole in columns.items():
            part = whole[start : start + BATCH]
            flat = part.ravel().tolist()
            data = [None if value != value else value for value in flat]  # noqa: PLR0124
            kind = "BYTES" if part.dtype == object else "INT64" if part.dtype.kind == "i" else "FP64"
            inputs.append({"name": key, "shape": list(part.shape), "datatype": kind, "data": data})
        answer = plane.ask("POST", f"/v2/models/{name}/infer", json.dumps({"inputs": inputs}))
        assert answer.status == 200, answer.body[:300]
        for one in answer.json["outputs"]:
            found.setdefault(one["name"], []).append(np.array(one["data"]).reshape(one["shape"]))
    return {key: np.concatenate(parts) for key, parts in found.items()}
