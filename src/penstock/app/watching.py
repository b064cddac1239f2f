"""What runs, and how it does: the registry's wish, the data plane now, and what the control plane last counted."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.access.identities import require
from penstock.access.permissions import READ
from penstock.app.app import App
from penstock.app.keys import distrusted
from penstock.app.plane import look
from penstock.app.views import EndpointView, Observed, read_observed
from penstock.records import Incident, Record, Variant
from penstock.registry.state import EndpointState


class EndpointStatus(Record, frozen=True, kw_only=True):
    """One endpoint in a line: what answers, how much, how fast, and what is wrong.

    Attributes:
        distrusted: What answers though its signer is trusted no longer: it goes on from memory, and no worker that
            starts from now on loads it.
    """

    endpoint: str
    release: int
    phase: str
    strategy: str
    variants: tuple[Variant, ...] = ()
    url: str = ""
    requests: int = 0
    errors: int = 0
    p50_s: float = 0.0
    p99_s: float = 0.0
    incidents: tuple[Incident, ...] = ()
    distrusted: tuple[str, ...] = ()


class Status(Record, frozen=True, kw_only=True):
    """Every endpoint of a home, and the data plane under them."""

    endpoints: tuple[EndpointStatus, ...] = ()
    url: str = ""
    grpc: str = ""
    workers: int = 0
    workers_ready: int = 0
    observed_at: float = 0.0

    @property
    def summary(self) -> str:
        """The data plane in a sentence."""
        if not self.url:
            return "no data plane is running"
        places = f"{self.url}, grpc {self.grpc}" if self.grpc else self.url
        return f"{places}: {self.workers_ready} of {self.workers} workers ready"


def status(app: App) -> Status:
    """Every endpoint's release, phase, variants, traffic and open incidents."""
    require(app.identity, READ)
    observed, plane, lost = read_observed(app.home), look(app.home), distrusted(app)
    lines = (_line(name, one, observed, plane.url) for name, one in sorted(app.state().endpoints.items()))
    return Status(
        endpoints=tuple(replace(line, distrusted=lost.get(line.endpoint, ())) for line in lines),
        url=plane.url,
        grpc=plane.grpc,
        workers=len(plane.workers),
        workers_ready=sum(not worker.draining for worker in plane.workers),
        observed_at=observed.at,
    )


def phase_of(endpoint: EndpointState) -> str:
    """Where the latest release stands: ``requested`` until its first step."""
    release = endpoint.current
    if release is None:
        return "empty"
    settled = endpoint.settled.get(release.revision)
    if settled is not None:
        return settled.outcome
    steps = endpoint.steps_of(release.revision)
    return steps[-1].phase if steps else "requested"


def _line(name: str, endpoint: EndpointState, observed: Observed, url: str) -> EndpointStatus:
    """One endpoint's line."""
    view = observed.endpoints.get(name, EndpointView(endpoint=name, release=0))
    release = endpoint.current
    return EndpointStatus(
        endpoint=name,
        release=release.revision if release else 0,
        phase=phase_of(endpoint),
        strategy=release.strategy if release else "",
        variants=endpoint.live,
        url=f"{url}/v2/models/{name}/infer" if url else "",
        requests=view.requests,
        errors=view.errors,
        p50_s=view.p50_s,
        p99_s=view.p99_s,
        incidents=tuple(endpoint.open_incidents().values()),
    )


def drift(app: App, endpoint: str) -> EndpointView:
    """What moved at an endpoint, by the last windows that closed.

    Raises:
        NotFound: There is no such endpoint.
    """
    require(app.identity, READ)
    app.state().endpoint(endpoint)
    return read_observed(app.home).endpoints.get(endpoint, EndpointView(endpoint=endpoint, release=0))
