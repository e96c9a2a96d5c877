"""The groups in which `--help` lists the flags of a training."""

# What a training of one's own needs comes first.
GROUPS = {
    "What matters most": ("data", "old", "workdir", "method", "dims"),
    "What is trained": ("backbone", "head", "compatible_dims"),
    "Start from a network that is trained": ("start", "frozen_epochs", "start_rate"),
    "How it is trained": (
        "epochs",
        "batch_size",
        "batch",
        "augment",
        "optimizer",
        "learning_rate",
        "schedule",
        "clip_norm",
        "mirror",
        "average",
        "seed",
    ),
    "The data set, where --data is not given": (
        "source",
        "split",
        "prepared",
        "scenario",
        "on_bad",
    ),
    "The old encoder, where neither --data nor --old is given": ("old_flagfile", "old_workdir"),
    "Devices, speed and memory": (
        "strategy",
        "replicas",
        "precision",
        "micro_batches",
        "synchronized",
        "dry_run",
    ),
    "Meanwhile": (
        "validation",
        "keep_best",
        "checkpoint_steps",
        "checkpoints_kept",
        "on_nan",
        "nan_limit",
    ),
    "How it is judged": ("protocol", "decide_by", "margin"),
    "What is exported": (
        "formats",
        "flip_and_add",
        "max_loss",
        "allow_loss",
        "strict",
        "data_licence",
    ),
}
