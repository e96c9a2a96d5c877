"""Loads foreign encoders that want normalised pixels, by a spec and by metadata.

Without either they are warned about.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bct_keras import specs
from bct_keras.benchmark import plan
from bct_keras.data.dataset import DataSet, open_data_set
from bct_keras.data.embeddings import normalised
from bct_keras.data.preprocessing import FILTERS
from bct_keras.embed import __main__ as embed_command
from bct_keras.encoders import load_encoder
from bct_keras.encoders.load import ENCODERS
from bct_keras.engines import Local
from bct_keras.errors import InputError
from bct_keras.evaluate import __main__ as evaluate
from bct_keras.export.run import keras_encoder
from bct_keras.gallery.entries import known
from bct_keras.prepare.run import prepare
from bct_keras.train import old_encoders

sys.path.insert(0, str(Path(__file__).parent))
import foreign

WARNING = "does not say which pixels it takes, and probably gets the wrong ones"
WRITERS = {
    "keras": (foreign.write_keras, "old.keras"),
    "saved_model": (foreign.write_saved_model, "old"),
    "tflite": (foreign.write_tflite, "old.tflite"),
    "onnx": (foreign.write_onnx, "old.onnx"),
}


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(
        100, 156, (count, foreign.SIZE, foreign.SIZE, 3), np.uint8
    )


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("foreign")
    return {kind: write(folder / name) for kind, (write, name) in WRITERS.items()}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> DataSet:
    folder = tmp_path_factory.mktemp("faces")
    photos = foreign.write_faces(folder / "photos")
    prepare(
        f"folder({photos}, image_size={foreign.SIZE})", "none", folder / "data", engine=Local(1)
    )
    return open_data_set(folder / "data")


@pytest.mark.parametrize("kind", ENCODERS)
def test_every_kind_of_file_gets_the_pixels_that_its_spec_says(paths, kind):
    colours = {"mean": (127.0, 128.0, 129.0), "std": (64.0, 128.0, 100.0)}
    tries = {
        "mean=127.5, std=128": {},
        "mean=127.5, std=128, order=bgr": {"order": "bgr"},
        "mean=(127, 128, 129), std=(64, 128, 100), order=bgr": {**colours, "order": "bgr"},
        "mean=0, std=1": {"mean": 0, "std": 1},
    }
    fingerprints = set()
    for arguments, wanted in tries.items():
        encoder = load_encoder(f"{kind}({paths[kind]}, {arguments})")
        np.testing.assert_allclose(
            encoder.embed(images()), foreign.expected(images(), **wanted), rtol=1e-3, atol=1e-3
        )
        again = load_encoder(encoder.spec)
        assert (again.spec, again.fingerprint) == (encoder.spec, encoder.fingerprint)
        fingerprints.add(encoder.fingerprint)
    assert len(fingerprints) == len(tries)
    bare = load_encoder(paths[kind])
    assert bare.fingerprint in fingerprints  # of pixels as they are
    np.testing.assert_allclose(
        bare.embed(images()), foreign.expected(images(), 0, 1), rtol=1e-3, atol=1e-3
    )


def test_pixels_are_resized_by_the_filter_that_is_named(paths, tmp_path):
    large = np.random.default_rng(3).integers(0, 256, (40, 40, 3), np.uint8)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / f"photos/{name}/1.png").write_bytes(tf.io.encode_png(large).numpy())
    prepare(
        f"folder({tmp_path / 'photos'}, image_size=40)", "none", tmp_path / "data", engine=Local(1)
    )
    seen = {}
    for name, (method, antialias) in FILTERS.items():
        encoder = load_encoder(f"tflite({paths['tflite']}, mean=127.5, std=128, resize={name})")
        ((found, _),) = encoder.embed_data(open_data_set(tmp_path / "data"))
        resized = tf.image.resize(large, (foreign.SIZE,) * 2, method, antialias=antialias)
        pixels = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
        np.testing.assert_allclose(
            found[0], foreign.expected(pixels[None])[0], rtol=1e-2, atol=2e-1
        )
        seen[encoder.fingerprint] = found[0].tobytes()
    assert len(seen) == len(set(seen.values())) == len(FILTERS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("mean=grey", "mean has to be a number or three, such as 127.5 or (123.7, 116.3, 103.5)"),
        ("std=1/128", "std has to be a number or three"),
        ("mean=(1, 2)", "mean has to be a number or three"),
        ("mean=1e999", "'mean' in 'tflite("),  # larger than any number that is of use
        ("std=(1, 1e999, 1)", "std has to be a number or three"),
        ("std=0", "std=0 would divide by zero"),
        ("std=(1, 0, 1)", "std=0 would divide by zero"),
        ("order=gbr", "order=gbr is not known; known are rgb, bgr"),
        ("resize=sharp", "resize=sharp is not known; known are bilinear, bicubic"),
        ("scale=1", "unknown argument 'scale'"),
        ("trust=True", "unknown argument 'trust'"),
    ],
)
def test_what_a_spec_cannot_say(paths, arguments, said):
    with pytest.raises(InputError) as error:
        load_encoder(f"tflite({paths['tflite']}, {arguments})")
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) <= 2


def test_a_spec_of_no_file(tmp_path, paths):
    with pytest.raises(InputError, match=r"nothing\.tflite: no such encoder"):
        load_encoder(f"tflite({tmp_path / 'nothing.tflite'}, mean=127.5)")
    with pytest.raises(InputError, match=r"is no folder with saved_model\.pb"):
        load_encoder(f"saved_model({paths['tflite']})")
    with pytest.raises(InputError, match="no such encoder"):
        load_encoder("os:system(ls)")  # only what is known is a spec


def test_a_file_of_whole_numbers_takes_no_mean(tmp_path):
    module: Any = tf.Module()
    module.serve = tf.function(
        lambda image: {"embedding": tf.reduce_mean(tf.cast(image, tf.float32), [1, 2])},
        input_signature=[tf.TensorSpec((None, 16, 16, 3), tf.uint8)],
    )
    tf.saved_model.save(
        module, str(tmp_path / "bytes"), signatures={"serving_default": module.serve}
    )
    with pytest.raises(InputError, match="takes pixels as whole numbers: leave out mean and std"):
        load_encoder(f"saved_model({tmp_path / 'bytes'}, mean=127.5, std=128)")
    turned = load_encoder(f"saved_model({tmp_path / 'bytes'}, order=bgr)").embed(images())
    np.testing.assert_allclose(turned, images().mean((1, 2))[:, ::-1], rtol=1e-5)


@pytest.mark.parametrize(
    ("mean", "std", "wanted"),
    [
        ([127.5], [128.0], {}),
        ([127.0, 128.0, 129.0], [64.0], {"mean": (127.0, 128.0, 129.0), "std": 64.0}),
        ([127.5], [0.0], {"mean": 0.0, "std": 1.0}),  # nothing that makes sense
        ([127.5, 1.0], [128.0], {"mean": 0.0, "std": 1.0}),
        ([float("nan")], [128.0], {"mean": 0.0, "std": 1.0}),
    ],
)
def test_the_metadata_of_a_tflite_file_are_read(tmp_path, mean, std, wanted):
    path = foreign.write_tflite(tmp_path / "old.tflite", foreign.normalization(mean, std))
    encoder = load_encoder(path)
    np.testing.assert_allclose(
        encoder.embed(images()), foreign.expected(images(), **wanted), rtol=1e-3, atol=1e-3
    )
    assert encoder.preprocessing.source == (
        "" if wanted == {"mean": 0.0, "std": 1.0} else "as its metadata say"
    )
    plain = load_encoder(f"tflite({path}, mean=0, std=1)")
    np.testing.assert_allclose(
        plain.embed(images()), foreign.expected(images(), 0, 1), rtol=1e-3, atol=1e-3
    )


def test_damaged_metadata_never_raise(tmp_path):
    from bct_keras.encoders import stated
    from bct_keras.encoders.flatbuffer import DamagedError

    content = foreign.normalization([127.5], [128.0])
    assert stated.normalization(content).mean == (127.5,)
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(3000):
        damaged = bytearray(content[: random.integers(4, len(content) + 1)])
        for place in random.integers(0, len(damaged), 2):
            damaged[place] = random.choice([0, 1, 127, 128, 255])
        try:
            stated.normalization(bytes(damaged))
        except DamagedError:
            refused += 1
    assert refused > 500


def test_the_image_metadata_of_an_onnx_file_are_read(tmp_path):
    properties = {"Image_BitmapPixelFormat": "Bgr8", "Image_NominalPixelRange": "Normalized_1_1"}
    for colours_first in (True, False):
        encoder = load_encoder(
            foreign.write_onnx(tmp_path / "old.onnx", colours_first, **properties)
        )
        wanted = foreign.expected(images(), 127.5, 127.5, "bgr")
        np.testing.assert_allclose(encoder.embed(images()), wanted, rtol=1e-3, atol=1e-3)


def test_lfw_like_by_flag_and_by_metadata_and_warned_about_without(paths, faces, tmp_path, here):
    """Tells before the work what a wrong normalisation costs, with the spec that mends it."""
    told = foreign.write_tflite(tmp_path / "told.tflite", foreign.normalization([127.5], [128.0]))
    named = {
        "bare": paths["tflite"],
        "flag": f"tflite({paths['tflite']}, mean=127.5, std=128)",
        "metadata": told,
    }
    protocol, out, found = f"--protocol=retrieval({faces.folder})", {}, {}
    for name, old in named.items():
        status, out[name], errors = here(
            evaluate, f"--old={old}", protocol, f"--out={tmp_path / name / 'report'}"
        )
        assert status == 0, errors
        report = (tmp_path / name / "report/report.json").read_text()
        found[name] = json.loads(report)
    top1 = {
        name: report["protocols"][protocol.partition("=")[2]]["old/old"]["top-1"]
        for name, report in found.items()
    }
    assert top1["flag"] == top1["metadata"] == 1.0
    assert top1["bare"] < 0.3
    assert WARNING in out["bare"]
    assert f"give it as {named['flag']}" in out["bare"]
    assert "warning" not in out["flag"] + out["metadata"]
    assert found["flag"]["made_from"]["--old"] == named["flag"]


def test_the_old_encoder_is_looked_at_before_it_is_used_to_train(paths, faces):
    def embedded(old: str):
        lines: list[str] = []
        shards = old_encoders.embeddings(Path(old), faces, foreign.DIMS, lines.append)
        return shards, "\n".join(lines)

    _, said = embedded(paths["tflite"])
    assert WARNING in said
    assert said.index(WARNING) < said.index("written: 64 embeddings")
    assert "pixels as they are, channels rgb (nothing says how)" in said
    assert (
        "nearly coincide" in said
        or "hardly tell identities apart" in said
        or "the same embedding" in said
    )
    assert WARNING not in embedded(paths["tflite"])[1]  # it was tried once
    spec = f"tflite({paths['tflite']}, mean=127.5, std=128)"
    shards, said = embedded(spec)
    assert "warning" not in said
    assert f"{spec}: pixels (x - 127.5) / 128, channels rgb (as given)" in said
    known = old_encoders.known(shards.folder)
    assert known is not None
    assert known.spec == spec  # what its embeddings were made by is found again


def test_embed_says_what_it_does(paths, faces, tmp_path, here):
    status, out, _ = here(
        embed_command,
        f"--encoder=onnx({paths['onnx']}, mean=127.5, std=128, order=bgr)",
        f"--data={faces.folder}",
        f"--out={tmp_path / 'by-old'}",
    )
    assert status == 0
    assert "pixels (x - 127.5) / 128, channels bgr (as given)" in out


def test_a_series_is_divided_at_the_commas_between_specs(paths):
    text = f"tflite({paths['tflite']}, mean=127.5, std=128),{paths['keras']}"
    assert specs.split_arguments(text, "--encoders") == [
        f"tflite({paths['tflite']}, mean=127.5, std=128)",
        str(paths["keras"]),
    ]


def test_a_benchmark_takes_a_spec_as_its_old_encoder(paths):
    entry = plan.parse_entry(
        f"edge: tflite({paths['tflite']}, mean=127.5, std=128) --seed=1", lambda _: {"seed": 1}
    )
    assert (entry.name, entry.options.written) == ("edge", ("--seed=1",))
    assert load_encoder(Path(entry.spec)).spec == entry.spec


def test_a_keras_file_with_its_preprocessing_is_exported_with_it(paths):
    encoder = keras_encoder(f"keras({paths['keras']}, mean=127.5, std=128, order=bgr)")
    found = np.asarray(encoder.model(images().astype(np.float32)))
    np.testing.assert_allclose(found, foreign.expected(images(), order="bgr"), rtol=1e-3, atol=1e-3)


def test_a_gallery_keeps_the_spec_of_its_encoder(paths):
    encoder = load_encoder(f"tflite({paths['tflite']}, mean=127.5, std=128)")
    assert known(encoder).name == encoder.spec
    assert not np.allclose(
        normalised(encoder.embed(images())),
        normalised(load_encoder(paths["tflite"]).embed(images())),
    )
