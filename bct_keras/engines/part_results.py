"""What parts leave for the one that commits: a file for each part, with the results of its pieces.

So whoever finishes last knows by a question for each part that all is done, and reads as many files
as there are parts, however many pieces they have.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bct_keras import artefacts, stores
from bct_keras.engines.engine import Engine
from bct_keras.engines.parts import Part
from bct_keras.engines.work import Job, Result
from bct_keras.errors import InputError
from bct_keras.untrusted.json_files import parse_json

RESULTS_A_LINE = 30  # of a longer line the depth is looked at, which takes longer than to read it


def do_part(part: Part, engine: Engine, job: Job) -> None:
    """Does the pieces of a part, and then leaves their results in its file."""
    stores.make_folder(job.results)
    numbers = part.own(range(len(job.pieces)))
    own = job.with_pieces(part.own(job.pieces))
    with artefacts.placing(file_of(part, job)) as partial, partial.open("w") as file:
        waiting: list[tuple[int, Result]] = []
        for place, result in engine.results(own):
            waiting.append((numbers[place], result))
            if len(waiting) == RESULTS_A_LINE:
                file.write(json.dumps(waiting) + "\n")
                waiting.clear()
        file.write(json.dumps(waiting) + "\n")


def missing_parts(count: int, job: Job) -> int:
    """Returns how many of so many parts are not done."""
    missing = 0
    for number in range(count):
        missing += stores.size_of(file_of(Part(number, count), job)) is None
    return missing


def results_of_parts(count: int, job: Job) -> Iterator[tuple[int, Result]]:
    """Yields (number of the piece, its result) of all pieces; all parts have to be done."""
    for number in range(count):
        yield from results_of(Part(number, count), job)


def results_of(part: Part, job: Job) -> Iterator[tuple[int, Result]]:
    """Yields (number of the piece, its result) of a part's pieces; raises where one is missing."""
    path = file_of(part, job)
    left = set(part.own(range(len(job.pieces))))
    for entry in entries_of(path):
        match entry:
            case [int(number), dict(result)] if number in left:
                left.remove(number)
                yield number, result
            case _:
                raise damaged(path)
    if left:
        raise damaged(path)


def file_of(part: Part, job: Job) -> Path:
    """Returns the file of a part's results."""
    return job.results / f"part-{part.number % part.count}-of-{part.count}.jsonl"


def entries_of(path: Path) -> Iterator[Any]:
    """Yields what stands in the lists that are a file's lines."""
    with stores.here(path).open("rb") as file:
        for line in file:
            found = parse_json(line, path)
            if not isinstance(found, list):
                raise damaged(path)
            yield from found


def damaged(path: Path) -> InputError:
    """Returns the error of a file that has something else in it."""
    return InputError(f"{path} was damaged; remove it, and run this part again")
