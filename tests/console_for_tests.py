"""A home that has lived: two models, a rollout under way, an incident, outcomes; and a web server on it.

The registry, its packages, keys and events are real; what the control plane would have seen of the traffic is
written as it writes it, with `write_observed`.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from chain_for_tests import put
from packages_for_tests import flights_like
from penstock.access.identities import Identity
from penstock.access.tokens import token_sha256
from penstock.api.server import create
from penstock.app.app import App
from penstock.app.opening import open_app
from penstock.app.outcomes import record_outcomes
from penstock.app.views import (
    CalibrationPoint,
    ColumnDrift,
    EndpointView,
    Observed,
    QualityPoint,
    Series,
    VariantView,
    write_observed,
)
from penstock.build.sign import sign_folder
from penstock.console.routes import ROUTES
from penstock.gate.policy import starter
from penstock.gate.report import render
from penstock.log.journal import Journal
from penstock.log.tail import payload
from penstock.packages.keys import load_or_create_package_key
from penstock.packages.manifest import MANIFEST, read_manifest
from penstock.records import (
    AliasMove,
    Approval,
    Dataset,
    Exchange,
    Finding,
    Incident,
    Manifest,
    Measurement,
    Outcome,
    Parity,
    Proposal,
    Release,
    Settled,
    Step,
    Variant,
    Verdict,
    Version,
    encode,
)
from penstock.registry.registry import Registry
from penstock.registry.trust import keep_package

POLICY = starter().digest
ANSWERED = "0197b2c4d5e6f708"
MAY = 1367366400.0
"""2013-05-01, event time."""
PEOPLE = {"vera": "viewer", "otto": "operator", "anna": "approver", "root": "admin"}


@dataclass(frozen=True)
class Home:
    """A seeded home and the tokens of its people, by name; ``gone`` was revoked, ``late`` has expired."""

    app: App
    tokens: dict[str, str]

    def web(self) -> FastAPI:
        """A fresh web server, console included."""
        return create(self.app, pages=ROUTES)

    def client(self, who: str) -> TestClient:
        """A program that comes with somebody's token."""
        headers = {"authorization": f"Bearer {self.tokens[who]}"}
        return TestClient(self.web(), base_url="http://localhost", headers=headers)

    def visitor(self, who: str, language: str = "en") -> TestClient:
        """A browser in which somebody signed in."""
        client = TestClient(self.web(), base_url="http://localhost", headers={"accept-language": language})
        client.post("/login", data={"token": self.tokens[who]}, headers={"origin": "http://localhost"})
        return client


def seeded_home(folder: Path) -> Home:
    """The home of ``flights`` (4 versions, a canary under way) and ``taxi`` (a refused version)."""
    app = open_app(folder / "home")
    registry, admin = app.registry, app.identity
    who = {name: registry.add_identity(name, (role,), by=admin) for name, role in PEOPLE.items()}
    tokens = {name: registry.issue_token(name, by=admin) for name in PEOPLE}
    tokens["gone"] = registry.issue_token("root", by=admin)
    registry.revoke(token_sha256(tokens["gone"]), by=admin, reason="lost")
    tokens["late"] = registry.issue_token("root", by=admin, expires_at=time.time() - 1)
    tokens["narrow"] = registry.issue_token("otto", by=admin, endpoints=("taxi",))
    _flights(registry, who, folder)
    _taxi(registry, who, folder)
    _answer(app)
    (app.home / "run").mkdir(exist_ok=True)
    write_observed(app.home, observed())
    return Home(app, tokens)


def version(registry: Registry, folder: Path, number: int, *, author: Identity, model: str = "flights") -> Version:
    """A signed package, kept and registered as the model's next version."""
    place = folder / f"{model}-{number}"
    flights_like(place, name=model)
    (place / MANIFEST).write_bytes(encode(_told(read_manifest(place), number)))
    sign_folder(place, load_or_create_package_key(registry.home.keys))
    package = keep_package(place, registry.packages, registry.state())
    made = Version(
        model=model,
        version=number,
        digest=package.digest,
        author=author.name,
        created_at=time.time() - 86400 * (5 - number),
        engine="onnxruntime",
        parent=f"{model}@{number - 1}" if number > 1 else "",
        datasets=package.manifest.datasets,
    )
    for dataset in made.datasets:
        put(registry, "dataset.registered", dataset, by=author)
    put(registry, "version.registered", made, by=author)
    return made


