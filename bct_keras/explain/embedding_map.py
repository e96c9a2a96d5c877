"""Old and new embeddings of the same images in two dimensions."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes

from bct_keras.metrics.verification import Embedded
from bct_keras.pages.plots import Drawing

IDENTITIES = 10  # as many as colours can be told apart
MARKERS = {"old": "o", "new": "x"}


def pca(both: np.ndarray) -> np.ndarray:
    """Returns the two principal components of embeddings [rows, dims] -> [rows, 2]."""
    from sklearn.decomposition import PCA

    return PCA(2, random_state=0).fit_transform(both)


def tsne(both: np.ndarray) -> np.ndarray:
    """Returns t-SNE's two dimensions of embeddings [rows, dims] -> [rows, 2].

    https://jmlr.org/papers/v9/vandermaaten08a.html
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(30.0, (len(both) - 1) / 3)
    # So few points are done by one thread ten times as fast as by two that wait for each other.
    with threadpool_limits(1):
        return TSNE(
            2, perplexity=perplexity, metric="cosine", init="pca", random_state=0
        ).fit_transform(both)


PROJECTIONS = {"PCA": pca, "t-SNE": tsne}


class Maps:
    """Of some identities, those `wanted` first; `names` has what each is called."""

    def __init__(self, old: Embedded, new: Embedded, wanted: list[int], names: dict[int, str]):
        chosen = list(dict.fromkeys([*wanted, *names]))[:IDENTITIES]
        rows = np.isin(old.labels, chosen)
        self.labels = old.labels[rows]
        self.names = {identity: names[identity] for identity in chosen}
        self.embeddings = {"old": old.embeddings[rows], "new": new.embeddings[rows]}

    def plots(self) -> Iterator[Drawing]:
        """Yields a plot by each projection; both encoders are projected together, as they share
        one space.
        """
        both = np.concatenate(list(self.embeddings.values()))
        for name, project in PROJECTIONS.items():
            old, new = np.split(project(both), 2)
            places = {"old": old, "new": new}
            yield Drawing(
                name=name.lower().replace("-", ""),
                caption=f"{name} of old and new embeddings of {len(self.names)} identities",
                draw=lambda axes, name=name, places=places: self.draw(axes, name, places),
            )

    def draw(self, axes: Axes, name: str, places: dict[str, np.ndarray]) -> None:
        """Draws a colour for each identity and a marker for each encoder.

        A line leads from the old middle to the new one.
        """
        for number, (identity, called) in enumerate(self.names.items()):
            colour, rows = f"C{number}", self.labels == identity
            middles = np.stack([points[rows].mean(0) for points in places.values()])
            axes.plot(*middles.T, color=colour, linewidth=1, alpha=0.7)
            for encoder, points in places.items():
                label = called if encoder == "old" else None
                axes.scatter(
                    *points[rows].T,
                    s=16,
                    color=colour,
                    marker=MARKERS[encoder],
                    linewidths=1,
                    label=label,
                )
        axes.set(xlabel=f"{name} 1", ylabel=f"{name} 2", xticks=[], yticks=[])
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)

    def nearness(self) -> dict[str, float]:
        """Returns the mean cosines of new embeddings to old ones."""
        # cos(new i, old i), and cos(new i, old j) over i, j of different identities
        scores = self.embeddings["new"] @ self.embeddings["old"].T
        others = self.labels[:, None] != self.labels
        return {
            "same image": float(scores.diagonal().mean()),
            "other identities": float(scores[others].mean()),
        }
