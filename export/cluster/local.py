"""Starts several workers of one training run on this machine.

A launcher with TF_CONFIG would do the same on several machines.

python export/cluster/local.py --workers=2 -- --flagfile=configs/mixbct.flags --workdir=runs/two
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time


def main() -> int:
    """Starts the workers, hands signals on to them, and returns the status of all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2, help="how many processes")
    parser.add_argument("flags", nargs="+", help="after --, the flags of bct_keras.train.__main__")
    arguments = parser.parse_args()
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(arguments.workers)]}
    workers = [start(cluster, index, arguments.flags) for index in range(arguments.workers)]

    def hand_on(number, frame) -> None:
        for worker in workers:
            worker.send_signal(number)

    signal.signal(signal.SIGTERM, hand_on)
    signal.signal(signal.SIGINT, hand_on)
    return wait(workers)


def start(cluster: dict[str, list[str]], index: int, flags: list[str]) -> subprocess.Popen:
    """Starts one worker."""
    config = {"cluster": cluster, "task": {"type": "worker", "index": index}}
    environment = os.environ | {"TF_CONFIG": json.dumps(config)}
    # One worker speaks for all; of the others only what went wrong is shown.
    output = None if index == 0 else subprocess.DEVNULL
    program = [sys.executable, "-m", "bct_keras.train", *flags]
    return subprocess.Popen(program, env=environment, stdout=output)


def wait(workers: list[subprocess.Popen]) -> int:
    """Waits for all workers; returns the first status that is not 0.

    It ends the others too, for they cannot go on without the one that failed.
    """
    while True:
        statuses = [worker.poll() for worker in workers]
        bad = [status for status in statuses if status]
        if bad:
            stop(workers)
            return bad[0] if bad[0] > 0 else 1
        if all(status == 0 for status in statuses):
            return 0
        time.sleep(0.2)


def stop(workers: list[subprocess.Popen]) -> None:
    """Ends the workers, by force where they do not end themselves."""
    for worker in workers:
        worker.terminate()
    for worker in workers:
        try:
            worker.wait(timeout=10)
        except subprocess.TimeoutExpired:
            worker.kill()


def free_ports(count: int) -> list[int]:
    """Returns ports of this machine that nobody uses now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


if __name__ == "__main__":
    sys.exit(main())
