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
    """Starts jobs as soon as what they need is there.

    A job that fails stops none but those that need it.
    """

    def __init__(self, jobs: list[Job], at_once: int, logs: Path, lock: int):
        """Takes the jobs, of which some may be done.

        Args:
            jobs: All trainings.
            at_once: How many run at the same time.
            logs: The folder for what they print.
            lock: An open file that they inherit, so that they hold its lock too.
        """
        self.waiting = [job for job in jobs if not job.done]
        self.total = len(self.waiting)
        self.at_once = at_once
        self.logs = logs
        self.lock = lock
        self.running: dict[subprocess.Popen, Job] = {}
        self.failed: dict[Path, str] = {}

    def run(self, ended: Callable[[Job, str | None], None]) -> dict[Path, str]:
        """Runs all jobs; returns why each run failed that did.

        Args:
            ended: Is called with each job as it ends and the reason if it failed, while others
                go on.
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
        finished = []
        for process in list(self.running):
            status = process.poll()
            if status is None:
                continue
            job = self.running.pop(process)
            finished.append(job)
            if status:
                log = self.log_of(job)
                self.failed[job.folder] = reason(log, status)
        for job in list(self.waiting):
            if job.after in self.failed:
                self.waiting.remove(job)
                self.failed[job.folder] = "its old encoder could not be trained"
                finished.append(job)
        return finished

    def start_more(self) -> None:
        """Starts those jobs whose turn it is."""
        for job in list(self.waiting):
            if len(self.running) >= self.at_once:
                return
            if self.may_start(job):
                self.waiting.remove(job)
                self.start(job)

    def may_start(self, job: Job) -> bool:
        """Tells whether the job's old encoder is there, and no other job has its turn."""
        running = list(self.running.values())
        for other in self.waiting + running:
            if other.folder == job.after:
                return False
        if not job.turns:
            return True
        return all(other.turns != job.turns for other in running)

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
    """Returns the environment of a training, with its share of the cores.

    A number of threads that is set already stays. No training is a worker of a cluster.
    """
    share = max(1, cores() // at_once)
    threads = str(share)
    variables = dict(os.environ)
    variables.setdefault("TF_NUM_INTRAOP_THREADS", threads)
    variables.setdefault("TF_NUM_INTEROP_THREADS", threads)
    variables.pop("TF_CONFIG", None)
    return variables


def reason(log: Path, status: int) -> str:
    """Returns why a training failed.

    Args:
        log: What it printed; its last error is taken, or its last line.
        status: Its exit status.
    """
    if status == RESUME_STATUS:
        return "it was stopped by a signal; the same command goes on from there"
    error = ""
    last_line = f"exit status {status}"
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("error: "):
            error = line.removeprefix("error: ")
        if line.strip():
            last_line = line
    return f"{error or last_line} (all of it: {log})"