def verdict(registry: Registry, made: Version, outcome: str, *, by: Identity) -> Verdict:
    """A verdict with its report kept."""
    found = Verdict(
        model=made.model,
        version=made.version,
        digest=made.digest,
        outcome=outcome,  # type: ignore[arg-type]
        findings=_findings(outcome),
        policy=POLICY,
        datasets=made.datasets,
        champion=f"{made.model}@{made.version - 1}" if made.version > 1 else "",
        at=time.time() - 3600,
        seconds=4.2,
    )
    manifest = read_manifest(registry.packages.path(made.digest))
    report = registry.reports.put_bytes(render(found, manifest).encode(), suffix=".html")
    found = msgspec.structs.replace(found, report=report)
    put(registry, "verdict.given", found, by=by)
    return found


def _flights(registry: Registry, who: dict[str, Identity], folder: Path) -> None:
    otto, anna, system = who["otto"], who["anna"], registry.system()
    made = [version(registry, folder, number, author=otto) for number in (1, 2, 3, 4)]
    for one in made:
        verdict(registry, one, "pass", by=otto)
    for one in made[:3]:
        _approve(registry, one, anna)
    variants = [Variant(name="stable", model="flights", version=v.version, digest=v.digest) for v in made]
    _release(registry, otto, 1, (variants[0],), "first release")
    _settle(registry, system, 1, "live", (variants[0],))
    put(registry, "alias.moved", AliasMove(model="flights", alias="champion", version=1), by=otto)
    broken = (_part(variants[0], "stable", 0.9), _part(variants[1], "canary", 0.1))
    _release(registry, otto, 2, broken, "retrained on May", strategy="canary")
    reason = "errors: e-value 214 reached its threshold of 100 after 312 units"
    _settle(registry, system, 2, "rolled_back", (variants[0],), reason)
    shifting = (_part(variants[0], "stable", 0.5), _part(variants[2], "canary", 0.5))
    _release(registry, otto, 3, (_part(variants[0], "stable", 0.9), _part(variants[2], "canary", 0.1)), "retrained")
    step = Step(
        endpoint="flights", revision=3, phase="warming", variants=(variants[0],), reason="loading beside flights@1"
    )
    put(registry, "release.stepped", msgspec.structs.replace(step, at=MAY), by=system)
    for share, day, units in ((0.1, 1, 118), (0.5, 6, 1240)):
        parts = (_part(variants[0], "stable", 1 - share), _part(variants[2], "canary", share))
        step = Step(
            endpoint="flights",
            revision=3,
            phase="shifting",
            variants=parts,
            reason=f"{units} units and nothing against it: share to {share:.0%}",
            measured={"units": units, "error": 0.4, "latency": 1.2},
            at=MAY + day * 86400,
        )
        put(registry, "release.stepped", step, by=system)
    assert shifting
    for incident in _incidents():
        put(registry, "incident.opened", msgspec.structs.replace(incident, closed_at=0.0), by=system)
        if incident.closed_at:
            put(registry, "incident.closed", incident, by=system)
    proposal = Proposal(
        endpoint="flights",
        action="retrain",
        reason="log loss rose by 0.021 against the reference; outcomes of 12,400 predictions are there",
        evidence={"e_value": 48.2, "outcomes": 12400},
        at=MAY + 60 * 86400,
    )
    put(registry, "proposal.made", proposal, by=system)


def _answer(app: App) -> None:
    """One answered request of two rows, as a worker writes it, and the truth about its first row."""
    made = Exchange(
        id=ANSWERED,
        endpoint="flights",
        release=3,
        model="flights",
        version=3,
        variant="canary",
        share=0.5,
        key="N14228",
        event_time=MAY + 3600,
        received_at=time.time(),
        latency_s=0.00071,
        code="ok",
        rows=2,
        inputs={"distance": [1400.0, 229.0], "carrier": ["UA", "B6"], "delay": [12.0, 0.0]},
        outputs={"label": ["late", "on time"], "probabilities": [[0.31, 0.69], [0.88, 0.12]]},
    )
    journal = Journal(app.home / "log" / "journal", "worker-0")
    journal.append(payload(made))
    journal.close()
    record_outcomes(
        app, "flights", [Outcome(prediction=f"{ANSWERED}.0", value="late", at=MAY + 9000, source="airline")]
    )


def _taxi(registry: Registry, who: dict[str, Identity], folder: Path) -> None:
    made = version(registry, folder, 1, author=who["otto"], model="taxi")
    verdict(registry, made, "refuse", by=who["otto"])


def _approve(registry: Registry, made: Version, anna: Identity) -> None:
    approval = Approval(
        model=made.model,
        version=made.version,
        digest=made.digest,
        role="approver",
        by=anna.name,
        comment="read the report",
    )
    put(registry, "approval.given", approval, by=anna)


