"""Draws what several benchmarks come to over their number of classes: gain and tax as curves.

bct benchmark.curves --report=benchmarks/scale/500-5/report \\
    --report=benchmarks/scale/2000-5/report --out=benchmarks/scale/curves

Each report is one point of the curves: the classes that its new encoders were trained on. Reports
of another number of epochs make curves of their own. Methods, old encoders and the scenario are
those that all reports share.

Leaves OUT with a PNG for each old encoder, curves.md with the same as tables and what changes
places, and curves.json.
"""

from pathlib import Path

from absl import flags

from bct_keras import command
from bct_keras.errors import InputError, option

GROUPS = {"What is drawn": ("report", "out", "metric", "without")}


def main() -> None:
    folders = [Path(text) for text in flags.FLAGS.report or ()]
    if len(folders) < 2:
        raise InputError(f"{option('report')} has to be given at least twice: a point for each")
    from bct_keras.benchmark.curves import page

    page.write(
        folders,
        out=Path(command.required("out")),
        metric=flags.FLAGS.metric,
        ignored=flags.FLAGS.without,
        say=command.say,
    )


def define_flags() -> None:
    flags.DEFINE_multi_string("report", None, "the report folder of a benchmark, for each point")
    flags.DEFINE_string("out", None, "the folder to write")
    flags.DEFINE_string("metric", "TAR@FAR=1e-3", "that of the curves")
    flags.DEFINE_string("without", "independent", "the method without constraint, left out")


if __name__ == "__main__":
    define_flags()
    command.run(main, __doc__ or "", GROUPS)
