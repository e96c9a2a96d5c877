"""Makes galleries/: small gallery files, good and damaged, and what every reader has to answer.

    PYTHONPATH=.:tests python tests/golden/make_galleries.py

answers.json has the queries, and for each file what is found or why it is refused.
"""

import json
from pathlib import Path

import numpy as np
from gallery_readers.answers import Asked, by_python

from bct_keras.gallery import blocks, entry_blocks, layout, vectors
from bct_keras.gallery.facts import BY_COMPATIBLE, BY_EMBEDDING, Compatibility, KnownEncoder
from bct_keras.gallery.file import FileGallery
from bct_keras.metrics.odds import Odds

FOLDER = Path(__file__).parent / "galleries"
DIMS, WIDE_DIMS = 8, 12
OLD = KnownEncoder("0" * 64, DIMS, "runs/old")
NEW = KnownEncoder("1" * 64, DIMS, "runs/new")
WIDE = KnownEncoder("2" * 64, WIDE_DIMS, 'runs/"wide" ü\\n')
MOVED = KnownEncoder("3" * 64, WIDE_DIMS, "runs/old+adapter", OLD.fingerprint, "d" * 64)
STRANGER = "9" * 64
TOP = 10


class Untidied(FileGallery):
    """A gallery that is left as a writer leaves it that was killed before it tidied."""

    def _tidy(self, spare_blocks: int) -> None:
        """Does nothing."""


def embeddings(seed: int, rows: int, dims: int = DIMS) -> np.ndarray:
    """Returns random directions [rows, dims]."""
    return vectors.unit(np.random.default_rng(seed).standard_normal((rows, dims)))


def odds(seed: int) -> dict:
    """Returns what cosines stand for."""
    random = np.random.default_rng(seed)
    genuine, impostors = random.uniform(0.2, 0.95, 60), random.uniform(-0.9, 0.5, 200)
    return Odds.of_pairs(genuine.round(3), impostors.round(3)).facts()


def declared(query: KnownEncoder, gallery: KnownEncoder, by: str, seed: int = 0) -> Compatibility:
    """Returns that queries fit entries; of a seed above 0, with what cosines stand for."""
    calibration = odds(seed) if seed else {}
    return Compatibility(
        query.fingerprint, gallery.fingerprint, "e" * 64, "compatible", by, calibration
    )


def add(gallery: FileGallery, encoder: KnownEncoder, first: int, count: int) -> None:
    """Adds entries with names of several alphabets."""
    numbers = range(first, first + count)
    ids = [f"photos/{number}.jpg" for number in numbers]
    labels = [f"Zoë {number // 2} 山" for number in numbers]
    gallery.add(encoder, ids, labels, embeddings(first + 100, count, encoder.dims))


def make_good() -> None:
    """Makes the files that every reader has to read."""
    with FileGallery(str(FOLDER / "one_encoder.gallery")) as gallery:
        add(gallery, OLD, 0, 5)
        twins = np.tile(embeddings(7, 1), (3, 1))
        gallery.add(OLD, ["twin b", "twin a", ""], ["", "x", "y"], twins)
    with Untidied(str(FOLDER / "two_encoders.gallery")) as gallery:
        add(gallery, OLD, 0, 6)
        gallery.declare(declared(NEW, OLD, BY_COMPATIBLE))
        add(gallery, OLD, 6, 4)
        names = ["photos/1.jpg", "photos/7.jpg"], ["", ""]
        gallery.replace(NEW, *names, embeddings(1, 2))
        gallery.replace(NEW, *names, embeddings(2, 2))
    with Untidied(str(FOLDER / "removed.gallery")) as gallery:
        add(gallery, OLD, 0, 8)
        gallery.declare(declared(NEW, OLD, BY_COMPATIBLE, seed=3))
        gallery.remove(["photos/2.jpg", "photos/5.jpg"])
        add(gallery, OLD, 2, 1)
    for name in ("moved", "restored", "forgotten", "half_moved"):
        make_moved(name)
    with FileGallery(str(FOLDER / "two_spaces.gallery")) as gallery:
        add(gallery, OLD, 0, 6)
        gallery.declare(declared(WIDE, OLD, BY_COMPATIBLE, seed=1))
        gallery.declare(declared(WIDE, WIDE, BY_EMBEDDING, seed=2))
        add(gallery, WIDE, 6, 6)
    with FileGallery(str(FOLDER / "many.gallery")) as gallery:
        add(gallery, OLD, 0, 160)
        gallery.declare(declared(NEW, OLD, BY_COMPATIBLE, seed=4))
    with Untidied(str(FOLDER / "all_removed.gallery")) as gallery:
        add(gallery, OLD, 0, 2)
        gallery.remove(["photos/0.jpg", "photos/1.jpg"])
    (FOLDER / "empty.gallery").write_bytes(
        blocks.sealed(blocks.HEADER.pack(layout.MAGIC, 1, DIMS))
        + blocks.sealed(blocks.COMMIT.pack(layout.FIRST_BLOCK, 0))
    )
    whole = (FOLDER / "one_encoder.gallery").read_bytes()
    (FOLDER / "unacknowledged_end.gallery").write_bytes(whole + whole[128:200])


