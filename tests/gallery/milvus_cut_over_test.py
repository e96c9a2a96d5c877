"""An encoder's field is filled beside the one that is searched; a row switches, there and back."""

from collections.abc import Callable

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.gallery import milvus_beside, run
from bct_keras.gallery.backfill import backfill
from bct_keras.gallery.facts import BY_EMBEDDING, Compatibility, KnownEncoder
from bct_keras.gallery.milvus import MilvusGallery
from bct_keras.gallery.milvus_store import Filling
from bct_keras.gallery.orders import stored

pytest.importorskip("milvus_lite")

DIMS = 8
OLD, NEW = KnownEncoder("0" * 64, DIMS, "old"), KnownEncoder("1" * 64, DIMS, "new")
WIDE = KnownEncoder("2" * 64, 2 * DIMS, "wide")
MOVED = KnownEncoder("3" * 64, DIMS, "moved", base=OLD.fingerprint, adapter="4" * 64)
FITS = Compatibility(NEW.fingerprint, OLD.fingerprint, "", "compatible")
IDS = [str(number) for number in range(6)]


def directions(seed: int, count: int = len(IDS), dims: int = DIMS) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((count, dims)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


BY_OLD, BY_NEW = directions(1), directions(2)


class Given:
    """New embeddings by their ids; those of some are missing."""

    def __init__(self, embeddings: np.ndarray, missing: tuple[str, ...] = ()):
        self.embeddings, self.missing = embeddings, missing

    def __contains__(self, ident: object) -> bool:
        return ident not in self.missing

    def embeddings_of(self, ids: list[str]) -> np.ndarray:
        return self.embeddings[[int(ident) for ident in ids]]


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("milvus") / "people.db")


@pytest.fixture
def opened(address, request):
    """Opens one and the same gallery of a test, for as many clients as it is called."""
    name = "g" + "".join(letter for letter in request.node.name if letter.isalnum())
    galleries = []

    def open_one() -> MilvusGallery:
        galleries.append(MilvusGallery(address, name))
        return galleries[-1]

    yield open_one
    for gallery in galleries:
        gallery.close()


@pytest.fixture
def gallery(opened) -> MilvusGallery:
    """A gallery of old entries."""
    gallery = opened()
    assert gallery.add(OLD, IDS, IDS, BY_OLD) == len(IDS)
    gallery.facts.withdraw_all()  # as at the end of a command
    return gallery


def filled(gallery: MilvusGallery, encoder: KnownEncoder, items: Given) -> tuple[int, list[str]]:
    return backfill(gallery.to_backfill(encoder), encoder, items, stored())


def found(gallery: MilvusGallery, encoder: KnownEncoder, queries: np.ndarray) -> list[str]:
    """Returns the best entry of each query; all entries have to be found, by one cosine each."""
    best = []
    for matches in gallery.search(encoder.fingerprint, queries, 50):
        assert len(matches) == len({match.id for match in matches})
        best.append(matches[0].id if matches[0].score > 0.999 else "none alike")
    return best


def test_a_search_sees_the_new_field_from_the_cut_over_until_the_way_back(gallery, opened):
    other = opened()
    # No report says that the two fit: a field beside needs none.
    assert filled(gallery, NEW, Given(BY_NEW)) == (len(IDS), [])
    assert filled(gallery, NEW, Given(BY_NEW)) == (0, [])
    assert other.describe().entries == {OLD: len(IDS)}
    assert "6 embeddings of new" in other.describe().remarks[1]
    assert found(other, OLD, BY_OLD) == IDS
    with pytest.raises(InputError, match="holds entries of old"):
        other.search(NEW.fingerprint, BY_NEW, 3)
    switched = gallery.cut_over()
    assert (switched.encoder, switched.entries, switched.carried) == (NEW, len(IDS), 0)
    assert other.describe().entries == {NEW: len(IDS)}
    assert found(other, NEW, BY_NEW) == IDS
    assert found(other, OLD, BY_OLD) == IDS  # by the field from before, while that is whole
    assert gallery.restore() == len(IDS)
    assert found(other, OLD, BY_OLD) == IDS
    with pytest.raises(InputError, match="holds entries of old"):
        other.search(NEW.fingerprint, BY_NEW, 3)
    assert gallery.restore() == 0


def test_what_is_added_or_has_no_image_goes_on_as_it_was_and_can_be_embedded_later(gallery):
    gallery.declare(FITS)
    assert filled(gallery, NEW, Given(BY_NEW, missing=("2",))) == (5, ["2"])
    extra = directions(5, 2)
    gallery.add(OLD, ["6"], ["6"], extra[:1])
    gallery.add(NEW, ["7"], ["7"], extra[1:])
    gallery.facts.withdraw_all()
    assert gallery.cut_over().carried == 3
    assert gallery.encoders_in_use() == {NEW: 6, OLD: 2}
    mixed = np.concatenate([BY_NEW, extra])
    mixed[2] = BY_OLD[2]
    assert found(gallery, NEW, mixed) == [*IDS, "6", "7"]
    assert filled(gallery, NEW, Given(np.concatenate([BY_NEW, extra]))) == (2, [])
    assert gallery.describe().entries == {NEW: 8}


