"""Opens the gallery that is meant, and declares in it what reports of `evaluate` say."""

from collections.abc import Sequence
from pathlib import Path

from bct_keras import progress, specs
from bct_keras.gallery.admission import Admission, read_report
from bct_keras.gallery.facts import Compatibility
from bct_keras.gallery.gallery import Gallery
from bct_keras.gallery.kinds import GALLERIES
from bct_keras.printable import line


def open_gallery(spec: str) -> Gallery:
    """Opens the gallery that is meant, such as `file(people.gallery)`."""
    return specs.build(GALLERIES, spec)


def read_reports(
    reports: Sequence[str | Path], max_loss: float | None, strict: bool
) -> list[Admission]:
    """Returns what each report lets in."""
    return [read_report(report, max_loss, strict) for report in reports]


def compatibilities(admissions: Sequence[Admission]) -> list[Compatibility]:
    """Returns all that reports let in."""
    found = []
    for admission in admissions:
        found += admission.compatible
    return found


def declare(gallery: Gallery, admissions: Sequence[Admission], say: progress.Say) -> None:
    """Declares which queries fit which entries, and says so, and what was not let in."""
    for admission in admissions:
        for compatibility in admission.compatible:
            gallery.declare(compatibility)
            if not is_own(compatibility):
                say(line(sentence_of(compatibility)))
        for refused in admission.refused:
            say(line(f"not let in: {refused}"))


def is_own(compatibility: Compatibility) -> bool:
    """Tells whether it is of an encoder's own entries, which its queries fit anyway."""
    return compatibility.query == compatibility.gallery


def sentence_of(compatibility: Compatibility) -> str:
    """Returns what was declared, in words."""
    query, entries = compatibility.query[:12], compatibility.gallery[:12]
    return f"queries of {query} fit entries of {entries}: {compatibility.finding}"
