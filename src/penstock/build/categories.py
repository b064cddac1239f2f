"""Which columns a fitted model reads as text, and the categories it knows of each."""

from __future__ import annotations


def known_categories(estimator: object) -> dict[str, tuple[str, ...]]:
    """Categories by column, of the encoders inside a column transformer; numbers' categories are left out."""
    found: dict[str, tuple[str, ...]] = {}
    for _, step in getattr(estimator, "steps", [("", estimator)]):
        for _, transformer, columns in getattr(step, "transformers_", ()):
            for encoder in [one for _, one in getattr(transformer, "steps", [("", transformer)])]:
                for column, categories in zip(columns, getattr(encoder, "categories_", ()), strict=False):
                    texts = tuple(str(one) for one in categories if isinstance(one, str))
                    if texts:
                        found[str(column)] = texts
    return found
