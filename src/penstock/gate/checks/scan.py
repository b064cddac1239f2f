"""Stage 2, gate: is what is inside the package what should be inside?

What comes in: the package's folder. What goes out: findings on its files against its manifest, on what each file is
by its bytes, on code that it carries against the walls of this machine, and on the operators of its graphs.
"""

from __future__ import annotations

from typing import ClassVar

from penstock.errors import Untrusted
from penstock.gate.check import Candidate, CheckLimits, Question, Shown
from penstock.gate.contents import Content, content_of, graph_of
from penstock.gate.evidence import counted, evidence, table
from penstock.packages.read import Package, open_package
from penstock.records import Finding, Scalar
from penstock.runtime.sandbox import level


class ScanLimits(CheckLimits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of `ScanCheck`.

    Attributes:
        domains: ONNX operator domains that a graph may use.
        code: What carries code may run: ``sandbox`` behind enough walls, ``never``, ``anywhere``.
        lock: A requirements lock with a hash for each file must be there, where a sandbox runs the model.
    """

    advisory: tuple[str, ...] = ("lock",)
    domains: tuple[str, ...] = ("ai.onnx", "ai.onnx.ml")
    code: str = "sandbox"
    lock: bool = True


class ScanCheck:
    """Files, code, operators."""

    name: ClassVar[str] = "scan"
    Limits: ClassVar[type[CheckLimits]] = ScanLimits

    def __init__(self, limits: ScanLimits) -> None:
        self.limits = limits

    def check(self, candidate: Candidate) -> list[Finding]:
        """Files first; what is not the package's own is not looked at further."""
        package = candidate.package
        whole = self._whole(package)
        if whole.outcome != "pass":
            return [whole]
        contents = [content_of(name, package.path(name)) for name in sorted(package.manifest.files)]
        return [whole, self._kinds(contents), self._code(package, contents), *self._graphs(package, contents)]

    def _whole(self, package: Package) -> Finding:
        question = Question(self.name, "whole", "Is every file the one that the manifest names?", self.limits)
        files = package.manifest.files
        try:
            open_package(package.folder, digest=package.digest)
        except Untrusted as error:
            return question.refused(f"No: {error.where}: {error.message}.", "Package the model again.")
        size = sum(entry.size for entry in files.values())
        measured: dict[str, Scalar] = {"files": len(files), "size_bytes": size}
        return question.passed(
            f"Yes: {counted(len(files), 'file')}, {size / 1e6:,.2f} MB, each with its digest, none besides.",
            Shown(measured=measured),
        )

    def _kinds(self, contents: list[Content]) -> Finding:
        question = Question(self.name, "kinds", "Is every file of a known, harmless kind?", self.limits)
        rows: list[dict[str, Scalar]] = [
            {"file": one.name, "kind": one.kind, "carries code": one.code, "fault": one.fault} for one in contents
        ]
        unknown = [one.name for one in contents if one.kind == "unknown"]
        bad = [one for one in contents if one.fault]
        shown = Shown(
            measured={"files": len(contents), "unknown": len(unknown), "faulty": len(bad)},
            evidence=evidence(tables=[table("Files, by their bytes", rows)]),
        )
        if bad:
            return question.refused(
                f"No: {bad[0].name} is {bad[0].kind}: {bad[0].fault}.", "Leave it out and package again.", shown
            )
        if unknown:
            return question.unknown(
                f"Not shown: {', '.join(unknown[:3])} is of no kind that is known here.",
                "Leave it out, or save the model in a known format.",
                shown,
            )
        kinds = ", ".join(sorted({one.kind for one in contents}))
        return question.passed(f"Yes: {counted(len(contents), 'file')} of a known kind: {kinds}.", shown)

    def _code(self, package: Package, contents: list[Content]) -> Finding:
        """Code that the package carries: does it run, and behind which walls?"""
        question = Question(self.name, "code", "Does code that came with it stay behind walls?", self.limits)
        carrying = [one.name for one in contents if one.code]
        entry = package.manifest.entry
        if not carrying:
            return question.passed("Yes: it carries no code.", Shown(measured={"carrying": 0}))
        names = ", ".join(carrying[:3])
        if self.limits.code == "never":
            return question.refused(
                f"No: {names} carries code and the policy takes none.", "Compile it, or save it as skops or ONNX."
            )
        if package.manifest.engine != "python":
            return question.passed(
                f"Yes: {names} carries code and is kept as a record; what answers is {entry}, which carries none.",
                Shown(measured={"carrying": len(carrying)}),
            )
        walls = level()
        shown = Shown(measured={"carrying": len(carrying), "walls": walls.enough})
        if walls.enough or self.limits.code == "anywhere":
            return question.passed(f"Yes: {entry} carries code and runs in the sandbox, walls up.", shown)
        return question.refused(
            f"No: {entry} carries code and this machine lacks walls: {walls.missing}.",
            "`penstock doctor` says how to raise them; or save the model as skops or ONNX.",
            shown,
        )

    def _graphs(self, package: Package, contents: list[Content]) -> list[Finding]:
        """Only where there are graphs."""
        graphs = {
            one.name: found
            for one in contents
            if one.kind == "onnx" and (found := graph_of(package.path(one.name))) is not None
        }
        if not graphs:
            return []
        question = Question(self.name, "operators", "Does its graph use standard operators alone?", self.limits)
        strange = sorted({name for one in graphs.values() for name in one.domains} - set(self.limits.domains))
        outside = sorted({place for one in graphs.values() for place in one.outside})
        rows: list[dict[str, Scalar]] = [
            {"graph": name, "domain": domain, "operators": count}
            for name, one in graphs.items()
            for domain, count in sorted(one.domains.items())
        ]
        shown = Shown(
            measured={"graphs": len(graphs), "operators": sum(sum(one.domains.values()) for one in graphs.values())},
            limits={"domains": ", ".join(self.limits.domains)},
            evidence=evidence(tables=[table("Operators by domain", rows)]),
        )
        if strange:
            return [
                question.refused(
                    f"No: it uses operators of {', '.join(strange)}, which other runtimes do not have.",
                    "Export it with standard operators, or allow the domain in the policy.",
                    shown,
                )
            ]
        missing = [place for place in outside if f"model/{place}" not in package.manifest.files]
        if missing:
            return [question.refused("No: it reads data from outside of the package.", "Export it in one file.", shown)]
        total = sum(sum(one.domains.values()) for one in graphs.values())
        used = ", ".join(sorted({str(row["domain"]) for row in rows}))
        return [question.passed(f"Yes: {counted(total, 'operator')}, all of {used}.", shown)]