def _part(variant: Variant, name: str, share: float) -> Variant:
    return msgspec.structs.replace(variant, name=name, share=share)


def _release(
    registry: Registry,
    by: Identity,
    revision: int,
    variants: tuple[Variant, ...],
    reason: str,
    strategy: str = "canary",
) -> None:
    release = Release(
        endpoint="flights",
        revision=revision,
        variants=variants,
        strategy=strategy if revision > 1 else "at-once",
        previous=1 if revision > 1 else 0,
        reason=reason,
        by=by.name,
        at=time.time() - 86400 / revision,
    )
    put(registry, "release.requested", release, by=by)


def _settle(
    registry: Registry, by: Identity, revision: int, outcome: str, variants: tuple[Variant, ...], reason: str = ""
) -> None:
    at = MAY - 86400 * (10 - revision)
    step = Step(endpoint="flights", revision=revision, phase=outcome, variants=variants, reason=reason, at=at)  # type: ignore[arg-type]
    put(registry, "release.stepped", step, by=by)
    settled = Settled(endpoint="flights", revision=revision, outcome=outcome, reason=reason, at=at)  # type: ignore[arg-type]
    put(registry, "release.settled", settled, by=by)


def _told(manifest: Manifest, number: int) -> Manifest:
    parity = Parity(rows=1440, threshold_rows=400, label_flips=0, max_error=3.2e-7, tolerance=1e-5, passed=True)
    datasets = (
        Dataset(name="flights-train", digest=f"sha256:{number:064x}", rows=81_204, role="train"),
        Dataset(name="flights-validation", digest=f"sha256:{number + 90:064x}", rows=20_117, role="validation"),
    )
    return msgspec.structs.replace(
        manifest,
        parity=parity,
        datasets=datasets,
        lock_digest="sha256:" + "4f" * 32,
        created_at=time.time() - 86400 * (5 - number),
        builder="penstock 0.1.0",
        parameters={
            "learning_rate": 0.08,
            "max_leaf_nodes": 31,
            "owner": "operations",
            "intended use": "delay at gate",
        },
        source={"commit": "9f1c2ab4de77", "repository": "flights-model"},
    )


def _findings(outcome: str) -> tuple[Finding, ...]:
    return (
        Finding(
            check="quality",
            title="Is it good enough?",
            outcome=outcome,  # type: ignore[arg-type]
            message="AUC 0.742 (0.735 to 0.749), floor 0.70; the champion has 0.731.",
            remedy="" if outcome == "pass" else "Train on more days, or lower the floor in the policy with a reason.",
            measured={"auc": 0.742, "auc_low": 0.735, "auc_high": 0.749, "rows": 20117},
            limits={"floor": 0.70},
        ),
        Finding(
            check="generalization",
            title="Does it hold on days it has not seen?",
            outcome="pass",
            message="The gap from training to validation is 0.012; a random holdout shows 0.11 too much.",
            measured={"gap": 0.012, "leak": 0.11},
            limits={"gap": 0.05},
        ),
        Finding(
            check="robustness",
            title="Does noise change its mind?",
            outcome="unknown",
            blocking=False,
            message="Not shown: there are too few rows with missing values (41 of 200 needed).",
            remedy="Give a larger validation file.",
        ),
        Finding(check="latency", title="Is it fast enough?", outcome="pass", message="p99 is 0.21 ms for one row."),
    )


def _incidents() -> tuple[Incident, ...]:
    calibration = Incident(
        endpoint="flights",
        cause="calibration",
        severity="page",
        title="Predicted delays are too high",
        effect="Where it says 40 %, 29 % were late: 3,120 answers since June 3 would flip at the threshold of 0.35.",
        guarantee="At most one false alarm in 20 years of weekly looks (e-detector, alpha 0.05).",
        closes="Two weekly windows in a row with calibration error below 0.03.",
        opened_at=MAY + 40 * 86400,
    )
    schema = Incident(
        endpoint="flights",
        cause="schema:temp",
        severity="ticket",
        title="The column temp is missing in 18 % of requests",
        effect="Those rows are answered by the median of training; estimated AUC falls by 0.004.",
        guarantee="A rule, not a test: it cannot be wrong about what arrived.",
        closes="One day with less than 5 % missing.",
        opened_at=MAY + 12 * 86400,
    )
    return (
        calibration,
        schema,
        msgspec.structs.replace(
            schema, cause="schema:wind", title="wind_gust changed its unit", closed_at=MAY + 20 * 86400
        ),
    )


