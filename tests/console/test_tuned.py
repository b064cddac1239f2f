"""The page of what tuning found: what is chosen and what is in force stand out, every setting has its line."""

from __future__ import annotations

import re

from penstock.console.tuned import tuned_page
from penstock.records import Batching, Sizing
from penstock.tuning.search import LoadPoint, Trial
from penstock.tuning.settings import Setting
from penstock.tuning.tune import Tuned

LIMIT_S = 0.05
PRESENT = Setting(sizing=Sizing(workers=2))
QUICK = Setting(sizing=Sizing(workers=2), batching=Batching(mode="inline"))
SLOW = Setting(sizing=Sizing(workers=1), batching=Batching(mode="thread", delay_s=0.002))


def trial(setting: Setting, per_s: float, p99_s: float) -> Trial:
    points = tuple(
        LoadPoint(
            connections=connections,
            answered=1000,
            failed=0,
            per_s=per_s * connections,
            apart_per_s=1.5 * per_s * connections,
            p50_s=p99_s / 4,
            p99_s=p99_s,
            cpu_s=1e-4,
            busy=0.5,
        )
        for connections in (1, 4)
    )
    return Trial(setting=setting, points=points, rounds=3)


def page() -> str:
    quick, present, slow = trial(QUICK, 900.0, 0.01), trial(PRESENT, 700.0, 0.012), trial(SLOW, 100.0, 0.2)
    tuned = Tuned(p99_s=LIMIT_S, cpus=2, present=present, chosen=quick, trials=(quick, present, slow), kept=True)
    return tuned_page(tuned, "flights & <co>")


def rows_of(text: str) -> list[str]:
    """The lines of the table of settings."""
    table = text.partition("Each setting at its best")[2].partition("</table>")[0]
    return re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2])


def test_each_setting_has_a_line_and_the_chosen_and_todays_a_badge() -> None:
    quick, present, slow = rows_of(page())
    assert "2 workers, inline" in quick
    assert ">chosen<" in quick
    assert ">5,400<" in quick, "its best point, with the processors to itself"
    assert ">today<" in present
    assert ">chosen<" not in present + slow
    assert "over 50 ms" in slow, "it never kept the latency"


def test_it_stands_alone_and_says_names_as_text() -> None:
    text = page()
    assert "flights &amp; &lt;co&gt;" in text
    assert not re.search(r"(src|href)=|@import|url\(", text), "nothing is asked of elsewhere"
    assert text.count("<circle") == 6, "a dot for each point of the three curves"
