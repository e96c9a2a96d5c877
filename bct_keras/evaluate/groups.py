"""Reads which group each image or identity is of, and measures each group by itself."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bct_keras import artefacts
from bct_keras.errors import InputError, option
from bct_keras.metrics.gains import rates_of
from bct_keras.metrics.groups import FEWEST_IDENTITIES, GroupRates, group_rates
from bct_keras.metrics.verification import Embedded, Sides
from bct_keras.untrusted.reading import read_text

ID, IDENTITY, GROUP = "id", "identity", "group"
HEADINGS = ([ID, GROUP], [IDENTITY, GROUP])
NONE = ""  # of an image whose group is not told: it counts in all, and in no group


@dataclass(frozen=True)
class GroupFile:
    """Holds a CSV file with the groups.

    Attributes:
        path: The file.
        by: What it names: `id`, of images, or `identity`.
        group_of: The group of each id or identity that it names.
    """

    path: Path
    by: str
    group_of: dict[str, str]

    def groups_of(self, names: Sequence[str]) -> np.ndarray:
        """Returns the group of each image [images], by its id or its identity's name."""
        groups = np.array([self.group_of.get(name, NONE) for name in names])
        if not np.any(groups != NONE):
            raise InputError(
                f"{option('groups', str(self.path))} names none of the images, such as "
                f"{names[0]!r}: its first column has to hold their {self.by}"
            )
        return groups

    def fingerprint(self) -> str:
        """Names the content of the file."""
        return artefacts.file_sha256(self.path)


def read_groups(path: Path) -> GroupFile:
    """Reads a CSV file of two columns, headed `id,group` or `identity,group`."""
    rows = rows_of(path)
    _, first = next(rows, (1, []))
    heading = [cell.lower() for cell in first]
    if heading not in HEADINGS:
        raise InputError(f"{path}: the first line has to be `{ID},{GROUP}` or `{IDENTITY},{GROUP}`")
    group_of: dict[str, str] = {}
    for number, row in rows:
        if not row:
            continue
        if len(row) != 2 or not all(row):
            raise InputError(f"{path}, line {number}: a name and a group are needed, by a comma")
        name, group = row
        if group_of.setdefault(name, group) != group:
            raise InputError(f"{path}, line {number}: {name} has another group above")
    if not group_of:
        raise InputError(f"{path} names no group: below the heading each line has a name and one")
    return GroupFile(path, heading[0], group_of)


def rows_of(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yields each row of a CSV file, without blanks around its cells, and the line it ends on."""
    text = read_text(path).removeprefix("\ufeff")  # which Excel writes first
    rows = csv.reader(io.StringIO(text, newline=""))
    try:
        for row in rows:
            yield rows.line_num, [cell.strip() for cell in row]
    except csv.Error as reason:
        raise InputError(
            f"{path}, line {rows.line_num}: this is no row of a CSV file ({reason})"
        ) from None


@dataclass(frozen=True)
class SideGroups:
    """Holds the groups of the queries [queries] and of the gallery [gallery]."""

    query: np.ndarray
    gallery: np.ndarray

    def names(self) -> list[str]:
        """Returns the groups that there are, by the alphabet."""
        found = set(self.query.tolist()) | set(self.gallery.tolist())
        return sorted(found - {NONE})

    def notes(self, file: GroupFile) -> list[str]:
        """Tells how many images are in no group, where there are some."""
        every = np.concatenate([self.query, self.gallery])
        without = np.count_nonzero(every == NONE)
        if not without:
            return []
        return [f"{without:,} of {len(every):,} images have no group in {file.path}"]


def by_group(
    groups: SideGroups, sides_of: Mapping[str, Sides], thresholds: Mapping[str, Mapping[str, float]]
) -> dict[str, Any]:
    """Returns what each group's rates are at the thresholds that hold for all.

    Args:
        groups: Whose image is of which group.
        sides_of: What each test searches, and in what.
        thresholds: The cosine of each metric that has one, for each test.

    Returns:
        {metric: {test: {group: facts}}}.
    """
    found: dict[str, Any] = {}
    for test, cosines in thresholds.items():
        for metric, cosine in cosines.items():
            far = rates_of([metric])[metric]
            of_groups = {}
            for name in groups.names():
                rates = rates_of_group(groups, name, sides_of[test], cosine)
                of_groups[name] = facts_of(rates, far)
            found.setdefault(metric, {})[test] = of_groups
    return found


def rates_of_group(groups: SideGroups, name: str, sides: Sides, threshold: float) -> GroupRates:
    """Returns what a threshold does in one group."""
    parts = []
    for side, inside in ((sides.query, groups.query), (sides.gallery, groups.gallery)):
        rows = inside == name
        parts.append(Embedded(side.embeddings[rows], side.labels[rows]))
    return group_rates(parts[0], parts[1], threshold)


def facts_of(rates: GroupRates, far: float) -> dict[str, Any]:
    """Returns what report.json says of a group; a rate that nothing tells of is None."""
    return {
        "identities": rates.identities,
        "queries": rates.queries,
        "images": rates.images,
        "genuine_pairs": rates.genuine_pairs,
        "impostor_pairs": rates.impostor_pairs,
        "tar": None if math.isnan(rates.tar) else rates.tar,
        "interval": list(rates.interval or ()),
        "fmr": None if math.isnan(rates.fmr) else rates.fmr,
        "too_small": rates.is_too_small(far),
    }


def group_notes(found: Mapping[str, Any]) -> list[str]:
    """Returns warnings of groups that are too small, each with the metrics it is of."""
    metrics_of: dict[str, list[str]] = {}  # of the groups that are too small, by their names
    for metric, of_tests in found.items():
        of_groups = next(iter(of_tests.values()))
        small = [name for name, facts in of_groups.items() if facts["too_small"]]
        if small:
            metrics_of.setdefault(", ".join(small), []).append(metric)
    notes = []
    for names, metrics in metrics_of.items():
        notes.append(
            f"warning: {names}: too small to say anything at {', '.join(metrics)} (fewer than "
            f"{FEWEST_IDENTITIES} identities, or fewer than ten impostor pairs that would be "
            "accepted)"
        )
    return notes