def observed() -> Observed:
    """What the control plane would have written a moment ago."""
    rng = np.random.default_rng(3)
    now = time.time()
    wall = tuple(now - 240 + 2 * i for i in range(120))
    days = tuple(MAY + 86400 * 7 * i for i in range(14))
    events = tuple(MAY + 3600 * 6 * i for i in range(60))
    throughput = 900 + 180 * np.sin(np.arange(120) / 9) + rng.normal(0, 30, 120)
    error = np.exp(np.cumsum(rng.normal(-0.01, 0.25, 60)))
    latency = np.exp(np.cumsum(rng.normal(-0.03, 0.2, 60)))
    loss = np.exp(np.cumsum(rng.normal(0.05, 0.22, 60)))
    view = EndpointView(
        endpoint="flights",
        release=3,
        watermark=MAY + 90 * 86400,
        requests=183_412,
        rows=190_220,
        errors=37,
        outcomes=120_331,
        p50_s=0.00062,
        p99_s=0.0031,
        throughput=Series(at=wall, values=tuple(map(float, throughput))),
        latency=Series(at=wall, values=tuple(map(float, 0.003 + 0.0006 * rng.random(120)))),
        error_rate=Series(at=wall, values=tuple(map(float, 0.0004 * rng.random(120)))),
        variants=(
            VariantView(
                name="stable",
                model="flights",
                version=1,
                share=0.5,
                requests=171_000,
                errors=31,
                p50_s=0.0006,
                p99_s=0.003,
            ),
            VariantView(
                name="canary",
                model="flights",
                version=3,
                share=0.5,
                requests=12_412,
                errors=6,
                p50_s=0.0006,
                p99_s=0.0032,
            ),
        ),
        measurements=tuple(
            Measurement(
                endpoint="flights",
                release=3,
                test=test,
                against=against,
                supporting=supporting,
                threshold=100.0,
                units={"stable": 1310, "canary": 1240},
                failures={"stable": 12, "canary": 11},
                requests={"stable": 13_400, "canary": 12_412},
                event_time=MAY + 15 * 86400,
            )
            for test, against, supporting in (
                ("error", float(error[-1]), 14.2),
                ("latency", float(latency[-1]), 88.0),
                ("outcome_loss", float(loss[-1]), 3.1),
            )
        ),
        evidence={
            "error": Series(at=events, values=tuple(map(float, error))),
            "latency": Series(at=events, values=tuple(map(float, latency))),
            "outcome_loss": Series(at=events, values=tuple(map(float, loss))),
        },
        drift=tuple(
            ColumnDrift(column=name, psi=psi, limit=limit, moved=psi > limit, importance=weight)
            for name, psi, limit, weight in (
                ("temp", 0.41, 0.12, 0.18),
                ("dep_delay", 0.021, 0.035, 0.52),
                ("distance", 0.004, 0.02, 0.08),
                ("carrier", 0.012, 0.03, 0.05),
                ("wind_speed", 0.061, 0.055, 0.04),
                ("visib", 0.0, 0.04, 0.02),
                ("seats_of_the_plane_type", 0.008, 0.05, 0.02),
            )
        ),
        quality=tuple(
            QualityPoint(
                at=at,
                rows=6000,
                metric="auc",
                estimated=0.742 - 0.002 * i,
                estimated_low=0.730 - 0.002 * i,
                estimated_high=0.754 - 0.002 * i,
                realised=None if i > 10 else 0.741 - 0.0035 * i + 0.006 * math.sin(i),
                realised_low=None if i > 10 else 0.729 - 0.0035 * i + 0.006 * math.sin(i),
                realised_high=None if i > 10 else 0.753 - 0.0035 * i + 0.006 * math.sin(i),
                valid=i < 9,
            )
            for i, at in enumerate(days)
        ),
        calibration=tuple(
            CalibrationPoint(predicted=p, observed=max(0.0, p - 0.25 * p * (1 - p)), count=int(9000 * math.exp(-3 * p)))
            for p in (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95)
        ),
        assumption="the relation between inputs and delays is that of January to April; only the flights changed",
    )
    return Observed(at=now, url="http://127.0.0.1:8471", workers=2, workers_ready=2, endpoints={"flights": view})


class Server:
    """A web server on a free port, in a thread; its address is `url`."""

    def __init__(self, web: FastAPI) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(uvicorn.Config(web, log_level="warning"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)

    def start(self) -> None:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)


def acting(app: App, name: str) -> App:
    """The same home in somebody else's hands."""
    record = app.state().identities[name]
    return replace(app, identity=Identity(name=record.name, roles=record.roles))
