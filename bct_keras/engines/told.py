"""How far a job on a cluster is: a bar on a terminal, and a line a minute in a log."""

import time
from types import TracebackType

from bct_keras import progress

SECONDS_BETWEEN_LINES = 60.0


class Told:
    """Counts what is done, and shows it with the rate and the time left."""

    def __init__(self, what: str, total: int):
        self.what = what
        self.total = total
        self.done = 0
        self.lost = 0  # processes that died
        self.begun = time.monotonic()
        self.shown = self.begun
        self.said: set[str] = set()

    def __enter__(self) -> "Told":
        self.bar = progress.bar(self.what, self.total).__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.__exit__(kind, error, trace)

    def seconds(self) -> float:
        """Returns how long the job runs."""
        return time.monotonic() - self.begun

    def update(self, count: int) -> None:
        """Counts what is done."""
        self.done += count
        self.bar.update(count)

    def once(self, text: str) -> None:
        """Says something that is worth saying once."""
        if text not in self.said:
            self.said.add(text)
            progress.note(text)

    def show(self) -> None:
        """Says how far the job is, where no bar shows it and a minute has passed."""
        now = time.monotonic()
        if self.bar.disable and now - self.shown >= SECONDS_BETWEEN_LINES:
            self.shown = now
            progress.note(self.line(now - self.begun))

    def line(self, seconds: float) -> str:
        """Returns how far the job is after so many seconds."""
        text = f"{self.what}: {self.done:,} of {self.total:,} images"
        if self.done:
            rate = self.done / seconds
            left = round((self.total - self.done) / rate)
            hours, rest = divmod(left, 3600)
            text += f", {rate:,.0f} a second, {hours}:{rest // 60:02d}:{rest % 60:02d} left"
        if self.lost:
            text += f"; {self.lost} processes died, and others do their pieces"
        return text
