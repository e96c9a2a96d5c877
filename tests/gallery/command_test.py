"""Runs the command as a user gives it.

There are a gallery of old embeddings, a new encoder's queries, and backfill.
"""

from pathlib import Path

import forked
import numpy as np
import pytest

from bct_keras.data import dataset
from bct_keras.data.dataset import open_data_set
from bct_keras.embed.run import embed
from bct_keras.encoders import Encoder, load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate.run import evaluate
from bct_keras.gallery import run
from bct_keras.gallery.entries import fitted
from bct_keras.gallery.facts import KnownEncoder
from bct_keras.gallery.file import FileGallery
from bct_keras.prepare.run import prepare

pytestmark = pytest.mark.seconds(8)


@pytest.fixture(scope="module")
def made(data_root, tiny_encoder_path, tmp_path_factory) -> dict[str, Path]:
    """Makes an old encoder and a new one, what they embed, and a report on the two."""
    folder = tmp_path_factory.mktemp("made")
    made = {"old": tiny_encoder_path(8), "data": data_root / "all", "folder": folder}
    made["new"] = folder / "new.keras"
    # A photo as people have them: larger than what the encoder sees.
    prepare(
        "synthetic(identities=2, images=2, image_size=40)",
        "class(old_share=0.5)",
        folder / "others",
    )
    old = load_encoder(made["old"])
    model = old.model  # pyright: ignore[reportAttributeAccessIssue]
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 1.01 + 0.01)
    model.save(made["new"])
    old = load_encoder(made["old"])
    embed(old, open_data_set(made["data"]), folder / "by-old")
    evaluate(old, load_encoder(made["new"]), [f"retrieval({data_root}/test)"], folder / "report")
    for view, name in ((made["data"], "photo.png"), (folder / "others/all", "large.png")):
        (record,) = open_data_set(view).batches(1).take(1)
        import tensorflow as tf

        (folder / name).write_bytes(tf.io.encode_png(record["image"][0]).numpy())
        (folder / f"{name}.id").write_text(dataset.ids_of(record)[0])
    return made


def open_ids(folder: Path) -> list[str]:
    return [ident for batch in open_data_set(folder).batches(16) for ident in dataset.ids_of(batch)]


def commands(made: dict[str, Path]) -> dict[str, list[str]]:
    folder, gallery = made["folder"], f"--gallery=file({made['folder']}/people.gallery)"
    old, new, data = (
        f"--{flag}={made[name]}"
        for flag, name in (("encoder", "old"), ("encoder", "new"), ("data", "data"))
    )

    def id_of(photo: str) -> str:
        return (folder / f"{photo}.id").read_text()

    photo, report = f"--image={folder}/photo.png", f"--report={folder}/report"
    by_old = f"--embeddings={folder}/by-old"
    np.savez(folder / "stored.npz", embeddings=np.ones((1, 8)), ids=["a"])
    everyone = [*open_ids(made["data"])]
    gone = [ident for ident in everyone if ident != id_of("photo.png")][:2]
    (folder / "gone.txt").write_text("\n".join(gone) + "\n\n")
    in_milvus = f"--gallery=milvus({folder}/people.db)"
    return {
        "no_gallery_yet": ["search", gallery, old, photo],
        "add": ["add", gallery, data, by_old],
        "add_again": ["add", gallery, f"--data={made['data'].parent}/old", old],
        "search_by_old": ["search", gallery, old, photo, f"--image={folder}/large.png", "--top=3"],
        "search_a_label": ["search", gallery, old, photo, "--only_label=1", "--top=3"],
        "search_no_label": ["search", gallery, old, photo, "--only_label=1", "--only_label=x"],
        "search_by_id": ["search", gallery, old, data, f"--id={id_of('photo.png')}", "--top=3"],
        "search_no_id": ["search", gallery, old, data, "--id=nobody"],
        "refused": ["search", gallery, new, photo],
        "add_stranger": ["add", gallery, data, new],
        "declare_refused": ["add", gallery, report, "--strict"],
        "declare": ["add", gallery, report, "--max_loss=1"],
        "backfill_part": [
            "backfill",
            gallery,
            new,
            f"--data={made['data'].parent}/old",
            "--order=random(seed=2)",
        ],
        "mixed": ["info", gallery],
        "search_mixed": ["search", gallery, new, photo, "--top=48"],
        "backfill": ["backfill", gallery, new, data],
        "info": ["info", gallery],
        "no_photo": ["search", gallery, new, f"--image={folder}/report/report.json"],
        "stored_query": ["search", gallery, f"--encoder={folder}/stored.npz", photo],
        "remove": ["remove", gallery, f"--id={id_of('photo.png')}", "--label=3", "--id=nobody"],
        "remove_listed": ["remove", gallery, f"--ids_file={folder}/gone.txt"],
        "info_after_removal": ["info", gallery],
        "search_after_removal": ["search", gallery, new, photo, "--top=48"],
        "backfill_after_removal": ["backfill", gallery, new, data],
        "remove_nothing": ["remove", gallery],
        "cut_over_file": ["cut-over", gallery],
        "move_nothing": ["move", gallery],
        "restore_nothing": ["restore", gallery],
        "forget_nothing": ["forget-originals", gallery],
        "remove_unlisted": ["remove", gallery, "--ids_file=/dev/zero"],
        "add_whole": [
            "add",
            f"--gallery=file({folder}/whole.gallery)",
            f"--data={made['data'].parent}",
            old,
        ],
        "add_to_milvus": ["add", in_milvus, data, by_old],
        "search_milvus": ["search", in_milvus, old, photo, "--top=3"],
        "search_a_label_in_milvus": ["search", in_milvus, old, photo, "--only_label=1", "--top=3"],
        "search_no_label_in_milvus": ["search", in_milvus, old, photo, "--only_label=x"],
        "no_image": ["search", gallery, new],
        "no_source": ["add", gallery, data],
        "nothing": ["add", gallery],
        "unknown_kind": ["info", "--gallery=drawer(x)"],
        "order_of_another_kind": ["backfill", gallery, new, data, "--order=os:getcwd"],
        "unknown_order": ["backfill", gallery, new, data, "--order=any"],
        "unknown_action": ["forget", gallery],
        "help": ["--help"],
        "help_backfill": ["backfill", "--help"],
    }


