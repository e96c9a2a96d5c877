"""Where a data set is made, and from what; and what is true of an image that is looked at."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bct_keras import specs
from bct_keras.data import image_check, image_header
from bct_keras.engines import RESULTS, Job, Piece, Worker
from bct_keras.errors import InputError, option
from bct_keras.prepare.sources import SOURCES
from bct_keras.prepare.sources.source import Source

RECORDS_PER_REPORT = 128
RECORDS_WORTH_A_PROCESS = 1024


@dataclass
class Look:
    """What is true of all images that were looked at."""

    same_size: bool = True  # they have the source's image size
    upright: bool = True  # none has an Exif orientation

    def add(self, other: "Look") -> None:
        """Adds what is true of others."""
        if not other.same_size:
            self.same_size = False
        if not other.upright:
            self.upright = False


@dataclass(frozen=True)
class Workplace:
    """Where a data set is made, and from what."""

    source: Source
    source_spec: str  # what opens the source
    source_fingerprint: str
    folder: Path  # the data set's, while it is made

    @property
    def opener(self) -> Callable[[], "Workplace"]:
        """Returns what opens the source again, perhaps on another machine."""
        return partial(reopened, self.source_spec, self.source_fingerprint, self.folder)

    def job(self, what: str, worker: Worker, pieces: list[Piece]) -> Job:
        """Returns a job of this place."""
        return Job(
            what=what,
            worker=worker,
            pieces=pieces,
            results=self.folder / RESULTS,
            worth_a_process=RECORDS_WORTH_A_PROCESS,
        )

    def inspect(self, image: bytes, name: str) -> Look:
        """Looks at an image; raises BadImageError where it cannot be used."""
        if self.source.decode_to_check:
            size = image_check.inspect(image, name)
        else:
            size = image_header.size_of(image, name)
        return Look(
            same_size=size.width == size.height == self.source.image_size,
            upright=image_header.orientation_of(image) == 1,
        )


def reopened(source_spec: str, source_fingerprint: str, folder: Path) -> Workplace:
    """Returns the place in another process; raises where other images are seen from there."""
    source: Source = specs.build(SOURCES, source_spec)
    if source.fingerprint() != source_fingerprint:
        raise InputError(
            f"{source_spec}: other images are found from another machine or process than where the "
            "command was started; give a place that all of them see alike"
        )
    return Workplace(source, source_spec, source_fingerprint, folder)


def unusable(reason: object) -> InputError:
    """Returns the error of an image that cannot be used, with what to do."""
    skip = option("on_bad", "skip")
    return InputError(reason, f"mend or remove it, or go on without such images by {skip}")
