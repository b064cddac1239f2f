"""A home with two real versions of one model, and a reconciler over it as the control plane wires one."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from chain_for_tests import people, put, verdict, version
from packages_for_tests import linear_package
from penstock.build.sign import sign_folder
from penstock.log.tail import Tail
from penstock.packages.keys import load_or_create_package_key
from penstock.records import Exchange, Guards, Record, Release
from penstock.registry.grants import grants
from penstock.registry.registry import Registry
from penstock.registry.trust import keep_package
from penstock.release.guards import Watch
from penstock.release.reconcile import Evidence, Reconciler, Turn
from penstock.release.target import Target
from penstock.release.targets.local import LocalTarget
from penstock.release.wishes import ReleaseWish, request_release, request_rollback


class Home:
    """A registry with versions 1, 2, ... of ``m``, each a linear model of its own bias; ``ann`` releases."""

    def __init__(self, folder: Path, *biases: float) -> None:
        self.folder = folder
        self.registry = Registry.open(folder)
        self.who = people(self.registry)
        self.digests: list[str] = []
        key = load_or_create_package_key(self.registry.home.keys)
        for number, bias in enumerate(biases, 1):
            place = folder.parent / f"{folder.name}-package-{number}"
            linear_package(place, bias=bias, name="m")
            sign_folder(place, key)
            digest = keep_package(place, self.registry.packages, self.registry.state()).digest
            self.digests.append(digest)
            put(self.registry, "version.registered", version(number, digest=digest), by=self.who["ann"])
            put(self.registry, "verdict.given", verdict(number, digest=digest), by=self.who["ann"])

    def wish(self, number: int, strategy: str = "at-once", **guards: object) -> Release:
        wish = ReleaseWish(
            ref=f"m@{number}", endpoint="e", by="ann", at=time.time(), strategy=strategy, guards=Guards(**guards)
        )  # type: ignore[arg-type]
        release = request_release(self.registry.state(), wish)
        put(self.registry, "release.requested", release, by=self.who["ann"])
        return release

    def roll_back(self, to: int = 0) -> Release:
        release = request_rollback(self.registry.state(), "e", by="ann", at=time.time(), to=to)
        put(self.registry, "rollback.requested", release, by=self.who["ann"])
        return release

    def append(self, kind: str, subject: str, record: Record, expect: int | None) -> object:
        return self.registry.append(kind, subject, record, by=self.who["penstock"], expect=expect)


class Control:
    """What the control plane does, without its process: reads the log, turns the loop."""

    def __init__(self, home: Home, target: Target, *, append: Callable[..., object] | None = None) -> None:
        self.home = home
        self.target = target
        self._tail = Tail(home.folder / "log" / "journal", Exchange)
        self._seen: list[Exchange] = []
        self._watches: dict[int, Watch] = {}
        self.reconciler = Reconciler(
            target,
            state=home.registry.state,
            append=append or home.append,
            place=home.registry.packages.path,
            grants=lambda state: grants(state, 0.0),
            evidence=self._evidence,
        )

    def _evidence(self, release: Release) -> Evidence:
        watch = self._watches.get(release.revision)
        if watch is None:
            watch = self._watches[release.revision] = Watch(release)
            watch.see(self._seen)
        return Evidence(watch.measurements(), watch.event_time)

    def turn(self) -> list[Turn]:
        fresh = self._tail.read()
        self._seen += fresh
        for watch in self._watches.values():
            watch.see(fresh)
        return self.reconciler.turn()

    def until(self, done: Callable[[], bool], *, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"it did not come: {self.turn()}"
            self.turn()
            time.sleep(0.02)

    def ended(self, revision: int) -> Callable[[], bool]:
        return lambda: revision in self.home.registry.state().endpoint("e").settled

    def phase(self) -> str:
        return self.home.registry.state().endpoint("e").steps[-1].phase


class Client(threading.Thread):
    """Asks the endpoint until it is told to stop; keeps each answer's version and what went wrong."""

    def __init__(self, url: str, *, keys: int = 500, seed: int = 0) -> None:
        super().__init__(daemon=True)
        self._address = urlsplit(url).netloc
        self._keys = keys
        self._chance = random.Random(seed)
        self.versions: list[str] = []
        self.failed: list[str] = []
        self._over = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        while not self._over.is_set():
            self.ask(connection)
        connection.close()

    def ask(self, connection: http.client.HTTPConnection) -> None:
        data = [self._chance.gauss(0.0, 2.0) for _ in range(4)]
        body = json.dumps({"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": data}]})
        headers = {"x-routing-key": f"k{self._chance.randrange(self._keys)}"}
        try:
            connection.request("POST", "/v2/models/e/infer", body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.failed.append(repr(error))
            connection.close()
            return
        if answer.status == 200:
            self.versions.append(answer.getheader("x-model-version") or "")
        else:
            self.failed.append(f"{answer.status} {text!r}")

    def stop(self) -> None:
        self._over.set()
        self.join(10)


def local(home: Home, *, workers: int = 2) -> LocalTarget:
    return LocalTarget(home.folder, workers=workers, options=("--spares", "0"))
