"""Whether a data set is large enough for a network to be trained on it from nothing.

The demo's 10,080 images of 1,008 identities are enough for a small network. 576 photos of 48
identities are not: no method came near the old encoder, in 7 epochs or in 30.
"""

FEW_IMAGES = 3000
FEW_IDENTITIES = 200


def is_small(images: int, identities: int) -> bool:
    """Tells whether a network that starts from random weights cannot learn enough from these."""
    return images < FEW_IMAGES or identities < FEW_IDENTITIES


def too_few(images: int, identities: int) -> str:
    """Returns what is to be known of a small data set, in a sentence."""
    return (
        f"{images:,} images of {identities:,} identities are too few to train a network from "
        "random weights, which takes thousands of images of hundreds of identities"
    )
