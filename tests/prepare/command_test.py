import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from bct_keras import artefacts, processes
from bct_keras.artefacts.folders import STARTED
from bct_keras.data import records
from bct_keras.data.dataset import ids_of, open_data_set
from bct_keras.engines import Local
from bct_keras.errors import InputError
from bct_keras.prepare.run import prepare
from bct_keras.prepare.sources.synthetic import Synthetic
from bct_keras.train import __main__ as train

pytestmark = pytest.mark.seconds(9)

FACES = "synthetic(identities=30, images=10, image_size=28)"
SPLIT = "data(old_share=0.3, test_share=0.2)"


@pytest.fixture
def photos(tmp_path, small_jpeg) -> Path:
    for number in range(40):
        path = tmp_path / "photos" / f"person-{number // 5}" / f"{number % 5}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(small_jpeg(number))
    return tmp_path / "photos"


def content(folder: Path) -> dict[str, bytes]:
    """Of every file, hidden ones as well."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def stored_records(folder: Path) -> list[tuple[str, int, bytes]]:
    """(id, label as the view counts, image) in stored order, read by TensorFlow."""
    data = open_data_set(folder)
    found = []
    for batch in (
        tf.data.TFRecordDataset([str(shard.path) for shard in data.shards])
        .batch(64)
        .map(data.parse)
    ):
        rows = zip(
            *(batch[field].numpy().tolist() for field in ("id", "label", "image")), strict=True
        )
        found += [(name.decode(), label, image) for name, label, image in rows]
    return found


def test_every_image_is_stored_once_as_it_came(tmp_path, small_pieces):
    said = prepare(FACES, "none", tmp_path / "out")
    assert said == f"{tmp_path / 'out'} written: 300 images of 30 identities"
    source = Synthetic(30, 10, 28)
    expected = [
        (source.read(at).id, int(source.labels[at]), source.read(at).image) for at in range(300)
    ]
    assert sorted(stored_records(tmp_path / "out")) == sorted(expected)


def test_records_are_mixed_over_the_shards(tmp_path, small_pieces):
    prepare(FACES, "none", tmp_path / "out")
    labels = np.array([label for _, label, _ in stored_records(tmp_path / "out")])
    shards = [len(set(shard.tolist())) for shard in np.array_split(labels, 19)]
    assert len(open_data_set(tmp_path / "out").shards) == 19  # 300 / 16
    assert min(shards) >= 7  # of 15 or 16 records; in file order there would be 2 or 3 identities


def test_views_hold_what_the_split_says(tmp_path, small_pieces):
    prepare(FACES, SPLIT, tmp_path / "out")
    sizes = {
        view: len(stored_records(tmp_path / "out" / view))
        for view in ("", "old", "new", "all", "test")
    }
    assert sizes == {
        "": 300,
        "old": 72,
        "new": 168,
        "all": 240,
        "test": 60,
    }  # 24 identities of 3 and 7; 6 of 10
    assert {label for _, label, _ in stored_records(tmp_path / "out/test")} == set(range(6))
    old = {name for name, _, _ in stored_records(tmp_path / "out/old")}
    assert old == {
        f"synthetic-seed0/{identity:05d}/{image:03d}"
        for identity in range(24)
        for image in range(3)
    }


@pytest.mark.parametrize("on_bad", ["fail", "skip"])
def test_the_number_of_processes_does_not_matter(tmp_path, small_pieces, on_bad):
    for count in (1, 2, 5):
        prepare(FACES, SPLIT, tmp_path / str(count), seed=3, on_bad=on_bad, engine=Local(count))
    assert content(tmp_path / "1") == content(tmp_path / "2") == content(tmp_path / "5")


def test_the_seed_decides_which_record_goes_where(tmp_path):
    names = []
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepare(FACES, "none", tmp_path / out, seed=seed)
        names.append([name for name, _, _ in stored_records(tmp_path / out)])
    assert names[0] == names[1] != names[2]
    assert sorted(names[0]) == sorted(names[2])


# Of FACES and SPLIT at seed 0. Made by this code, and by the one before it that wrote with
# tf.io.TFRecordWriter.
FINGERPRINT = "cef446f6a3fd85cde34bbec94c088787a0861756912435611b5e9f48de407859"


def test_the_bytes_are_the_same_on_any_machine(tmp_path):
    prepare(FACES, SPLIT, tmp_path / "out")
    assert open_data_set(tmp_path / "out").fingerprint == FINGERPRINT


def test_a_limit_takes_the_first_images_in_file_order(tmp_path):
    said = prepare(FACES, "none", tmp_path / "out", limit=25)
    assert said.endswith("25 images of 3 identities")
    names = {name for name, _, _ in stored_records(tmp_path / "out")}
    source = Synthetic(30, 10, 28)
    assert names == {source.read(position).id for position in range(25)}


@pytest.mark.parametrize("limit", [0, 300, 301])
def test_a_limit_beyond_the_source_takes_all(tmp_path, limit):
    prepare(FACES, "none", tmp_path / "out", limit=limit)
    assert open_data_set(tmp_path / "out").records == 300


def test_what_is_there_already_is_not_made_again(tmp_path):
    prepare(FACES, "none", tmp_path / "out")
    made = (tmp_path / "out/shards/all-00000.tfrecord").stat()
    said = prepare(FACES, "none", tmp_path / "out", engine=Local(2))
    assert said == f"{tmp_path / 'out'} is up to date: 300 images of 30 identities"
    assert (tmp_path / "out/shards/all-00000.tfrecord").stat() == made


@pytest.mark.parametrize("process_count", [1, 3])
def test_a_bad_image_is_named_and_nothing_is_left(tmp_path, photos, small_pieces, process_count):
    path = photos / "person-3/2.jpg"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(
        InputError, match=r"^person-3/2.jpg: the image cannot be decoded.*\n.*on_bad=skip"
    ):
        prepare(
            f"folder({photos}, image_size=16)",
            "none",
            tmp_path / "out",
            engine=Local(process_count),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_skipped_images_are_counted_and_identities_closed_up(tmp_path, photos, small_pieces):
    bad = [*(photos / "person-3").iterdir(), photos / "person-5/1.jpg"]
    for path in bad:
        path.write_bytes(b"no image")
    said = prepare(
        f"folder({photos}, image_size=16)", "none", tmp_path / "out", on_bad="skip", engine=Local(3)
    )
    assert "34 images of 7 identities\n6 images left out:" in said
    names = [str(path.relative_to(photos)) for path in bad]
    assert all(f"{name}: not a JPEG or PNG image" in said for name in names)
    found = {(name.split("/")[0], label) for name, label, _ in stored_records(tmp_path / "out")}
    kept = [f"person-{number}" for number in (0, 1, 2, 4, 5, 6, 7)]
    assert found == {(name, label) for label, name in enumerate(kept)}


def test_one_identity_left_is_too_few(tmp_path, photos):
    for path in photos.glob("person-[1-7]/*"):
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match="images of 1 identities can be used; at least 2"):
        prepare(f"folder({photos})", "none", tmp_path / "out", on_bad="skip")


def test_records_that_opening_found_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Synthetic, "broken", ("a.rec, record at byte 8: gone", "a.rec, record at byte 9: gone")
    )
    with pytest.raises(
        InputError, match=r"^a.rec, record at byte 8: gone \(the first of 2\)\n.*on_bad=skip"
    ):
        prepare(FACES, "none", tmp_path / "out")
    assert not list(tmp_path.iterdir())
    said = prepare(FACES, "none", tmp_path / "out", on_bad="skip")
    assert (
        "2 images left out:\n  a.rec, record at byte 8: gone\n  a.rec, record at byte 9: gone"
        in said
    )


@pytest.mark.parametrize(("image_size", "same_size"), [(16, True), (20, False)])
@pytest.mark.parametrize("on_bad", ["fail", "skip"])
def test_whether_anything_is_to_be_resized_is_known(
    tmp_path, photos, image_size, same_size, on_bad
):
    prepare(f"folder({photos}, image_size={image_size})", "none", tmp_path / "out", on_bad=on_bad)
    assert open_data_set(tmp_path / "out").same_size == same_size


def pixels_of(folder: Path) -> dict[str, np.ndarray]:
    """Each image by its id, as training and encoders see it."""
    batches = list(open_data_set(folder).batches(64))
    return {
        name: image
        for batch in batches
        for name, image in zip(ids_of(batch), batch["image"].numpy(), strict=True)
    }


@pytest.mark.parametrize("on_bad", ["fail", "skip"])
def test_whether_a_photo_lies_on_its_side_is_known_and_it_is_turned(tmp_path, photos, on_bad):
    prepare(f"folder({photos}, image_size=16)", "none", tmp_path / "upright", on_bad=on_bad)
    assert open_data_set(tmp_path / "upright").upright
    path = photos / "person-3" / "2.jpg"
    image = path.read_bytes()
    # Exif that says 6: the camera was held on its side. The pixels stay as they are stored.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    path.write_bytes(
        image[:20] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + image[20:]
    )
    prepare(f"folder({photos}, image_size=16)", "none", tmp_path / "turned", on_bad=on_bad)
    assert not open_data_set(tmp_path / "turned").upright
    before, after = pixels_of(tmp_path / "upright"), pixels_of(tmp_path / "turned")
    for name, pixels in before.items():
        expected = np.rot90(pixels, -1) if name == "person-3/2.jpg" else pixels
        np.testing.assert_array_equal(after[name], expected)


def test_a_data_set_that_does_not_say_whether_photos_lie_on_their_sides_is_read(tmp_path, photos):
    prepare(f"folder({photos}, image_size=16)", "none", tmp_path / "out")
    before = pixels_of(tmp_path / "out")
    manifest = tmp_path / "out" / artefacts.MANIFEST
    facts = json.loads(manifest.read_text())
    del facts["upright"]
    manifest.write_text(json.dumps(facts))
    assert not open_data_set(tmp_path / "out").upright
    for name, pixels in pixels_of(tmp_path / "out").items():
        np.testing.assert_array_equal(pixels, before[name])


def test_progress_counts_every_image(tmp_path, small_pieces, monkeypatch):
    counted = []
    run = processes.run

    def recording(work, tasks, count, progressed):
        return run(work, tasks, count, lambda images: (counted.append(images), progressed(images)))

    monkeypatch.setattr(processes, "run", recording)
    monkeypatch.setattr(
        processes, "SECONDS_BETWEEN_REPORTS", 0.001
    )  # those that come together are one
    prepare(FACES, SPLIT, tmp_path / "out", engine=Local(2))
    assert sum(counted) == 300
    assert len(counted) > 5  # as it goes on, not all at the end


def test_a_full_disk_keeps_what_is_done(tmp_path, small_pieces, monkeypatch):
    prepare(FACES, SPLIT, tmp_path / "unbroken")
    write_frames, written = records.write_frames, []

    def full_after_some(path, frames):
        if len(written) == 5:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path.stem)
        return write_frames(path, frames)

    monkeypatch.setattr(records, "write_frames", full_after_some)
    with pytest.raises(OSError, match="No space left on device") as raised:
        prepare(FACES, SPLIT, tmp_path / "out", engine=Local(1))
    assert raised.value.filename.endswith(".tfrecord")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(
        records,
        "write_frames",
        lambda path, frames: (written.append(path.stem), write_frames(path, frames))[1],
    )
    prepare(FACES, SPLIT, tmp_path / "out", engine=Local(1))
    assert (
        len(written) == len(set(written)) == len(list((tmp_path / "out/shards").iterdir()))
    )  # none twice
    assert content(tmp_path / "out") == content(tmp_path / "unbroken")


KILLED = """
import sys
from pathlib import Path
from bct_keras.prepare import looking, workplace, writing
from bct_keras.engines import Local
from bct_keras.prepare.run import prepare
writing.RECORDS_PER_SHARD = looking.RECORDS_PER_CHECK = 16
workplace.RECORDS_WORTH_A_PROCESS = 1
assert "tensorflow" not in sys.modules
prepare({faces!r}, {split!r}, Path(sys.argv[1]), on_bad=sys.argv[2], engine=Local(3))
"""
MANY_FACES = "synthetic(identities=120, images=10, image_size=28)"


@pytest.mark.parametrize("on_bad", ["fail", "skip"])
def test_after_kill_9_the_same_command_goes_on_to_the_same_bytes(tmp_path, small_pieces, on_bad):
    out, partial = tmp_path / "out", tmp_path / ".out.partial"
    script = KILLED.format(faces=MANY_FACES, split=SPLIT)
    first = subprocess.Popen([sys.executable, "-c", script, out, on_bad])
    deadline = time.monotonic() + 60
    while (
        len(list(partial.glob("shards/*.tfrecord"))) < 5
        and time.monotonic() < deadline
        and first.poll() is None
    ):
        time.sleep(0.002)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert not out.exists()
    with artefacts.locked_partial(out):  # the other processes are gone as well
        done = {path.name: path.stat().st_ino for path in partial.glob("shards/*.tfrecord")}
    assert 5 <= len(done) < 75  # about 1,200 / 16
    for path in sorted((tmp_path / ".out.partial/shards").glob("*.tfrecord"))[:2]:
        path.write_bytes(path.read_bytes()[:-1])  # what a power cut may do

    prepare(MANY_FACES, SPLIT, out, on_bad=on_bad, engine=Local(2))
    prepare(MANY_FACES, SPLIT, tmp_path / "unbroken", on_bad=on_bad, engine=Local(1))
    assert content(out) == content(tmp_path / "unbroken")
    kept = [name for name, inode in done.items() if (out / "shards" / name).stat().st_ino == inode]
    assert (
        len(kept) >= len(done) - 3
    )  # the two, and perhaps one that was renamed before its result was written


def test_what_was_begun_from_something_else_is_begun_anew(tmp_path, small_pieces):
    partial = tmp_path / ".out.partial"
    (partial / "shards").mkdir(parents=True)
    (partial / "shards/all-00000.tfrecord").write_bytes(b"of another seed")
    (partial / STARTED).write_text(json.dumps("another"))
    prepare(FACES, "none", tmp_path / "out")
    prepare(FACES, "none", tmp_path / "unbroken")
    assert content(tmp_path / "out") == content(tmp_path / "unbroken")


def test_the_seed_of_a_training_is_none_of_the_data(here, tmp_path, monkeypatch):
    """What is there is taken, whatever it was put into shards by; another data set asked for by
    name is refused.
    """
    monkeypatch.chdir(tmp_path)
    for seed in (0, 3):
        prepare(FACES, SPLIT, tmp_path / f"seed{seed}", seed)
        before = content(tmp_path / f"seed{seed}")
        assert "is up to date" in prepare(FACES, SPLIT, tmp_path / f"seed{seed}")
        places = (f"--prepared=seed{seed}", "--old=nowhere.keras", "--workdir=run")
        status, said, error = here(
            train, f"--source={FACES}", f"--split={SPLIT}", *places, "--seed=1", "--strategy=one"
        )
        assert status == 1
        assert f"seed{seed} is up to date" in said
        assert "nowhere.keras: no such encoder" in error  # which comes after the data
        assert content(tmp_path / f"seed{seed}") == before
    with pytest.raises(InputError, match=r"seed: 3 there, 1 now"):
        prepare(FACES, SPLIT, tmp_path / "seed3", 1)
    prepare(FACES, SPLIT, tmp_path / "new")
    assert content(tmp_path / "new") == content(tmp_path / "seed0")


def test_two_commands_at_once_make_one_folder(tmp_path, small_pieces):
    """The second waits for the first and then finds its work done."""
    script = KILLED.replace("prepare({", "print(prepare({").replace(
        "engine=Local(3))", "engine=Local(1)))"
    )
    script = script.format(faces=FACES, split="none")
    command = [sys.executable, "-c", script, tmp_path / "out", "fail"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    lines = sorted(text.splitlines()[-1].split(":")[0] for text in said)
    assert lines == [f"{tmp_path / 'out'} is up to date", f"{tmp_path / 'out'} written"]
    prepare(FACES, "none", tmp_path / "unbroken")
    assert content(tmp_path / "out") == content(tmp_path / "unbroken")
    assert not list(tmp_path.glob(".*"))


def test_a_process_that_is_killed_leaves_what_is_done(tmp_path, small_pieces, monkeypatch):
    write_frames = records.write_frames

    def die_at_the_tenth(path, frames):
        if path.stem == "all-00010":
            os.kill(os.getpid(), signal.SIGKILL)
        return write_frames(path, frames)

    monkeypatch.setattr(records, "write_frames", die_at_the_tenth)
    with pytest.raises(InputError, match="one of the processes was killed"):
        prepare(FACES, "none", tmp_path / "out", engine=Local(2))
    assert len(list((tmp_path / ".out.partial/shards").glob("*.tfrecord"))) >= 5
    monkeypatch.undo()
    shutil.rmtree(tmp_path / ".out.partial")
