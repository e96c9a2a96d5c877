"""Trains an encoder whose queries can be searched in an old one's gallery, and shows that they can.

bct train --flagfile=configs/mixbct.flags
bct train --flagfile=configs/mixbct.flags --data=data/mine/all --old=old.keras \\
    --dims=64 --workdir=runs/mine

Without --data the data set is made from --source and --split, and without --old the old encoder is
trained on its part of it by --old_flagfile. Then: embed the data with the old encoder, train,
evaluate on identities that no encoder saw, export. What is done already is not done again; a run
that was killed goes on where it was. Your own: --data (or --source and --prepared), --old, --dims
(the old encoder's), --workdir; then what is trained, by --method, --backbone, --epochs,
--batch_size. All others have a default, or stand in the flag files in configs/. --dry_run checks
the files, and tells what would be trained, in how many steps, and the memory that each device
needs. SIGTERM and SIGINT leave a checkpoint and exit with status 75: start the same command again.
"""

import dataclasses
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from absl import flags

from bct_keras import command
from bct_keras.command import choices
from bct_keras.export.__main__ import checks_of_flags, define_gate_flags
from bct_keras.train import at_once
from bct_keras.train.flag_groups import GROUPS

if TYPE_CHECKING:
    from bct_keras.train.plan import Plan


def main() -> None:
    """Trains, or tells what would be trained."""
    if not flags.FLAGS.dry_run:  # which tells all that is missing
        command.required("workdir")
        at_once.check(flags.FLAGS.data, flags.FLAGS.source)
    command.loading()
    from bct_keras.callbacks import checkpoints
    from bct_keras.distribution.strategy import strategy
    from bct_keras.train import dry_run
    from bct_keras.train.run import Upgrade

    plan = plan_of_flags()
    if flags.FLAGS.dry_run:
        dry_run.DryRun(plan, command.say, command.finish).run()
        return
    devices = strategy(plan.strategy, plan.replicas)
    try:
        Upgrade(plan, command.say, devices, command.finish).run()
    except checkpoints.StoppedError as stopped:
        if stopped.args:
            print(stopped)
        sys.exit(checkpoints.RESUME_STATUS)


def plan_of_flags() -> "Plan":
    """Returns what the flags ask for."""
    from bct_keras.train.plan import Plan
    from bct_keras.train.recipe import Recipe

    made_here = {
        "recipe": Recipe(**flags_of(Recipe)),
        "checks": checks_of_flags(),
        "flags": command.flags_again(),
    }
    return Plan(**made_here, **flags_of(Plan, but=made_here))


def flags_of(kind: Any, but: Collection[str] = ()) -> dict[str, Any]:
    """Returns the values of the flags that have the names of a data class's fields.

    Args:
        kind: The data class.
        but: Fields that are no flags.
    """
    values = {}
    for field in dataclasses.fields(kind):
        if field.name not in but:
            values[field.name] = getattr(flags.FLAGS, field.name)
    return values


def define_flags() -> None:
    """Defines the flags of this command."""
    define_data_flags()
    define_training_flags()
    define_device_flags()
    define_watch_flags()
    flags.DEFINE_list(
        "formats",
        ["saved_model", "tflite"],
        f"what to export, of {', '.join(choices.FORMATS)}; or none",
    )
    flags.DEFINE_multi_string(
        "protocol", None, "how to evaluate; by default retrieval on the split's test view; or none"
    )
    define_gate_flags()
    flags.DEFINE_bool(
        "dry_run",
        False,
        "train nothing: check the files, and tell the memory per device and the steps",
    )


def define_data_flags() -> None:
    """Defines the flags of the data set and the old encoder."""
    flags.DEFINE_string("data", None, "the data set to train on, such as data/mine/new")
    flags.DEFINE_string(
        "old",
        None,
        "the old encoder (a run's folder, .keras, SavedModel, .tflite, .onnx; with its "
        "preprocessing where it does not take pixels of 0 to 255, as in tflite(old.tflite, "
        "mean=127.5, std=128, order=bgr)), or its embeddings: a .npz file with `embeddings` and "
        "`ids`, or a folder made by embed",
    )
    flags.DEFINE_string(
        "workdir", None, "the run's folder: encoder.keras, checkpoints, report, exported files"
    )
    flags.DEFINE_string("source", None, "where images come from, as for prepare")
    flags.DEFINE_string("split", "class(test_share=0.2)", "how they are divided, as for prepare")
    flags.DEFINE_string("prepared", "data/demo", "the folder for the data set made from --source")
    flags.DEFINE_enum(
        "on_bad", "fail", ["fail", "skip"], "at an image of --source that cannot be used"
    )
    flags.DEFINE_enum(
        "scenario",
        "open",
        choices.SCENARIOS,
        "train on the part the old encoder did not see, or on all",
    )
    flags.DEFINE_string(
        "old_flagfile",
        "configs/old.flags",
        "how to train the old encoder",
    )
    flags.DEFINE_string("old_workdir", "runs/old", "the old encoder's run")


