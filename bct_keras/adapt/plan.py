"""What an adaptation is asked for."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from bct_keras import adapters
from bct_keras.adapters.pairs import DIRECTIONS, GALLERY, QUERY
from bct_keras.encoders import Encoder
from bct_keras.errors import InputError, option

NO_ADAPTER = "none"
KINDS = (*adapters.ADAPTERS, NO_ADAPTER)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that decides which adapter comes out; the names are those of the command's options."""

    data: str | None = None
    direction: str = QUERY
    kind: str = "residual"
    fuse: bool = False
    weigh_on: tuple[str, ...] = ()
    pairs: int = 8000
    seed: int = 0

    def __post_init__(self):
        if self.direction not in DIRECTIONS:
            known = " or ".join(DIRECTIONS)
            raise InputError(f"{option('direction', self.direction)} is none: {known}")
        if self.kind not in KINDS:
            raise InputError(f"{option('kind', self.kind)} is none of {', '.join(KINDS)}")
        if self.pairs < 2:
            raise InputError(f"{option('pairs', self.pairs)}: two pairs are the fewest")
        if self.fuse and self.direction == GALLERY:
            raise InputError(
                f"{option('fuse', True)} is for queries; an entry of a gallery that is moved has"
                " one embedding"
            )
        if self.kind == NO_ADAPTER and not self.fuse:
            raise InputError(
                f"{option('kind', NO_ADAPTER)} fits nothing: it goes with {option('fuse', True)},"
                " for a new encoder that was trained to be compatible"
            )
        if self.weigh_on and not self.fuse:
            raise InputError(f"{option('weigh_on')} goes with {option('fuse', True)}")
        if self.weigh_on and not self.data:
            raise InputError(f"{option('weigh_on')} goes with {option('data')}: it has images")

    def options(self) -> dict[str, str | list[str] | bool]:
        """Returns the options of the command that are not its defaults."""
        default = Plan()
        found: dict[str, str | list[str] | bool] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value == getattr(default, field.name):
                continue
            if isinstance(value, tuple):
                found[field.name] = list(value)
            else:
                found[field.name] = value if isinstance(value, bool) else str(value)
        return found

    def made_from(self, new: Encoder, old: Encoder) -> dict[str, Any]:
        """Returns what decides the adapter, besides the items, for the manifest.

        `source` is the encoder whose embeddings it takes, and `target` the one whose it gives.
        """
        source, target = (new, old) if self.direction == QUERY else (old, new)
        found = asdict(self)
        del found["data"]  # its content counts, not its place
        found["weigh_on"] = list(self.weigh_on)
        return found | {"source": source.fingerprint, "target": target.fingerprint}
