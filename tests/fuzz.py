"""Hands damaged files of every kind to what reads them, and counts what comes of it.

python tests/fuzz.py --files=10000

prints a line of JSON for each kind: how many files were refused in plain lines, how many were read,
and how many gave a traceback, ended the process, took longer than 10 seconds, or more than 1 GB of
memory, with an example of each. The exit status is 0 where none did. The same --seed makes the same
files; --kind=npz,keras takes these alone.
"""

import argparse
import contextlib
import io
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from fuzzing import good_files, kinds
from fuzzing.damage import place
from fuzzing.kinds import KINDS, Kind

FILES_A_PROCESS = 50
# Of the processor for a file; of waiting, as for a pipe, three times as many on a busy machine.
SECONDS = 10
MEMORY = 1 << 30
FAULTS = ("tracebacks", "crashes", "hangs", "too much memory")


def attempt(kind: Kind, root: Path, content: bytes, seed: str) -> dict[str, Any]:
    """Damages, reads, and says what came of it; the good file is there again afterwards."""
    target = root / kind.file
    what = place(target, content, kind.damage, random.Random(seed))
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory counts from here
    started, said = time.process_time(), io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            kind.read(root)
        outcome, detail = "read", ""
    except kinds.REFUSALS as error:
        text = said.getvalue() if isinstance(error, SystemExit) else str(error)
        outcome, detail = "refused", text.strip()
        if isinstance(error, kinds.InputError | SystemExit) and not is_plain(detail):
            outcome = "tracebacks"
    except BaseException:
        outcome, detail = "tracebacks", traceback.format_exc(limit=-3)[-800:]
    if outcome != "tracebacks" and "Traceback" in said.getvalue():
        outcome, detail = "tracebacks", said.getvalue()[-800:]
    seconds, peak = time.process_time() - started, peak_memory()
    (
        shutil.rmtree(target)
        if target.is_dir() and not target.is_symlink()
        else target.unlink(missing_ok=True)
    )
    target.write_bytes(content)
    if seconds > SECONDS:
        outcome = "hangs"
    if peak > MEMORY:
        outcome = "too much memory"
    return {
        "outcome": outcome,
        "detail": detail[:800],
        "seconds": seconds,
        "peak": peak,
        "what": what,
    }


def is_plain(text: str) -> bool:
    """One or two lines, each of visible characters alone."""
    lines = text.split("\n")
    return (
        1 <= len(lines) <= 3
        and all(text.isprintable() for text in lines)
        and "Traceback" not in text
    )


def peak_memory() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def in_process(kind: Kind, good: Path, seeds: list[str]) -> Iterator[dict[str, Any]]:
    """The outcome of each file, all read by one forked process, up to the first that ends it."""
    receiving, sending = os.pipe()
    child = os.fork()
    if not child:
        os.close(receiving)
        with contextlib.suppress(BaseException):
            work(kind, good, seeds, sending)
        os._exit(0)
    os.close(sending)
    with os.fdopen(receiving, "rb", buffering=0):
        answers = Answers(receiving)
        for _ in seeds:
            line = answers.line()
            if line is None:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                yield {
                    "outcome": "hangs",
                    "detail": "",
                    "seconds": 3 * SECONDS,
                    "peak": 0,
                    "what": "?",
                }
                return
            if not line:
                _, status = os.waitpid(child, 0)
                yield {
                    "outcome": "crashes",
                    "detail": f"status {status}",
                    "seconds": 0,
                    "peak": 0,
                    "what": "?",
                }
                return
            yield json.loads(line)
    os.waitpid(child, 0)


class Answers:
    """The lines that come through a pipe."""

    def __init__(self, receiving: int):
        self.receiving = receiving
        self.come = b""

    def line(self) -> bytes | None:
        """The next one; nothing where the process has ended, None where it has not answered in
        time.
        """
        deadline = time.monotonic() + 3 * SECONDS
        while b"\n" not in self.come:
            ready, _, _ = select.select(
                [self.receiving], [], [], max(deadline - time.monotonic(), 0)
            )
            if not ready:
                return None
            piece = os.read(self.receiving, 1 << 16)
            if not piece:
                return b""
            self.come += piece
        line, _, self.come = self.come.partition(b"\n")
        return line


def work(kind: Kind, good: Path, seeds: list[str], sending: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(shutil.copytree(good, Path(folder) / "files", symlinks=True))
        os.chdir(root)
        content = (root / kind.file).read_bytes()
        sealed = [*root.rglob("manifest.json"), *root.rglob("shards.table")]
        manifests = {path: path.read_bytes() for path in sealed}
        for seed in seeds:
            found = attempt(kind, root, content, seed)
            for path, text in manifests.items():
                path.write_bytes(text)
            os.write(sending, json.dumps(found).encode() + b"\n")


def fuzzed(name: str, good: Path, files: int, seed: int) -> dict[str, Any]:
    """What came of so many damaged files of a kind."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    peak, slowest, done = 0, 0.0, 0
    while done < files:
        seeds = [
            f"{seed} {name} {number}" for number in range(done, min(done + FILES_A_PROCESS, files))
        ]
        for found in in_process(KINDS[name], good, seeds):
            counts[found["outcome"]] += 1
            peak, slowest = max(peak, found["peak"]), max(slowest, found["seconds"])
            if found["outcome"] in FAULTS:
                told = " / ".join(found["detail"].strip().splitlines()[-3:])
                examples.setdefault(
                    found["outcome"], f"file {done} ({found['what']}): {told[-300:]!a}"
                )
            done += 1
    told = {key: counts[key] for key in ("refused", "read", *FAULTS)}
    return {
        "kind": name,
        "files": done,
        **told,
        "MB": peak >> 20,
        "slowest": round(slowest, 1),
        "examples": examples,
    }


def made(folder: Path) -> Path:
    """The good files, made by a process of its own."""
    folder.mkdir()
    child = os.fork()
    if not child:
        try:
            good_files.make_all(folder)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError("no good files could be made")
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", default="")
    given = parser.parse_args()
    names = given.kind.split(",") if given.kind else list(KINDS)
    kinds.define_flags()
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        good = made(Path(folder) / "good")
        for place_of_kind, name in enumerate(names):
            files = given.files * (place_of_kind + 1) // len(
                names
            ) - given.files * place_of_kind // len(names)
            found = fuzzed(name, good, files, given.seed)
            faults += sum(found[key] for key in FAULTS)
            print(json.dumps(found), flush=True)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
