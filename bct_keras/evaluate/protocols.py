"""The protocols that measure encoders, by name.

A protocol says how to measure. A new one is a class in a file here and a line below.
"""

from collections.abc import Iterable

from bct_keras.evaluate.embedding_cache import EmbeddingCache
from bct_keras.evaluate.ijb.protocol import IJBB, IJBC
from bct_keras.evaluate.listed import listed
from bct_keras.evaluate.pairs.protocol import LFW, Pairs
from bct_keras.evaluate.protocol import Protocol, adopted
from bct_keras.evaluate.retrieval import Retrieval
from bct_keras.specs import build

PROTOCOLS = {
    "ijbb": IJBB,
    "ijbc": IJBC,
    "lfw": LFW,
    "listed": listed,
    "pairs": Pairs,
    "retrieval": Retrieval,
}


def build_protocols(
    specs: Iterable[str], cache: EmbeddingCache | None = None, on_bad: str = "fail"
) -> dict[str, Protocol]:
    """Builds each protocol that is named, once.

    Args:
        specs: Names with their options, as in `retrieval(data/demo/test)`.
        cache: Keeps embeddings for all that measure by these protocols; without it every `embed`
            embeds anew.
        on_bad: What to do with an image that cannot be used, `fail` or `skip`.

    Returns:
        The protocols by their spec, in the order given.
    """
    protocols = {}
    for spec in specs:
        protocols[spec] = adopted(build(PROTOCOLS, spec, cache=cache, on_bad=on_bad))
    return protocols
