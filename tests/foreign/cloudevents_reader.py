"""Reads events with the CloudEvents SDK, in an environment that has it: ``[[headers, body], ...]`` to what it saw."""

import json
import sys

from cloudevents.http import from_http

found = []
for headers, body in json.load(sys.stdin):
    event = from_http(headers, body.encode())
    found.append({"attributes": dict(event.get_attributes()), "data": event.get_data()})
print(json.dumps(found))
