"""Fits an adapter between two encoders, folds it into the new one, and proves it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bct_keras import adapters, artefacts
from bct_keras.adapt import neighbours
from bct_keras.adapt.adaptation import Adaptation
from bct_keras.adapt.items import StoredItems, items_of
from bct_keras.adapt.judges import weight_of
from bct_keras.adapt.pairs import Pairs
from bct_keras.adapt.plan import GALLERY, NO_ADAPTER, QUERY, Plan
from bct_keras.adapt.weight import Weight
from bct_keras.adapt.writing import write
from bct_keras.encoders import (
    ADAPTER_FILE,
    ADAPTER_KIND,
    ENCODER_FILE,
    Encoder,
    load_adapter,
    load_encoder,
)
from bct_keras.errors import InputError, option
from bct_keras.evaluate.routes import Routes
from bct_keras.evaluate.run import evaluate
from bct_keras.metrics.verdict import Rule
from bct_keras.progress import Say, silent


def adapt(
    new: Encoder,
    old: Encoder,
    plan: Plan,
    out: Path,
    protocols: Sequence[str] | None = None,
    rule: Rule | None = None,
    say: Say = silent,
) -> dict[str, Any] | None:
    """Fits what a plan describes, where that is not done yet, and proves it.

    Args:
        new: The new encoder.
        old: The old one.
        plan: What to fit.
        out: The folder to make: the adapter, the encoder with it folded in, and a report.
        protocols: What to prove it by; None: identities that are held out.
        rule: What the verdict goes by.
        say: Takes lines on what is done.

    Returns:
        What the report says; None where nothing is to be proven.
    """
    check_dims(new, old, plan)
    items = items_of(new, old, plan, say)
    proving = items.protocols(protocols, out)
    items = items.apart_from(proving)
    made_from = plan.made_from(new, old) | {"items": items.fingerprint}
    with artefacts.making(out, ADAPTER_KIND, made_from) as folder:
        if folder is None:
            say(f"{out} is up to date")
        else:
            pairs = items.pairs()
            found = fitted(new, old, plan, pairs, out)
            if plan.fuse:
                found = replace(found, weight=weight_of(found, pairs, plan, say))
            written = write(found, len(pairs), folder, made_from, plan.direction == QUERY)
            say(f"{out}: {written}")
    found = written_before(new, old, out)
    if proving:
        # Bare new queries in the bare old gallery are what nobody does who moves it.
        routes = Routes(moved=found.moved, bare=False) if plan.direction == GALLERY else Routes()
        searched = new if plan.direction == GALLERY else read_back(found, out)
        report = out / "report"
        return evaluate(old, searched, proving, report, rule=rule, routes=routes, say=say)
    if isinstance(items, StoredItems):
        say(neighbours.told(found, items.halves.proven, plan))
    return None


def check_dims(new: Encoder, old: Encoder, plan: Plan) -> None:
    """Raises where nothing is fitted and the new encoder has other dims than the old one."""
    if plan.kind == NO_ADAPTER and new.compatible_dims != old.dims:
        raise InputError(
            f"{new.spec} has {new.compatible_dims} compatible dimensions and {old.spec} {old.dims}:"
            " they cannot be fused without an adapter",
            f"give {option('kind', 'residual')}",
        )


def fitted(new: Encoder, old: Encoder, plan: Plan, pairs: Pairs, out: Path) -> Adaptation:
    """Returns the adapter of these pairs, which is going to lie in a folder `out`."""
    adapter = None
    if plan.kind != NO_ADAPTER:
        source, target = pairs.new, pairs.old
        if plan.direction == GALLERY:
            source, target = target, source
        adapter = adapters.fit(
            plan.kind, source, target, pairs.labels, direction=plan.direction, seed=plan.seed
        )
    return Adaptation(new, old, adapter, str(out / ADAPTER_FILE))


def written_before(new: Encoder, old: Encoder, out: Path) -> Adaptation:
    """Returns the adaptation that lies in a folder."""
    path = out / ADAPTER_FILE
    adapter = load_adapter(path) if path.is_file() else None
    manifest = artefacts.read_manifest(out, ADAPTER_KIND)
    weight = Weight(manifest["weight"], {}) if "weight" in manifest else None
    return Adaptation(new, old, adapter, str(path), weight)


def read_back(found: Adaptation, out: Path) -> Encoder:
    """Returns the new encoder with what the old gallery is searched with.

    It is the file that was written, where there is one, so that the report is about that.
    """
    if (out / ENCODER_FILE).is_file():
        return load_encoder(out)
    return found.encoder