def define_training_flags() -> None:
    """Defines the flags of what is trained, and how."""
    flags.DEFINE_string(
        "method",
        "mixbct",
        "what keeps the new embedding compatible, such as mixbct(mix_ratio=0.3): "
        f"{', '.join(choices.METHODS)}, or a class of your own, "
        "my_package.my_method:MyMethod(x=1); bct_keras/methods/README.md tells which is which",
    )
    flags.DEFINE_string(
        "head",
        "arcface",
        f"the training loss, such as arcface(margin=0.5, scale=64): {', '.join(choices.HEADS)}",
    )
    flags.DEFINE_string(
        "backbone",
        "iresnet50",
        "the network, such as iresnet50(dropout=0.4) or applications(name=MobileNetV2): "
        f"{', '.join(choices.BACKBONES)}",
    )
    define_start_flags()
    flags.DEFINE_integer(
        "dims", 512, "dimensions of the embedding; those of the old encoder", lower_bound=2
    )
    flags.DEFINE_integer(
        "compatible_dims",
        0,
        "of an embedding wider than the old one: so many first coordinates search the old gallery; "
        "of two_outputs it is the second output, as wide as may be; 0 is all",
        lower_bound=0,
    )
    flags.DEFINE_string(
        "optimizer", "sgd", "sgd(momentum=0.9, l2=0.0005), sgdw, adamw(weight_decay=0.01) or lamb"
    )
    flags.DEFINE_string(
        "schedule",
        "polynomial(power=2)",
        "polynomial(power=1), cosine or step(epochs=(20, 26), factor=0.1); each has warm_up=EPOCHS",
    )
    flags.DEFINE_float("learning_rate", 0.1, "the first learning rate", lower_bound=0.0)
    flags.DEFINE_float(
        "clip_norm",
        0.0,
        "the longest gradient of backbone and method, over all replicas; 0 is no limit",
        lower_bound=0.0,
    )
    flags.DEFINE_integer("batch_size", 128, "images in a step, over all replicas", lower_bound=1)
    flags.DEFINE_integer("epochs", 35, "times through the data", lower_bound=1)
    flags.DEFINE_string(
        "batch",
        "random",
        "random, or classes(16, images=4): so many identities with so many images of each",
    )
    flags.DEFINE_string(
        "augment",
        "flip",
        "what changes the images that the new encoder sees: flip, crop(scale=0.8), "
        "colour(brightness=0.2), a Keras layer of your own as my_module:MyLayer(x=1); or none",
    )
    flags.DEFINE_bool(
        "mirror",
        True,
        "--nomirror: no flip, whatever --augment says; for letters and others that have a side",
    )
    flags.DEFINE_integer(
        "seed", 0, "of all that is random in the training; the data are the same", lower_bound=0
    )


def define_start_flags() -> None:
    """Defines the flags of a network that was trained before."""
    flags.DEFINE_string(
        "start",
        "",
        "start from these weights, and not from random ones: a run's folder, a .keras file of any "
        "functional model, with what it takes where it does not say so, as in keras(new.keras, "
        "mean=127.5, std=127.5, layer=avg_pool), or a .weights.h5 file for --backbone",
    )
    flags.DEFINE_integer(
        "frozen_epochs",
        0,
        "with --start: so many epochs what is taken from there stays as it is",
        lower_bound=0,
    )
    flags.DEFINE_float(
        "start_rate",
        0.1,
        "with --start: so much of the learning rate for what is taken from there",
        lower_bound=0.0,
        upper_bound=1.0,
    )


def define_device_flags() -> None:
    """Defines the flags of where it is trained."""
    flags.DEFINE_enum(
        "strategy",
        "auto",
        choices.STRATEGIES,
        "one device; mirrored: all of this machine; multiworker: those of all workers of TF_CONFIG",
    )
    flags.DEFINE_integer(
        "replicas",
        0,
        "devices of one machine: 0 is all GPUs or one CPU; without GPUs 2 is two parts of a CPU",
        lower_bound=0,
    )
    flags.DEFINE_enum(
        "precision",
        "float32",
        choices.PRECISIONS,
        "of the network; heads and methods stay in float32",
    )
    flags.DEFINE_bool(
        "synchronized", True, "BatchNorm over the rows of all replicas: they train as one does"
    )
    flags.DEFINE_integer(
        "micro_batches", 1, "pieces of a batch, one after the other: less memory", lower_bound=1
    )
    flags.DEFINE_float(
        "average",
        0.0,
        "keep an average of the weights as the encoder: how much of it stays at each step, as "
        "0.999; less in the first steps, (1 + t) / (10 + t) at step t",
    )


def define_watch_flags() -> None:
    """Defines the flags of what is kept and shown meanwhile."""
    flags.DEFINE_integer(
        "checkpoint_steps", 1000, "steps between checkpoints, besides those after every epoch"
    )
    flags.DEFINE_integer("checkpoints_kept", 2, "how many checkpoints are kept", lower_bound=1)
    flags.DEFINE_enum(
        "on_nan", "fail", ["fail", "skip"], "at a loss or a gradient that is no finite number"
    )
    flags.DEFINE_integer(
        "nan_limit",
        10,
        "steps that --on_nan=skip may drop in all, and never more than a tenth of them",
        lower_bound=0,
    )
    flags.DEFINE_multi_string(
        "validation", None, "measured after every epoch, as in retrieval(data/mine/validation)"
    )
    flags.DEFINE_string(
        "keep_best",
        "",
        "with --validation, of other identities than --protocol's: keep the epoch that is best by "
        "this, as in new/old TAR@FAR=1e-3",
    )


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "", GROUPS, as_json=True)
