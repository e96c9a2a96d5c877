"""Measures whether queries of a new encoder can be searched in an old one's gallery, and how well.

python -m bct_keras.evaluate --new=runs/mixbct --old=runs/old \\
    --protocol='retrieval(data/demo/test)' --out=reports/x

With --old or --new alone it is the self-test of that one. Several encoders at once, oldest first:
--encoders=runs/v1,runs/v2,runs/v3 searches the queries of each in its own gallery and in that of
each older one, and --encoders=runs/a,runs/b --gallery=runs/old judges them by that one gallery
alone.

Protocols:
  retrieval(DATA): the images of each identity of a data set are divided into gallery and query
  ijbc(DIR), ijbb(DIR): IJB-C or IJB-B with its folders meta and loose_crop; flip=False,
      normalise_first=True and detector_score=False give InsightFace's F0, N0 and D0
  pairs(FILE.bin): InsightFace's lfw.bin, cfp_fp.bin, agedb_30.bin and their like, in ten folds
  lfw(pairs.txt, images=DIR): the same from LFW's list and a folder of aligned images,
      DIR/Name/Name_0001.jpg

Writes report.json, report.html and each plot as PNG to --out. The verdict is `compatible` where
new/old is shown to be better than old/old by the metrics of --decide_by and none is shown to be
worse, `not compatible` where one is shown to be worse, and `undecided` where these identities are
too few to tell; then it says about how many would. Shown means that the gain's 95 % interval over
identities lies on one side of 0.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

import bct_keras
from bct_keras import artefacts, command, progress, registry
from bct_keras.encoders import Encoder, load_encoder, trial
from bct_keras.errors import InputError, option
from bct_keras.evaluation import build_protocols, compatibility, report, series
from bct_keras.evaluation.embedding_cache import EmbeddingCache
from bct_keras.evaluation.protocol import Protocol
from bct_keras.evaluation.report_folder import (
    KIND,
    REPORT,
    rule_facts,
    verdict_facts,
    write_report,
)
from bct_keras.evaluation.verdict import MARGIN, Rule, worst


def evaluate(
    old: Encoder | None,
    new: Encoder | None,
    protocols: Sequence[str] | Mapping[str, Protocol],
    out: Path,
    independent: Encoder | None = None,
    on_bad: str = "fail",
    rule: Rule | None = None,
    say: progress.Say = progress.silent,
) -> dict[str, Any]:
    """Returns what report.json says of one upgrade; it is made anew only where what it is made
    from has changed.

    Args:
        old: The old encoder; without it there is the new one's self-test alone.
        new: The new encoder, likewise.
        protocols: How to measure: names with options, or what `build_protocols` has built of them.
        out: The folder to make.
        independent: The new network trained without constraint.
        on_bad: What to do with an image that cannot be used, where the protocols are built here.
        rule: What the verdict goes by.
        say: Takes lines on what the encoders are given and what looks wrong with their embeddings.
    """
    compatibility.check_dims(old, new)
    given = {"old": old, "new": new, "independent": independent}
    encoders = {name: encoder for name, encoder in given.items() if encoder}

    def find(protocol: Protocol) -> dict[str, Any]:
        return compatibility.findings(protocol, old, new, independent)

    def judge(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
        return verdict_facts(compatibility.judge(results, rule or Rule()))

    facts = rule_facts(rule or Rule())
    return Evaluation(encoders, protocols, on_bad, find, judge, facts, say).written(out)


def evaluate_series(
    encoders: list[Encoder],
    protocols: Sequence[str] | Mapping[str, Protocol],
    out: Path,
    first_gallery_only: bool = False,
    on_bad: str = "fail",
    rule: Rule | None = None,
    say: progress.Say = progress.silent,
) -> dict[str, Any]:
    """Returns the same of a series of upgrades, oldest first; `first_gallery_only` compares all
    with the oldest.
    """
    named = {f"encoders, {place}": encoder for place, encoder in enumerate(encoders, 1)}
    check_series(encoders)

    def find(protocol: Protocol) -> dict[str, Any]:
        return series.findings(protocol, encoders, first_gallery_only)

    def judge(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
        found = series.judge(results, rule or Rule())
        candidates = {name: verdict_facts(verdict) for name, verdict in found.items()}
        # The whole series is as good as its worst upgrade; of candidates for one gallery each
        # stands for itself.
        whole = None if first_gallery_only else worst(list(found.values()))
        return verdict_facts(whole) | {"candidates": candidates}

    facts = {"verdict on": "the first gallery" if first_gallery_only else "all galleries"}
    facts |= rule_facts(rule or Rule())
    return Evaluation(named, protocols, on_bad, find, judge, facts, say).written(out)


def check_series(encoders: list[Encoder]) -> None:
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
    """What makes one report."""

    encoders: dict[str, Encoder]  # by the option that names them
    protocols: Sequence[str] | Mapping[str, Protocol]
    on_bad: str
    find: Callable[[Protocol], dict[str, Any]]  # a protocol's part of the report
    judge: Callable[[dict[str, dict[str, Any]]], dict[str, Any]]  # the verdict on all parts
    facts: dict[str, str]  # what decides the report, besides encoders and protocols
    say: progress.Say

    def written(self, out: Path) -> dict[str, Any]:
        """Returns what report.json says, made where it is not there."""
        protocols = self.built(out)
        made_from = {name: encoder.fingerprint for name, encoder in self.encoders.items()}
        made_from |= self.facts
        made_from |= {spec: protocol.made_from() for spec, protocol in protocols.items()}
        with artefacts.making(out, KIND, made_from) as folder:
            if folder:
                found = self.found(protocols, made_from)
                write_report(found, protocols, made_from, folder)
        return artefacts.read_result(out, KIND, REPORT)

    def built(self, out: Path) -> Mapping[str, Protocol]:
        """Returns the protocols; those that are built here keep embeddings beside the report."""
        if isinstance(self.protocols, Mapping):
            return self.protocols
        return build_protocols(
            self.protocols, EmbeddingCache(out.parent / "embeddings"), self.on_bad
        )

    def found(self, protocols: Mapping[str, Protocol], made_from: dict[str, Any]) -> dict[str, Any]:
        """Measures, and returns what report.json says."""
        for line in remarks(list(self.encoders.values()), protocols.values()):
            self.say(line)
        results = {spec: self.find(protocol) for spec, protocol in protocols.items()}
        specs = {f"--{name}": encoder.spec for name, encoder in self.encoders.items()}
        return {
            "version": bct_keras.__version__,
            **self.judge(results),
            "protocols": results,
            "made_from": specs | {"--on_bad": self.on_bad} | made_from,
        }


def remarks(encoders: list[Encoder], protocols: Iterable[Protocol]) -> Iterator[str]:
    """Yields which pixels the encoders get and, where a protocol's images have labels, what
    looks wrong with them.
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
            yield from trial.after(encoder.spec, embeddings, labels)


