"""Asks with the CloudEvents SDK, in an environment that has it: ``cloudevents_client.py URL ROW``.

Prints one JSON object: the event that each mode was answered with.
"""

import json
import sys

import httpx
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent, from_http


def main(url: str, row: dict[str, object]) -> None:
    told = {}
    asked = {"type": "org.example.request", "source": "/example", "id": "mine"}
    for mode, written in (("binary", to_binary), ("structured", to_structured)):
        headers, body = written(CloudEvent(asked, {"instances": [row]}))
        answer = httpx.post(url, headers=headers, content=body)
        event = from_http(dict(answer.headers), answer.content)
        kind = answer.headers["content-type"]
        told[mode] = {**event.get_attributes(), "data": event.get_data(), "kind": kind, "status": answer.status_code}
    # The binding does not ask for a time.
    envelope = {**asked, "specversion": "1.0", "datacontenttype": "application/json", "data": {"instances": [row]}}
    answer = httpx.post(url, headers={"content-type": "application/cloudevents+json"}, content=json.dumps(envelope))
    told["without time"] = {"data": from_http(dict(answer.headers), answer.content).get_data()}
    print(json.dumps(told))


main(sys.argv[1], json.loads(sys.argv[2]))
