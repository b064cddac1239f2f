"""Who and what the story is about: two people, one endpoint, the figures that are remembered."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from msgspec.structs import replace

from penstock.app.app import App
from penstock.app.checking import CheckRequest, check
from penstock.app.identities import give_token
from penstock.app.opening import open_app
from penstock.app.packaging import PackageRequest, package
from penstock.app.releasing import ReleaseRequest, release, wait_until_settled
from penstock.app.views import EndpointView, read_observed
from penstock.control.process import Running, ensure_running, predictions_url, stop
from penstock.demo.flights import FEATURES, LABEL
from penstock.demo.narration import Narrator
from penstock.demo.outcomes import Reporter
from penstock.demo.replay import ReplayAnswers, prepare, replay
from penstock.errors import NotReady
from penstock.gate.policy import starter, write_policy
from penstock.records import Guards, Scalar, Verdict, Version
from penstock.web.links import login_link

ENDPOINT = "flights"
AUTHOR, APPROVER = "ana", "rita"
ROLE = "approver"
SETTINGS = """# The demo's settings: free ports, and a policy that wants one approval.
policy: policy.yaml
api: {port: 0}
serve: {port: 0, workers: 2}
"""
KEPT = [*FEATURES, LABEL, "departs", "tailnum"]
"""Columns of the data files: the features, the truth, when, and who."""


@dataclass
class Cast:
    """The home the story plays in, its people, and what is measured.

    Attributes:
        home: Everything lies here.
        admin: Whose home it is.
        ana: She trains, packages and releases.
        rita: She approves; what she approves she did not make.
        token: Ana's, for what goes over HTTP.
        running: Addresses of console and predictions.
        figures: What the summary tells.
        answers: Every replay, in order.
    """

    home: Path
    narrator: Narrator
    admin: App
    ana: App
    rita: App
    token: str
    running: Running
    figures: dict[str, Scalar] = field(default_factory=dict)
    answers: list[ReplayAnswers] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)
    _steps_told: int = 0

    def login(self, page: str = "/") -> str:
        """An address that opens a page of the console and signs in, once."""
        return f"{self.running.console}{login_link(self.admin)}&next={page}"

    def package(self, model: object, train: pd.DataFrame, holdout: pd.DataFrame, note: str) -> Version:
        """Ana packages a model with the data it was trained and is judged on."""
        request = PackageRequest(
            name=ENDPOINT,
            model=model,
            tables={"train": train[KEPT], "validation": holdout[KEPT]},
            label=LABEL,
            time="departs",
            group="tailnum",
            parameters={"owner": AUTHOR, "purpose": "warn of late arrivals", "note": note},
            source={"entry": "penstock.demo.models:train"},
        )
        started = time.monotonic()
        with self.narrator.working("opening it in the sandbox, compiling, proving parity, signing"):
            version, manifest = package(self.ana, request)
        parity = manifest.parity
        if parity is not None and parity.passed:
            self.narrator.good(
                f"{version.ref} {version.digest[:15]}…: ONNX, equal on {parity.rows:,} rows, {parity.threshold_rows:,} "
                f"of them next to a split: {parity.label_flips} labels differ, largest error {parity.max_error:.0e}"
            )
        else:
            self.narrator.note(
                f"{version.ref} runs as Python in the sandbox: {parity.reason if parity else 'not compiled'}"
            )
        self.figures[f"package_{version.version}_s"] = round(time.monotonic() - started, 2)
        return version

    def check(self, version: Version) -> Verdict:
        """The gate on one version; every finding is told."""
        with self.narrator.working("asking the gate"):
            verdict = check(self.ana, version.ref, CheckRequest())
        say = {"pass": self.narrator.good, "refuse": self.narrator.bad, "unknown": self.narrator.note}
        for finding in verdict.findings:
            if finding.outcome != "pass" or finding.check in ("quality", "generalization"):
                say[finding.outcome](f"{finding.check}: {finding.message}")
        say[verdict.outcome](
            f"[bold]{version.ref}: {verdict.outcome}[/], {len(verdict.findings)} findings, {verdict.seconds:.1f} s"
        )
        self.figures[f"gate_{version.version}"] = verdict.outcome
        return verdict

    def release(self, version: Version, strategy: str, guards: Guards | None = None, *, bypass: str = "") -> int:
        """Ana releases, or the administrator where the glass is broken; gives the revision.

        Raises:
            NotReady: It does not come up.
        """
        started = time.monotonic()
        request = ReleaseRequest(endpoint=ENDPOINT, strategy=strategy, guards=guards, bypass=bypass)
        made = release(self.admin if bypass else self.ana, version.ref, request)
        phase = wait_until_settled(self.ana, made, timeout_s=60.0)
        if phase not in ("live", "shifting"):
            raise NotReady(f"release {made.revision} is {phase}", "log/serve.log in the home folder says why")
        self.figures[f"release_{made.revision}_s"] = round(time.monotonic() - started, 2)
        return made.revision

    def replay(
        self, frame: pd.DataFrame, title: str, *, until: Callable[[ReplayAnswers], bool] = lambda answers: False
    ) -> ReplayAnswers:
        """Send flights, report their outcomes when they have landed, tell what the monitors open.

        Args:
            frame: The flights.
            title: Of the bar.
            until: Asked a few times a second; True ends the replay early.
        """
        with self.narrator.working(f"preparing {len(frame):,} flights"):
            flights = prepare(frame)
        reporter = Reporter(self.running.console, self.token, ENDPOINT, flights)

        with self.narrator.bar(title, len(flights)) as bar:

            def on_progress(sent: int, answers: ReplayAnswers) -> bool:
                reporter.report(sent, answers)
                failed = sum(answers.failed.values())
                bar.show(sent, f"p99 {1000 * answers.percentile(0.99):.1f} ms, {failed} failed")
                self.tell_news()
                return not until(answers)

            answers = replay(predictions_url(self.home), ENDPOINT, flights, on_progress=on_progress)
        reporter.report(answers.sent, answers, everything=True)
        acknowledged = reporter.finish()
        self.answers.append(answers)
        say = self.narrator.bad if answers.failed else self.narrator.good
        say(
            f"{title}: {answers.sent:,} predictions, {answers.sent / answers.seconds:,.0f} a second, p50 "
            f"{1000 * answers.percentile(0.5):.1f} ms, p99 {1000 * answers.percentile(0.99):.1f} ms, "
            f"{sum(answers.failed.values())} failed; {acknowledged:,} outcomes"
        )
        self.settle()
        return answers

    def settle(self) -> EndpointView:
        """Wait until the control plane has counted everything that was sent, and tell its news."""
        wanted = sum(len(one.latencies_s) for one in self.answers)
        deadline = time.monotonic() + 60.0
        with self.narrator.working("the monitors catch up"):
            while time.monotonic() < deadline:
                view = self.view()
                if view.requests >= wanted:
                    break
                time.sleep(0.1)
        self.tell_news()
        return self.view()

    def view(self) -> EndpointView:
        """What the control plane last saw of the endpoint."""
        return read_observed(self.home).endpoints.get(ENDPOINT, EndpointView(endpoint=ENDPOINT, release=0))

    def tell_news(self) -> None:
        """Incidents worth a person's time that opened or closed, and steps of a rollout, each told once."""
        endpoint = self.ana.state().endpoint(ENDPOINT)
        for incident in endpoint.incidents.values():
            key = f"{incident.cause} {incident.opened_at} {incident.closed_at}"
            if key in self._told:
                continue
            self._told.add(key)
            if incident.severity == "record":
                # Features move with the seasons; that informs, and is counted, and wakes nobody.
                continue
            day = time.strftime("%d %b", time.gmtime(incident.closed_at or incident.opened_at))
            if incident.closed_at:
                self.narrator.tell(f"[dim]{day}  closed by itself: {incident.title}[/]")
            else:
                self.narrator.note(f"{day}  [bold]{incident.severity}[/]: {incident.title}. {incident.effect}")
        for step in endpoint.steps[self._steps_told :]:
            self.narrator.tell(f"release {step.revision}: [bold]{step.phase}[/]. {step.reason}")
        self._steps_told = len(endpoint.steps)


def assemble(home: Path, narrator: Narrator) -> Cast:
    """A fresh home, its two people, its control plane and data plane."""
    if home.exists():
        stop(home)
        shutil.rmtree(home)
    home.parent.mkdir(parents=True, exist_ok=True)
    write_policy(replace(starter(), approvals=(ROLE,)), home.parent / "policy.yaml")
    (home.parent / "penstock.yaml").write_text(SETTINGS)
    admin = open_app(home)
    token = give_token(admin, AUTHOR, ("operator", ROLE))
    approver = give_token(admin, APPROVER, (ROLE,))
    with narrator.working("starting control plane, console and data plane"):
        running = ensure_running(home)
    return Cast(home, narrator, admin, open_app(home, token=token), open_app(home, token=approver), token, running)