def define_flags() -> None:
    flags.DEFINE_string(
        "new",
        None,
        "the new encoder: a run's folder, a .keras file, a SavedModel or a .tflite file",
    )
    flags.DEFINE_string(
        "old",
        None,
        "the old encoder, likewise, or with its preprocessing: tflite(old.tflite, mean=127.5, "
        "std=128)",
    )
    flags.DEFINE_string(
        "independent",
        None,
        "the new network trained without constraint: gives update gain, tax and the baselines",
    )
    flags.DEFINE_string(
        "encoders", "", "in place of --old and --new: a series of encoders, oldest first, by commas"
    )
    flags.DEFINE_string(
        "gallery",
        None,
        "with --encoders: the encoder older than all of them, whose gallery decides",
    )
    flags.DEFINE_multi_string(
        "protocol", None, "how to measure, as in retrieval(data/demo/test); may be given twice"
    )
    flags.DEFINE_string(
        "out", None, "the folder to make; embeddings are kept beside it, in `embeddings`"
    )
    define_verdict_flags()
    flags.DEFINE_enum(
        "on_bad",
        "fail",
        ["fail", "skip"],
        "what to do with an image of ijbc or ijbb that is no good",
    )


def define_verdict_flags() -> None:
    """Those that `train` and `export` have too."""
    flags.DEFINE_list(
        "decide_by",
        [],
        "the metrics that have to be shown to be better, as in TAR@FAR=1e-3,top-1; by default TAR "
        "at the lowest FAR "
        "that the data can measure, and top-1",
    )
    flags.DEFINE_float(
        "margin", MARGIN, "how much below the old encoder still counts as no worse", lower_bound=0.0
    )


def rule_of_flags() -> Rule:
    return Rule(tuple(flags.FLAGS.decide_by), flags.FLAGS.margin)


def main() -> None:
    FLAGS = flags.FLAGS
    out = Path(command.required("out"))
    command.required("protocol")
    of_series = bool(FLAGS.encoders or FLAGS.gallery)
    found = series_of_flags(out) if of_series else upgrade_of_flags(out)
    print(report.as_text(found))
    print(f"report: {out / 'report.html'}")


def series_of_flags(out: Path) -> dict[str, Any]:
    """Evaluates what --encoders and --gallery name."""
    FLAGS = flags.FLAGS
    if FLAGS.old or FLAGS.new or FLAGS.independent:
        raise InputError(
            "--encoders and --gallery stand in place of --old, --new and --independent"
        )
    paths = registry.split_arguments(FLAGS.encoders, "--encoders")
    if FLAGS.gallery:
        paths = [FLAGS.gallery, *paths]
    return evaluate_series(
        [load_encoder(path) for path in paths],
        FLAGS.protocol,
        out,
        first_gallery_only=bool(FLAGS.gallery),
        on_bad=FLAGS.on_bad,
        rule=rule_of_flags(),
        say=command.say,
    )


def upgrade_of_flags(out: Path) -> dict[str, Any]:
    """Evaluates what --old, --new and --independent name."""
    FLAGS = flags.FLAGS
    if not (FLAGS.new or FLAGS.old):
        raise InputError(
            "--new or --old is needed, or both, or --encoders; --help tells what they take"
        )
    paths = (FLAGS.old, FLAGS.new, FLAGS.independent)
    old, new, independent = (load_encoder(path) if path else None for path in paths)
    return evaluate(
        old,
        new,
        FLAGS.protocol,
        out,
        independent=independent,
        on_bad=FLAGS.on_bad,
        rule=rule_of_flags(),
        say=command.say,
    )


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "")
