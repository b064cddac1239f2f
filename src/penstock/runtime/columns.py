"""Which columns a fitted model reads, told from itself; its libraries' attributes alone are looked at."""

from __future__ import annotations


def feature_names(model: object) -> tuple[str, ...]:
    """Names of the columns it reads, of those it was fitted on; empty for a plain matrix."""
    names = tuple(str(name) for name in getattr(model, "feature_names_in_", ()))
    steps = getattr(model, "steps", None)
    used = _used_columns(steps[0][1] if steps else model)
    return names if used is None else tuple(name for name in names if name in used)


def width_of(model: object) -> int:
    """How many columns it takes; 0 where it does not say."""
    width = getattr(model, "n_features_in_", None)
    booster = getattr(model, "booster", None)
    for name in ("num_feature", "num_features"):
        if width is None and hasattr(booster, name):
            width = getattr(booster, name)()
    return int(width or 0)


def _used_columns(first: object) -> set[str] | None:
    """What a column transformer picks by name; None where it, or another kind of step, may read all."""
    used: set[str] = set()
    for _, transformer, columns in getattr(first, "transformers_", ()):
        if transformer == "drop":
            continue
        if not isinstance(columns, list | tuple) or not all(isinstance(name, str) for name in columns):
            return None
        used.update(columns)
    return used or None
