"""A Ray cluster: an actor for each process, which opens its worker once and does piece after piece.

A machine that dies costs the pieces that were at work there, which others then do.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bct_keras import progress, stores
from bct_keras.engines.engine import Engine
from bct_keras.engines.told import Told
from bct_keras.engines.work import Job, Piece, Result, Worker, finish, report_nothing
from bct_keras.errors import InputError, UnfinishedError, option

ATTEMPTS = 10  # at a piece whose process dies, or whose files cannot be read or written
SECONDS_TO_WAIT = 1.0
SECONDS_UNTIL_ROOM_IS_MISSED = 30.0


class Ray(Engine):
    """Does the pieces by actors of a Ray cluster.

    All machines have to have bct_keras, and to see the places that the command names.

    Args:
        address: Of the cluster; `auto` is the one that this machine belongs to.
        actors: How many; 0 is as many as there is room for.
        num_cpus: Cores for each; 0 is one, and for an encoder all that a machine has.
        num_gpus: GPUs for each, such as 1 or 0.5.
    """

    def __init__(
        self, address: str = "auto", actors: int = 0, num_cpus: int = 0, num_gpus: float = 0.0
    ):
        if actors < 0 or num_cpus < 0 or num_gpus < 0:
            raise InputError("actors, num_cpus and num_gpus have to be 0 or more")
        self.address = address
        self.actors = actors
        self.num_cpus = num_cpus
        self.num_gpus = num_gpus

    def results(self, job: Job) -> Iterator[tuple[int, Result]]:
        """Does all pieces; yields (number of the piece, its result) as each is done."""
        if not job.pieces:
            return
        stores.make_folder(job.results)
        ray = imported()
        ours = not ray.is_initialized()
        if ours:
            connect(ray, self.address)
        try:
            yield from Run(ray, job, self.needs(ray, job), self.actors).results()
        finally:
            if ours:
                ray.shutdown()

    def needs(self, ray: Any, job: Job) -> dict[str, float]:
        """Returns what an actor takes of a machine."""
        cores = []
        for node in ray.nodes():
            of_node = node["Resources"].get("CPU", 0)
            if node["Alive"] and of_node:
                cores.append(int(of_node))
        if not cores:
            raise InputError(f"the Ray cluster at {self.address} has no machine with a core")
        cpus = self.num_cpus or (1 if job.forks else min(cores))
        return {"num_cpus": cpus, "num_gpus": self.num_gpus}


def imported() -> Any:
    """Returns the module of Ray; raises where it is not installed."""
    try:
        import ray
    except ImportError:
        raise InputError(
            "Ray is not installed: pip install 'bct_keras[ray]', here and on the cluster, or leave "
            f"out {option('engine')}"
        ) from None
    return ray


def connect(ray: Any, address: str) -> None:
    """Connects to a cluster; raises where there is none."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError) as error:
        first_line, _, _ = str(error).partition("\n")
        first_sentence, _, _ = first_line.partition(". ")  # the next one tells of Ray's own flags
        raise InputError(
            f"no Ray cluster at {address}: {first_sentence}",
            f"`ray start --head` starts one; {option('engine', 'ray(address=HOST:PORT)')} names "
            f"one, and {option('engine', 'local')} runs on this machine",
        ) from None


def told(needs: dict[str, float]) -> str:
    """Returns what an actor takes, in words."""
    text = f"{needs['num_cpus']:g} cores"
    if needs["num_gpus"]:
        text += f" and {needs['num_gpus']:g} GPUs"
    return text


class PieceActor:
    """What an actor does: it opens its worker, and then finishes pieces."""

    def __init__(self, opener: Callable[[], Worker], results: Path):
        self.opener = opener
        self.results = results
        self.worker: Worker | None = None

    def open(self) -> None:
        """Opens the worker."""
        self.worker = self.opener()

    def finish(self, piece: Piece) -> Result:
        """Does a piece, unless it was done before."""
        assert self.worker is not None
        return finish(self.worker, self.results, piece, report_nothing)


OPENING = -1  # in place of a piece's number


