"""A bus before a real Prometheus: every query of the dashboard finds something, and alerts fire and end.

Usage: prometheus.py PATH_OF_THE_EVENTYARD_BINARY
Needs prometheus and openssl in the PATH, and nothing but Python's standard library. Thresholds and
times of the alerts are made shorter in a copy; their queries stay as they are.
"""

import contextlib
import http.client
import json
import math
import os
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import asking

DOCKER = Path(__file__).resolve().parents[2] / "docker"
WAIT_SECONDS = 60
# Of rates and increases, in the place of five minutes and more.
RANGE = "6s"
# What takes long to come about, or a machine in distress.
THRESHOLDS = {
    "oldest_pending_seconds > 900": "oldest_pending_seconds > 3",
    "stopped_since_seconds > 86400": "stopped_since_seconds > 2",
    "free_bytes < 1073741824": "free_bytes < 1e18",
    "))) > 0.5": "))) > 0.000001",
    "))) > 0.2": "))) > 0.000001",
    "router_lag > 50000": "router_lag >= 0",
    "view_lag > 200000": "view_lag >= 0",
}
# Of a bus that is well, with those thresholds.
LASTING = {
    "EventyardCertificateEnds", "EventyardDiskFillsUp", "EventyardPublishSlow",
    "EventyardFlushSlow", "EventyardRoutingBehind", "EventyardViewBehind",
}


def wait_for(what, ask):
    """Asks until nothing is missing any more; `ask` gives what still is."""
    deadline = time.monotonic() + WAIT_SECONDS
    while missing := ask():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: {missing}")
        time.sleep(0.25)


class Receiver:
    """Answers with the status that the path names; from `mend` on, with 204."""

    def __init__(self):
        self.mended = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(204 if receiver.mended else int(self.path[1:]))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 100

            def handle_error(self, request, client_address):
                """A bus that stops breaks its connections."""

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, status):
        return f"http://127.0.0.1:{self.server.server_port}/{status}"


def certificate(work):
    """An authority, and a certificate of it that ends in five days."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=work, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-days", "30", "-subj", "/CN=authority",
            "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *key, "-subj", "/CN=bus", "-addext", "subjectAltName=IP:127.0.0.1",
            "-keyout", "bus.key", "-out", "bus.csr")
    openssl("x509", "-req", "-in", "bus.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "5",
            "-copy_extensions", "copy", "-out", "bus.pem")


class Bus:
    def __init__(self, binary, work):
        self.port = asking.free_port()
        self.key = secrets.token_hex(32)
        self.context = ssl.create_default_context(cafile=work / "ca.pem")
        command = [binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--access", "keys",
                   "--data-dir", "data", "--tls-cert-file", "bus.pem", "--tls-key-file", "bus.key",
                   "--targets-deny", "::1"]
        self.log = open(work / "bus.log", "wb")
        self.process = subprocess.Popen(
            command, cwd=work, stdout=self.log, stderr=self.log,
            env={**os.environ, "EVENTYARD_ROOT_KEY": self.key},
        )
        wait_for("the bus starts", lambda: self.ask("GET", "/readyz")[0] != 200)

    def ask(self, method, path, body=None, key=None, kind="application/json"):
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=10, context=self.context)
        headers = {"authorization": f"Bearer {key or self.key}", "content-type": kind}
        return asking.ask(connection, method, path, body and json.dumps(body), headers)

    def must(self, *request):
        status, body = self.ask(*request)
        if status is None or status >= 300:
            raise RuntimeError(f"{request}: {status} {body.decode()}")
        return json.loads(body or b"null")

    def put_rule(self, name, target):
        self.must("PUT", f"/v1/buses/default/rules/{name}",
                  {"pattern": {"type": ["load"]}, "targets": [{"id": "t", **target}]})

    def publish(self, event_id, key=None):
        event = {"specversion": "1.0", "type": "load", "source": "/load", "id": str(event_id)}
        return self.ask("POST", "/", event, key, "application/cloudevents+json")[0]


class Prometheus:
    def __init__(self, work, bus):
        self.port = asking.free_port()
        config = (DOCKER / "prometheus/prometheus.yaml").read_text()
        config = re.sub(r"(scrape|evaluation)_interval: \w+", r"\1_interval: 1s", config)
        config = config.replace('"bus:8080"', f'"127.0.0.1:{bus.port}"').replace(
            "static_configs:",
            "scheme: https\n    tls_config: { ca_file: ca.pem }\n"
            "    authorization: { credentials_file: prometheus.key }\n    static_configs:")
        alerts = (DOCKER / "prometheus/alerts.yaml").read_text()
        alerts = re.sub(r"for: \w+", "for: 1s", alerts)
        alerts = re.sub(r"\[\w+\]", f"[{RANGE}]", alerts)
        for threshold, lower in THRESHOLDS.items():
            assert threshold in alerts, f"{threshold} is not in alerts.yaml any more"
            alerts = alerts.replace(threshold, lower)
        (work / "prometheus.yaml").write_text(config)
        (work / "alerts.yaml").write_text(alerts)
        self.alerts_known = set(re.findall(r"- alert: (\w+)", alerts))
        self.log = open(work / "prometheus.log", "wb")
        self.process = subprocess.Popen(
            ["prometheus", "--config.file=prometheus.yaml", "--storage.tsdb.path=prometheus",
             f"--web.listen-address=127.0.0.1:{self.port}"],
            cwd=work, stdout=self.log, stderr=self.log)
        wait_for("Prometheus starts", lambda: not self.get("query", query="1"))

    def get(self, what, **arguments):
        """The answer's data; `None` when there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        path = f"/api/v1/{what}?{urllib.parse.urlencode(arguments)}"
        try:
            connection.request("GET", path)
            answer = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        if answer["status"] != "success":
            raise RuntimeError(f"{path}: {answer}")
        return answer["data"]

    def firing(self):
        """Summaries by the names of the alerts."""
        found = {}
        for alert in self.get("alerts")["alerts"]:
            if alert["state"] == "firing":
                texts = found.setdefault(alert["labels"]["alertname"], [])
                texts.append(alert["annotations"]["summary"])
        return found

    def rules_that_fail(self):
        rules = [rule for group in self.get("rules")["groups"] for rule in group["rules"]]
        if {rule["name"] for rule in rules} != self.alerts_known:
            return "not all are loaded"
        return [rule for rule in rules if rule["health"] != "ok"]