def test_entries_that_no_query_fits_together_with_the_new_ones_stop_a_cut_over(gallery):
    filled(gallery, NEW, Given(BY_NEW, missing=("2",)))
    with pytest.raises(InputError, match=r"no report says that new .* goes with them"):
        gallery.cut_over()
    assert not gallery.facts.state().next
    assert found(gallery, OLD, BY_OLD) == IDS


def test_a_field_of_other_dimensions_has_to_be_whole(gallery):
    wide = directions(3, dims=WIDE.dims)
    filled(gallery, WIDE, Given(wide, missing=("2",)))
    with pytest.raises(InputError, match="1 entries are not embedded by wide"):
        gallery.cut_over()
    assert filled(gallery, WIDE, Given(wide)) == (1, [])
    assert gallery.cut_over().carried == 0
    assert found(gallery, WIDE, wide) == IDS
    assert found(gallery, OLD, BY_OLD) == IDS
    gallery.add(WIDE, ["6"], ["6"], directions(4, 1, WIDE.dims))
    with pytest.raises(InputError, match="holds entries of wide"):  # the old field lacks one
        gallery.search(OLD.fingerprint, BY_OLD, 3)
    with pytest.raises(InputError, match="1 entries are not embedded by old"):
        gallery.restore()
    assert found(gallery, WIDE, wide) == IDS


@pytest.mark.parametrize("when", ["before the entries are copied", "after it", "as it is written"])
def test_an_add_at_the_moment_of_a_cut_over_is_not_lost(gallery, opened, monkeypatch, when):
    gallery.declare(FITS)
    filled(gallery, NEW, Given(BY_NEW))
    writer, extra = opened(), directions(5, 1)
    carry, write = milvus_beside.carry, Filling.write

    def add() -> None:
        assert writer.add(OLD, ["6"], ["6"], extra) == 1

    def carry_and_add(*given):
        if when.startswith("before"):
            add()
        count = carry(*given)
        if when.startswith("after"):
            add()
        return count

    def cut_over_and_write(filling, rows):
        monkeypatch.setattr(Filling, "write", write)
        gallery.cut_over()
        write(filling, rows)

    monkeypatch.setattr(milvus_beside, "carry", carry_and_add)
    if when.startswith("as"):
        monkeypatch.setattr(Filling, "write", cut_over_and_write)
        add()
    else:
        gallery.cut_over()
    gallery.refresh()
    assert gallery.encoders_in_use() == {NEW: 6, OLD: 1}
    assert found(gallery, NEW, np.concatenate([BY_NEW, extra])) == [*IDS, "6"]


def test_what_is_removed_is_in_no_field(gallery, opened):
    filled(gallery, NEW, Given(BY_NEW))
    assert gallery.remove(ids=["1"], labels=["3"]).entries == 2
    beside = gallery.to_backfill(NEW)
    # By a backfill that has read them before they were removed.
    assert beside.replace(NEW, ["1", "2"], ["1", "2"], BY_NEW[1:3]) == 1
    gallery.cut_over()
    assert found(gallery, NEW, BY_NEW) == ["0", "none alike", "2", "none alike", "4", "5"]
    assert gallery.restore() == 4
    assert found(gallery, OLD, BY_OLD) == ["0", "none alike", "2", "none alike", "4", "5"]


def test_what_is_removed_as_it_is_written_beside_is_taken_back(gallery, opened, monkeypatch):
    beside, other, write = gallery.to_backfill(NEW), opened(), Filling.write
    beside.begin_writing(NEW)

    def remove_and_write(filling, rows):
        assert other.remove(ids=["1"]).entries == 1
        write(filling, rows)

    monkeypatch.setattr(Filling, "write", remove_and_write)
    assert beside.replace(NEW, ["0", "1"], ["0", "1"], BY_NEW[:2]) == 1
    assert gallery.store.field(beside.collection).there(["0", "1"]) == {"0"}


@pytest.mark.parametrize("there", [0, 1])
def test_two_who_fill_a_gallery_at_once_leave_each_id_once(opened, monkeypatch, there):
    first, second, write = opened(), opened(), Filling.write
    if there:
        first.add(OLD, IDS[:there], IDS[:there], BY_OLD[:there])
    counts: list[int] = []

    def write_after_another(filling: Filling, rows: list) -> None:
        monkeypatch.setattr(Filling, "write", write)
        assert filling.is_alone
        counts.append(second.add(OLD, IDS[:3], IDS[:3], BY_OLD[:3]))
        write(filling, rows)
        assert not filling.is_alone  # and has upserted them

    monkeypatch.setattr(Filling, "write", write_after_another)
    first.add(OLD, IDS, IDS, BY_OLD)
    assert counts == [3 - there]
    assert first.live.count() == len(IDS) == len(list(first.live.entries()))
    assert found(first, OLD, BY_OLD) == IDS