@pytest.fixture(scope="module")
def results(made, tmp_path_factory) -> dict[str, tuple[int, str, str]]:
    """Returns of each command the exit status, the output and the errors."""
    folder = tmp_path_factory.mktemp("results")
    found = {}
    for name, arguments in commands(made).items():
        done = forked.run("-m", "bct_keras.gallery", *arguments, cwd=folder)
        found[name] = (done.returncode, done.stdout, done.stderr)
    return found


def test_a_gallery_of_old_embeddings_is_searched_by_the_old_encoder(results, made):
    assert results["add"][0] == 0
    assert "48 entries of" in results["add"][1]
    status, said, _ = results["search_by_old"]
    assert status == 0
    lines = said.splitlines()
    assert len(lines) == 2 * (1 + 1 + 3)
    best = lines[2].split()
    assert best[0] == "1.0000"
    assert best[3] == (made["folder"] / "photo.png.id").read_text()


def test_a_search_by_an_image_of_a_data_set_is_as_that_by_its_file(results, made):
    """The image was written as PNG, which loses nothing."""
    status, said, _ = results["search_by_id"]
    assert status == 0
    ident, *lines = said.splitlines()
    assert ident == (made["folder"] / "photo.png.id").read_text()
    assert lines == results["search_by_old"][1].splitlines()[1:5]
    status, _, errors = results["search_no_id"]
    assert status == 1
    assert errors.endswith("has no image with the id 'nobody'\n")


def test_a_search_of_one_label_finds_that_label_alone(results):
    status, said, _ = results["search_a_label"]
    assert status == 0
    assert [line.split()[1] for line in said.splitlines()[2:]] == ["1"] * 3
    status, _, errors = results["search_no_label"]
    assert status == 1
    assert errors.endswith("people.gallery has no entry with the label 'x'\n")


def test_entries_that_would_shut_out_every_query_are_refused(results):
    status, _, errors = results["add_stranger"]
    assert status == 1
    assert (
        "together no query could be searched;\nevaluate the two and declare the report first"
        in errors
    )


def test_each_change_names_the_command_that_may_follow(results, made):
    gallery = f"--gallery='file({made['folder']}/people.gallery)'"
    whole = made["data"].parent  # that the report was measured by a part of
    search = f"next: bct gallery search {gallery} --encoder={made['new']} --data="
    backfill = f"next: bct gallery backfill {gallery} --encoder={made['new']} --data={whole}"
    said_search, said_backfill = results["declare"][1].splitlines()[-2:]
    assert said_search.startswith(f"{search}{whole} --id=")
    assert said_backfill == backfill
    assert results["backfill"][1].splitlines()[-1].startswith(f"{search}{made['data']} --id=")
    assert results["remove_listed"][1].splitlines()[-1] == f"next: bct gallery info {gallery}"


