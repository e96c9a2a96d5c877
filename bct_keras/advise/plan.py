"""What somebody who asks for advice says of the gallery and of the adapters to try."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from bct_keras.adapt import plan as of_adapt
from bct_keras.adapt.plan import GALLERY, NO_ADAPTER, QUERY
from bct_keras.errors import InputError, option


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides the advice but the encoders; the names are those of the command's options.

    Attributes:
        gallery_size: The entries of the gallery that there is.
        queries_per_day: The searches in it.
        nodes: How many machines like this one embed the gallery anew, where that is done.
        cost_per_gpu_hour: What an hour of a machine like this one costs; None: no money is told.
        data: The data set to fit adapters on.
        kind: The map that is fitted.
        weigh_on: Data sets that choose the weight of fused queries.
        pairs: The items to fit on, at most.
        seed: What is drawn goes by it.
    """

    gallery_size: float
    queries_per_day: float
    nodes: int = 1
    cost_per_gpu_hour: float | None = None
    data: str | None = None
    kind: str = "residual"
    weigh_on: tuple[str, ...] = ()
    pairs: int = 8000
    seed: int = 0

    def __post_init__(self):
        if not 1 <= self.gallery_size < math.inf:
            raise InputError(f"{option('gallery_size', self.gallery_size)}: an entry is the least")
        if not 0 <= self.queries_per_day < math.inf:
            raise InputError(
                f"{option('queries_per_day', self.queries_per_day)} has to be a number from 0 on"
            )
        if self.nodes < 1:
            raise InputError(f"{option('nodes', self.nodes)}: one machine is the least")
        if self.kind == NO_ADAPTER:
            raise InputError(
                f"{option('kind', self.kind)} fits nothing: adapters are among the routes"
            )
        # What `adapt` would refuse is told before any work.
        for each in (self.of_queries(), self.of_fused(), self.of_gallery()):
            assert each.pairs == self.pairs

    def of_queries(self) -> of_adapt.Plan:
        """Returns how the map new -> old is fitted."""
        return self.to_adapt(direction=QUERY)

    def of_gallery(self) -> of_adapt.Plan:
        """Returns how the map old -> new is fitted."""
        return self.to_adapt(direction=GALLERY)

    def of_fused(self) -> of_adapt.Plan:
        """Returns how the map new -> old is fitted, and then fused with the old embedding."""
        return self.to_adapt(direction=QUERY, fuse=True, weigh_on=self.weigh_on)

    def of_fused_trained(self) -> of_adapt.Plan:
        """Returns how a trained encoder is fused with the old one."""
        return self.to_adapt(direction=QUERY, fuse=True, weigh_on=self.weigh_on, kind=NO_ADAPTER)

    def to_adapt(self, **others: Any) -> of_adapt.Plan:
        """Returns what `adapt` is asked for."""
        shared = {"data": self.data, "kind": self.kind, "pairs": self.pairs, "seed": self.seed}
        return of_adapt.Plan(**(shared | others))

    def facts(self) -> dict[str, Any]:
        """Returns all of it for the manifest; the data's content counts there, not its place."""
        found = asdict(self)
        del found["data"]
        found["weigh_on"] = list(self.weigh_on)
        return found