def test_a_first_fill_inserts_and_what_comes_later_does_not(opened, monkeypatch):
    calls: list[str] = []

    def counted(name: str, call: Callable) -> Callable:
        def wrapper(collection, *given, **named):
            if not collection.endswith("_encoders"):
                calls.append(name)
            return call(collection, *given, **named)

        return wrapper

    for number, expected in enumerate((["insert", "insert"], ["upsert"])):
        gallery, some = opened(), slice(3 * number, 3 * number + 3)
        client = gallery.client.client
        for name in ("insert", "upsert"):
            monkeypatch.setattr(client, name, counted(name, getattr(client, name)))
        gallery.add(OLD, IDS[some], IDS[some], BY_OLD[some])
        if not number:
            gallery.add(OLD, ["9"], ["9"], BY_OLD[:1])
        gallery.close()
        assert calls == expected
        calls.clear()


def test_a_cut_over_that_was_killed_is_taken_back_or_done_again(gallery):
    filled(gallery, NEW, Given(BY_NEW))
    state = gallery.facts.state()
    target = gallery.facts.gallery + "_" + NEW.fingerprint[:12]
    gallery.facts.set_state(milvus_beside.State(state.live, next=target))
    gallery.declare(FITS)
    gallery.add(OLD, ["6"], ["6"], directions(5, 1))  # which goes to both fields
    gallery.facts.withdraw_all()
    assert gallery.restore() == 0
    assert not gallery.facts.state().next
    assert gallery.cut_over().carried == 0
    assert gallery.encoders_in_use() == {NEW: 6, OLD: 1}


def test_a_gallery_that_was_made_before_fields_were_noted_is_switched_as_well(gallery, opened):
    gallery.facts.drop(["field:", f"in::{OLD.fingerprint}"])
    older, extra = opened(), directions(5, 1)
    older.declare(FITS)
    assert older.add(NEW, ["6"], ["6"], extra) == 1
    older.facts.withdraw_all()
    assert older.describe().entries == {OLD: 6, NEW: 1}
    assert filled(older, NEW, Given(np.concatenate([BY_NEW, extra]))) == (6, [])  # and one copied
    assert older.cut_over().carried == 0
    assert older.describe().entries == {NEW: 7}
    assert older.restore() == 7
    assert older.describe().entries == {OLD: 6, NEW: 1}


def test_a_move_gives_a_field_of_its_own_and_the_way_back(gallery):
    fits_moved = Compatibility(
        NEW.fingerprint, MOVED.fingerprint, "", "compatible", by=BY_EMBEDDING
    )
    gallery.declare(fits_moved)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((DIMS, DIMS)))[0]
    moved = (BY_OLD @ turn).astype(np.float32)
    assert sum(gallery.move(OLD, MOVED, lambda units: units @ turn)) == len(IDS)
    assert sum(gallery.move(OLD, MOVED, lambda units: units @ turn)) == 0
    assert gallery.describe().entries == {MOVED: len(IDS)}
    assert found(gallery, NEW, moved) == IDS
    assert found(gallery, OLD, BY_OLD) == IDS
    assert gallery.restore() == len(IDS)
    assert found(gallery, OLD, BY_OLD) == IDS
    assert sum(gallery.move(OLD, MOVED, lambda units: units @ turn)) == 0  # the field is there yet
    forgotten = gallery.forget_originals()
    assert forgotten.entries == len(IDS)
    assert found(gallery, NEW, moved) == IDS
    with pytest.raises(InputError, match="holds entries of moved"):
        gallery.search(OLD.fingerprint, BY_OLD, 3)
    assert gallery.restore() == 0


def test_the_commands_fill_beside_switch_and_switch_back(address, tmp_path):
    for name, embeddings in (("old", BY_OLD), ("new", BY_NEW)):
        np.savez(tmp_path / f"{name}.npz", embeddings=embeddings, ids=np.array(IDS))
    spec, said = f"milvus({address}, collection=commands)", []
    run.add(spec, encoder=tmp_path / "old.npz", say=said.append)
    with pytest.raises(InputError, match="no embeddings of another encoder beside"):
        run.cut_over(spec)
    run.backfill(spec, encoder=tmp_path / "new.npz", say=said.append)
    assert "beside those that are searched until gallery cut-over" in said[-1]
    assert run.cut_over(spec, encoder=tmp_path / "new.npz", say=said.append).entries == len(IDS)
    assert "6 entries are searched by the embeddings of" in said[-1]
    [best] = run.search(spec, encoder=tmp_path / "new.npz", ids=["4"])
    assert best.matches[0].id == "4"
    assert run.restore(spec, say=said.append) == len(IDS)
    assert "6 entries have their original vectors again" in said[-1]
    with pytest.raises(InputError, match="nothing to cut over"):
        run.cut_over(f"file({tmp_path}/people.gallery)")
