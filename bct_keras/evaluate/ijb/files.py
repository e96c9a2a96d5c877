"""Reads IJB-B's and IJB-C's meta files.

They say which images make a template, which pairs of templates are compared, and who is in a
gallery. A template is what several images of one subject are put together to.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bct_keras.errors import InputError
from bct_keras.evaluate.ijb.integer_table import read_integer_table
from bct_keras.untrusted.reading import read_bytes

# Names come from a file: they may not lead out of the folder of images.
ONE_NAME = r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*"
IMAGE_NAME = re.compile(ONE_NAME)
IMAGE_NAMES = re.compile(rf"{ONE_NAME}(?:\n{ONE_NAME})*")
TEMPLATE_LINE = re.compile(rb"\s*\S+\s+\d{1,18}\s+\d{1,18}\s*")
MOST_DIGITS = 18  # fit 64 bits
LANDMARK_COLUMNS = range(1, 12)  # x1 y1 .. x5 y5 score


@dataclass(frozen=True)
class Images:
    """Holds what the meta files say of the images."""

    names: list[str]
    landmarks: np.ndarray  # [images, 5, 2] x and y
    scores: np.ndarray  # [images] the detector's
    templates: np.ndarray  # [images] the template's number in the files
    medias: np.ndarray  # [images]


@dataclass(frozen=True)
class Pairs:
    """Holds the pairs of templates that are compared."""

    first: np.ndarray  # [pairs] templates; the gallery's side in a cross-test
    second: np.ndarray  # [pairs]
    genuine: np.ndarray  # [pairs] bool


@dataclass(frozen=True)
class Subjects:
    """Holds the subject of each template that a file lists."""

    path: Path
    templates: np.ndarray  # [templates] each once
    subjects: np.ndarray  # [templates]


def read_images(meta: Path, name: str) -> Images:
    """Reads what the meta files say of the images, in the order of the landmark file."""
    landmark_path = meta / f"{name}_name_5pts_score.txt"
    template_path = meta / f"{name}_face_tid_mid.txt"
    names = read_names(landmark_path)
    numbers = read_landmarks(landmark_path, len(names))
    templates, medias = read_templates(template_path, names, landmark_path)
    return Images(
        names=names,
        landmarks=numbers[:, :10].reshape(-1, 5, 2),
        scores=numbers[:, 10],
        templates=templates,
        medias=medias,
    )


def read_names(path: Path) -> list[str]:
    """Reads the first word of each line."""
    first_words = [line.split(b" ", 1)[0] for line in lines_of(path)]
    text = b"\n".join(first_words).decode(errors="replace")
    names = text.split("\n")
    # Half a million names are matched at once in a tenth of the time.
    if IMAGE_NAMES.fullmatch(text):
        return names
    for number, name in enumerate(names, start=1):
        if not IMAGE_NAME.fullmatch(name):
            raise InputError(f"{path}, line {number}: '{name[:60]}' is no name of an image")
    return names


def lines_of(path: Path) -> list[bytes]:
    """Reads the lines of a file; refuses one without any."""
    lines = read_bytes(path).splitlines()
    if not lines:
        raise InputError(f"{path} is empty")
    return lines


def read_landmarks(path: Path, rows: int) -> np.ndarray:
    """Reads the five points and the score of each line [rows, 11] float64."""
    try:
        numbers = np.loadtxt(path, usecols=LANDMARK_COLUMNS, comments=None, ndmin=2)
    except ValueError:
        numbers = np.empty((0, len(LANDMARK_COLUMNS)))
    if len(numbers) == rows and np.isfinite(numbers).all():
        return numbers
    for number, line in enumerate(lines_of(path), start=1):
        if not is_landmark_line(line):
            raise InputError(
                f"{path}, line {number}: an image, five points and a score (12 columns) were "
                "expected"
            )
    raise InputError(f"{path}: {rows} lines and {len(numbers)} rows of numbers; is it a text file?")


def is_landmark_line(line: bytes) -> bool:
    """Tells whether a line is a name and eleven finite numbers."""
    _, *cells = line.split() or [b""]
    try:
        found = [float(cell) for cell in cells]
    except ValueError:
        return False
    return len(found) == len(LANDMARK_COLUMNS) and bool(np.isfinite(found).all())


def read_templates(
    path: Path, names: list[str], landmark_path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Reads template and media of each name."""
    lines = lines_of(path)
    # One list: a million small ones would keep the garbage collector busy.
    cells = b"\n".join(lines).split()
    check_template_lines(path, lines, cells)
    listed = b"\n".join(cells[::3]).decode(errors="replace").split("\n")
    row_of = {name: row for row, name in enumerate(listed)}
    for number, name in enumerate(names, start=1):
        if name not in row_of:
            raise InputError(
                f"{path} has no line for image '{name}' ({landmark_path.name}, line {number})"
            )
    if len(row_of) != len(names):
        extra = next(iter(row_of.keys() - set(names)), names[0])
        raise InputError(
            f"{path} has {len(row_of)} images and {landmark_path.name} {len(names)}; one that is "
            f"not in both, or twice in one: '{extra}'"
        )
    order = [row_of[name] for name in names]
    templates = np.array(list(map(int, cells[1::3])), np.int64)
    medias = np.array(list(map(int, cells[2::3])), np.int64)
    return templates[order], medias[order]


