"""FORMAT.md says of the file what the code does; `layout.write_tables` writes its tables anew."""

from pathlib import Path

import numpy as np

from bct_keras.gallery import blocks, layout, vectors

PAGE = Path(layout.__file__).with_name("FORMAT.md")


def test_its_tables_are_those_of_the_code():
    assert layout.tables() == layout.tables_in(PAGE.read_text())


def test_heads_have_64_bytes_with_their_checksum():
    for head in (layout.HEADER, layout.COMMIT, layout.BLOCK):
        assert head.struct.size + layout.CHECKSUM.size == layout.HEAD_BYTES
        assert len(blocks.sealed(bytes(head.struct.size))) == layout.HEAD_BYTES


def test_every_kind_of_block_has_a_table():
    kinds = {kind.kind for kind in layout.KINDS}
    assert len(kinds) == len(layout.KINDS) == 8


def test_no_embedding_has_the_largest_scale():
    assert vectors.pack(vectors.unit(np.array([[0.0, -3.0]]))).scale < layout.LARGEST_SCALE
