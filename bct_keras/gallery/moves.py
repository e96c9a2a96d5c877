"""Moves or switches a gallery to a new encoder, takes that back, or makes it final."""

from collections.abc import Sequence
from pathlib import Path

from bct_keras import progress
from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError
from bct_keras.gallery.declaring import compatibilities, declare, open_gallery, read_reports
from bct_keras.gallery.facts import CutOver, LetGo
from bct_keras.gallery.moving import base_of, check_searched_by, move_entries, read_adapter
from bct_keras.printable import line


def move(
    gallery: str,
    adapter: str | Path,
    new: str | Path | None = None,
    reports: Sequence[str | Path] = (),
    max_loss: float | None = None,
    strict: bool = False,
    say: progress.Say = progress.silent,
) -> int:
    """Moves the entries of an old encoder by an adapter old -> new; returns how many.

    What is done already is not done again: a move that was stopped goes on.

    Args:
        gallery: Such as `file(people.gallery)`.
        adapter: The adapter's file, or the folder that `adapt` has made.
        new: The new encoder; its queries have to be known to fit entries that are moved.
        reports: Reports of `evaluate` with the row new/moved of this very adapter.
        max_loss: In place of the reports' verdict: the share of old/old that may be lost.
        strict: Whether a report whose verdict is undecided is refused.
        say: Takes lines on what is declared, and on what was done.
    """
    fitted = read_adapter(adapter)
    admissions = read_reports(reports, max_loss, strict)
    encoder = load_encoder(new) if new else None
    with open_gallery(gallery) as opened:
        opened.begin_moving()
        base = base_of(opened, fitted)
        moved = fitted.moved(base)
        to_come = compatibilities(admissions)
        if encoder:
            check_searched_by(encoder, moved, opened, to_come)
        opened.check_may_move(base, moved, to_come)
        declare(opened, admissions, say)
        count = move_entries(opened, base, fitted)
        say(
            f"{opened.name}: {count:,} entries moved to {moved}, safe and searchable; their "
            "original vectors are kept until forget-originals"
        )
    return count


def cut_over(
    gallery: str, encoder: str | Path | None = None, say: progress.Say = progress.silent
) -> CutOver:
    """Has the embeddings searched that a backfill has made beside those that are searched now.

    Args:
        gallery: Such as `milvus(http://host:19530)`.
        encoder: Which has made them; not needed where only one has.
        say: Takes a line on what was done.
    """
    fingerprint = load_encoder(encoder).fingerprint if encoder else ""
    with open_gallery(gallery) as opened:
        found = opened.cut_over(fingerprint)
    carried = (
        f"; {found.carried:,} of them it has not embedded, and they go on as they were"
        if found.carried
        else ""
    )
    say(
        f"{opened.name}: {found.entries:,} entries are searched by the embeddings of "
        f"{found.encoder}{carried}; those from before are kept until forget-originals"
    )
    return found


def restore(gallery: str, say: progress.Say = progress.silent) -> int:
    """Gives entries the vectors again that they had before a move or a cut-over.

    Returns how many.

    Args:
        gallery: Such as `file(people.gallery)`.
        say: Takes a line on what was done.
    """
    with open_gallery(gallery) as opened:
        count = opened.restore()
        left = [encoder for encoder in opened.encoders_in_use() if encoder.adapter]
        if count:
            say(f"{opened.name}: {count:,} entries have their original vectors again")
        elif not left:
            say(f"{opened.name}: no vectors from before are kept; nothing is changed")
        if left:
            raise InputError(
                line(
                    f"{opened.name} has no originals of its other moved entries, those of "
                    f"{left[0]}: they were forgotten"
                )
            )
    return count


def forget_originals(gallery: str, say: progress.Say = progress.silent) -> LetGo:
    """Lets go of the vectors that moved entries had before: no restore brings them back.

    Args:
        gallery: Such as `file(people.gallery)`.
        say: Takes a line on what was done.
    """
    with open_gallery(gallery) as opened:
        found = opened.forget_originals()
    say(f"{opened.name}: {found.entries:,} original vectors forgotten; {found.erased}")
    return found


def is_moved(gallery: str) -> bool:
    """Tells whether some entries of a gallery were moved."""
    with open_gallery(gallery) as opened:
        opened.refresh()
        return any(encoder.adapter for encoder in opened.encoders_in_use())
