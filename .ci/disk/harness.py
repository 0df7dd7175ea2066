"""What the disk tests share: a small file system of their own, the bus on it, publishers, a target.

Needs root (to mount) and nothing but Python's standard library. All traffic stays on the loopback.
"""

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import asking

WAIT_SECONDS = 60


class FileSystem:
    """An ext4 in an image file, mounted through a loop device."""

    # _IOR('X', 125, __u32): stop the file system at once, as a power cut would.
    FS_IOC_SHUTDOWN = 0x8004587D
    # Whatever is not on the device by now is lost; the file system's journal is not flushed.
    NOLOGFLUSH = 2

    def __init__(self, work, mebibytes):
        self.image = work / "image"
        self.mount_point = work / "mnt"
        self.mount_point.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(mebibytes << 20)
        subprocess.run(
            ["mkfs.ext4", "-q", "-F", "-m", "0", self.image], check=True, stdout=subprocess.DEVNULL
        )
        self.mounted = False
        self.mount()

    def mount(self):
        subprocess.run(["mount", "-o", "loop", self.image, self.mount_point], check=True)
        self.mounted = True

    def unmount(self):
        if not self.mounted:
            return
        deadline = time.monotonic() + WAIT_SECONDS
        while subprocess.run(["umount", self.mount_point], capture_output=True).returncode != 0:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.mount_point} stays busy")
            time.sleep(0.05)
        self.mounted = False

    def cut(self):
        folder = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, self.FS_IOC_SHUTDOWN, struct.pack("I", self.NOLOGFLUSH))
        finally:
            os.close(folder)


class Target:
    """A receiver that writes down the id and data of each delivery."""

    def __init__(self):
        self.received = {}
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                received[self.headers["ce-id"]] = hashlib.sha256(body).digest()
                self.send_response(204)
                self.end_headers()

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                """A bus that is killed breaks its connections."""

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/"


class Bus:
    """The binary, serving from a folder of the file system."""

    def __init__(self, binary, work, data, arguments=()):
        self.port = asking.free_port()
        self.log = work / "bus.log"
        command = [binary, "serve", "--listen", f"127.0.0.1:{self.port}"]
        command += ["--data-dir", data, "--rules-dir", work / "rules", *arguments]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + WAIT_SECONDS
        while self.call("GET", "/healthz")[0] != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the bus does not start:\n{self.last_lines()}")
            time.sleep(0.02)

    def call(self, method, path, body=None, headers=None):
        """(status, body); (None, error) when nothing came."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        return asking.ask(connection, method, path, body, headers)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_SECONDS)

    def last_lines(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


class Publishers:
    """Threads that publish events with known ids and remember what was acknowledged."""

    def __init__(self, bus, prefix, count, on_acknowledged, largest=4096):
        self.bus = bus
        self.prefix = prefix
        self.largest = largest
        self.on_acknowledged = on_acknowledged
        self.acknowledged = {}
        self.statuses = {}
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [
            threading.Thread(target=self.publish, args=(index,), daemon=True)
            for index in range(count)
        ]
        for thread in self.threads:
            thread.start()

    def publish(self, index):
        connection = http.client.HTTPConnection("127.0.0.1", self.bus.port, timeout=WAIT_SECONDS)
        choose = random.Random(f"{self.prefix}-{index}")
        number = 0
        while not self.stopping.is_set():
            number += 1
            event_id = f"{self.prefix}-{index}-{number}"
            data = choose.randbytes(choose.randrange(1, self.largest))
            headers = {
                "ce-specversion": "1.0",
                "ce-id": event_id,
                "ce-source": "/disk",
                "ce-type": "disk.test",
                "content-type": "application/octet-stream",
            }
            try:
                connection.request("POST", "/", data, headers)
                answer = connection.getresponse()
                status, body = answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                return
            with self.lock:
                self.statuses[status] = self.statuses.get(status, 0) + 1
                if status == 202:
                    sequence = json.loads(body)["accepted"][0]["sequence"]
                    self.acknowledged[event_id] = (sequence, hashlib.sha256(data).digest())
                count = len(self.acknowledged)
            self.on_acknowledged(status, count)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(WAIT_SECONDS)


def write_rule(work, target):
    """All events of the publishers go to the target."""
    folder = work / "rules" / "default"
    folder.mkdir(parents=True, exist_ok=True)
    rule = {
        "pattern": {"source": ["/disk"]},
        "targets": [
            {
                "id": "disk",
                "url": target.url,
                "retry": {"initial_delay": "50ms", "max_delay": "1s", "max_attempts": 1000},
            }
        ],
    }
    (folder / "disk.json").write_text(json.dumps(rule))


def missing_from_log(bus, acknowledged):
    """Acknowledged events that the bus does not show, or not as they were sent."""
    import base64

    missing = []
    for event_id, (sequence, digest) in acknowledged.items():
        status, body = bus.call("GET", f"/v1/buses/default/events/{sequence}")
        try:
            event = json.loads(body)["event"]
            data = base64.b64decode(event["data_base64"])
            whole = event["id"] == event_id and hashlib.sha256(data).digest() == digest
        except (ValueError, KeyError):
            whole = False
        if status != 200 or not whole:
            missing.append(f"{event_id} (sequence {sequence}): {status} {body[:200]!r}")
    return missing


def missing_deliveries(target, acknowledged):
    """Waits for every acknowledged event; gives those that did not come whole."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        missing = [
            event_id
            for event_id, (_, digest) in acknowledged.items()
            if target.received.get(event_id) != digest
        ]
        if not missing or time.monotonic() > deadline:
            return missing
        time.sleep(0.1)


@contextlib.contextmanager
def scratch(mebibytes):
    """A folder with a file system in it; both go in the end."""
    work = Path(tempfile.mkdtemp(prefix="eventyard-disk-"))
    file_system = None
    try:
        file_system = FileSystem(work, mebibytes)
        yield work, file_system
    finally:
        if file_system is not None:
            file_system.unmount()
        subprocess.run(["rm", "-rf", work], check=True)
