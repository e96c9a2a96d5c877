"""Processes of `bct_keras.train.__main__`, a few at once."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bct_keras.benchmark.cells import Job
from bct_keras.callbacks.checkpoints import RESUME_STATUS, StopRequest
from bct_keras.processes import cores

SECONDS_BETWEEN_LOOKS = 0.2


class StoppedError(Exception):
    """Somebody asked the benchmark to stop; its trainings have left checkpoints."""


class Runner:
    """Starts jobs as soon as what they need is there; one that fails stops none but those that
    need it.
    """

    def __init__(self, jobs: list[Job], at_once: int, logs: Path, lock: int):
        self.waiting = [job for job in jobs if not job.done]
        self.total = len(self.waiting)
        self.at_once = at_once
        self.logs = logs
        self.lock = lock
        self.running: dict[subprocess.Popen, Job] = {}
        self.failed: dict[Path, str] = {}

    def run(self, ended: Callable[[Job, str | None], None]) -> dict[Path, str]:
        """Runs all jobs; returns why each run failed that did.

        `ended(job, why)` is called as each ends, while others go on.
        """
        with StopRequest().listening() as stop:
            try:
                while self.waiting or self.running:
                    finished = self.collect()
                    self.start_more()
                    for job in finished:
                        ended(job, self.failed.get(job.folder))
                    if stop.signal:
                        raise StoppedError(
                            f"stopped by {stop.signal}; the same command goes on from there"
                        )
                    if not finished:
                        time.sleep(SECONDS_BETWEEN_LOOKS)
            finally:
                self.stop()
        return self.failed

    def collect(self) -> list[Job]:
        """Returns the jobs that have ended, and those that cannot be done any more."""
        over = [process for process in self.running if process.poll() is not None]
        jobs = [self.running.pop(process) for process in over]
        for process, job in zip(over, jobs, strict=True):
            if process.returncode:
                self.failed[job.folder] = reason(self.log_of(job), process.returncode)
        lost = [job for job in self.waiting if job.after in self.failed]
        for job in lost:
            self.waiting.remove(job)
            self.failed[job.folder] = "its old encoder could not be trained"
        return jobs + lost

    def start_more(self) -> None:
        """Starts those jobs whose turn it is."""
        for job in list(self.waiting):
            if len(self.running) >= self.at_once:
                return
            unfinished = {other.folder for other in (*self.waiting, *self.running.values())}
            taken = {other.turns for other in self.running.values() if other.turns}
            if job.after not in unfinished and job.turns not in taken:
                self.waiting.remove(job)
                self.start(job)

    def start(self, job: Job) -> None:
        """Starts a training."""
        log = self.log_of(job)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as file:
            process = subprocess.Popen(
                command(job),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment(self.at_once),
                pass_fds=(self.lock,),
                start_new_session=True,  # a terminal's Ctrl-C comes to them once, from here
            )
        self.running[process] = job

    def stop(self) -> None:
        """Stops every process and waits for it."""
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait()

    def log_of(self, job: Job) -> Path:
        """Returns the file that a training's output goes to."""
        return self.logs / f"{job.folder.name}.log"


def command(job: Job) -> list[str]:
    """Returns the command line of a training."""
    return [sys.executable, "-m", "bct_keras.train", *job.arguments]


def environment(at_once: int) -> dict[str, str]:
    """Returns each process's share of the cores; none is a worker of a cluster."""
    threads = str(max(1, cores() // at_once))
    shares = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), threads)
    return shares | {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}


def reason(log: Path, status: int) -> str:
    """Returns why a training failed, from its log."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if status == RESUME_STATUS:
        return "it was stopped by a signal; the same command goes on from there"
    return f"{(told or lines or [f'exit status {status}'])[-1]} (all of it: {log})"
