"""What a route costs: the fit, the work on the gallery, storage, and each query."""

import math
from dataclasses import dataclass

from bct_keras.advise.candidates import BACKFILL, FUSED, MOVED, TRAINED, Route
from bct_keras.advise.plan import Plan
from bct_keras.advise.speed import Speeds
from bct_keras.embed.plan import SECONDS_AN_HOUR, at_work
from bct_keras.prepare.writing import RECORDS_PER_SHARD

BYTES_A_NUMBER = 4  # float32


@dataclass(frozen=True)
class Costs:
    """Holds what one route costs; None where it is not known.

    Attributes:
        fit_seconds: The fit of its adapter, or the training of its encoder; None: there is none,
            or nobody knows.
        gallery_hours: Until every entry is what the route searches; 0 where they stay as they are.
        gallery_machines: How many machines work on the gallery at once for so many hours.
        extra_bytes: Of vectors beside those that there are today, until those are given up.
        query_seconds: From an image to what is searched with.
        hours_a_day: The same for all queries of a day, one after the other.
        money_once: The work on the gallery.
        money_a_day: The queries.
    """

    fit_seconds: float | None
    gallery_hours: float | None
    gallery_machines: int
    extra_bytes: int
    query_seconds: float | None
    hours_a_day: float | None
    money_once: float | None
    money_a_day: float | None


def costs_of(route: Route, plan: Plan, speeds: Speeds) -> Costs:
    """Returns what a route costs, scaled to the gallery and to the queries of a day."""
    machines = machines_at_work(route, plan)
    gallery_hours = hours_on_gallery(route, plan.gallery_size / machines, speeds)
    query_seconds = speeds.of_query(route)
    hours_a_day = None
    if query_seconds is not None:
        hours_a_day = plan.queries_per_day * query_seconds / SECONDS_AN_HOUR
    rewritten = route.kind in (MOVED, BACKFILL)
    extra = round(plan.gallery_size) * route.gallery.dims * BYTES_A_NUMBER if rewritten else 0
    return Costs(
        fit_seconds=route.fit_seconds,
        gallery_hours=gallery_hours,
        gallery_machines=math.ceil(machines),
        extra_bytes=extra,
        query_seconds=query_seconds,
        hours_a_day=hours_a_day,
        money_once=price(gallery_hours, plan.cost_per_gpu_hour, machines),
        money_a_day=price(hours_a_day, plan.cost_per_gpu_hour),
    )


def machines_at_work(route: Route, plan: Plan) -> float:
    """Returns how many machines work on the gallery: a map is applied by one."""
    if route.kind != BACKFILL:
        return 1
    return at_work(plan.nodes, plan.gallery_size / RECORDS_PER_SHARD)


def hours_on_gallery(route: Route, entries: float, speeds: Speeds) -> float | None:
    """Returns how long so many entries take on this machine; None where it cannot be measured."""
    per_second: float | None
    if route.kind == BACKFILL:
        per_second = speeds.images_per_second(route.gallery)
    elif route.gallery_map is not None:
        per_second = speeds.maps[id(route.gallery_map)].per_second
    else:
        return 0.0
    if per_second is None:
        return None
    return entries / per_second / SECONDS_AN_HOUR


def price(hours: float | None, an_hour: float | None, machines: float = 1) -> float | None:
    """Returns what so many hours of so many machines cost."""
    if hours is None or an_hour is None:
        return None
    return hours * an_hour * machines


@dataclass(frozen=True)
class GivenUp:
    """Says in words what a route asks for."""

    images: str
    networks: str
    entries: str


def given_up(route: Route) -> GivenUp:
    """Returns what one gives up for a route."""
    images = "none"
    if route.kind == BACKFILL:
        images = "that of every entry"
    elif route.pairs:
        images = f"{route.pairs:,} pairs to fit on"
    elif route.kind in (TRAINED, FUSED):
        images = "the training's, with labels"
    networks = "one network" if len(route.networks) == 1 else "two networks"
    if route.query_map is not None:
        networks += " + map"
    entries = "stay as they are"
    if route.kind == MOVED:
        entries = "all mapped, without images"
    elif route.kind == BACKFILL:
        entries = "all embedded anew"
    return GivenUp(images, networks, entries)
