"""Order, turns, failures, a signal, a killed benchmark.

Processes that write a manifest stand in the place of trainings.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from small_recipe import small_recipe

from bct_keras import artefacts
from bct_keras.benchmark import jobs
from bct_keras.benchmark.cells import Job, Options
from bct_keras.benchmark.jobs import Runner, StoppedError

TRAINING = """
import json, pathlib, sys, time
folder, status, seconds, events = sys.argv[1:]
def note(what):
    with open(events, "a") as file:
        file.write(f"{what} {pathlib.Path(folder).name}\\n")
note("start")
time.sleep(float(seconds))
note("end")
if int(status):
    print("Traceback of no interest")
    print("error: the loss is nan in step 7")
    sys.exit(int(status))
pathlib.Path(folder).mkdir(parents=True)
(pathlib.Path(folder) / "manifest.json").write_text(json.dumps({"kind": "run"}))
"""

RECIPE = small_recipe(backbone="iresnet_small", head="softmax", method="l2", learning_rate=0.1)


@pytest.fixture
def events(tmp_path, monkeypatch) -> Path:
    """Returns the file in which the processes note when they start and end."""
    path = tmp_path / "events"
    path.touch()

    def command(job: Job) -> list[str]:
        return [sys.executable, "-c", TRAINING, str(job.folder), *job.options.written, str(path)]

    monkeypatch.setattr(jobs, "command", command)
    return path


def a_job(
    folder: Path, name: str, status: int = 0, seconds: float = 0.1, after: str = "", turns: str = ""
) -> Job:
    return Job(
        name,
        folder / name,
        RECIPE,
        data=folder / "data",
        old=Path(turns) if turns else None,
        options=Options((str(status), str(seconds))),
        after=folder / after if after else None,
    )


def run(
    folder: Path, *given: Job, at_once: int = 2
) -> tuple[dict[str, str], list[tuple[str, str | None]]]:
    ended = []
    with artefacts.alone(folder / "work", "nobody") as lock:
        runner = Runner(list(given), at_once, folder / "logs", lock)
        failed = runner.run(lambda job, why: ended.append((job.name, why)))
    return {path.name: why for path, why in failed.items()}, ended


def noted(events: Path) -> list[tuple[str, str]]:
    return [(line.split()[0], line.split()[1]) for line in events.read_text().splitlines()]


def most_at_once(events: Path) -> int:
    running, most = 0, 0
    for what, _ in noted(events):
        running += 1 if what == "start" else -1
        most = max(most, running)
    return most


def test_a_new_encoder_waits_for_its_old_one(tmp_path, events):
    given = [a_job(tmp_path, "new", after="old"), a_job(tmp_path, "old", seconds=0.3)]
    failed, ended = run(tmp_path, *given)
    assert failed == {}
    assert ended == [("old", None), ("new", None)]
    assert noted(events) == [("start", "old"), ("end", "old"), ("start", "new"), ("end", "new")]


def test_as_many_at_once_as_were_asked_for(tmp_path, events):
    run(tmp_path, *(a_job(tmp_path, f"run{number}", seconds=0.5) for number in range(4)), at_once=2)
    assert most_at_once(events) == 2


def test_jobs_that_write_beside_the_same_data_take_turns(tmp_path, events):
    run(
        tmp_path,
        *(a_job(tmp_path, f"run{number}", seconds=0.3, turns="new by old") for number in range(3)),
    )
    assert most_at_once(events) == 1


def test_what_is_done_is_not_done_again(tmp_path, events):
    given = [a_job(tmp_path, "first"), a_job(tmp_path, "second")]
    run(tmp_path, *given)
    for file in (tmp_path / "first").iterdir():
        file.unlink()
    (tmp_path / "first").rmdir()
    events.write_text("")
    run(tmp_path, *given)
    assert noted(events) == [("start", "first"), ("end", "first")]


def test_a_failure_stops_only_what_needs_it(tmp_path, events):
    given = [
        a_job(tmp_path, "old", status=1),
        a_job(tmp_path, "new", after="old"),
        a_job(tmp_path, "other"),
    ]
    failed, ended = run(tmp_path, *given)
    log = tmp_path / "logs" / "old.log"
    assert failed == {
        "old": f"the loss is nan in step 7 (all of it: {log})",
        "new": "its old encoder could not be trained",
    }
    assert "Traceback of no interest" in log.read_text()
    assert dict(ended) == {**failed, "other": None}
    assert ("start", "new") not in noted(events)
    assert ("end", "other") in noted(events)


def test_a_signal_stops_the_trainings_too(tmp_path, events):
    given = [a_job(tmp_path, "long", seconds=60), a_job(tmp_path, "waiting", after="long")]

    def stop_soon() -> None:
        while not noted(events):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_soon).start()
    begin = time.monotonic()
    with pytest.raises(
        StoppedError, match="stopped by SIGTERM; the same command goes on from there"
    ):
        run(tmp_path, *given)
    assert time.monotonic() - begin < 30
    assert noted(events) == [("start", "long")]


def test_an_error_here_leaves_no_process_behind(tmp_path, events):
    given = [a_job(tmp_path, "short"), a_job(tmp_path, "long", seconds=60)]

    def fail(job: Job, why: str | None) -> None:
        raise RuntimeError("a fault of the benchmark's own")

    begin = time.monotonic()
    with (
        artefacts.alone(tmp_path / "work", "nobody") as lock,
        pytest.raises(RuntimeError, match="a fault"),
    ):
        Runner(given, 2, tmp_path / "logs", lock).run(fail)
    assert time.monotonic() - begin < 30
    assert ("end", "long") not in noted(events)


def test_trainings_of_a_killed_benchmark_are_waited_for(tmp_path, capsys):
    """They inherit the folder's lock."""
    (tmp_path / "runs").mkdir()
    with artefacts.alone(tmp_path, "a killed benchmark") as lock:
        orphan = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(1.5)"], pass_fds=(lock,)
        )
    with (tmp_path / artefacts.LOCK).open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with artefacts.alone(tmp_path, "a killed benchmark"):
        assert orphan.wait() == 0
    assert "waiting for a killed benchmark" in capsys.readouterr().out


def test_each_process_has_its_share_of_the_cores(monkeypatch):
    monkeypatch.setattr(jobs, "cores", lambda: 8)
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1"]}}))
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    found = jobs.environment(3)
    assert found["TF_NUM_INTRAOP_THREADS"] == "2"
    assert "TF_CONFIG" not in found
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    assert jobs.environment(3)["TF_NUM_INTRAOP_THREADS"] == "1"
