"""The page says what the samples say: a planted miss is shown as one, and no machine is named."""

from __future__ import annotations

import json
import re
import tomllib
from xml.etree import ElementTree

from bench.places import LIMITS, PEERS, REQUIREMENTS, ROOT
from bench.points import CLAIMS, Spot
from bench.ratios import Samples
from bench.report import complete, merged, page, picture
from bench.systems import SYSTEMS
from bench.table import claims_table

ABOUT = {"kind": "run", "machine": "2 CPUs (some), 4 GiB", "python": "3.11.7"}
FIGURES = {"per_s": 1000.0, "p50_ms": 1.0, "p99_ms": 2.0, "failed": 0, "wrong": 0}


def run(ours_us: float, theirs_us: float = 140.0) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = [dict(ABOUT)]
    for spot, cpu_us in ((Spot("penstock", "v2", 16), ours_us), (Spot("fastapi", "rows", 16), theirs_us)):
        place = {"stage": "core", "round": 0, "system": spot.system, "spot": str(spot)}
        lines.append({"kind": "sample", **place, **FIGURES, "cpu_us": cpu_us})
    return lines


def line_of(table: str, what: str) -> str:
    return next(line for line in table.splitlines() if what in line)


FIRST = CLAIMS[0].what


def test_three_good_runs_hold() -> None:
    table = claims_table(list(CLAIMS), [Samples(run(20)), Samples(run(21)), Samples(run(19))])
    assert line_of(table, FIRST).endswith("| 7.00x | 6.67x | 7.37x | yes |")


def test_one_planted_miss_among_three_runs_does_not_hold() -> None:
    table = claims_table(list(CLAIMS), [Samples(run(20)), Samples(run(30)), Samples(run(20))])
    assert line_of(table, FIRST).endswith("| 7.00x | 4.67x | 7.00x | **no** |")
    text = page([run(20), run(30), run(20)], {})
    assert f"P1, {FIRST}" in text.partition("## Where others are ahead")[2]


def test_a_void_run_is_shown_as_a_miss_and_an_absent_one_as_absent() -> None:
    void = run(20)
    void[1]["wrong"] = 3
    table = claims_table(list(CLAIMS), [Samples(run(20)), Samples(void)])
    assert line_of(table, FIRST).endswith("3 requests failed or were answered wrong | **no** |")
    table = claims_table(list(CLAIMS), [Samples(run(20)), Samples([dict(ABOUT)])])
    assert line_of(table, FIRST).endswith("| not in each run |")


def test_a_run_that_broke_off_is_not_taken() -> None:
    points = sorted({one.point for one in CLAIMS})
    whole = [{**ABOUT, "points": points}, {"kind": "end", "at": 1.0}]
    assert complete(whole)
    assert not complete(whole[:1])
    assert not complete([{**ABOUT, "points": ["P1"]}, whole[1]])


def test_what_was_not_measured_is_not_called_held() -> None:
    table = claims_table(list(CLAIMS), [Samples([ABOUT])])
    assert all(line.endswith("| not measured |") for line in table.splitlines()[2:])


def test_a_peer_that_is_ahead_is_named() -> None:
    lines = run(50)
    mosec = Spot("mosec", "rows", 16)
    place = {"kind": "sample", "stage": "core", "round": 0, "system": "mosec", "spot": str(mosec)}
    lines.append({**place, **FIGURES, "cpu_us": 40.0, "p50_ms": 3.0})
    text = page([lines], {}).partition("## Where others are ahead")[2].partition("## Where each")[0]
    assert "mosec at c16: CPU per request is 0.80x ours" in text
    assert "mosec at c16: p50" not in text


