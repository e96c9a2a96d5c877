"""Rates by group, and images that could not be embedded, through the command's own function."""

import numpy as np
import pytest

from bct_keras.encoders import load_encoder
from bct_keras.encoders.encoder import FirstDims
from bct_keras.errors import InputError
from bct_keras.evaluate import page, report
from bct_keras.evaluate.groups import read_groups
from bct_keras.evaluate.protocols import build_protocols
from bct_keras.evaluate.run import evaluate
from bct_keras.metrics.groups import group_rates
from bct_keras.metrics.verification import Embedded
from bct_keras.vectors import normalised

IDENTITIES, IMAGES, DIMS = 70, 6, 8
LABELS = np.repeat(np.arange(IDENTITIES), IMAGES)
IDS = np.array([f"item {row:03d}" for row in range(len(LABELS))])
NOISE = {"old": 0.9, "new": 0.5}
FAR = "TAR@FAR=1e-2"


def rows_of(name: str) -> np.ndarray:
    random = np.random.default_rng(len(name) + ord(name[0]))
    people = np.random.default_rng(0).normal(size=(IDENTITIES, DIMS))[LABELS]
    return (people + NOISE[name] * random.normal(size=people.shape)).astype(np.float32)


@pytest.fixture
def spec(tmp_path) -> str:
    np.savez(tmp_path / "listed.npz", ids=IDS, labels=np.array([f"p{n}" for n in LABELS]))
    return f"listed({tmp_path / 'listed.npz'})"


@pytest.fixture
def encoders(tmp_path) -> dict:
    for name in NOISE:
        np.savez(tmp_path / f"{name}.npz", embeddings=rows_of(name), ids=IDS)
    return {name: load_encoder(tmp_path / f"{name}.npz") for name in NOISE}


@pytest.mark.parametrize("by", ["id", "identity"])
def test_each_group_is_measured_at_the_threshold_of_all(encoders, spec, tmp_path, by):
    in_first = LABELS < 50
    names = IDS if by == "id" else [f"p{label}" for label in LABELS]
    lines = [f"{name},{'a' if first else 'b'}" for name, first in zip(names, in_first, strict=True)]
    (tmp_path / "groups.csv").write_text("\n".join([f"{by},group", *lines]))
    groups = read_groups(tmp_path / "groups.csv")
    found = evaluate(encoders["old"], encoders["new"], [spec], tmp_path / "report", groups=groups)
    result = found["protocols"][spec]

    units = normalised(rows_of("old"))
    query = np.arange(len(LABELS)) % IMAGES >= IMAGES // 2
    first = Embedded(units[query & in_first], LABELS[query & in_first])
    gallery = Embedded(units[~query & in_first], LABELS[~query & in_first])
    expected = group_rates(first, gallery, result["thresholds"]["old/old"][FAR])
    facts = result["groups"][FAR]["old/old"]["a"]
    assert facts["tar"] == pytest.approx(expected.tar)
    assert facts["fmr"] == pytest.approx(expected.fmr)
    assert (facts["identities"], facts["queries"], facts["genuine_pairs"]) == (50, 150, 450)
    # 60 queries with 60 images less 180 pairs: 34 of them would be accepted; but 20 are few people.
    assert not facts["too_small"]
    assert result["groups"][FAR]["new/old"]["b"]["too_small"]
    assert any(note.startswith("warning: b: too small") for note in result["notes"])
    assert "By group, at the threshold that gives all together" in page.as_html(found)
    assert "equal error rate" in report.as_text(found) + page.as_html(found)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("name,group\nitem 000,a\n", "the first line has to be"),
        ("id,group\nitem 000\n", "line 2: a name and a group are needed"),
        ("id,group\nitem 000,a\nitem 000,b\n", "line 3: item 000 has another group above"),
        ("id,group\n", "names no group"),
        ('id,group\n"item\n000",a\nb\n', "line 4: a name and a group are needed"),
        (f"id,group\n{'a' * 140_000},b\n", "line 2: this is no row of a CSV file"),
        ("id,group\nnobody,a\n", "names none of the images, such as 'item 000'"),
    ],
)
def test_a_file_of_groups_that_is_none_is_refused(encoders, spec, tmp_path, text, error):
    (tmp_path / "groups.csv").write_text(text)

    def evaluated() -> None:
        groups = read_groups(tmp_path / "groups.csv")
        evaluate(encoders["old"], None, [spec], tmp_path / "report", groups=groups)

    with pytest.raises(InputError, match=error):
        evaluated()


