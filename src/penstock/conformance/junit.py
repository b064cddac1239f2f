"""A conformance report as JUnit XML, which every CI system shows.

Comes in: a report, and the level at which a deviation fails. Goes out: XML with one suite a level; deviations below
that level are shown as skipped, so that a run is as red as its exit code.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

from penstock.conformance.case import LEVELS, CaseLevel
from penstock.conformance.suite import CaseResult, ConformanceReport

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def to_junit(report: ConformanceReport, fail_at: CaseLevel) -> bytes:
    """The XML document."""
    root = Xml.Element("testsuites", name="penstock conformance", time=f"{report.seconds:.3f}")
    for level in LEVELS:
        results = [one for one in report.results if one.level == level]
        fails = LEVELS.index(level) <= LEVELS.index(fail_at)
        deviating = sum(one.outcome == "deviates" for one in results)
        passed = sum(one.outcome == "kept" for one in results)
        suite = Xml.SubElement(root, "testsuite", name=level, timestamp=report.moment)
        suite.set("tests", str(len(results)))
        suite.set("failures", str(deviating if fails else 0))
        suite.set("errors", "0")
        suite.set("skipped", str(len(results) - passed - (deviating if fails else 0)))
        suite.set("time", f"{sum(one.seconds for one in results):.3f}")
        for one in results:
            _add(suite, one, fails=fails)
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=False).encode()


def _add(suite: Xml.Element, result: CaseResult, *, fails: bool) -> None:
    case = Xml.SubElement(suite, "testcase", name=result.id, classname=f"conformance.{result.level}")
    case.set("time", f"{result.seconds:.4f}")
    if result.outcome == "skipped":
        Xml.SubElement(case, "skipped", message=_clean(result.reason))
    if result.outcome != "deviates":
        return
    if fails:
        Xml.SubElement(case, "failure", type="deviation", message=_clean(result.reason)).text = _clean(told(result))
        return
    Xml.SubElement(case, "skipped", message=_clean(f"deviates, {result.level}: {result.reason}"))
    Xml.SubElement(case, "system-out").text = _clean(told(result))


def told(result: CaseResult) -> str:
    """A deviation in lines: what was expected and where that stands, what came, and how to see it."""
    lines = [
        f"expected: {result.title}",
        f"source:   {result.source}",
        f"but:      {result.reason}",
        f"answer:   {result.answer}",
        f"request:  {result.request}",
    ]
    return "\n".join([*lines, *([f"note:     {result.note}"] if result.note else [])])


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return _NOT_IN_XML.sub("\ufffd", text)
