"""What AWS Lambda's events ask for, form by form; the runtime's own client asks in tests/foreign."""

from __future__ import annotations

import base64
import json

import pytest

from penstock.errors import InvalidInput
from penstock.serve.calls import Reply
from penstock.serve.lambdaevents import HttpEvent, event_records, http_answer, http_event

REST = {"httpMethod": "GET", "path": "/v2/models/a b", "requestContext": {"stage": "prod"}}
HTTP = {"version": "2.0", "rawPath": "/v2", "requestContext": {"http": {"method": "GET"}, "stage": "$default"}}
ELB = {"requestContext": {"elb": {}}}


def of(event: dict) -> HttpEvent:
    found = http_event(event)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("event", "target"),
    [
        (REST, "/v2/models/a%20b"),
        (REST | {"path": "/v2/models/a%20b"}, "/v2/models/a%20b"),
        (REST | {"queryStringParameters": {"a": "1 &2"}}, "/v2/models/a%20b?a=1+%262"),
        (REST | {"queryStringParameters": {"a": "2"}, "multiValueQueryStringParameters": {"a": ["1", "2"]}},
         "/v2/models/a%20b?a=1&a=2"),
        (REST | ELB | {"path": "/v2/a%20b", "queryStringParameters": {"a": "1%20%26"}}, "/v2/a%20b?a=1%20%26"),
        (HTTP | {"rawQueryString": "a=1%202"}, "/v2?a=1%202"),
        (HTTP | {"rawPath": "/live/v2", "requestContext": {"http": {"method": "GET"}, "stage": "live"}}, "/v2"),
        (HTTP | {"rawPath": "/lively/v2", "requestContext": {"http": {"method": "GET"}, "stage": "live"}},
         "/lively/v2"),
    ],
)  # fmt: skip
def test_where_an_event_goes(event: dict, target: str) -> None:
    assert of(event).target == target


def test_headers_of_one_name_and_cookies_come_through() -> None:
    assert of(REST | {"multiValueHeaders": {"A": ["1", "2"]}, "headers": {"A": "2"}}).headers == (
        ("A", "1"),
        ("A", "2"),
    )
    assert of(HTTP | {"headers": {"a": "1"}, "cookies": ["x=1", "y=2"]}).headers == (("a", "1"), ("cookie", "x=1; y=2"))
    assert of(REST | {"headers": None, "multiValueHeaders": None}).headers == ()


def test_bodies_are_bytes_whatever_they_came_as() -> None:
    assert of(REST | {"body": "ü"}).body == "ü".encode()
    assert of(REST | {"body": None}).body == b""
    assert of(HTTP | {"body": base64.b64encode(b"\xff\0").decode(), "isBase64Encoded": True}).body == b"\xff\0"
    with pytest.raises(InvalidInput):
        http_event(HTTP | {"body": "%", "isBase64Encoded": True})


@pytest.mark.parametrize("event", [{}, {"instances": [[1]]}, {"path": "/"}, {"requestContext": 3}, {"Records": []}])
def test_what_is_none_of_them_is_none(event: dict) -> None:
    assert http_event(event) is None
    assert event_records(event) is None


@pytest.mark.parametrize(
    "records", [[{"eventSource": "aws:s3"}], [{"eventSource": "aws:sqs"}, {"eventSource": "?"}], [3]]
)
def test_a_batch_of_something_else_is_no_batch(records: list) -> None:
    assert event_records({"Records": records}) is None


def test_answers_are_text_where_they_are_and_base64_where_not() -> None:
    asked = of(REST)
    assert http_answer(asked, Reply(200, "ü".encode())) == {
        "statusCode": 200, "isBase64Encoded": False, "body": "ü", "headers": {"content-type": "application/json"},
    }  # fmt: skip
    raw = http_answer(asked, Reply(200, b"\xff", b"application/octet-stream", b"a: 1\r\na: 2\r\n"))
    assert (raw["isBase64Encoded"], base64.b64decode(raw["body"])) == (True, b"\xff")
    assert raw["multiValueHeaders"]["a"] == ["1", "2"]
    assert json.dumps(raw)
    assert http_answer(of(HTTP), Reply(200, b"", headers=b"a: 1\r\na: 2\r\n"))["headers"]["a"] == "1,2"
    assert http_answer(of(REST | ELB), Reply(299))["statusDescription"] == "299 Other"