def test_images_in_no_group_are_told(encoders, spec, tmp_path):
    (tmp_path / "groups.csv").write_text("identity,group\np0,a\np1,b\n")
    file = read_groups(tmp_path / "groups.csv")
    sides = build_protocols([spec])[spec].side_groups(file)  # pyright: ignore
    assert sides.notes(file) == [f"408 of 420 images have no group in {tmp_path / 'groups.csv'}"]


def test_a_file_of_groups_may_be_one_that_excel_wrote(tmp_path):
    (tmp_path / "groups.csv").write_bytes("\ufeffID,Group\r\nitem 000, a\r\n".encode())
    assert read_groups(tmp_path / "groups.csv").group_of == {"item 000": "a"}


def test_an_image_that_could_not_be_embedded_is_a_miss(encoders, spec, tmp_path):
    new = rows_of("new")
    new[5] = np.nan  # a query
    there = np.arange(len(IDS)) != 10  # another query, which is not stored at all
    np.savez(tmp_path / "failing.npz", embeddings=new[there], ids=IDS[there])
    given = (load_encoder(tmp_path / "failing.npz"), [spec], tmp_path / "counted")
    with pytest.raises(InputError, match=r"no embedding for item 010"):
        evaluate(encoders["old"], *given)
    found = evaluate(encoders["old"], *given, failures="count")["protocols"][spec]
    plain = evaluate(encoders["old"], encoders["new"], [spec], tmp_path / "plain")
    plain = plain["protocols"][spec]
    # Whichever of the two was found before is not any more.
    query = np.arange(len(LABELS)) % IMAGES >= IMAGES // 2
    scores = normalised(new)[query] @ normalised(rows_of("old"))[~query].T
    right = LABELS[~query][np.nan_to_num(scores, nan=-1.0).argmax(axis=1)] == LABELS[query]
    right[np.isin(np.flatnonzero(query), [5, 10])] = False
    assert found["new/old"]["top-1"] == pytest.approx(right.mean())
    # Their six genuine pairs of 630 are rejected.
    assert plain["new/old"][FAR] >= found["new/old"][FAR]
    assert found["new/old"][FAR] >= plain["new/old"][FAR] - 6 / 630 - 1e-9
    assert found["old/old"] == plain["old/old"]
    note = (
        f"2 of 420 images could not be embedded by {tmp_path / 'failing.npz'} and count as misses: "
        "their cosine with every other one is taken as -1"
    )
    assert note in found["notes"]
    # The encoder is as it was: the next evaluation refuses what it lacks.
    with pytest.raises(InputError, match=r"no embedding for item 010"):
        evaluate(encoders["old"], *given[:2], tmp_path / "again")


def test_a_part_of_an_encoder_that_may_fail_may_fail_too(encoders):
    encoders["new"].let_fail()
    assert FirstDims(encoders["new"], 4).lets_fail
    encoders["new"].let_fail(False)
    assert not FirstDims(encoders["new"], 4).lets_fail


def test_no_embedding_is_counted_as_a_miss_unasked(encoders, spec):
    protocol = build_protocols([spec])[spec]
    rows = rows_of("new")
    rows[5] = np.nan
    with pytest.raises(InputError, match="gives no finite embedding for 1 of the images"):
        protocol.sides_of(encoders["new"], rows)  # pyright: ignore


def test_what_cannot_be_grouped_is_refused_before_anything_is_embedded(encoders, spec, tmp_path):
    (tmp_path / "groups.csv").write_text("id,group\nnobody,a\n")
    encoders["old"].of_ids = None  # pyright: ignore
    with pytest.raises(InputError, match="names none of the images"):
        evaluate(
            encoders["old"],
            None,
            [spec],
            tmp_path / "report",
            groups=read_groups(tmp_path / "groups.csv"),
        )


def test_failures_and_groups_need_images_that_are_known(encoders, tmp_path):
    np.savez(tmp_path / "ids.npz", ids=IDS)
    given = (encoders["old"], encoders["new"], [f"listed({tmp_path / 'ids.npz'})"])
    with pytest.raises(InputError, match="where the file has labels"):
        evaluate(*given, tmp_path / "report", failures="count")
