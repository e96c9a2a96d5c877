"""Good files of every kind that a user can hand over, as small as they can be."""

import json
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from bct_keras import adapters, artefacts, specs
from bct_keras.data import dataset
from bct_keras.data.shards import stored_records
from bct_keras.embed.run import embed
from bct_keras.encoders import ENCODER_FILE, RUN_KIND, load_encoder
from bct_keras.gallery.facts import Compatibility, KnownEncoder
from bct_keras.gallery.kinds import GALLERIES
from bct_keras.prepare.run import prepare

SIZE, DIMS = 28, 4
PIXELS = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)


def make_all(root: Path) -> None:
    """Makes a good file of every kind; runs in a process of its own, as TensorFlow does not outlive
    a fork.
    """
    prepare(
        f"synthetic(identities=12, images=4, image_size={SIZE})",
        "class(test_share=0.3)",
        root / "data",
    )
    image = keras.Input((SIZE, SIZE, 3))
    colour = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    model: Any = keras.Model(image, keras.layers.Dense(DIMS)(colour))
    model.save(root / "old.keras")
    pairs = np.random.default_rng(0).normal(size=(20, DIMS))
    adapters.fit("linear", pairs, np.abs(pairs)).save(root / "adapter.keras")
    make_other_formats(model, root)
    make_onnx(root)
    make_run(root)
    data = dataset.open_data_set(root / "data" / "new")
    embed(load_encoder(root / "old.keras"), data, root / "by-old")
    make_arrays(root, [stored.id for shard in data.shards for stored in stored_records(shard.path)])  # pyright: ignore
    make_gallery(root)
    make_images(root)
    make_lists(root)


def make_other_formats(model: Any, root: Path) -> None:
    specification = tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)
    module: Any = tf.Module()
    module.weights = [weight.value for weight in model.weights]
    module.serve = tf.function(
        lambda image: {"embedding": model(image)}, input_signature=[specification]
    )
    tf.saved_model.save(module, str(root / "saved"), signatures={"serving_default": module.serve})
    (root / "old.tflite").write_bytes(
        tf.lite.TFLiteConverter.from_saved_model(str(root / "saved")).convert()
    )
    keras.backend.clear_session()


def make_onnx(root: Path) -> None:
    matrix = np.ones((3, DIMS), np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image", "axes"], ["colour"], keepdims=0),
            helper.make_node("MatMul", ["colour", "matrix"], ["embedding"]),
        ],
        "mean_colour",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [None, SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [None, DIMS])],
        [
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            numpy_helper.from_array(matrix, "matrix"),
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        root / "old.onnx",
    )


def make_run(root: Path) -> None:
    run = root / "run"
    run.mkdir()
    shutil.copy(root / "old.keras", run / ENCODER_FILE)
    sha256 = artefacts.file_sha256(run / ENCODER_FILE)
    artefacts.write_manifest(
        run, RUN_KIND, {"method": "l2", "compatible_dims": DIMS}, encoder=sha256
    )
    lines = [json.dumps({"epoch": epoch, "steps": 4, "seconds": 2.5}) for epoch in range(1, 5)]
    (run / "times.jsonl").write_text("\n".join(lines) + "\n")
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    tests = {"old/old": {"top-1": 0.5}, "new/old": {"top-1": 0.6}, "new/new": {"top-1": 0.7}}
    report = {
        "made_from": {"old": "a" * 64, "new": "b" * 64},
        "verdict": "compatible",
        "protocols": {"x": tests},
    }
    (root / "report.json").write_text(json.dumps(report, indent=1))


def make_arrays(root: Path, ids: list[str]) -> None:
    rows = np.random.default_rng(0).normal(size=(len(ids), DIMS)).astype(np.float32)
    np.savez(root / "stored.npz", embeddings=rows, ids=np.array(ids))
    np.savez_compressed(
        root / "packed.npz", embeddings=rows.astype(np.float64), ids=np.array(ids, np.bytes_)
    )
    np.savez(root / "head.npz", class_weights=rows, bias=rows[:, 0])


def make_gallery(root: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(50, DIMS)).astype(np.float32)
    ids = [f"person {number % 9}/{number}.jpg" for number in range(len(rows))]
    old = KnownEncoder("c" * 64, DIMS, "old.keras")
    for name in ("people.gallery", "moved.gallery"):
        with specs.build(GALLERIES, f"file({root / name})") as gallery:
            gallery.add(old, ids, [ident[:8] for ident in ids], rows)
    moved = KnownEncoder("d" * 64, DIMS, "moved", base=old.fingerprint, adapter="e" * 64)
    with specs.build(GALLERIES, f"file({root / 'moved.gallery'})") as gallery:
        gallery.declare(Compatibility("f" * 64, moved.fingerprint, "9" * 64, "compatible"))
        list(gallery.move(old, moved, np.square))


def make_images(root: Path) -> None:
    photos = root / "photos"
    for number in range(4):
        folder = photos / f"p{number // 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[number % 2]).save(folder / f"p{number // 2}_000{number % 2 + 1}.jpg")
    Image.fromarray(PIXELS[0]).save(photos / "p0" / "p0_0003.png")
    jpeg = (photos / "p0" / "p0_0001.jpg").read_bytes()
    content, index = b"", []
    for key, label in enumerate((0, 0, 1, 1, 2)):
        index.append(f"{key}\t{len(content)}\n")
        payload = struct.pack("<IfQQ", 0, label, key, 0) + jpeg
        content += struct.pack("<II", 0xCED7230A, len(payload)) + payload + bytes(-len(payload) % 4)
    (root / "records").mkdir()
    (root / "records" / "train.rec").write_bytes(content)
    (root / "records" / "train.idx").write_text("".join(index))
    (root / "records" / "property").write_text(f"3,{SIZE},{SIZE}")
    (root / "set.bin").write_bytes(pickle.dumps(([jpeg] * 40, [True, False] * 10)))


def make_lists(root: Path) -> None:
    (root / "pairs.txt").write_text("10\t1\n" + "p0\t1\t2\np0\t1\tp1\t1\n" * 10)
    (root / "listed.txt").write_text("\n".join(f"person {number}" for number in range(30)))
    meta = root / "meta"
    meta.mkdir()
    names = [f"{number}.jpg" for number in range(30)]
    points = "\n".join(f"{name} {' '.join(['30.5'] * 10)} 0.9" for name in names)
    (meta / "ijbc_name_5pts_score.txt").write_text(points + "\n")
    templates = "\n".join(f"{name} {number // 3} {number}" for number, name in enumerate(names))
    (meta / "ijbc_face_tid_mid.txt").write_text(templates + "\n")
    (meta / "ijbc_template_pair_label.txt").write_text(
        "".join(f"{n} {n + 1} {n % 2}\n" for n in range(9))
    )
    rows = "".join(f"{number},{number + 100},a.jpg,1\n" for number in range(9))
    (meta / "ijbc_1N_gallery_G1.csv").write_text("TEMPLATE_ID,SUBJECT_ID,FILE,X\n" + rows)
    (root / "inner.flags").write_text("--epochs=3\n# all\n--head=arcface(margin=0.5)\n")
    given = (
        "--method=l2(weight=5)",
        "--backbone=iresnet_small(width=8)",
        "--optimizer=sgd(momentum=0.9)",
        "--dims=32",
    )
    (root / "train.flags").write_text(
        "\n".join(["# what it does", *given, "--flagfile=inner.flags", ""])
    )
