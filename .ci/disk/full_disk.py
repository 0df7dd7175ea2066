"""Fills the disk under the bus: no false acknowledgement, a red readiness, and all well once there
is room again, without a restart.

Usage: full_disk.py PATH_OF_THE_EVENTYARD_BINARY
"""

import sys
import threading
import time

from harness import (
    WAIT_SECONDS,
    Bus,
    Publishers,
    Target,
    missing_deliveries,
    missing_from_log,
    scratch,
    write_rule,
)

PUBLISHERS = 4
MEBIBYTES = 64
BALLAST_MEBIBYTES = 24

passed = 0
failed = 0


def check(name, holds, detail=""):
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {name}: {detail}")


def eventually(condition):
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def main():
    binary = sys.argv[1]
    target = Target()
    with scratch(MEBIBYTES) as (work, file_system):
        write_rule(work, target)
        ballast = file_system.mount_point / "ballast"
        ballast.write_bytes(bytes(BALLAST_MEBIBYTES << 20))
        data = file_system.mount_point / "data"
        arguments = ["--segment-bytes", "4MiB"]
        bus = Bus(binary, work, data, arguments)
        try:
            # Enough refusals in a row: the disk is full for everyone.
            refused = threading.Event()

            def on_acknowledged(status, _count):
                if status != 202:
                    refused.set()
                    time.sleep(0.02)

            publishers = Publishers(bus, "full", PUBLISHERS, on_acknowledged, largest=32 << 10)
            check("a full disk is noticed", refused.wait(120), publishers.statuses)
            ready = eventually(lambda: bus.call("GET", "/readyz")[0] == 503)
            check("readiness goes red", ready, bus.call("GET", "/readyz"))
            check("the bus stays alive", bus.call("GET", "/healthz")[0] == 200)
            before = dict(publishers.acknowledged)
            undelivered = missing_deliveries(target, before)
            check("what is on disk is delivered meanwhile", not undelivered, undelivered[:5])
            missing = missing_from_log(bus, before)
            check("what was acknowledged is shown meanwhile", not missing, missing[:3])

            count = len(publishers.acknowledged)
            ballast.unlink()
            again = eventually(lambda: len(publishers.acknowledged) > count + 20)
            check("room again: events are taken without a restart", again, publishers.statuses)
            ready = eventually(lambda: bus.call("GET", "/readyz")[0] == 200)
            check("readiness is green again", ready, bus.call("GET", "/readyz"))
            publishers.stop()
            answers = set(publishers.statuses)
            check("every answer is 202 or 503", answers <= {202, 503}, publishers.statuses)
            print(f"full disk: answers {publishers.statuses}")
        finally:
            bus.kill()
        bus = Bus(binary, work, data, arguments)
        try:
            missing = missing_from_log(bus, publishers.acknowledged)
            check("nothing acknowledged is lost over a kill", not missing, missing[:3])
            undelivered = missing_deliveries(target, publishers.acknowledged)
            check("everything acknowledged is delivered", not undelivered, undelivered[:5])
        finally:
            bus.stop()
        if failed:
            print(bus.last_lines())
    print(f"fulldisk: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