def test_adding_again_doubles_nothing(results):
    assert "0 entries of" in results["add_again"][1]
    assert "12 were there already and stay as they are" in results["add_again"][1]


def test_the_new_encoder_is_refused_until_a_report_lets_it_in(results):
    assert results["refused"][0] == 1
    assert "not known to be compatible" in results["refused"][2]
    assert results["declare_refused"][0] == 1
    assert "says: undecided" in results["declare_refused"][2]
    assert results["declare"][0] == results["search_mixed"][0] == 0
    assert "loses at most" in results["declare"][1]


def test_backfill_of_a_part_says_what_has_no_image_and_leaves_one_ranked_list(results, made):
    status, said, errors = results["backfill_part"]
    assert status == 1  # not all of it was done
    assert "12 entries embedded anew" in said
    assert "36 entries have no image" in errors
    old, new = (load_encoder(made[name]).fingerprint[:12] for name in ("old", "new"))
    assert f"36 by {made['old']} ({old})" in results["mixed"][1]
    assert f"12 by {made['new']} ({new})" in results["mixed"][1]
    _, heading, *lines = results["search_mixed"][1].splitlines()
    assert heading.split() == ["false", "accepts", "label", "encoder", "id"]
    rows = [line.split() for line in lines]
    assert len({row[3] for row in rows}) == len(rows) == 48
    rates = [float(row[0]) for row in rows]
    assert rates == sorted(rates)
    assert sorted(row[2] for row in rows) == sorted([old] * 36 + [new] * 12)


def test_backfill_ends_with_every_entry_embedded_anew(results):
    assert results["backfill"][0] == 0
    assert "36 entries embedded anew" in results["backfill"][1]
    assert "48 entries of 8 dimensions" in results["info"][1]
    assert "every checksum holds" in results["info"][1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_gallery_yet", "no such gallery; gallery add makes one"),
        ("no_photo", "not a JPEG or PNG image"),
        (
            "stored_query",
            "stored.npz holds stored embeddings; --encoder has to be one that embeds images",
        ),
        ("no_image", "--image is needed"),
        ("no_source", "--data goes with either --encoder"),
        ("nothing", "--data is needed, or --report"),
        ("remove_nothing", "--id, --ids_file or --label is needed"),
        ("move_nothing", "--adapter is needed"),
        ("remove_unlisted", "/dev/zero: no such file; it has to list ids, one a line"),
        ("cut_over_file", "there is nothing to cut over"),
        ("unknown_kind", "known: file, milvus"),
        (
            "order_of_another_kind",
            "'os:getcwd' is not called, because it does not say that it makes a",
        ),
        ("unknown_order", "known: by_label, farthest, listed, random, stored"),
        ("unknown_action", "there is no action 'forget'\n"),
    ],
)
def test_a_wrong_request_is_told_in_plain_lines(results, name, message):
    status, _, errors = results[name]
    assert status == 1
    assert message in errors
    assert errors.startswith("error: ")
    assert len(errors.splitlines()) <= 2


def test_what_was_removed_is_gone_and_what_was_not_there_is_told(results, made):
    status, said, errors = results["remove"]
    assert status == 1  # not all that was asked for was there
    assert (
        errors
        == "error: 1 of the 3 ids and labels given are not in it, the first of them 'nobody'\n"
    )
    removed = int(said.split(": ")[1].split()[0])
    assert removed > 2
    assert "no search finds them, and their bytes are no longer in the file" in said
    status, said, _ = results["remove_listed"]
    assert status == 0
    also = int(said.split(": ")[1].split()[0])
    assert also in (1, 2)  # one of the two may have had label 3
    left = 48 - removed - also
    assert f"{left} entries of 8 dimensions" in results["info_after_removal"][1]
    rows = [line.split() for line in results["search_after_removal"][1].splitlines()[2:]]
    assert len(rows) == left
    assert (made["folder"] / "photo.png.id").read_text() not in {row[3] for row in rows}
    assert "3" not in {row[1] for row in rows}