def test_cold_starts_are_shown_with_what_is_no_python_left_open() -> None:
    lines = run(20)
    for system, traffic, import_s in (("penstock", "v2", 0.3), ("triton", "v2", 0.0)):
        place = {"stage": "start", "round": 0, "system": system, "spot": f"{system} {traffic}"}
        figures = {"start_s": 0.5, "import_s": import_s, "pss_mib": 53.0, "idle_pct": 0.1, "size_mib": 158.7}
        lines.append({"kind": "sample", **place, **figures})
    text = page([lines], {}).partition("## Cold start")[2].partition("## Limits")[0]
    assert "| Penstock | 0.50 | 0.30 | 53 | 0.1 | 159 |" in text
    assert "| Triton, python backend | 0.50 | - | 53 | 0.1 | 159 |" in text


def test_the_picture_is_whole_and_marks_ours() -> None:
    drawn = ElementTree.fromstring(picture(merged([run(20), run(20)])))
    rectangles = [one for one in drawn.iter() if one.tag.endswith("rect")]
    assert [one.get("class") for one in rectangles] == ["ours", "bar"]
    assert float(rectangles[0].get("width", 0)) > float(rectangles[1].get("width", 0))


def test_before_and_after_stand_side_by_side() -> None:
    def profile(cpu_us: float, steps: dict[str, float]) -> dict[str, object]:
        spots = [
            {"spot": f"penstock v2 {connections}", "cpu_us": times * cpu_us, "steps_us": steps}
            for connections, times in ((16, 1), (1, 3))
        ]
        return {"commit": f"abc{cpu_us}", "profiles": spots}

    text = page([run(20)], {"before": profile(40, {"decode": 8.0}), "after": profile(20, {"socket write": 6.0})})
    assert "| step, CPU us a request | c16 before | c16 after | c1 before | c1 after |" in text
    rows = [line for line in text.splitlines() if line.startswith(("| decode", "| socket write", "| **all**"))]
    assert rows == [
        "| socket write | 0.0 | 6.0 | 0.0 | 6.0 |",
        "| decode | 8.0 | 0.0 | 8.0 | 0.0 |",
        "| **all** | **40.0** | **20.0** | **120.0** | **60.0** |",
    ], "what is dearest now comes first"
    assert "before: abc40, after: abc20" in text


def test_what_tuning_chose_stands_beside_a_hand() -> None:
    def setting(label: str, per_s: float) -> dict[str, object]:
        return {"label": label, "per_s": per_s, "p99_ms": 9.0, "curve": [[1, per_s / 4, 1.0], [16, per_s, 9.0]]}

    found = {
        "model": "forest", "p99_s": 0.05, "ratio": 1.04, "search_s": 51.0, "present": setting("1 worker", 1000.0),
        "chosen": setting("2 workers", 2000.0), "by_hand": setting("2 workers, inline", 2080.0),
    }  # fmt: skip
    text = page([run(20)], {}, [found]).partition("## What `penstock tune` chooses")[2].partition("\n## ")[0]
    assert "| forest | 1 worker | 1,000 | 2 workers | 2,000 | 9.00 | 2 workers, inline | 2,080 | 1.04 | 51 |" in text
    assert "| forest | 2 workers | 500 / 1.00 ms | 2,000 / 9.00 ms |" in text
    assert "Not measured" in page([run(20)], {}).partition("## What `penstock tune` chooses")[2]
    assert json.dumps(text)


def test_our_own_environment_is_the_base_wheels() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.split(r"[>=<;\[ ]", one)[0] for one in project["dependencies"]}
    lines = (REQUIREMENTS / "penstock.in").read_text().splitlines()
    assert {line.partition("==")[0] for line in lines if line[0] != "#"} == wanted


def test_every_system_has_its_environment_and_its_file() -> None:
    for name, system in SYSTEMS.items():
        assert (REQUIREMENTS / f"{system.environment}.txt").exists(), name
        for place, folder in (("peers", PEERS), ("limits", LIMITS)):
            for file in re.findall(rf"{{{place}}}/(\w+\.py)", system.command):
                assert (folder / file).exists(), f"{name}: {file}"
