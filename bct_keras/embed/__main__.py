"""Embeds a data set with any encoder: one embedding shard beside each image shard.

bct embed --encoder=runs/old --data=data/demo/new --out=data/demo/new-by-old

After a kill the same command goes on where it was. Where a scheduler starts the same command on
many machines, each does a --part.

bct embed --encoder=runs/new --data=data/sample --out=data/x --dry_run \\
    --images=1e8 --nodes=16

tells beforehand what that takes.
"""

from absl import flags

from bct_keras import command, specs, stores

GROUPS = {
    "What matters most": ("encoder", "data", "out", "engine", "part"),
    "What it would take": ("dry_run", "images", "nodes"),
}


def define_flags() -> None:
    """Defines the flags of this command."""
    flags.DEFINE_string(
        "encoder",
        None,
        "a run's folder, a .keras, .tflite or .onnx file, a SavedModel, a .npz file of stored "
        "embeddings, or one with its preprocessing, as in tflite(old.tflite, mean=127.5, std=128, "
        "order=bgr)",
    )
    flags.DEFINE_string("data", None, "the data set to embed")
    flags.DEFINE_string("out", None, "the folder to make")
    command.define_engine()
    flags.DEFINE_bool(
        "dry_run",
        False,
        "embed nothing: tell the hours, bytes, requests and memory, by the first images of --data",
    )
    flags.DEFINE_float(
        "images",
        0.0,
        "with --dry_run: so many images like those of --data, as in 1e9; 0 is just those",
        lower_bound=0.0,
    )
    flags.DEFINE_integer(
        "nodes", 1, "with --dry_run: so many machines like this one", lower_bound=1
    )


def main() -> None:
    """Embeds a data set."""
    command.loading()
    from bct_keras.data.dataset import open_data_set
    from bct_keras.embed.plan import plan
    from bct_keras.embed.run import embed_and_tell, outcome
    from bct_keras.encoders import load_encoder
    from bct_keras.engines import ENGINES, parse_part
    from bct_keras.progress import Outcome

    data = open_data_set(command.required("data"))
    encoder = load_encoder(command.required("encoder"))
    out = stores.place(command.required("out"))
    if flags.FLAGS.dry_run:
        found = plan(encoder, data, out, flags.FLAGS.images, flags.FLAGS.nodes)
        command.finish(Outcome("\n".join(found.lines()), found.facts()))
        return
    said = embed_and_tell(
        encoder,
        data,
        out,
        command.say,
        engine=specs.build(ENGINES, flags.FLAGS.engine),
        part=parse_part(flags.FLAGS.part),
    )
    command.finish(outcome(said, encoder, data, out))


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "", GROUPS, as_json=True)
