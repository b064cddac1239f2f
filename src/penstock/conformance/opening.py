"""A conformance kit opened: the server reached, and what it says of itself and of the model read.

Comes in: `KitOptions`. Goes out: a `Kit`. A server that cannot be reached, or has no such model, is an error here:
there is nothing to judge.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.adapters import load
from penstock.conformance.case import Asked
from penstock.conformance.kit import Kit, KitOptions, ServerSaid
from penstock.conformance.model import read_model
from penstock.conformance.samples import Sampler
from penstock.conformance.template import Filler
from penstock.conformance.transport import Sent, Transport, Unheard
from penstock.errors import BadConfig, NotFound, TargetFailed

MANY = 1_000_000
"""More rows than any case asks for."""


def open_kit(options: KitOptions) -> Kit:
    """Reach the server and read what it says of itself and of the model.

    Raises:
        BadConfig: An address is none, or grpcio is not installed.
        TargetFailed: Nobody answers there.
        NotFound: The server does not have the model, or does not say which it has.
    """
    transports: dict[str, Transport] = {}
    if options.url:
        if not options.url.startswith(("http://", "https://")):
            raise BadConfig("the address is no URL", "give http://HOST:PORT, or grpc://HOST:PORT", where="URL")
        transports["rest"] = load("transport", "rest")(options.url, options.token, options.timeout_s)
    if options.grpc:
        transports["grpc"] = load("transport", "grpc")(options.grpc, options.token, options.timeout_s)
    if not transports:
        raise BadConfig("no address is given", "penstock conformance http://HOST:PORT", where="URL")
    for name, transport in transports.items():
        _reach(transport, rest=name == "rest", where=options.url if name == "rest" else options.grpc)
    try:
        return _opened(transports, next(iter(transports)), options)
    except Unheard as why:
        raise TargetFailed(f"the server answers no metadata: {why}", "look at its log", where=options.url) from None


def _reach(transport: Transport, *, rest: bool, where: str) -> None:
    try:
        heard = transport.ask(Sent("GET /v2/health/live" if rest else "ServerLive"))
    except Unheard as why:
        raise TargetFailed(
            f"the server cannot be asked: {why}", "start it, or look at the address and its port", where=where
        ) from None
    if heard.status in (401, 403) or heard.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        raise NotFound("the server wants to know who asks", "give --token", where="token")


def _opened(transports: dict[str, Transport], first: str, options: KitOptions) -> Kit:
    rest = first == "rest"
    server = _server(_object(transports[first], Sent("GET /v2" if rest else "ServerMetadata")))
    name = options.model or _first_model(transports[first], rest=rest)
    heard = transports[first].ask(_about(name, "/v2/models/{model}", "ModelMetadata", rest=rest))
    if heard.refused:
        raise NotFound(
            f"the server says {heard.status or heard.code} to the metadata of the model",
            "give its name with --model, and load it",
            where="model",
        )
    try:
        said = heard.json()
    except ValueError:
        said = None
    most = min(options.most_rows, _most_rows(transports[first], server, name, rest=rest))
    return Kit(transports, server, read_model(name, said, rows=options.rows), options._replace(most_rows=most))


def _most_rows(transport: Transport, server: ServerSaid, name: str, *, rest: bool) -> int:
    """Rows that the model takes by its configuration, where the server has Triton's extension for that."""
    if "model_configuration" not in server.extensions:
        return MANY
    said = _answered(transport, _about(name, "/v2/models/{model}/config", "ModelConfig", rest=rest))
    config = said.get("config", said) if isinstance(said, Mapping) else {}
    most = config.get("max_batch_size") if isinstance(config, Mapping) else None
    return most if isinstance(most, int) and most > 0 else MANY


def _about(name: str, path: str, rpc: str, *, rest: bool) -> Sent:
    """A request about a model of which nothing is known but its name."""
    model = read_model(name, {})
    filler = Filler(model, Sampler(model, {}, 0))
    return filler.fill(Asked(path=path) if rest else Asked(rpc=rpc, message={"name": name}))


def _first_model(transport: Transport, *, rest: bool) -> str:
    """The first model that the repository index or the list of models names.

    Raises:
        NotFound: Neither does.
    """
    ways = [
        Sent("POST /v2/repository/index", {"content-type": "application/json"}, b"{}"),
        Sent("GET /v2/models"),
        Sent("GET /v1/models"),
    ]
    for sent in ways if rest else [Sent("RepositoryIndex")]:
        said = _answered(transport, sent)
        listed = said.get("models") if isinstance(said, Mapping) else said
        for one in listed if isinstance(listed, list) else []:
            name = one.get("name") if isinstance(one, Mapping) else one
            if isinstance(name, str) and name:
                return name
    raise NotFound("the server does not say which models it has", "name one with --model", where="model")


def _answered(transport: Transport, sent: Sent) -> object:
    """The answer's JSON; None where there is none, of whatever reason: the cases will say so."""
    try:
        heard = transport.ask(sent)
        return None if heard.refused else heard.json()
    except (Unheard, ValueError):
        return None


def _object(transport: Transport, sent: Sent) -> Mapping[str, object]:
    said = _answered(transport, sent)
    return said if isinstance(said, Mapping) else {}


def _server(said: Mapping[str, object]) -> ServerSaid:
    extensions = said.get("extensions")
    named = tuple(one for one in extensions if isinstance(one, str)) if isinstance(extensions, list) else ()
    return ServerSaid(str(said.get("name", "")), str(said.get("version", "")), named)
