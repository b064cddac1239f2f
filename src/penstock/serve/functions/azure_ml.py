"""Azure ML's inference server: what an exported ``score.py`` hands its requests to.

    AMLRequest (Flask's, ``@rawhttp``) -> Handler, as ``/score`` of the azureml dialect -> body, status, headers

The server writes the request ids and times of an answer itself, so they are left out here.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, cast

from penstock.serve.function import FunctionSettings, HttpRequest, lines_of, open_handler, open_settings
from penstock.serve.handler import Handler

_SCORE = "/score"
_OF_THE_SERVER = ("x-request-id", "x-ms-")


class ScoreAnswer(NamedTuple):
    """What an AMLResponse is made of.

    Attributes:
        failed: It was the model, or we, and not the caller.
    """

    body: bytes
    status: int
    headers: dict[str, str]
    failed: bool


class AzureMlFunction:
    """Answers requests.

    Args:
        handler: Answers.
        settings: Of the function; Azure ML has no events.
    """

    def __init__(self, handler: Handler, settings: FunctionSettings) -> None:
        self.handler = handler
        self._path = settings.path or _SCORE

    def __call__(self, event: object, context: object = None) -> ScoreAnswer:
        """The answer to a request.

        Args:
            event: The request.
            context: There is none.
        """
        request = cast("HttpRequest", event)
        query = request.query_string.decode("latin-1")
        target = f"{self._path}?{query}" if query else self._path
        reply = self.handler.ask(request.method, target, request.headers.items(), request.get_data())
        # The server takes names as they are written, and this one to leave its own out.
        names = {"content-type": "Content-Type"}
        lines = {names.get(k, k): v for k, v in lines_of(reply) if not k.startswith(_OF_THE_SERVER)}
        return ScoreAnswer(reply.body, reply.status, lines, reply.status >= 500)


def open_function(folder: Path, *, digest: str = "", version: int = 1) -> AzureMlFunction:
    """The function.

    Args:
        folder: The model's, ``AZUREML_MODEL_DIR``, with the package in it.
        digest: The package that it has to be; empty takes any.
        version: As answers say it.

    Raises:
        PenstockError: See `penstock.serve.function.open_handler`; the server does not start.
    """
    return AzureMlFunction(open_handler(folder, digest=digest, version=version), open_settings())