def make_moved(name: str) -> None:
    """Makes a gallery of moved entries, and what became of them."""
    turn = np.random.default_rng(5).standard_normal((DIMS, WIDE_DIMS))
    with Untidied(str(FOLDER / f"{name}.gallery")) as gallery:
        add(gallery, OLD, 0, 6)
        gallery.declare(declared(WIDE, MOVED, BY_EMBEDDING, seed=1))
        gallery.declare(declared(WIDE, OLD, BY_COMPATIBLE, seed=2))
        if name == "half_moved":
            some = entry_blocks.encode_moves(
                vectors.pack(embeddings(9, 2, WIDE_DIMS)),
                np.ones(2, np.uint16),
                np.array([4, 1]),
            )
            fact = entry_blocks.encode_fact(layout.ENCODER, MOVED)
            gallery.begin_moving()
            gallery._commit(fact, some, version=3)
            return
        for _ in gallery.move(OLD, MOVED, lambda rows: rows @ turn):
            pass
        if name == "restored":
            gallery.restore()
        if name == "forgotten":
            gallery.forget_originals()


def make_damaged() -> None:
    """Makes the files that every reader has to refuse."""
    whole = (FOLDER / "two_encoders.gallery").read_bytes()
    starts = dict(block_starts(whole))
    for name, byte in (
        ("header", 9),
        ("commit", 70),
        ("block_head", starts[b"ENTR"] + 5),
        ("vector", starts[b"ENTR"] + 64 + 200),
        ("fact", starts[b"COMP"] + 64 + 20),
        ("padding", len(whole) - 1),
    ):
        flipped = bytearray(whole)
        flipped[byte] ^= 16
        write_damaged(f"flipped_{name}", bytes(flipped))
    write_damaged("cut_off", whole[:-100])
    write_damaged("cut_off_head", whole[:100])
    write_damaged("nothing", b"")
    write_damaged("letter", b"Dear Sir or Madam" * 10)
    later = blocks.sealed(blocks.HEADER.pack(layout.MAGIC, 4, DIMS))
    write_damaged("later_version", later + whole[64:])
    for name, block in impossible_blocks().items():
        write_damaged(name, with_block(whole, block))
    removed = (FOLDER / "removed.gallery").read_bytes()
    again = entry_blocks.encode_numbers(layout.REMOVALS, np.array([2]))
    write_damaged("removed_twice", with_block(removed, again))