def test_backfill_after_a_removal_brings_nothing_back(results):
    assert results["backfill_after_removal"][0] == 0
    assert ": 0 entries embedded anew" in results["backfill_after_removal"][1]


def test_a_gallery_that_was_not_moved_has_nothing_to_restore_or_to_forget(results):
    status, said, _ = results["restore_nothing"]
    assert status == 0
    assert "no vectors from before are kept; nothing is changed" in said
    status, said, _ = results["forget_nothing"]
    assert status == 0
    assert "0 original vectors forgotten" in said


def test_a_view_is_told_to_be_a_part_and_the_whole_data_set_is_added_whole(results, made):
    whole = open_data_set(made["data"].parent)
    missing = whole.records - 48
    said = (
        f"at least {missing} of its {whole.records} images are not in the gallery;"
        f" --data={whole.folder} adds them all"
    )
    assert missing > 0
    assert said in results["add"][1]
    assert f"{whole.records} entries of" in results["add_whole"][1]
    assert "not in the gallery" not in results["add_whole"][1]


def test_a_gallery_in_milvus_is_made_and_searched_by_the_same_commands(results):
    pytest.importorskip("milvus_lite")
    assert "48 entries of" in results["add_to_milvus"][1]
    assert (
        results["search_milvus"][1].splitlines()[1:]
        == results["search_by_old"][1].splitlines()[1:5]
    )
    for name in ("search_a_label", "search_a_label_in_milvus"):
        of_label = [line.split()[-1] for line in results[name][1].splitlines()[2:]]
        assert len(of_label) == 3
        assert all(ident.startswith("synthetic-seed0/00001/") for ident in of_label)
    assert "no entry with the label 'x'" in results["search_no_label_in_milvus"][2]


def test_help_tells_of_the_actions_and_of_the_flags_of_one(results):
    assert results["help"][0] == results["help_backfill"][0] == 0
    assert "  backfill " in results["help"][1]
    assert "bct gallery backfill --gallery=" in results["help_backfill"][1]
    assert "listed(FILE)" in results["help_backfill"][1]
    assert "--max_loss" not in results["help_backfill"][1]


class Wider(Encoder):
    """12 coordinates, the first 8 of which fit an old gallery."""

    def __init__(self, path: Path):
        super().__init__(path, 4, 12)
        self.compatible_dims = 8

    def embed(self, images: np.ndarray) -> np.ndarray:
        return np.arange(1.0, 13.0)[None] + np.zeros((len(images), 1))


def test_a_wider_encoder_is_taken_by_its_compatible_coordinates_where_the_gallery_holds_no_more(
    tmp_path,
):
    (tmp_path / "wider.keras").write_bytes(b"its fingerprint")
    wider = Wider(tmp_path / "wider.keras")
    for dims, expected in ((8, 8), (12, 12)):
        with FileGallery(str(tmp_path / f"{dims}.gallery")) as people:
            people.add(KnownEncoder("0" * 64, dims, "old"), ["a"], ["b"], np.ones((1, dims)))
            found = fitted(wider, people)
            assert found.dims == found.embed(np.zeros((1, 4, 4, 3), np.uint8)).shape[1] == expected
            assert found.fingerprint == wider.fingerprint


def test_the_same_work_is_done_from_python(made, tmp_path):
    gallery = f"file({tmp_path / 'people.gallery'})"
    said: list[str] = []
    by_old = made["folder"] / "by-old"
    report = made["folder"] / "report"
    added = run.add(
        gallery, data=made["data"], embeddings=by_old, reports=[report], say=said.append
    )
    assert added == len(open_ids(made["data"]))
    fits, safe, left_out = said
    assert fits.startswith("queries of ")
    assert safe.startswith(f"{tmp_path}/people.gallery: {added} entries of ")
    assert " is a part of " in left_out
    photo = made["folder"] / "photo.png"
    (found,) = run.search(gallery, made["old"], [str(photo)], top=1)
    (match,) = found.matches
    ident = (made["folder"] / "photo.png.id").read_text()
    assert (found.photo, match.id) == (str(photo), ident)
    assert run.backfill(gallery, made["new"], made["data"]).entries == added
    assert run.remove(gallery, ids=[ident]).entries == 1
    assert sum(run.info(gallery).entries.values()) == added - 1
    # Nothing is called a flag where no command runs.
    with pytest.raises(InputError, match=r"^id, ids_file or label is needed"):
        run.remove(gallery)