def queries():
    """Of every panel of the dashboard, as Grafana fills them in: (panel, query)."""
    dashboard = json.loads((DOCKER / "grafana/dashboards/eventyard.json").read_text())

    def of_panels(panels):
        for panel in panels:
            for target in panel.get("targets", []):
                query = target["expr"].replace("$__rate_interval", RANGE)
                yield panel["title"], re.sub(r"\$\w+", ".*", query)
            yield from of_panels(panel.get("panels", []))

    return list(of_panels(dashboard["panels"]))


def without_data(prometheus, wanted):
    """Those of the queries that find nothing, or no number."""
    missing = []
    for panel, query in wanted:
        found = prometheus.get("query", query=query)["result"]
        if not any(math.isfinite(float(one["value"][1])) for one in found):
            missing.append((panel, query))
    return missing


def main(binary):
    with contextlib.ExitStack() as cleanup:
        work = Path(tempfile.mkdtemp(prefix="eventyard-prometheus-"))
        cleanup.callback(shutil.rmtree, work, ignore_errors=True)
        certificate(work)
        receiver = Receiver()
        bus = Bus(binary, work)
        cleanup.callback(bus.process.kill)
        once = {"retry": {"max_attempts": 1}}
        bus.put_rule("well", {"url": receiver.url(204)})
        bus.put_rule("fails", {"url": receiver.url(503)})
        bus.put_rule("gone", {"url": receiver.url(410)})
        bus.put_rule("refuses", {"url": receiver.url(400), **once})
        bus.put_rule("slow", {"url": receiver.url(204), "rate_limit": "1/m"})
        bus.put_rule("paused", {"url": receiver.url(204)})
        bus.put_rule("lacks", {"url": receiver.url(204), "auth": {"bearer": {"secret": "absent"}}})
        paused = "/v1/buses/default/rules/paused/targets/t"
        bus.must("POST", f"{paused}/pause")
        expected = {
            "EventyardTargetFailing", "EventyardTargetDisabled", "EventyardDeadLetters",
            "EventyardTargetBehind", "EventyardTargetPaused", "EventyardCredentialsLacking",
            "EventyardPublishersRefused", *LASTING,
        }
        names = {address[4][0] for address in resolved("ip6-localhost")}
        if names == {"::1"}:
            port = receiver.server.server_port
            bus.put_rule("inside", {"url": f"http://ip6-localhost:{port}/204", **once})
            expected.add("EventyardAddressRefused")
        key = bus.must("POST", "/v1/keys", {"name": "prometheus", "grants": [{"scope": "read"}]})
        (work / "prometheus.key").write_text(key["key"])
        prometheus = Prometheus(work, bus)
        cleanup.callback(prometheus.process.kill)

        stopping = threading.Event()
        cleanup.callback(stopping.set)

        def load():
            number = 0
            while not stopping.is_set():
                number += 1
                bus.publish(number)
                bus.publish(number)
                if not receiver.mended:
                    bus.publish(number, "no-key")
                stopping.wait(0.1)

        threading.Thread(target=load, daemon=True).start()
        wait_for("every rule is evaluated", prometheus.rules_that_fail)
        told = {}

        def silent():
            told.update(prometheus.firing())
            return expected - told.keys()

        wait_for("alerts fire", silent)
        wanted = queries()
        wait_for("queries without data", lambda: without_data(prometheus, wanted))
        for label in ["instance", "bus"]:
            assert prometheus.get(f"label/{label}/values"), label
        print(f"{len(wanted)} queries of the dashboard find something")

        # What was wrong is mended, as the manual says.
        receiver.mended = True
        bus.must("POST", f"{paused}/resume")
        bus.must("PUT", "/v1/secrets/absent", {"value": "there-it-is"})
        for rule in ["fails", "gone"]:
            bus.must("POST", f"/v1/buses/default/rules/{rule}/targets/t/resume")
        bus.must("DELETE", "/v1/buses/default/rules/slow")
        bus.must("DELETE", "/v1/buses/default/rules/refuses")
        if names == {"::1"}:
            bus.must("DELETE", "/v1/buses/default/rules/inside")
        wait_for("alerts end", lambda: prometheus.firing().keys() & (expected - LASTING))
        bus.process.kill()
        bus.process.wait()
        wait_for("the bus is missed", lambda: "EventyardDown" not in prometheus.firing())
        told.update(prometheus.firing())
        for name, texts in sorted(told.items()):
            for text in texts:
                assert "{{" not in text and "<no value>" not in text, text
            print(f"{name}: {texts[0]}")
        print(f"{len(told)} of {len(prometheus.alerts_known)} alerts fired, and ended once what was wrong was mended")


def resolved(name):
    try:
        return socket.getaddrinfo(name, 80)
    except OSError:
        return []


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
