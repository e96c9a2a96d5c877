"""Shows what both encoders look at: why two images match, and where the upgrade goes wrong.

bct explain --new=runs/mixbct --old=runs/old --images=data/demo/test \\
    --out=reports/look

--images is a data set, or a folder with one sub-folder of images per identity. Half of each
identity's images are the gallery, embedded by the old encoder, and the others are queries, as in
evaluate's retrieval. Queries that the upgrade gets wrong come first (negative flips), then those
that it mends: each with the image it should find and the one it is taken for, their cosines, and
heat maps of both encoders: Grad-CAM++, Score-CAM and Saliency of Keras encoders, and of any encoder
what covering a part of the image costs. PCA and t-SNE show where both put the same images.

Writes explain.html, explain.json and the two plots as PNG to --out. Needs pip install -e
'.[explain]'.
"""

from pathlib import Path

from absl import flags

from bct_keras import command, stores
from bct_keras.progress import Outcome

GROUPS = {"What is shown": ("new", "old", "images", "out")}


def define_flags() -> None:
    flags.DEFINE_string(
        "new",
        None,
        "the new encoder: a run's folder, a .keras, .tflite or .onnx file or a SavedModel",
    )
    flags.DEFINE_string("old", None, "the old encoder, likewise")
    flags.DEFINE_string(
        "images", None, "a data set, or a folder with one sub-folder of images per identity"
    )
    flags.DEFINE_string(
        "out", None, "the folder to make; embeddings are kept beside it, in `embeddings`"
    )


def main() -> None:
    command.loading()
    from bct_keras.encoders import load_encoder
    from bct_keras.explain.run import as_text, check_installed, explain

    out = stores.place(command.required("out"))
    images = Path(command.required("images"))
    new_path = command.required("new")
    old_path = command.required("old")
    check_installed()
    old = load_encoder(old_path)
    new = load_encoder(new_path)
    found = explain(old, new, images, out)
    command.finish(Outcome(f"{as_text(found)}\npage: {out / 'explain.html'}", {}))


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "", GROUPS)
