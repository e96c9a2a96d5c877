"""Every kind of file that a user can hand over, and what reads it."""

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from bct_keras import artefacts, command, specs
from bct_keras.benchmark.measuring import seconds_per_step
from bct_keras.callbacks.watching import MetricsFile
from bct_keras.data import dataset, embeddings, image_check, image_header
from bct_keras.encoders import load_adapter, load_encoder
from bct_keras.errors import BadImageError, InputError
from bct_keras.evaluate.ijb import files
from bct_keras.evaluate.pairs import pair_sets
from bct_keras.evaluate.retrieval import Retrieval
from bct_keras.gallery import admission
from bct_keras.gallery.kinds import GALLERIES, ORDERS
from bct_keras.gallery.orders import Listed
from bct_keras.gallery.photos import pixels_of
from bct_keras.prepare import check_targets
from bct_keras.prepare.sources.folder import Folder
from bct_keras.prepare.sources.recordio import RecordIO
from bct_keras.train import __main__ as train
from bct_keras.train import old_head
from bct_keras.train.recipe import Recipe
from fuzzing.damage import (
    Damage,
    of_archive,
    of_bytes,
    of_json,
    of_member,
    of_shard,
    of_table,
    of_text,
)
from fuzzing.good_files import DIMS, PIXELS, SIZE


@dataclass(frozen=True)
class Kind:
    """A file to damage, below the folder of all good files.

    `read` is given a copy of that folder.
    """

    file: str
    damage: Damage
    read: Callable[[Path], Any]


def embedded(path: Path) -> None:
    load_encoder(path).embed(PIXELS)


def data_set(root: Path) -> None:
    for view in ("", "new"):
        dataset.open_data_set(root / "data" / view)
    target = check_targets.open_target(root / "data")
    for task in target.tasks:
        try:
            list(target.images(task))
        except check_targets.StartAgainError:
            list(target.images(task))


def resealed(root: Path, file: Path) -> None:
    """Makes tables and manifests agree with a damaged file, as an attacker would, so that not its
    checksum alone tells.
    """
    if not file.is_file() or file.is_symlink():
        return
    if file.name != artefacts.TABLE:
        table = root / ("data" if file.suffix == ".tfrecord" else "by-old") / artefacts.TABLE
        rows = np.load(table)
        name, _, field = file.name.removesuffix(".npy").partition(".")
        row = rows["name"] == name.encode()
        digest = np.frombuffer(bytes.fromhex(artefacts.file_sha256(file)), np.uint8)
        if file.suffix == ".tfrecord":
            rows["bytes"][row], rows["sha256"][row] = file.stat().st_size, digest
        else:
            rows[field][row] = digest
        with table.open("wb") as opened:
            np.save(opened, rows)
    for path in (*root.glob("data/**/manifest.json"), root / "by-old" / "manifest.json"):
        manifest = json.loads(path.read_text())
        table = path.parent / manifest["shards"]["table"]
        size, sha256 = table.stat().st_size, artefacts.file_sha256(table)
        manifest["shards"] |= {"bytes": size, "sha256": sha256}
        path.write_text(json.dumps(manifest))


def shard(root: Path) -> None:
    (file,) = root.glob("data/shards/new-*.tfrecord")
    resealed(root, file)
    data_set(root)
    data = dataset.open_data_set(root / "data" / "new")
    list(load_encoder(root / "old.keras").embed_data(data))
    Retrieval(str(root / "data" / "new"))


def table_of_shards(root: Path) -> None:
    resealed(root, root / "data" / artefacts.TABLE)
    data_set(root)


def table_of_embeddings(root: Path) -> None:
    resealed(root, root / "by-old" / artefacts.TABLE)
    opened_embeddings(root)


def embedding_shard(root: Path) -> None:
    data = dataset.open_data_set(root / "data" / "new")
    (file,) = root.glob("by-old/*.old_embedding.npy")
    resealed(root, file)
    found = embeddings.open_embeddings(root / "by-old", data)
    list(found.stream("old_embedding", 0))  # pyright: ignore[reportArgumentType]


def opened_embeddings(root: Path) -> None:
    embeddings.open_embeddings(root / "by-old", dataset.open_data_set(root / "data" / "new"))


def searched(root: Path) -> None:
    with specs.build(GALLERIES, f"file({root / 'people.gallery'})") as gallery:
        gallery.refresh()
        gallery.describe()
        gallery.search("c" * 64, np.ones((1, DIMS), np.float32), 5)


def restored(root: Path) -> None:
    with specs.build(GALLERIES, f"file({root / 'moved.gallery'})") as gallery:
        gallery.refresh()
        gallery.describe()
        gallery.search("c" * 64, np.ones((1, DIMS), np.float32), 5)
        gallery.restore()


def records(root: Path) -> None:
    source = RecordIO(str(root / "records"))
    for position in range(len(source.labels)):
        with contextlib.suppress(BadImageError):
            image_header.size_of(source.read(position).image, "image")


