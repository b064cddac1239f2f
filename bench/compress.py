"""`penstock compress` on a convolutional network, a transformer's encoder and two forests; the tables written.

    .venv/frameworks/bin/python -m bench.compress            train, package, compress, write docs/compression.md
    .venv/frameworks/bin/python -m bench.compress --write    write it again from the results that are there

All are trained here on real data (handwritten digits, flights) and packaged as anybody would.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import joblib
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from bench.places import DOCS, HERE, WORK
from penstock.app.app import App
from penstock.app.compressing import CompressRequest, compress, table_rows
from penstock.app.opening import open_app
from penstock.app.packaging import PackageRequest, package
from penstock.demo.flights import FEATURES, LABEL, NUMBERS, load_flights, month, split_by_day
from penstock.demo.models import train

RESULTS = HERE / "compression.json"
DOCUMENT = DOCS / "compression.md"
BEGIN, END = "<!-- tables -->", "<!-- /tables -->"
TITLES = {
    "convolutions": "A convolutional network (digits, 4 convolutions)",
    "encoder": "A transformer's encoder (digits, 2 layers of attention)",
    "forest": "A boosted forest (flights, LightGBM, 400 trees of 31 leaves, in a pipeline)",
    "votes": "A random forest (flights, scikit-learn, 100 trees of leaves of 50 rows, on numbers)",
}


def network(name: str, folder: Path) -> tuple[Path, pd.DataFrame, pd.DataFrame, str]:
    """A network's graph, training rows, validation rows, label."""
    from bench import nets  # noqa: PLC0415  torch takes ten seconds, and --write does without

    frame, validation = nets.digits()
    place = folder / f"{name}.onnx"
    nets.trained_graph(nets.Convolutions() if name == "convolutions" else nets.Encoder(), frame, place)
    return place, frame, validation, "digit"


def forest(name: str, folder: Path) -> tuple[Path, pd.DataFrame, pd.DataFrame, str]:
    """The demo's pipeline with a larger forest."""
    frame, validation = split_by_day(month(load_flights(), 1, 4))
    place = folder / f"{name}.joblib"
    joblib.dump(train(frame, trees=400, leaves=31), place)
    columns = [*FEATURES, LABEL]
    return place, frame[columns], validation[columns], LABEL


def votes(name: str, folder: Path) -> tuple[Path, pd.DataFrame, pd.DataFrame, str]:
    """A forest that averages, on the numbers alone."""
    frame, validation = split_by_day(month(load_flights(), 1, 2))
    columns = [*NUMBERS, LABEL]
    frame, validation = (part[columns].dropna() for part in (frame, validation))
    place = folder / f"{name}.joblib"
    model = RandomForestClassifier(100, min_samples_leaf=50, random_state=0, n_jobs=2)
    joblib.dump(model.fit(frame[list(NUMBERS)], frame[LABEL]), place)
    return place, frame, validation, LABEL


KINDS: dict[str, Callable[[str, Path], tuple[Path, pd.DataFrame, pd.DataFrame, str]]] = {
    "convolutions": network,
    "encoder": network,
    "forest": forest,
    "votes": votes,
}


def found_for(app: App, name: str, folder: Path) -> dict[str, object]:
    """Train, package and compress one of them."""
    place, frame, validation, label = KINDS[name](name, folder)
    tables = {"train": frame, "validation": validation}
    package(app, PackageRequest(name=name, model=place, tables=tables, label=label), on_step=print)
    found = compress(app, name, CompressRequest(price=0.04), on_step=print)
    return {
        "chosen": found.chosen,
        "why": found.why,
        "registered": found.version.ref if found.version else "",
        "rows": len(validation),
        "table": table_rows(found),
        "largest": {"size": best(found.before.size_bytes, [one.cost.size_bytes for one in passed(found)]),
                    "speed": best(found.before.cpu_s, [one.cost.cpu_s for one in passed(found)])},
    }  # fmt: skip


def passed(found: object) -> list:
    return [one for one in found.tried if one.outcome == "pass" and one.cost]  # type: ignore[attr-defined]


def best(before: float, after: list[float]) -> float:
    return round(before / min(after), 2) if after else 0.0


def lines(found: dict[str, dict]) -> Iterator[str]:
    """The document's generated part."""
    yield (
        f"Machine: {found['machine']}. One thread and one row unless more is said; CPU time in runs of 32 rows, or as"
        " the best run has it; a CPU hour costs 0.04."
    )
    for name, title in TITLES.items():
        if name in found:
            yield from section(title, found[name])


def section(title: str, one: dict) -> Iterator[str]:
    """One model's table, what was chosen, and why not the others."""
    names = [key for key in one["table"][0] if key != "why not"]
    yield from ("", f"## {title}", "", f"{one['rows']:,} validation rows.", "")
    yield "| " + " | ".join(names) + " |"
    yield "|" + "---|" * len(names)
    for row in one["table"]:
        yield "| " + " | ".join(cell(row[key]) for key in names) + " |"
    largest = one["largest"]
    yield f"\nChosen (*): {one['why']}."
    yield f"Of all that passed: up to {largest['size']} times smaller, up to {largest['speed']} times quicker."
    if any(row["why not"] for row in one["table"]):
        yield ""
    yield from (f"- {row['form']}: {row['why not']}" for row in one["table"] if row["why not"])


def cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, float) else str(value)


def write(found: dict[str, dict]) -> None:
    """The tables between the document's marks."""
    text = DOCUMENT.read_text()
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    DOCUMENT.write_text(f"{before}\n\n" + "\n".join(lines(found)) + f"\n\n{after}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write", action="store_true", help="only write the document again")
    options.add_argument("names", nargs="*", help="some of them")
    said = options.parse_args()
    for name in () if said.write else said.names or list(KINDS):
        folder = WORK / "compress" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        one = found_for(open_app(folder / ".penstock"), name, folder)
        RESULTS.write_text(json.dumps(kept() | {"machine": machine(), name: one}, indent=1) + "\n")
    write(kept())


def kept() -> dict[str, dict]:
    """What was found before."""
    found: dict[str, dict] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    return found


def machine() -> str:
    """The processor, in words."""
    flags = Path("/proc/cpuinfo").read_text()
    kind = next((line.split(":")[1].strip() for line in flags.splitlines() if line.startswith("model name")), "")
    integers = next(
        (flag for flag in ("amx_int8", "avx512_vnni", "avx_vnni") if flag in flags), "no 8-bit instructions"
    )
    return f"{kind or platform.machine()} ({integers})"


if __name__ == "__main__":
    main()
