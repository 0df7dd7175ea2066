"""Cuts the power of the file system under the bus, and looks for what was acknowledged.

The bus keeps its data on an ext4 of its own. Under load the file system is shut down without a
flush, the bus killed, the file system mounted again (its journal is replayed, all else is lost) and
the bus started: every acknowledged event must be there, whole, and come to its target. A bus
without its `fdatasync` fails at the first cut.

Usage: power_cut.py PATH_OF_THE_EVENTYARD_BINARY [CUTS]
"""

import random
import sys
import threading

from harness import Bus, Publishers, Target, missing_deliveries, missing_from_log, scratch, write_rule

PUBLISHERS = 8
MEBIBYTES = 256


def can_cut():
    """Whether the kernel shuts a file system down when asked to."""
    with scratch(8) as (_, file_system):
        try:
            file_system.cut()
        except OSError as error:
            print(f"power cut: skipped, no file system can be shut down here: {error}")
            return False
    return True


def main():
    if not can_cut():
        return 0
    binary = sys.argv[1]
    cuts = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    seed = random.randrange(1 << 32)
    print(f"power cut: seed {seed}, {cuts} cuts")
    choose = random.Random(seed)
    target = Target()
    acknowledged = {}
    failures = 0
    with scratch(MEBIBYTES) as (work, file_system):
        write_rule(work, target)
        data = file_system.mount_point / "data"
        for cut in range(cuts):
            bus = Bus(binary, work, data, ["--segment-bytes", "4MiB"])
            try:
                enough = choose.randrange(50, 3000)
                is_cut = threading.Event()
                lock = threading.Lock()

                def on_acknowledged(_status, count):
                    if count >= enough:
                        with lock:
                            if not is_cut.is_set():
                                file_system.cut()
                                is_cut.set()

                publishers = Publishers(bus, f"cut{cut}", PUBLISHERS, on_acknowledged)
                if not is_cut.wait(120):
                    raise RuntimeError(f"too slow:\n{bus.last_lines()}")
            finally:
                bus.kill()
            publishers.stop()
            file_system.unmount()
            file_system.mount()
            bus = Bus(binary, work, data, ["--segment-bytes", "4MiB"])
            try:
                missing = missing_from_log(bus, publishers.acknowledged)
                acknowledged.update(publishers.acknowledged)
                undelivered = missing_deliveries(target, acknowledged)
            finally:
                stopped = bus.stop()
            if missing or undelivered or stopped != 0:
                failures += 1
                print(
                    f"FAILED cut {cut}: of {len(publishers.acknowledged)} acknowledged events "
                    f"{len(missing)} are lost or torn ({missing[:3]}), {len(undelivered)} "
                    f"undelivered ({undelivered[:3]}); stopped with {stopped}"
                )
                print(bus.last_lines())
    print(f"power cut: {len(acknowledged)} acknowledged events over {cuts} cuts")
    print(f"powercut: {cuts - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
