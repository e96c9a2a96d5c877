import os
import signal
import subprocess
import sys
import time

import pytest

from bct_keras import processes
from bct_keras.errors import BadImageError, InputError, UnfinishedError


def doubled(task, report):
    report(1)
    report(2)
    return 2 * task


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_every_task_is_done_once_and_what_they_report_adds_up(count):
    reported = []
    found = dict(processes.run(doubled, list(range(100, 111)), count, reported.append))
    assert found == {number: 2 * (100 + number) for number in range(11)}
    assert sum(reported) == 11 * 3


@pytest.mark.parametrize("count", [1, 3])
def test_no_tasks_are_no_work(count):
    assert list(processes.run(doubled, [], count, print)) == []


def test_the_work_is_done_in_as_many_other_processes():
    def pid(task, report):
        time.sleep(0.05)  # so that nobody gets everything
        return os.getpid()

    found = {result for _, result in processes.run(pid, list(range(12)), 3, print)}
    assert len(found) == 3
    assert os.getpid() not in found


def test_tasks_need_not_be_pickled():
    tasks = [lambda: 1, lambda: 2]
    assert dict(processes.run(lambda task, report: task(), tasks, 2, print)) == {0: 1, 1: 2}


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "error",
    [InputError("what"), BadImageError("which"), OSError(28, "No space left", "x.tfrecord")],
)
def test_what_the_user_can_mend_comes_back_as_it_was(error, count):
    def fail(task, report):
        raise error

    with pytest.raises(type(error)) as raised:
        list(processes.run(fail, [1, 2, 3], count, print))
    assert str(raised.value) == str(error)


def test_another_error_tells_where_it_was_raised():
    def fail(task, report):
        return 1 / task

    with pytest.raises(
        RuntimeError, match=r"in another process:(?s:.)*in fail(?s:.)*ZeroDivisionError"
    ):
        list(processes.run(fail, [1, 0], 2, print))


def test_a_process_that_is_killed_is_noticed():
    def die(task, report):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(UnfinishedError, match="one of the processes was killed"):
        list(processes.run(die, [1, 2, 3], 2, print))


def test_no_process_is_left_when_the_caller_stops_early():
    pids = []

    def slow(task, report):
        if task:
            time.sleep(60)
        return os.getpid()

    for _, pid in processes.run(slow, [0, 1, 1], 2, print):
        pids.append(pid)
        break
    deadline = time.monotonic() + 5
    while os.path.exists(f"/proc/{pids[0]}") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{pids[0]}")


ORPHANS = """
import os, sys, time
from bct_keras import processes
def work(task, report):
    os.write(1, f"{os.getpid()}\\n".encode())  # in one piece, for the others write to the same pipe
    while True:
        time.sleep(0.01)
        report(1)
list(processes.run(work, [1, 2, 3], 3, lambda count: None))
"""


def test_the_others_stop_when_the_first_process_is_killed():
    first = subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True)
    assert first.stdout
    pids = [int(first.stdout.readline()) for _ in range(3)]
    first.kill()
    first.wait()
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
