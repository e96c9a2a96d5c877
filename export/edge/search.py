"""Finds the entries of a gallery that are most like a photo, on a device.

It needs neither TensorFlow nor bct_keras:

    pip install ai-edge-litert numkong numpy pillow
    python search.py --model=encoder.tflite --gallery=people.gallery --image=me.jpg --top=5

--only_label=NAME searches the entries of that name alone; it may be there several times.

The gallery is the very file that `python -m bct_keras.gallery` writes; numkong holds usearch's
kernels.

A model may give two embeddings of a photo. Entries that it made itself are searched by `embedding`,
and those of an older encoder by `embedding_compatible`. A gallery that holds both kinds is searched
on a server, which knows how their scores compare.
"""

import argparse
import sys

from encoder import Encoder
from gallery_search import Gallery


def main() -> None:
    """Prints what the flags ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="a .tflite file")
    parser.add_argument("--gallery", required=True, help="a gallery file")
    parser.add_argument("--image", required=True, help="a JPEG or PNG file")
    parser.add_argument("--top", type=int, default=5, help="how many entries to list")
    parser.add_argument(
        "--only_label",
        action="append",
        default=[],
        help="entries with this label are searched, and no others; repeat this option",
    )
    given = parser.parse_args()
    if given.top < 1:
        sys.exit(f"error: --top={given.top}: at least 1 is needed")
    try:
        gallery = Gallery(given.gallery)
        encoder = Encoder(given.model)
        gallery.check()
        embeddings = encoder.embed(given.image)
        query = gallery.query_of(encoder.fingerprint, embeddings)
        found = gallery.search(encoder.fingerprint, query, given.top, given.only_label)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
        sys.exit(f"error: {error}")
    searched = gallery.rows_of(given.only_label).sum()
    print(f"{given.image}, among {searched:,} entries:")
    for match in found:
        print(f"  {match.cosine:.4f}  {match.label}  {match.id}")


if __name__ == "__main__":
    main()