@dataclass
class Run:
    """One job on a cluster, as far as it is."""

    ray: Any
    job: Job
    needs: dict[str, float]
    actors: int
    found: list[tuple[int, Result]] = field(default_factory=list)  # that are not yielded yet
    failed: dict[int, str] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    could_not_open: list[str] = field(default_factory=list)
    died_in_opening: int = 0  # since the last piece that was done

    def results(self) -> Iterator[tuple[int, Result]]:
        """Yields (number of the piece, its result); raises at the end where some failed."""
        self.waiting = deque(range(len(self.job.pieces)))
        self.busy: dict[Any, tuple[Any, int]] = {}  # what is waited for -> actor, piece
        self.idle: deque[Any] = deque()  # actors for which there is no piece at present
        self.all_actors: list[Any] = []
        with Told(self.job.what, self.job.size) as self.told:
            try:
                for _ in range(self.how_many()):
                    self.start()
                while self.waiting or self.at_work():
                    self.step()
                    yield from self.found
                    self.found.clear()
            finally:
                for actor in self.all_actors:
                    self.ray.kill(actor)
        self.raise_failed()

    def how_many(self) -> int:
        """Returns how many actors there is room for."""
        if self.actors:
            return min(self.actors, len(self.job.pieces))
        room = 0
        for node in self.ray.nodes():
            if not node["Alive"]:
                continue
            of_node = node["Resources"].get("CPU", 0) // self.needs["num_cpus"]
            if self.needs["num_gpus"]:
                gpus = node["Resources"].get("GPU", 0) // self.needs["num_gpus"]
                of_node = min(of_node, gpus)
            room += int(of_node)
        return max(min(room, len(self.job.pieces)), 1)

    def start(self) -> None:
        """Starts an actor, which gets pieces when it has opened its worker."""
        remote_class = self.ray.remote(**self.needs)(PieceActor)
        opener = self.job.worker.opener()
        actor = remote_class.remote(opener, self.job.results)
        self.all_actors.append(actor)
        opening = actor.open.remote()
        self.busy[opening] = (actor, OPENING)

    def at_work(self) -> list[int]:
        """Returns the numbers of the pieces that are being done."""
        return [number for _, number in self.busy.values() if number != OPENING]

    def step(self) -> None:
        """Waits for whatever ends next, and gives its actor the next piece."""
        if not self.busy:
            raise UnfinishedError(f"no process of the cluster can begin: {self.could_not_open[0]}")
        ended, _ = self.ray.wait(list(self.busy), num_returns=1, timeout=SECONDS_TO_WAIT)
        if not ended and not self.at_work() and self.told.seconds() > SECONDS_UNTIL_ROOM_IS_MISSED:
            self.told.once(
                f"waiting for the first process of the cluster: each takes {told(self.needs)}, and "
                "`ray status` tells what is free"
            )
        for reference in ended:
            actor, number = self.busy.pop(reference)
            if self.take(reference, number):
                self.idle.append(actor)
        while self.idle and self.waiting:
            self.give(self.idle.popleft(), self.waiting.popleft())
        self.told.show()

    def give(self, actor: Any, number: int) -> None:
        """Lets an actor do a piece."""
        self.attempts[number] = self.attempts.get(number, 0) + 1
        self.busy[actor.finish.remote(self.job.pieces[number])] = (actor, number)

    def take(self, reference: Any, number: int) -> bool:
        """Takes what an actor has come to; tells whether it can go on."""
        errors = self.ray.exceptions
        try:
            result = self.ray.get(reference)
        except errors.RayActorError:
            self.lose(number)
            return False
        except errors.RayTaskError as error:
            return self.refused(number, error.cause)
        if number != OPENING:
            self.found.append((number, result))
            del self.attempts[number]
            self.died_in_opening = 0
            self.told.update(self.job.pieces[number].size)
        return True

    def lose(self, number: int) -> None:
        """Lets others do what an actor did that has died, and starts another one in its place.

        None is started where there are idle ones enough: they hold the cores that it would need.
        """
        self.told.lost += 1
        if number != OPENING:
            self.again(number, "its process or machine died", soon=True)
        else:
            self.died_in_opening += 1
            if self.died_in_opening > ATTEMPTS:
                raise UnfinishedError(
                    "processes of the cluster die before they can begin, perhaps because memory "
                    f"ran out; each had {told(self.needs)}"
                )
        if number == OPENING or len(self.waiting) > len(self.idle):
            self.start()

    def refused(self, number: int, cause: BaseException) -> bool:
        """Notes why a piece was not done; tells whether the actor can go on."""
        if number == OPENING:
            self.could_not_open.append(str(cause))
            progress.note(f"a process of the cluster cannot begin: {cause}")
            return False
        if isinstance(cause, OSError) and not isinstance(cause, InputError):
            self.again(number, str(cause), soon=False)
        elif isinstance(cause, InputError):
            self.fail(number, str(cause))
        else:
            raise cause
        return True

    def again(self, number: int, reason: str, soon: bool) -> None:
        """Lets a piece be done once more, unless that was tried often enough."""
        if self.attempts[number] < ATTEMPTS:
            self.waiting.insert(0 if soon else len(self.waiting), number)
        else:
            self.fail(number, f"{reason} ({ATTEMPTS} times)")

    def fail(self, number: int, reason: str) -> None:
        """Notes that a piece cannot be done, and why."""
        self.failed[number] = reason
        progress.note(f"{self.job.pieces[number].name} failed: {reason}")

    def raise_failed(self) -> None:
        """Raises where pieces failed."""
        if not self.failed:
            return
        first = min(self.failed)
        more = f" (the first of {len(self.failed)})" if len(self.failed) > 1 else ""
        reason = self.failed[first].partition("\n")[0]
        raise UnfinishedError(
            f"{self.job.pieces[first].name} failed{more}: {reason}",
            "what is done is kept, and the same command does only what is left",
        )
