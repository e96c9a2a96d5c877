"""The routes to the old gallery that are compared: what each searches with, and in what."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bct_keras.adapters import Adapter
from bct_keras.callbacks.times import TIMES_FILE, read_times
from bct_keras.encoders import ENCODER_FILE, Encoder
from bct_keras.errors import InputError, option

KEEP, AS_IT_IS, TRAINED, ADAPTED = "keep", "as it is", "trained", "adapted"
FUSED, MOVED, BACKFILL = "fused", "moved", "backfill"
NAMES = {
    KEEP: "keep the old encoder",
    AS_IT_IS: "new as it is",
    ADAPTED: "adapted queries",
    FUSED: "fused: adapted + old",
    MOVED: "moved gallery",
    BACKFILL: "full backfill",
}


@dataclass(frozen=True, kw_only=True)
class Route:
    """Holds one route.

    Attributes:
        kind: One of the words above.
        name: What the page calls it; no two have the same.
        queries: Embeds the queries.
        gallery: Embeds the gallery.
        own: Embeds new entries; its self-test says what is left after a whole backfill.
        networks: Those that run for each query.
        query_map: The adapter that each query goes through.
        gallery_map: The adapter that each entry goes through, once.
        fit_seconds: How long the fit or the training took; None where nobody knows, or there
            was none.
        pairs: How many items an adapter was fitted on.
        folder: Where what was fitted lies.
        in_one_file: Whether an encoder file lies there that embeds queries of this route.
    """

    kind: str
    name: str
    queries: Encoder
    gallery: Encoder
    own: Encoder
    networks: tuple[Encoder, ...]
    query_map: Adapter | None = None
    gallery_map: Adapter | None = None
    fit_seconds: float | None = None
    pairs: int = 0
    folder: Path | None = None
    in_one_file: bool = False

    @property
    def is_upgrade(self) -> bool:
        """Tells whether it is one to choose; the others are what there is, and the upper bound."""
        return self.kind not in (KEEP, BACKFILL)


def name_of(encoder: Encoder) -> str:
    """Returns what a user calls an encoder: a run is named by its folder."""
    return encoder.spec.removesuffix(f"/{ENCODER_FILE}")


def without_adapters(old: Encoder, new: Encoder, trained: Sequence[Encoder]) -> list[Route]:
    """Returns the routes that nothing is fitted for."""
    found = [Route(kind=KEEP, name=NAMES[KEEP], queries=old, gallery=old, own=old, networks=(old,))]
    for encoder in trained:
        found.append(
            Route(
                kind=TRAINED,
                name=f"trained: {name_of(encoder)}",
                queries=encoder.compatible,
                gallery=old,
                own=encoder,
                networks=(encoder,),
                fit_seconds=training_seconds(encoder),
            )
        )
    if new.compatible_dims == old.dims:
        found.append(
            Route(
                kind=AS_IT_IS,
                name=NAMES[AS_IT_IS],
                queries=new.compatible,
                gallery=old,
                own=new,
                networks=(new,),
            )
        )
    found.append(
        Route(
            kind=BACKFILL, name=NAMES[BACKFILL], queries=new, gallery=new, own=new, networks=(new,)
        )
    )
    return found


def training_seconds(encoder: Encoder) -> float | None:
    """Returns how long an encoder was trained, where it lies in its run's folder."""
    path = encoder.path.parent / TIMES_FILE
    if not path.is_file():
        return None
    return sum(epoch.seconds for epoch in read_times(path))


def check_encoders(old: Encoder, new: Encoder, trained: Sequence[Encoder]) -> None:
    """Refuses encoders that cannot be compared, before any work."""
    known = {old.fingerprint: f"{option('old')}", new.fingerprint: f"{option('new')}"}
    if len(known) < 2:
        raise InputError(f"{new.spec} and {old.spec} are the same encoder: there is no upgrade")
    for encoder in trained:
        if encoder.fingerprint in known:
            raise InputError(
                f"{option('trained', name_of(encoder))} is {known[encoder.fingerprint]} too;"
                " give it once"
            )
        known[encoder.fingerprint] = f"{option('trained', name_of(encoder))}"
        if encoder.compatible_dims != old.dims:
            raise InputError(
                f"{option('trained', name_of(encoder))} has {encoder.compatible_dims} compatible"
                f" dimensions and {old.spec} {old.dims}: its queries cannot be searched there"
            )
