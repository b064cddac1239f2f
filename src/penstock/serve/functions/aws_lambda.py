"""AWS Lambda: ``penstock.serve.functions.aws_lambda.handler`` is the function's handler.

    HTTP (REST v1, HTTP v2, function URL, load balancer) -> the same path on the server -> the sender's form of answer
    SQS, Kinesis, Kafka, SNS -> a prediction each -> delivered; ``batchItemFailures`` names what was not answered
    anything else            -> is the body; its answer is the answer's JSON, or an error of the invocation

Opening the package is part of the function's initialization; what must not be in a snapshot of it (SnapStart) is made
at the first event. Nothing is written outside the folder for temporary files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from penstock.errors import InvalidInput, ModelFailed, PenstockError, Refused, Unready
from penstock.serve.calls import Reply
from penstock.serve.function import FunctionSettings, event_path, open_handler, open_settings, without
from penstock.serve.handler import Handler
from penstock.serve.lambdaevents import EventRecord, HttpEvent, event_records, http_answer, http_event
from penstock.serve.refusals import refuse

RESERVE_S = 0.05
"""What is left of an invocation's time for its answer to get out."""
_JSON = (("content-type", "application/json"),)


class LambdaFunction:
    """Answers events.

    Args:
        handler: Answers.
        settings: Of the function.
    """

    def __init__(self, handler: Handler, settings: FunctionSettings) -> None:
        self.handler = handler
        self._settings = settings

    def __call__(self, event: object, context: object = None) -> object:
        """The answer to an event.

        Args:
            event: As the runtime decoded it.
            context: The invocation's; its deadline is kept and its id answered.

        Raises:
            PenstockError: The event is no HTTP request and cannot be answered: the invocation fails.
        """
        if isinstance(event, Mapping):
            records = event_records(event)
            if records is not None:
                return self._batch(records, context)
            try:
                asked = http_event(event)
            except InvalidInput as error:
                return http_answer(HttpEvent("rest", "", "", (), b""), refuse(error))
            if asked is not None:
                return http_answer(asked, self._http(asked, context))
        return self._direct(event, context)

    def _http(self, asked: HttpEvent, context: object) -> Reply:
        path, mark, query = asked.target.partition("?")
        target = without(path, self._settings.base) + mark + query
        reply = self.handler.ask(asked.method, target, asked.headers, asked.body, within_s=_left_s(context))
        request_id = str(getattr(context, "aws_request_id", ""))
        body = b"" if asked.method == "HEAD" else reply.body
        own = b"" if b"x-request-id:" in reply.headers or not request_id else _line("x-request-id", request_id)
        return msgspec.structs.replace(reply, body=body, headers=reply.headers + own)

    def _direct(self, event: object, context: object) -> object:
        """A payload that is the body: answered as it would be over HTTP, without HTTP around it."""
        try:
            body = event.encode() if isinstance(event, str) else msgspec.json.encode(event)
        except (TypeError, ValueError):
            raise InvalidInput("the event is no JSON", "send rows as JSON") from None
        return msgspec.json.decode(self._event(body, context).body)

    def _batch(self, records: tuple[EventRecord, ...], context: object) -> object:
        """Each record's answer is delivered.

        Raises:
            PenstockError: One failed, and its source is told of failures by the whole invocation's alone.
        """
        failures: list[dict[str, object]] = []
        for record in records:
            try:
                if record.body is None:
                    raise InvalidInput("the record is not the base64 that it should be")
                self._settings.deliver(self._event(record.body, context))
            except PenstockError:
                if record.name is None:
                    raise
                failures.append({"itemIdentifier": record.name})
        return {"batchItemFailures": failures}

    def _event(self, body: bytes, context: object) -> Reply:
        """The answer to a body that came without a path.

        Raises:
            PenstockError: It was refused or failed.
        """
        path = event_path(self.handler, self._settings, body)
        reply = self.handler.ask("POST", path, _JSON, body, within_s=_left_s(context))
        if reply.status >= 400:
            raise _failed(reply)
        return reply


def open_function(folder: Path, *, digest: str = "", version: int = 1) -> LambdaFunction:
    """The handler of a function.

    Args:
        folder: The function's, with the package beside it.
        digest: The package that it has to be; empty takes any.
        version: As answers say it.

    Raises:
        PenstockError: See `penstock.serve.function.open_handler`; the function's initialization fails.
    """
    return LambdaFunction(open_handler(folder, digest=digest, version=version), open_settings())


def _left_s(context: object) -> float:
    """What is left of the invocation, in seconds; 0 where there is no limit."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return max(float(remaining()) / 1e3 - RESERVE_S, 1e-6) if remaining is not None else 0.0


def _line(name: str, value: str) -> bytes:
    return f"{name}: {value}\r\n".encode("latin-1", "replace")


def _failed(reply: Reply) -> PenstockError:
    """A refusal as the error that it was, for the runtime to tell."""
    told = msgspec.json.decode(reply.body, type=dict[str, object])
    kind = Refused if reply.status < 500 else Unready if reply.status in (503, 504) else ModelFailed
    return kind(str(told.get("error") or told.get("message") or ""), code=str(told.get("code", "")))


def __getattr__(name: str) -> LambdaFunction:
    """``handler``, made when the runtime looks for it.

    Raises:
        AttributeError: It is another name.
    """
    if name != "handler":
        raise AttributeError(name)
    function = open_function(Path(os.environ.get("LAMBDA_TASK_ROOT") or Path.cwd()))
    globals()["handler"] = function
    return function
