"""How reports and cards become pages: strict, escaped, in one style, light and dark.

A part's ``templates/*.html`` includes ``page.css`` and adds what is its own.
"""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def page_environment(part: str, *, finalize: Callable[[object], object] | None = None) -> Environment:
    """The templates of a part, beside those that all parts share.

    Args:
        part: Its package, such as ``penstock.gate``.
        finalize: What becomes of each value before it is escaped.
    """
    return Environment(
        loader=ChoiceLoader([PackageLoader(part), PackageLoader("penstock.pages")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