def impossible_blocks() -> dict[str, list[bytes]]:
    """Returns blocks whose checksums hold and which say what cannot be."""
    known = json.dumps(entry_blocks.written(OLD))
    row = np.float32(1e-5).tobytes() + bytes(2 + 2 * DIMS)
    pair = {"query": "1", "gallery": "0", "report": "", "finding": ""}
    good = {"cosines": [0, 1], "rates": [1, 0.5]}
    rising = {"cosines": [0, 1], "rates": [0.5, 0.6], "genuine": good}
    nan = {"cosines": [0, 1], "rates": [0.5, float("nan")], "genuine": good}
    texts = {
        "encoder_twice": known,
        "encoder_of_no_dims": known.replace('"dims": 8', '"dims": 0'),
        "encoder_with_more": known.replace("}", ', "more": 1}'),
        "encoder_with_less": '{"fingerprint": "5", "dims": 8}',
        "encoder_of_another_type": '{"fingerprint": 5, "dims": 8, "name": ""}',
        "encoder_of_no_json": known[:-1],
        "encoder_of_a_list": "[1, 2]",
    }
    found = {}
    for name, text in texts.items():
        found[name] = blocks.encode(layout.ENCODER, 0, text.encode())
    facts = {
        "calibration_that_rises": pair | {"calibration": rising},
        "calibration_of_nan": pair | {"calibration": nan},
        "by_nothing": pair | {"by": "smell"},
    }
    for name, values in facts.items():
        found[name] = blocks.encode(layout.COMPATIBLE, 0, json.dumps(values).encode())
    no_scale = np.float32("nan").tobytes() + row[4:]
    ends = np.array([[2, 1], [1, 2]], "<u4").tobytes()
    strange = np.array([[1], [1]], "<u4").tobytes()
    return found | {
        "unknown_block": blocks.encode(b"ABCD", 0, b""),
        "rows_beyond_the_end": blocks.encode(layout.ENTRIES, 2**31, b"abc"),
        "no_rows": blocks.encode(layout.ENTRIES, 0, b""),
        "ends_that_fall": blocks.encode(layout.ENTRIES, 2, ends, two(row), b"abcd"),
        "name_of_no_text": blocks.encode(layout.ENTRIES, 1, strange, row, b"\xff", b"a"),
        "number_never_given": blocks.encode(layout.REPLACEMENTS, 1, number(99), row),
        "no_such_encoder": blocks.encode(
            layout.REPLACEMENTS, 1, number(0), row[:4] + b"\7\0" + row[6:]
        ),
        "scale_of_nan": blocks.encode(layout.REPLACEMENTS, 1, number(0), no_scale),
        "scale_too_large": blocks.encode(
            layout.REPLACEMENTS, 1, number(0), np.float32(1).tobytes() + row[4:]
        ),
        "no_original": blocks.encode(layout.RESTORED, 1, number(0)),
    }


def two(row: bytes) -> bytes:
    """Returns the vectors of two equal rows."""
    return row[:4] * 2 + row[4:6] * 2 + row[6 : 6 + DIMS] * 2 + row[6 + DIMS :] * 2


def number(entry: int) -> bytes:
    """Returns the number of an entry as the file has it."""
    return entry.to_bytes(8, "little")


def block_starts(whole: bytes) -> list[tuple[bytes, int]]:
    """Returns the kind and the place of each block."""
    found, position = [], layout.FIRST_BLOCK
    while position < len(whole):
        kind, _, length, _ = blocks.BLOCK.unpack(whole[position : position + blocks.BLOCK.size])
        found.append((kind, position))
        position += layout.HEAD_BYTES + length
    return found


def with_block(whole: bytes, block: list[bytes]) -> bytes:
    """Returns a file with one block more, whose version and commit are as they have to be."""
    content = whole[layout.FIRST_BLOCK :] + b"".join(block)
    header = blocks.sealed(blocks.HEADER.pack(layout.MAGIC, 3, DIMS))
    commit = blocks.sealed(blocks.COMMIT.pack(layout.FIRST_BLOCK + len(content), 9))
    return header + commit + content


def write_damaged(name: str, content: bytes) -> None:
    """Writes a damaged file."""
    (FOLDER / f"damaged_{name}.gallery").write_bytes(content)


def queries() -> list[Asked]:
    """Returns what every file is asked."""
    narrow, wide = embeddings(1000, 1)[0], embeddings(1001, 1, WIDE_DIMS)[0]
    return [
        Asked(OLD.fingerprint, 3 * narrow),
        Asked(NEW.fingerprint, narrow),
        Asked(WIDE.fingerprint, wide, narrow),
        Asked(WIDE.fingerprint, wide),
        Asked(NEW.fingerprint, narrow, embeddings(1002, 1)[0]),
        Asked(STRANGER, narrow),
        Asked(OLD.fingerprint, wide),
        Asked(OLD.fingerprint, 0 * narrow),
        Asked(NEW.fingerprint, narrow, labels=("Zoë 3 山", "", "nobody")),
        Asked(WIDE.fingerprint, wide, narrow, labels=("Zoë 0 山", "Zoë 4 山", "x")),
        Asked(OLD.fingerprint, narrow, labels=("nobody",)),
    ]


def main() -> None:
    """Makes the folder anew."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    make_good()
    make_damaged()
    asked = queries()
    answers = {}
    for path in sorted(FOLDER.iterdir()):
        answers[path.name] = by_python(path, asked, TOP)
    content = {"top": TOP, "queries": [each.facts() for each in asked], "answers": answers}
    (FOLDER / "answers.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