def photo(name: str) -> Callable[[Path], None]:
    def read(root: Path) -> None:
        source = Folder(str(root / "photos"), SIZE)
        found = [row for row, each in enumerate(source.names) if Path(each).name == name]
        if not found:  # it is no file any more, and passed over
            return
        image = source.read(found[0]).image
        image_header.size_of(image, name)
        image_check.inspect(image, name)
        pixels_of(name, image, SIZE)

    return read


def ijb(root: Path) -> None:
    files.read_images(root / "meta", "ijbc")
    files.read_pairs(root / "meta", "ijbc")
    files.read_gallery(root / "meta" / "ijbc_1N_gallery_G1.csv")


def trained_by(root: Path) -> None:
    """As the command line does it, up to where the data would be read."""
    arguments = ["train", f"--flagfile={root / 'train.flags'}"]
    if hasattr(command, "parsed"):
        command.parsed(arguments)
    else:
        flags.FLAGS(arguments)
    values: dict[str, Any] = {
        field: getattr(flags.FLAGS, field) for field in Recipe.__dataclass_fields__
    }
    Recipe(**values)


def define_flags() -> None:
    if "method" not in flags.FLAGS:
        train.define_flags()


def in_order(root: Path) -> None:
    entries = Listed(["person 1"], ["1"], groups=list)
    specs.build(ORDERS, f"listed({root / 'listed.txt'})")(entries)


KINDS = {
    "npz": Kind("stored.npz", of_archive, lambda root: load_encoder(root / "stored.npz")),
    "packed npz": Kind("packed.npz", of_archive, lambda root: load_encoder(root / "packed.npz")),
    "head npz": Kind(
        "head.npz", of_archive, lambda root: old_head.read_head(root / "head.npz", DIMS)
    ),
    "data set's manifest": Kind("data/manifest.json", of_json, data_set),
    "data set's table": Kind("data/shards.table", of_table, table_of_shards),
    "embeddings' table": Kind("by-old/shards.table", of_table, table_of_embeddings),
    "run's manifest": Kind("run/manifest.json", of_json, lambda root: load_encoder(root / "run")),
    "embeddings' manifest": Kind("by-old/manifest.json", of_json, opened_embeddings),
    "report": Kind(
        "report.json", of_json, lambda root: admission.read_report(root / "report.json", 0.5)
    ),
    "times": Kind("run/times.jsonl", of_json, lambda root: seconds_per_step(root / "run")),
    "metrics": Kind(
        "run/metrics.jsonl", of_json, lambda root: MetricsFile(root / "run" / "metrics.jsonl", 3)
    ),
    "flags": Kind("train.flags", of_text, trained_by),
    "keras": Kind("old.keras", of_archive, lambda root: embedded(root / "old.keras")),
    "adapter": Kind("adapter.keras", of_archive, lambda root: load_adapter(root / "adapter.keras")),
    "onnx": Kind("old.onnx", of_bytes, lambda root: embedded(root / "old.onnx")),
    "tflite": Kind("old.tflite", of_bytes, lambda root: embedded(root / "old.tflite")),
    "SavedModel": Kind("saved/saved_model.pb", of_bytes, lambda root: embedded(root / "saved")),
    "SavedModel's index": Kind(
        "saved/variables/variables.index", of_bytes, lambda root: embedded(root / "saved")
    ),
    "gallery": Kind("people.gallery", of_bytes, searched),
    "moved gallery": Kind("moved.gallery", of_bytes, restored),
    "shard": Kind("data/shards/new-00000.tfrecord", of_shard, shard),
    "embedding shard": Kind("by-old/new-00000.old_embedding.npy", of_member, embedding_shard),
    "rec": Kind("records/train.rec", of_bytes, records),
    "idx": Kind("records/train.idx", of_text, records),
    "property": Kind("records/property", of_text, records),
    "bin": Kind("set.bin", of_bytes, lambda root: pair_sets.read_bin(root / "set.bin")),
    "pairs.txt": Kind(
        "pairs.txt", of_text, lambda root: pair_sets.read_lfw(root / "pairs.txt", root / "photos")
    ),
    "landmarks": Kind("meta/ijbc_name_5pts_score.txt", of_text, ijb),
    "templates": Kind("meta/ijbc_face_tid_mid.txt", of_text, ijb),
    "template pairs": Kind("meta/ijbc_template_pair_label.txt", of_text, ijb),
    "subjects": Kind("meta/ijbc_1N_gallery_G1.csv", of_text, ijb),
    "ids": Kind("listed.txt", of_text, in_order),
    "JPEG": Kind("photos/p0/p0_0001.jpg", of_bytes, photo("p0_0001.jpg")),
    "PNG": Kind("photos/p0/p0_0003.png", of_bytes, photo("p0_0003.png")),
}


REFUSALS = (InputError, SystemExit, flags.Error)
sys.setrecursionlimit(1000)  # as Python starts, whatever a test before has set
