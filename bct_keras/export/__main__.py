"""Writes an encoder for servers and devices, and lets out only files as good as itself.

bct export --encoder=runs/mixbct --old=runs/old --calibration=data/demo/new \\
    --protocol='retrieval(data/demo/test)' --out=exported

saved_model     for TF Serving: serving_default takes encoded images of any
                size, pixels uint8, float float32
tflite          encoder.tflite in float32, one image of pixels of 0..255 as
                uint8 in; so do the last three
tflite_batch    encoder_batch.tflite, the same for any number of images at a
                time, as a server wants it; only where --formats names it
tflite_fp16     half the size
tflite_dynamic  a quarter of the size: weights in int8
tflite_int8     a quarter of the size: weights and activations in int8; needs
                --calibration

All give embeddings of length 1. Of an encoder with two of them, trained by two_outputs or made by
`adapt`, each file has both: embedding for new entries, embedding_compatible for queries in the old
gallery. Each file is run in its own run time on every --protocol: alone, in
the old encoder's gallery, and against each other file. One that is not compatible, or loses more
than --max_loss of what the encoder finds in the old gallery (without --old: in its own), is
refused: the others are written, and the exit status is 1. A loss counts where all of its 95 %
interval is above --max_loss, or where it is above twice as much; one that may be chance is told in
the card. MODEL_CARD.md and gate.json hold the numbers.
"""

import dataclasses
from typing import TYPE_CHECKING

from absl import flags

from bct_keras import command, stores
from bct_keras.command import choices
from bct_keras.evaluate.__main__ import define_verdict_flags, rule_of_flags

if TYPE_CHECKING:
    from bct_keras.export.checks import Checks

GROUPS = {
    "What matters most": ("encoder", "old", "protocol", "out", "formats"),
    "What is written": ("calibration", "flip_and_add", "data_licence"),
    "What may leave": ("max_loss", "allow_loss", "strict", "decide_by", "margin"),
}


def define_flags() -> None:
    flags.DEFINE_string("encoder", None, "a run's folder, one of `adapt`, or a .keras file")
    flags.DEFINE_string(
        "old", None, "the encoder whose gallery the files are to search; none is self-tests alone"
    )
    flags.DEFINE_list(
        "formats",
        None,
        f"what to write, of {', '.join(choices.FORMATS)}; all but tflite_batch that "
        "--calibration, or its absence, allows if not given",
    )
    flags.DEFINE_string(
        "calibration", None, "the data set that tells tflite_int8 its ranges, such as data/mine/new"
    )
    flags.DEFINE_multi_string(
        "protocol", None, "what to evaluate on, as in retrieval(data/demo/test)"
    )
    flags.DEFINE_string("out", None, "the folder to make")
    define_gate_flags()


def define_gate_flags() -> None:
    """Defines the flags of what decides whether a file may leave, which `train` has too."""
    flags.DEFINE_bool(
        "flip_and_add", False, "export an encoder that adds the embedding of the mirrored image"
    )
    flags.DEFINE_float(
        "max_loss",
        0.01,
        "the share of a cross-test that an exported file may lose; up to twice as much is let out, "
        "and told in the card, where it may be chance that it is more",
        lower_bound=0.0,
    )
    flags.DEFINE_bool(
        "allow_loss",
        False,
        "export what is not compatible or loses more, with the numbers in its card",
    )
    flags.DEFINE_bool(
        "strict", False, "export nothing where these identities are too few to tell (undecided)"
    )
    define_verdict_flags()
    flags.DEFINE_string("data_licence", "", "the licence of the training data, for the model card")


def checks_of_flags() -> "Checks":
    """Returns what the flags say of what decides whether a file may leave.

    What is measured, and against which old encoder, is added later.
    """
    from bct_keras.export.checks import Checks

    FLAGS = flags.FLAGS
    return Checks(
        max_loss=FLAGS.max_loss,
        allow_loss=FLAGS.allow_loss,
        rule=rule_of_flags(),
        strict=FLAGS.strict,
    )


def main() -> None:
    command.loading()
    from bct_keras.data.dataset import open_data_set
    from bct_keras.encoders import load_encoder
    from bct_keras.export.formats import possible_formats
    from bct_keras.export.formats.format import Source
    from bct_keras.export.run import export, keras_encoder, outcome

    FLAGS = flags.FLAGS
    out = stores.place(command.required("out"))
    calibration = None
    if FLAGS.calibration:
        calibration = open_data_set(FLAGS.calibration)
    encoder = keras_encoder(command.required("encoder"))
    source = Source(encoder, flip=FLAGS.flip_and_add, calibration=calibration)
    checks = dataclasses.replace(
        checks_of_flags(),
        protocols=tuple(FLAGS.protocol or ()),
        old=load_encoder(FLAGS.old) if FLAGS.old else None,
    )
    formats = FLAGS.formats or possible_formats(source)
    exported = export(source, formats, out, checks, FLAGS.data_licence)
    command.finish(outcome(exported, out, FLAGS.old, checks.protocols))
    refusal = exported.refusal()
    if refusal:
        raise refusal


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "", GROUPS, as_json=True)
