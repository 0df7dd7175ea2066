"""The official CloudEvents SDK for Python as a client of the bus and as a target, unconfigured.

Posts events made by the SDK to `POST /`, parses with the SDK what the bus delivers to targets in
binary and structured mode, and compares every attribute and the data.

Usage: python_sdk.py BUS_URL RECEIVER_PORT
"""

import http.client
import json
import sys
import threading
import urllib.parse
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_http_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

WAIT_SECONDS = 30
OUT_MODES = ("binary", "structured")

passed = 0
failures = []


def check(name, holds, detail=""):
    global passed
    if holds:
        passed += 1
    else:
        failures.append(f"{name}: {detail}")


class Inbox:
    """What came, by (mode, id)."""

    def __init__(self):
        self.events = {}
        self.problems = []
        self.changed = threading.Condition()

    def put(self, mode, event):
        with self.changed:
            self.events.setdefault((mode, event.get_id()), event)
            self.changed.notify_all()

    def problem(self, text):
        with self.changed:
            self.problems.append(text)

    def take(self, mode, event_id):
        with self.changed:
            self.changed.wait_for(lambda: (mode, event_id) in self.events, WAIT_SECONDS)
            return self.events.get((mode, event_id))


inbox = Inbox()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        mode = self.path.strip("/")
        try:
            inbox.put(mode, from_http_event(HTTPMessage(dict(self.headers), body)))
            status = 204
        except Exception as error:  # whatever the SDK throws is a finding
            inbox.problem(f"{mode}: the SDK refuses {dict(self.headers)} {body!r}: {error!r}")
            status = 400
        self.send_response(status)
        self.end_headers()

    def log_message(self, *args):
        pass


def post(url, message):
    """Sends exactly the SDK's headers and body."""
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=WAIT_SECONDS)
    connection.request("POST", "/", message.body, dict(message.headers))
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def cases():
    """(name, attributes, data); the ids are set for each sending."""
    plus_two = timezone(timedelta(hours=2))
    yield "no data", {}, None
    yield "JSON", {"datacontenttype": "application/json"}, {
        "message": "Grüße, 世界 ✓ \U0001f680",
        "nested": {"list": [1, 2.5, None, True], "empty": {}},
    }
    yield "JSON without a type", {}, {"total": 120}
    yield "JSON of a +json type", {"datacontenttype": "application/vnd.example+json; v=1"}, {"a": [1]}
    yield "text", {"datacontenttype": "text/plain"}, "Grüße, 世界 ✓\r\nsecond line \"quoted\""
    yield "text of another type", {"datacontenttype": "text/xml; charset=utf-8"}, "<a>ü</a>"
    yield "bytes", {"datacontenttype": "application/octet-stream"}, bytes(range(256))
    yield "every attribute", {
        "datacontenttype": "application/json",
        "dataschema": "https://example.com/schemas/order#v1",
        "subject": 'Zürich ☂ 100% of "quoted" \\ 50%25 \U0001f680',
        "time": datetime(2024, 2, 29, 23, 59, 59, 123456, timezone.utc),
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "partitionkey": "Müller & Söhne; a=b, c",
        "number": -2147483648,
        "truth": True,
        "lie": False,
    }, {"ok": True}
    yield "another time zone", {"time": datetime(2024, 7, 1, 12, 0, 0, 0, plus_two)}, {"ok": True}


def expected(attributes, data, sent_as, received_as):
    """The attributes as this SDK reads them after the way through the bus."""
    result = {}
    for name, value in attributes.items():
        if not isinstance(value, (str, datetime)):
            # Headers carry text only. The SDK writes Python's `True`, the bus the standard's `true`.
            if sent_as == "binary":
                value = str(value)
            elif received_as == "binary":
                value = json.dumps(value)
        result[name] = value
    typeless_json = "datacontenttype" not in attributes and isinstance(data, dict)
    if typeless_json and sent_as != "binary" and received_as == "binary":
        result["datacontenttype"] = "application/json"
    return result


def same_data(got, wanted):
    if isinstance(got, (bytes, str)) and isinstance(wanted, dict):
        # The SDK leaves data without a type as it came.
        return json.loads(got) == wanted
    if isinstance(got, bytes) and isinstance(wanted, str):
        return got.decode() == wanted
    return got == wanted


def main():
    bus, port = sys.argv[1], int(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    sent = []
    for sent_as in ("binary", "structured", "batch"):
        batch = []
        for index, (name, attributes, data) in enumerate(cases()):
            attributes = {
                "id": f"python-{sent_as}-{index}-ü",
                "source": f"/python/{sent_as}",
                "type": "com.example.interop",
                "specversion": "1.0",
                "time": datetime(2024, 1, 1, tzinfo=timezone.utc),
                **attributes,
            }
            event = CloudEvent(dict(attributes), data)
            sent.append((name, sent_as, attributes, data))
            if sent_as == "batch":
                batch.append(event)
                continue
            make = to_binary_event if sent_as == "binary" else to_structured_event
            status, body = post(bus, make(event))
            accepted = status == 202 and json.loads(body)["accepted"][0]["id"] == attributes["id"]
            check(f"{name} posted as {sent_as}", accepted, f"{status} {body!r}")
        if batch:
            # The SDK has no batch mode; its events in the standard's array.
            body = b"[" + b",".join(JSONFormat().write(event) for event in batch) + b"]"
            headers = {"content-type": "application/cloudevents-batch+json"}
            status, answer = post(bus, HTTPMessage(headers, body))
            accepted = status == 202 and len(json.loads(answer)["accepted"]) == len(batch)
            check("a batch posted", accepted, f"{status} {answer!r}")

    for name, sent_as, attributes, data in sent:
        for received_as in OUT_MODES:
            place = f"{name}, sent {sent_as}, received {received_as}"
            event = inbox.take(received_as, attributes["id"])
            if event is None:
                check(place, False, "never came")
                continue
            wanted = expected(attributes, data, sent_as, received_as)
            got = event.get_attributes()
            check(f"{place}: attributes", got == wanted, f"{got} instead of {wanted}")
            got = event.get_data()
            check(f"{place}: data", same_data(got, data), f"{got!r} instead of {data!r}")
    check("every delivery parses", not inbox.problems, "\n  ".join(inbox.problems[:5]))
    server.shutdown()

    for failure in failures:
        print(f"FAILED {failure}")
    print(f"python: {passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
