"""What tuning chose, as tables: one line a model, and the curves that it was chosen from.

profiles/tuned.json (bench/tuned.py) -> markdown
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

HEADINGS = (
    "model", "as it was", "answers/s", "chosen", "answers/s", "p99 ms", "best by hand", "answers/s",
    "by hand / chosen", "search s",
)  # fmt: skip
NONE = "Not measured: `python -m bench.tuned`."


def choices(found: Sequence[Mapping[str, object]]) -> str:
    """Both tables, and how they came about."""
    if not found:
        return NONE
    limit_ms = 1000 * float(str(found[0]["p99_s"]))
    return (
        f"The p99 to keep is {limit_ms:g} ms. After the search every setting was measured to the end; the best of them"
        " is what a patient hand would have found. Answers a second are those with the processors to itself.\n\n"
        f"{chosen_table(found)}\n\n"
        f"Its curves, answers/s and p99 by connections:\n\n{curves_table(found)}\n\nBy `python -m bench.tuned`."
    )


def chosen_table(found: Sequence[Mapping[str, object]]) -> str:
    """Markdown, one line a model."""
    lines = ["| " + " | ".join(HEADINGS) + " |", "|---" * len(HEADINGS) + "|"]
    for one in found:
        present, chosen, by_hand = (one[name] for name in ("present", "chosen", "by_hand"))
        cells = [str(one["model"]), *_setting(present), *_setting(chosen), f"{_figure(chosen, 'p99_ms'):.2f}"]
        cells += [*_setting(by_hand), f"{float(str(one['ratio'])):.2f}", f"{float(str(one['search_s'])):.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def curves_table(found: Sequence[Mapping[str, object]]) -> str:
    """Markdown, one line for each setting that the first table names."""
    rows: list[tuple[str, str, dict[int, str]]] = []
    for one in found:
        seen = set()
        for name in ("present", "chosen", "by_hand"):
            setting = one[name]
            assert isinstance(setting, dict)
            if setting["label"] not in seen:
                seen.add(setting["label"])
                points = {point[0]: f"{point[1]:,.0f} / {point[2]:.2f} ms" for point in setting["curve"]}
                rows.append((str(one["model"]), setting["label"], points))
    levels = sorted({level for *_, points in rows for level in points})
    lines = [
        "| model | setting | " + " | ".join(f"c{level}" for level in levels) + " |",
        "|---" * (2 + len(levels)) + "|",
    ]
    lines += [
        "| " + " | ".join([model, label, *(points.get(level, "-") for level in levels)]) + " |"
        for model, label, points in rows
    ]
    return "\n".join(lines)


def _setting(told: object) -> tuple[str, str]:
    assert isinstance(told, dict)
    per_s = _figure(told, "per_s")
    return str(told["label"]), f"{per_s:,.0f}" if per_s > 0 else "over the limit"


def _figure(told: object, name: str) -> float:
    assert isinstance(told, dict)
    return float(told[name])
