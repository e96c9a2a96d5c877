"""What actors do that have nothing to do, on a cluster that is made up."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from line_writer import job

from bct_keras.engines import on_ray
from bct_keras.engines.work import Piece

NEEDS: dict[str, float] = {"num_cpus": 1, "num_gpus": 0}


class RayActorError(Exception):
    """An actor has died."""


class RayTaskError(Exception):
    """What an actor did has failed."""


@dataclass(eq=False)
class Reference:
    """What will be known once an actor has done something."""

    actor: "Actor"
    result: dict[str, str] | None = None


class Actor:
    """Takes a core from its start to its end, as one of Ray does, and works if it has one."""

    def __init__(self, cluster: "Cluster"):
        self.cluster = cluster
        self.has_core = cluster.free_cores > 0
        cluster.free_cores -= self.has_core
        self.open = SimpleNamespace(remote=lambda: Reference(self))
        self.finish = SimpleNamespace(remote=self.finished)

    def finished(self, piece: Piece) -> Reference:
        self.cluster.done.append(piece.name)
        return Reference(self, {"text": piece.content})


@dataclass
class Cluster:
    """Two machines of a core each, of which one dies; that is known when all else is done."""

    free_cores: int = 2
    dies: Actor | None = None
    done: list[str] = field(default_factory=list)
    exceptions: Any = field(
        default_factory=lambda: SimpleNamespace(
            RayActorError=RayActorError, RayTaskError=RayTaskError
        )
    )

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 1}}] * 2

    def remote(self, **needs: float) -> Any:
        assert needs == NEEDS
        return lambda _: SimpleNamespace(remote=lambda *_: Actor(self))

    def wait(
        self, references: list[Reference], num_returns: int, timeout: float
    ) -> tuple[list[Reference], list[Reference]]:
        """Returns one that ends; that of the machine which dies comes last."""
        for reference in references:
            if reference.actor.has_core and reference.actor is not self.dies:
                return [reference], []
        for reference in references:
            if reference.actor is self.dies:
                return [reference], []
        raise AssertionError("what is left would be waited for without an end")

    def get(self, reference: Reference) -> dict[str, str] | None:
        if reference.actor is self.dies:
            raise RayActorError
        if self.dies is None and reference.result:
            self.dies = reference.actor  # it dies with its next piece
        return reference.result

    def kill(self, actor: Actor) -> None:
        pass


def test_a_piece_of_a_machine_that_died_is_done_by_an_actor_that_is_idle(tmp_path: Path):
    """A new actor would wait for ever: the idle one holds the only core that is left."""
    cluster = Cluster()
    found = dict(on_ray.Run(cluster, job(tmp_path, pieces=6), NEEDS, actors=0).results())
    assert found == {number: {"text": f"text {number}"} for number in range(6)}
    assert len(cluster.done) == 7  # one of them twice
