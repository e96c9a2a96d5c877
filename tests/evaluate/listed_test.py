import numpy as np
import pytest

from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError
from bct_keras.evaluate import page, report
from bct_keras.evaluate.comparison import compare
from bct_keras.evaluate.protocols import build_protocols
from bct_keras.evaluate.run import evaluate
from bct_keras.vectors import normalised

IDENTITIES, IMAGES, DIMS = 25, 6, 8
LABELS = np.repeat(np.arange(IDENTITIES), IMAGES)
IDS = np.array([f"text {row:03d}" for row in range(len(LABELS))])


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    people = random.normal(size=(IDENTITIES, DIMS))[LABELS]
    return {
        "old": (people + 0.9 * random.normal(size=people.shape)).astype(np.float32),
        "new": (people + 0.4 * random.normal(size=people.shape)).astype(np.float32),
    }


@pytest.fixture
def encoders(arrays, tmp_path) -> dict:
    shuffled = np.random.default_rng(1).permutation(len(IDS))  # rows in any order
    found = {}
    for name, embeddings in arrays.items():
        path = tmp_path / f"{name}.npz"
        np.savez(path, embeddings=embeddings[shuffled], ids=IDS[shuffled])
        found[name] = load_encoder(path)
    return found


def test_labelled_items_give_the_numbers_of_arrays(encoders, arrays, tmp_path):
    np.savez(tmp_path / "labels.npz", ids=IDS, labels=np.array([f"class {n}" for n in LABELS]))
    spec = f"listed({tmp_path / 'labels.npz'})"
    found = evaluate(encoders["old"], encoders["new"], [spec], tmp_path / "report")
    expected = compare(old=arrays["old"], new=arrays["new"], labels=LABELS)
    assert found["verdict"] == expected.verdict.word
    result = found["protocols"][spec]
    for row in expected.table():
        for test in ("old/old", "new/old", "new/new"):
            assert result[test][row["metric"]] == pytest.approx(row[test])


def test_without_labels_it_is_how_many_of_the_new_ones_neighbours_are_found(
    encoders, arrays, tmp_path
):
    np.savez(tmp_path / "ids.npz", ids=IDS)
    spec = f"listed({tmp_path / 'ids.npz'})"
    found = evaluate(encoders["old"], encoders["new"], [spec], tmp_path / "report")
    result = found["protocols"][spec]

    def ten(queries: str, gallery: str) -> list[set[int]]:
        scores = normalised(arrays[queries])[1::2] @ normalised(arrays[gallery])[::2].T
        return [set(row.tolist()) for row in np.argsort(-scores, axis=1)[:, :10]]

    truth = ten("new", "new")
    metric = "neighbours kept@10"
    for test in ("old/old", "new/old", "new/new"):
        rows = ten(*test.split("/"))
        kept = [len(true & mine) / 10 for true, mine in zip(truth, rows, strict=True)]
        assert result[test] == {metric: pytest.approx(np.mean(kept))}
    assert result["new/new"][metric] == 1.0
    assert result["units"] == {"count": len(IDS) // 2, "name": "queries"}
    assert result["word"] == {metric: "better"}
    assert found["verdict"] == "compatible"
    assert any("no labels" in note for note in result["notes"])
    assert "neighbours kept@10" in report.as_text(found)
    assert "<dt>neighbours kept@k</dt>" in page.as_html(found)


def test_without_labels_and_without_a_new_encoder_nothing_can_be_said(encoders, tmp_path):
    np.savez(tmp_path / "ids.npz", ids=IDS)
    spec = f"listed({tmp_path / 'ids.npz'})"
    with pytest.raises(InputError, match="has no labels"):
        evaluate(encoders["old"], None, [spec], tmp_path / "report")


@pytest.mark.parametrize(
    ("arrays_of_list", "said"),
    [
        ({"labels": LABELS}, "it has no `ids`"),
        ({"ids": np.arange(4)}, "`ids` has to be"),
        ({"ids": np.array(["a", "a"])}, "an id stands there twice"),
        ({"ids": np.array(["a"])}, "lists 1 items"),
        ({"ids": np.array(["a", "b"]), "labels": np.array([1])}, "`labels` has to be"),
        ({"ids": np.array(["a", "b"]), "labels": np.array([1, 1])}, "one label alone"),
        ({"ids": np.array(["a", "b"]), "labels": np.array([1, 2])}, "every label has one item"),
    ],
)
def test_a_list_that_is_none_is_told(arrays_of_list, said, tmp_path):
    np.savez(tmp_path / "list.npz", **arrays_of_list)
    with pytest.raises(InputError, match=said):
        build_protocols([f"listed({tmp_path / 'list.npz'})"])


def test_an_item_without_embedding_and_an_encoder_of_images_are_told(
    encoders, tiny_encoder_path, tmp_path
):
    np.savez(tmp_path / "more.npz", ids=np.append(IDS, "unknown"), labels=np.append(LABELS, 0))
    (protocol,) = build_protocols([f"listed({tmp_path / 'more.npz'})"]).values()
    with pytest.raises(InputError, match="has no embedding for unknown"):
        protocol.embed(encoders["old"])
    with pytest.raises(InputError, match="give stored embeddings"):
        protocol.embed(load_encoder(tiny_encoder_path(8)))
