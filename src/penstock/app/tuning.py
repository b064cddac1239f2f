"""Find by measurement how an endpoint should be served, and release it so.

endpoint -> its package -> tuning.tune (a data plane of its own) -> Tuned -> a release revision with those settings
"""

from __future__ import annotations

from msgspec.structs import replace

from penstock.access.identities import require
from penstock.access.permissions import READ, RELEASE
from penstock.app.app import App
from penstock.app.plane import look
from penstock.app.releasing import ReleaseRequest, release
from penstock.errors import Conflict, NotReady
from penstock.packages.keyring import TRUSTED
from penstock.records import Record, Release
from penstock.tuning.search import Tell
from penstock.tuning.settings import limits_with
from penstock.tuning.tune import Tuned, TuningGoal, tune

SHORT_S = 2.0
"""Time of load of the short form that a release may ask for; all of it takes about three times as long."""


class TuneRequest(Record, frozen=True, kw_only=True):
    """What is asked.

    Attributes:
        p99_s: 99 of 100 answers must come within; 0 takes the latency that the release's own guard calls too slow.
        seconds: Time of load.
    """

    p99_s: float = 0.0
    seconds: float = 30.0


def tune_endpoint(app: App, endpoint: str, request: TuneRequest, tell: Tell = lambda step: None) -> Tuned:
    """Measure the version that answers an endpoint, beside the data plane that does.

    Raises:
        NotFound: There is no such endpoint.
        NotReady: Nothing answers at it, or its model does not answer by one of the settings.
        Conflict: A rollout is under way: it would be disturbed, and what it tunes may be gone tomorrow.
    """
    require(app.identity, READ, endpoint=endpoint)
    stable = _standing(app, endpoint)
    order = TuningGoal(
        p99_s=request.p99_s or stable.guards.latency_s,
        seconds=request.seconds,
        limits=stable.limits,
        workers=app.config.serve.workers or len(look(app.home).workers),
    )
    return _tuned(app, stable.variants[0].digest, order, tell)


def tune_version(app: App, ref: str, request: TuneRequest, tell: Tell = lambda step: None) -> Tuned:
    """The same for a version that is about to be released.

    Raises:
        NotFound: There is no such version.
        NotReady: Its model does not answer by one of the settings.
    """
    order = TuningGoal(
        p99_s=request.p99_s or app.config.guards.latency_s,
        seconds=request.seconds,
        limits=app.config.limits,
        workers=app.config.serve.workers,
    )
    return _tuned(app, app.resolve(ref).version.digest, order, tell)


def tuned_wish(app: App, ref: str, wish: ReleaseRequest, tell: Tell = lambda step: None) -> ReleaseRequest:
    """The same wish with the settings that the short form of tuning chose for the version.

    It is not what every release does: a load of some seconds beside what answers is for people to ask for.
    """
    tuned = tune_version(app, ref, TuneRequest(seconds=SHORT_S), tell)
    return replace(wish, limits=limits_with(wish.limits or app.config.limits, tuned.chosen.setting))


def apply_tuned(app: App, endpoint: str, tuned: Tuned) -> Release:
    """Ask for a release of the same version with the chosen settings; guards, thresholds and monitors stay.

    Raises:
        Forbidden: The caller may not release, or the gate does not let the version pass any more.
        Conflict: Somebody else released to the endpoint meanwhile.
    """
    require(app.identity, RELEASE, endpoint=endpoint)
    stable = _standing(app, endpoint)
    request = ReleaseRequest(
        endpoint=endpoint,
        target=stable.target,
        guards=stable.guards,
        limits=limits_with(stable.limits, tuned.chosen.setting),
        reason=f"tuned: {tuned.chosen.setting.label}; {tuned.why}",
    )
    return release(app, stable.variants[0].ref, request)


def _standing(app: App, endpoint: str) -> Release:
    """The release that answers the endpoint alone."""
    found = app.state().endpoint(endpoint)
    stable, current = found.stable, found.current
    if stable is None:
        raise NotReady("nothing answers at this endpoint yet", "penstock status says how far its release is")
    if current is not None and current.revision not in found.settled:
        raise Conflict("a rollout is under way at this endpoint", "tune it when that has ended")
    return stable


def _tuned(app: App, digest: str, order: TuningGoal, tell: Tell) -> Tuned:
    return tune(
        app.open_package(digest),
        order,
        environments=app.home / "environments",
        keys=app.home / "keys" / TRUSTED,
        tell=tell,
    )