def check_template_lines(path: Path, lines: list[bytes], cells: list[bytes]) -> None:
    """Refuses lines that are not a name, a template and a media.

    Args:
        path: The file.
        lines: Its lines.
        cells: All cells of all lines.
    """
    numbers = cells[1::3] + cells[2::3]
    columns = set(map(len, map(bytes.split, lines)))
    whole_numbers = b"".join(numbers).isdigit()
    if columns == {3} and whole_numbers and max(map(len, numbers)) <= MOST_DIGITS:
        return
    for number, line in enumerate(lines, start=1):
        if not TEMPLATE_LINE.fullmatch(line):
            raise InputError(
                f"{path}, line {number}: an image, a template and a media (3 columns) were expected"
            )


def read_pairs(meta: Path, name: str) -> Pairs:
    """Reads which pairs of templates are compared.

    Args:
        meta: The folder of meta files.
        name: What the names of its files begin with.
    """
    path = meta / f"{name}_template_pair_label.txt"
    first, second, label = read_integer_table(path, 3)
    if label.max() > 1:
        row = int(np.argmax(label > 1))
        raise InputError(
            f"{path}: pair {row + 1} has the label {label[row]}; 0 and 1 were expected"
        )
    genuine = label.astype(bool)
    if genuine.all() or not genuine.any():
        raise InputError(
            f"{path} has {int(genuine.sum())} genuine pairs of {len(genuine)}; both kinds are "
            "needed"
        )
    return Pairs(first, second, genuine)


def read_subjects(path: Path) -> Subjects:
    """Reads the first two columns of a file of images, as one row for each template."""
    found: dict[int, int] = {}
    for number, template, subject in subject_rows(path):
        if found.setdefault(template, subject) != subject:
            raise InputError(
                f"{path}, line {number}: template {template} is subject {subject} here and "
                f"{found[template]} before"
            )
    if not found:
        raise InputError(f"{path} has no line after its heading")
    templates = sorted(found)
    subjects = [found[template] for template in templates]
    return Subjects(path, np.array(templates), np.array(subjects))


def subject_rows(path: Path) -> Iterator[tuple[int, int, int]]:
    """Yields line number, template and subject of each line."""
    for number, line in enumerate(lines_of(path)[1:], start=2):
        try:
            template, subject, *_ = line.split(b",", 2)
            if max(len(template), len(subject)) > MOST_DIGITS:
                raise ValueError
            yield number, int(template), int(subject)
        except ValueError:
            raise InputError(
                f"{path}, line {number}: a template and a subject were expected in front"
            ) from None


def read_gallery(path: Path) -> Subjects:
    """Reads a gallery, which has one template of each subject."""
    gallery = read_subjects(path)
    subjects, templates = np.unique(gallery.subjects, return_counts=True)
    if (templates > 1).any():
        subject = subjects[np.argmax(templates > 1)]
        twice = gallery.templates[gallery.subjects == subject][:2]
        raise InputError(
            f"{path}: subject {subject} is in the gallery twice (templates {twice[0]} and "
            f"{twice[1]}); a gallery has one template of each subject"
        )
    return gallery
