"""Measures encoders against each other and writes the report."""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bct_keras
from bct_keras import artefacts, progress
from bct_keras.encoders import Encoder, trial
from bct_keras.engines import Engine
from bct_keras.errors import InputError, option
from bct_keras.evaluate import compatibility, fitted_on, series
from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.groups import GroupFile
from bct_keras.evaluate.protocol import Protocol
from bct_keras.evaluate.protocols import build_protocols
from bct_keras.evaluate.report_folder import KIND, REPORT, rule_facts, verdict_facts, write_report
from bct_keras.evaluate.retrieval import Divided
from bct_keras.evaluate.routes import Routes, judge_routes
from bct_keras.evaluate.summary import add_counts, encoder_facts, today
from bct_keras.metrics.verdict import Rule, worst

FAIL, COUNT = "fail", "count"


def evaluate(
    old: Encoder | None,
    new: Encoder | None,
    protocols: Sequence[str] | Mapping[str, Protocol],
    out: Path,
    independent: Encoder | None = None,
    on_bad: str = "fail",
    rule: Rule | None = None,
    routes: Routes | None = None,
    say: progress.Say = progress.silent,
    engine: Engine | None = None,
    failures: str = FAIL,
    groups: GroupFile | None = None,
) -> dict[str, Any]:
    """Returns what report.json says of one upgrade.

    The report is made anew only where what it is made from has changed.

    Args:
        old: The old encoder; without it there is the new one's self-test alone.
        new: The new encoder, likewise.
        protocols: How to measure: names with options, or what `build_protocols` has built of them.
        out: The folder to make.
        independent: The new network trained without constraint.
        on_bad: What to do with an image that cannot be used, where the protocols are built here.
        rule: What the verdict goes by.
        routes: Other ways to search the old gallery, which have rows and verdicts of their own.
        say: Takes lines on what the encoders are given and what looks wrong with their embeddings.
        engine: What embeds data sets, where the protocols are built here; None is this process.
        failures: Of an image that cannot be embedded, `fail` raises an error and `count` makes a
            miss.
        groups: Which group each image or identity is of, whose rates are measured by themselves.
    """
    rule = rule or Rule()
    routes = routes or Routes()
    others = routes.given()
    if others:  # they may be what brings encoders of other dimensions together
        routes.check(old, new)
    else:
        compatibility.check_dims(old, new)
    given = {"old": old, "new": new, "independent": independent}
    encoders = {name: encoder for name, encoder in given.items() if encoder} | others
    facts = rule_facts(rule) | ({} if routes.bare else {"new/old": "left out"})
    facts |= image_facts(failures, groups, engine)

    def check(protocol: Protocol) -> None:
        check_divided(protocol, failures, groups)

    def find(protocol: Protocol) -> dict[str, Any]:
        return compatibility.findings(
            protocol, old, new, independent=independent, routes=routes, groups=groups
        )

    def judge(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
        found = verdict_facts(compatibility.judge(results, rule))
        if others:
            assert old
            assert new
            found["routes"] = routes.fingerprints(old, new)
            for name, verdict in judge_routes(results, rule).items():
                found["routes"][name] |= verdict_facts(verdict)
        return found

    evaluation = Evaluation(
        encoders=encoders,
        protocols=protocols,
        on_bad=on_bad,
        find=find,
        judge=judge,
        facts=facts,
        say=say,
        engine=engine,
        check=check,
    )
    with failing(encoders.values()) if failures == COUNT else contextlib.nullcontext():
        return evaluation.written(out)


def image_facts(failures: str, groups: GroupFile | None, engine: Engine | None) -> dict[str, str]:
    """Returns what a report is made from besides: what its images may be, and their groups."""
    facts = {}
    if failures == COUNT:
        if engine:
            raise InputError(f"{option('failures', COUNT)} embeds here, without {option('engine')}")
        facts["--failures"] = failures
    if groups:
        facts["--groups"] = groups.fingerprint()
    return facts


@contextlib.contextmanager
def failing(encoders: Collection[Encoder]) -> Iterator[None]:
    """Lets images fail, and no more once the block ends: the encoders are the caller's."""
    for encoder in encoders:
        encoder.let_fail()
    try:
        yield
    finally:
        for encoder in encoders:
            encoder.let_fail(False)


def check_divided(protocol: Protocol, failures: str, groups: GroupFile | None) -> None:
    """Refuses failures that count, and groups, with a protocol that does not know its images.

    So it does where the file of groups names none of them, before anything is embedded.
    """
    if isinstance(protocol, Divided):
        if groups:
            protocol.side_groups(groups)
        return
    flag = option("groups") if groups else option("failures", COUNT) if failures == COUNT else ""
    if flag:
        raise InputError(f"{flag} goes with retrieval, and with listed where the file has labels")


def evaluate_series(
    encoders: list[Encoder],
    protocols: Sequence[str] | Mapping[str, Protocol],
    out: Path,
    first_gallery_only: bool = False,
    on_bad: str = "fail",
    rule: Rule | None = None,
    say: progress.Say = progress.silent,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Returns what report.json says of a series of upgrades.

    Args:
        encoders: Two or more, oldest first.
        protocols: How to measure: names with options, or what `build_protocols` has built of them.
        out: The folder to make.
        first_gallery_only: Whether all are compared with the oldest alone.
        on_bad: What to do with an image that cannot be used, where the protocols are built here.
        rule: What the verdict goes by.
        say: Takes lines on what the encoders are given and what looks wrong with their embeddings.
        engine: What embeds data sets, where the protocols are built here; None is this process.
    """
    named = {f"encoders, {place}": encoder for place, encoder in enumerate(encoders, 1)}
    check_series(encoders)
    rule = rule or Rule()

    def find(protocol: Protocol) -> dict[str, Any]:
        return series.findings(protocol, encoders, first_gallery_only)

    def judge(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
        found = series.judge(results, rule)
        candidates = {}
        for name, verdict in found.items():
            candidates[name] = verdict_facts(verdict)
        # The whole series is as good as its worst upgrade; of candidates for one gallery each
        # stands for itself.
        whole = None if first_gallery_only else worst(list(found.values()))
        return verdict_facts(whole) | {"candidates": candidates}

    facts = {"verdict on": "the first gallery" if first_gallery_only else "all galleries"}
    facts |= rule_facts(rule)
    evaluation = Evaluation(
        encoders=named,
        protocols=protocols,
        on_bad=on_bad,
        find=find,
        judge=judge,
        facts=facts,
        say=say,
        engine=engine,
    )
    return evaluation.written(out)


def check_series(encoders: list[Encoder]) -> None:
    """Refuses a series of one encoder, or one that has the same encoder twice."""
    if len(encoders) < 2:
        raise InputError(f"{option('encoders')} needs two encoders, or one and {option('gallery')}")
    known: dict[str, str] = {}
    for encoder in encoders:
        if encoder.fingerprint in known:
            raise InputError(
                f"{encoder.spec} and {known[encoder.fingerprint]} are the same encoder; give it "
                "once"
            )
        known[encoder.fingerprint] = encoder.spec


@dataclass(frozen=True)
class Evaluation:
    """Holds what makes one report."""

    encoders: dict[str, Encoder]  # by the option that names them
    protocols: Sequence[str] | Mapping[str, Protocol]
    on_bad: str
    find: Callable[[Protocol], dict[str, Any]]  # a protocol's part of the report
    judge: Callable[[dict[str, dict[str, Any]]], dict[str, Any]]  # the verdict on all parts
    facts: dict[str, str]  # what decides the report, besides encoders and protocols
    say: progress.Say
    engine: Engine | None = None
    check: Callable[[Protocol], None] | None = None  # refuses a protocol before the work begins

    def written(self, out: Path) -> dict[str, Any]:
        """Returns what report.json says, made where it is not there."""
        protocols = self.built(out)
        if self.check:
            for protocol in protocols.values():
                self.check(protocol)
        made_from: dict[str, Any] = {}
        for name, encoder in self.encoders.items():
            made_from[name] = encoder.fingerprint
        made_from |= self.facts
        for spec, protocol in protocols.items():
            made_from[spec] = protocol.made_from()
        with artefacts.making(out, KIND, made_from) as folder:
            if folder:
                found = self.found(protocols, made_from)
                write_report(found, protocols, made_from, folder, out)
        return artefacts.read_result(out, KIND, REPORT)

    def built(self, out: Path) -> Mapping[str, Protocol]:
        """Returns the protocols; those that are built here keep embeddings beside the report."""
        if isinstance(self.protocols, Mapping):
            return self.protocols
        cache = EmbeddingCache(out.parent / "embeddings", self.engine)
        return build_protocols(self.protocols, cache, self.on_bad)

    def found(self, protocols: Mapping[str, Protocol], made_from: dict[str, Any]) -> dict[str, Any]:
        """Measures, and returns what report.json says."""
        for line in remarks(list(self.encoders.values()), protocols.values()):
            self.say(line)
        results = {}
        for spec, protocol in protocols.items():
            results[spec] = self.find(protocol)
            warnings = fitted_on.notes(list(self.encoders.values()), protocol.data, spec)
            if warnings:
                results[spec]["notes"] = [*warnings, *results[spec].get("notes", [])]
        facts = {}
        for name, encoder in self.encoders.items():
            facts[f"--{name}"] = encoder.spec
        facts["--on_bad"] = self.on_bad
        add_counts(results, protocols)
        return {
            "version": bct_keras.__version__,
            "date": today(),
            **self.judge(results),
            "encoders": encoder_facts(self.encoders),
            "protocols": results,
            "made_from": facts | made_from,
        }


def remarks(encoders: list[Encoder], protocols: Iterable[Protocol]) -> Iterator[str]:
    """Yields which pixels the encoders get, and what looks wrong with their embeddings.

    The latter needs a protocol whose images have labels.
    """
    for encoder in encoders:
        yield from trial.told(encoder)
    for protocol in protocols:
        if protocol.data is None:
            continue
        for encoder in encoders:
            yield from trial.before(encoder, protocol.data)
            sides = protocol.embed(encoder)
            embeddings = np.concatenate([side.embeddings for side in sides])
            labels = np.concatenate([side.labels for side in sides])
            embedded = embeddings.any(axis=1)  # what failed has nothing but zeros
            embeddings, labels = embeddings[embedded], labels[embedded]
            yield from trial.after(encoder.spec, embeddings, labels)
