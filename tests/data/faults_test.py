"""Files cut off and damaged at random places: nothing crashes, hangs, takes much memory or gets
lost unsaid.
"""

import pickle
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bct_keras.data import image_header
from bct_keras.errors import BadImageError, InputError
from bct_keras.evaluate.pairs.pair_sets import read_bin
from bct_keras.prepare.check import look
from bct_keras.prepare.check_targets import DataSetTarget
from bct_keras.prepare.run import prepare
from bct_keras.prepare.sources.recordio import RecordIO

IMAGES = 6  # of the RecordIO folder and of the shard
PAIRS = 12
SECONDS, KILOBYTES = 2.0, 100_000  # of one damaged file; more is a hang or an unbounded allocation

Reports = list[str]
Reader = Callable[
    [Path], tuple[int, Reports]
]  # images found whole, and what was said of the others


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Cut off, overwritten, or with a stretch taken out, put in twice, or replaced by large
    numbers.
    """
    start = rng.randrange(len(content))
    stop = min(len(content), start + rng.choice((1, 1, 2, 4, 8, 40, 700, 3000)))
    kind = rng.randrange(7)
    if kind == 0:
        return content[:start]
    if kind == 1:
        return content[:start] + content[stop:]
    if kind == 2:
        return content[:stop] + content[start:]
    if kind == 3:
        flipped = content[start] ^ 1 << rng.randrange(8)
        return content[:start] + bytes((flipped,)) + content[start + 1 :]
    if kind == 4:
        start -= start % 4
        number = rng.choice(
            (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x1FFFFFFF, rng.randrange(1 << 32))
        ).to_bytes(4, "little")
        return (content[:start] + number + content[start + 4 :])[: len(content)]
    filling = (
        rng.randbytes(stop - start)
        if kind == 5
        else bytes((rng.choice((0, 255, 48)),)) * (stop - start)
    )
    return content[:start] + filling + content[stop:]


def read_recordio(folder: Path) -> tuple[int, Reports]:
    source = RecordIO(str(folder), image_size=16)
    whole, reports = 0, list(source.broken)
    for position in range(len(source.labels)):
        try:
            record = source.read(position)
            image_header.size_of(record.image, f"{folder / record.id}")
            whole += 1
        except BadImageError as bad:
            reports.append(str(bad))
    return whole, reports


def read_pairs(folder: Path) -> tuple[int, Reports]:
    pairs = read_bin(folder / "set.bin")
    assert len(pairs.images) == 2 * len(pairs.same)
    return len(pairs.images), []


def read_shards(folder: Path) -> tuple[int, Reports]:
    target = DataSetTarget(folder)
    found = [look(target, task, lambda _: None) for task in target.tasks]
    reports = [text for part in found for text in part.broken]
    assert reports, "a shard was damaged and nothing was said"
    return sum(len(part.places) for part in found), reports


@pytest.fixture(scope="module")
def whole_folder(tmp_path_factory, write_recordio, insightface_records, small_jpeg) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    write_recordio(folder, insightface_records)
    images = [small_jpeg(number) for number in range(2 * PAIRS)]
    (folder / "set.bin").write_bytes(
        pickle.dumps((images, [True, False] * (PAIRS // 2)), protocol=2)
    )
    prepare(f"recordio({folder}, image_size=16)", "none", folder / "data")
    return folder


# What is damaged, what is there beside it, what reads it, and how many images there were.
KINDS = {
    "rec": ("train.rec", ["train.idx"], read_recordio, IMAGES),
    "rec without index": ("train.rec", [], read_recordio, IMAGES),
    "idx": ("train.idx", ["train.rec"], read_recordio, IMAGES),
    "bin": ("set.bin", [], read_pairs, 2 * PAIRS),
    "shard": ("data/shards/all-00000.tfrecord", ["data/manifest.json"], read_shards, IMAGES),
}


def damage_and_read(kind: str, whole_folder: Path, folder: Path, seeds: range) -> int:
    """The number of damaged files of which something was said."""
    name, beside, read, images = KINDS[kind]
    root = folder / "data" if name.startswith("data/") else folder
    for each in (name, *beside):
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_bytes((whole_folder / each).read_bytes())
    content, reported = (whole_folder / name).read_bytes(), 0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        changed = damaged(content, random.Random(f"{kind} {seed}"))
        if changed == content:
            continue
        (folder / name).write_bytes(changed)
        start = time.perf_counter()
        try:
            whole, reports = read(root)
        except InputError as error:
            whole, reports = 0, [str(error)]
        assert time.perf_counter() - start < SECONDS, (kind, seed)
        assert all(str(root) in text for text in reports), (kind, seed, reports)
        assert whole == images or reports, (kind, seed, "lost")
        reported += bool(reports)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < KILOBYTES
    return reported


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(kind, whole_folder, tmp_path):
    # Most damage shows. In a .rec or .bin what falls into compressed pixels does not: these have no
    # checksum.
    assert damage_and_read(kind, whole_folder, tmp_path, range(150)) > 60


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_thousand_damaged_files(kind, whole_folder, tmp_path):
    assert damage_and_read(kind, whole_folder, tmp_path, range(1000, 5000)) > 1600


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files(kind, whole_folder):
    _, _, read, images = KINDS[kind]
    if kind == "shard":
        with pytest.raises(AssertionError, match="nothing was said"):
            read(whole_folder / "data")
    else:
        assert read(whole_folder) == (images, [])


def test_prepare_says_what_it_leaves_out(whole_folder, tmp_path):
    for name in ("train.rec", "train.idx"):
        (tmp_path / name).write_bytes((whole_folder / name).read_bytes())
    content = (tmp_path / "train.rec").read_bytes()
    start = int((tmp_path / "train.idx").read_text().splitlines()[3].split("\t")[1])
    (tmp_path / "train.rec").write_bytes(content[:start] + bytes(4) + content[start + 4 :])
    source = f"recordio({tmp_path}, image_size=16)"
    with pytest.raises(InputError, match=rf"train\.rec, record at byte {start}: .*\n.*on_bad=skip"):
        prepare(source, "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    summary = prepare(source, "none", tmp_path / "out", on_bad="skip")
    assert "5 images of 3 identities\n1 images left out:\n" in summary
    assert f"train.rec, record at byte {start}: " in summary
