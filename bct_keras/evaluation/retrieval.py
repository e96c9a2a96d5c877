"""Each identity's images divided into gallery and query."""

import numpy as np

from bct_keras.data import dataset
from bct_keras.data.embeddings import normalised
from bct_keras.data.splits import order_within_identity
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError
from bct_keras.evaluation.verification import Embedded, search

FARS = (1e-2, 1e-3, 1e-4)
RANKS = (1, 5)


class Retrieval:
    """The first half of an identity's images, by their ids, is the gallery and the others are queries."""

    def __init__(self, data: str):
        self.data = dataset.open_data_set(data)
        self.data.check_content()

    def embed(self, encoder: Encoder) -> tuple[Embedded, Embedded]:
        """The queries and the gallery, as this encoder sees them."""
        embeddings, labels, ids = [], [], []
        for batch_embeddings, batch in encoder.embed_data(self.data):
            embeddings.append(batch_embeddings)
            labels.append(batch["label"].numpy())
            ids += dataset.ids_of(batch)
        by_id = np.argsort(ids, kind="stable")
        embeddings, labels = normalised(np.concatenate(embeddings))[by_id], np.concatenate(labels)[by_id]
        images = np.bincount(labels)
        in_gallery = order_within_identity(labels, images) < (images[labels] + 1) // 2
        if in_gallery.all():
            raise InputError(f"{self.data.folder}: every identity has one image; a query needs a second one")
        query = Embedded(embeddings[~in_gallery], labels[~in_gallery])
        return query, Embedded(embeddings[in_gallery], labels[in_gallery])

    def measure(self, query: Embedded, gallery: Embedded) -> dict[str, float]:
        return search(query, gallery, FARS, RANKS)

    def made_from(self) -> dict[str, str]:
        return {"data": self.data.fingerprint}
