"""Which columns a fitted model reads as text, and the categories it knows of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def known_categories(estimator: object) -> dict[str, tuple[str, ...]]:
    """Categories by column, of the encoders inside a column transformer; numbers' categories are left out."""
    found: dict[str, tuple[str, ...]] = {}
    for encoder, columns in _encoders(estimator):
        for column, categories in zip(columns, getattr(encoder, "categories_", ()), strict=False):
            texts = tuple(str(one) for one in categories if isinstance(one, str))
            if texts:
                found[str(column)] = texts
    return found


def _encoders(estimator: object) -> Iterator[tuple[object, Sequence[object]]]:
    """Every transformer inside a column transformer, with the columns that it reads."""
    for _, step in getattr(estimator, "steps", [("", estimator)]):
        for _, transformer, columns in getattr(step, "transformers_", ()):
            if isinstance(columns, list | tuple):
                yield from ((one, columns) for _, one in getattr(transformer, "steps", [("", transformer)]))
