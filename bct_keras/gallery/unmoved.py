"""A gallery whose entries cannot be moved by an adapter yet."""

from collections.abc import Iterator

from bct_keras.errors import InputError
from bct_keras.gallery.facts import KnownEncoder, LetGo
from bct_keras.gallery.gallery import Gallery, Transform


class UnmovedGallery(Gallery):
    """Refuses to move entries, in a plain line."""

    def begin_moving(self) -> None:
        """Raises: nothing is written."""
        raise self._refusal()

    def _move(self, base: KnownEncoder, moved: KnownEncoder, transform: Transform) -> Iterator[int]:
        raise self._refusal()

    def _restore(self) -> int:
        raise self._refusal()

    def _forget_originals(self) -> LetGo:
        raise self._refusal()

    def _refusal(self) -> InputError:
        return InputError(f"{self.name}: a Milvus gallery cannot be moved yet; one in a file can")
