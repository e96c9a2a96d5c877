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
    """Maps of the old and new embeddings of some identities."""

    def __init__(self, old: Embedded, new: Embedded, wanted: list[int], names: dict[int, str]):
        """Chooses the identities, as many as colours can be told apart.

        Args:
            old: The embeddings by the old encoder.
            new: Those of the same images by the new one.
            wanted: The identities to choose first; one may stand there twice.
            names: What each identity is called.
        """
        self.names = {}
        for identity in [*wanted, *names]:
            if len(self.names) < IDENTITIES:
                self.names[identity] = names[identity]
        rows = np.isin(old.labels, list(self.names))
        self.labels = old.labels[rows]
        self.embeddings = {
            "old": old.embeddings[rows],
            "new": new.embeddings[rows],
        }

    def plots(self) -> Iterator[Drawing]:
        """Yields a plot by each projection.

        Both encoders are projected together, as they share one space.
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

        Args:
            axes: Where to draw.
            name: The projection's name.
            places: Where the rows lie [rows, 2], by encoder.
        """
        for number, (identity, called) in enumerate(self.names.items()):
            colour = f"C{number}"
            rows = self.labels == identity
            middles = []
            for points in places.values():
                middles.append(points[rows].mean(0))
            x, y = np.stack(middles).T
            axes.plot(x, y, color=colour, linewidth=1, alpha=0.7)
            for encoder, points in places.items():
                label = called if encoder == "old" else None
                x, y = points[rows].T
                axes.scatter(
                    x,
                    y,
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
