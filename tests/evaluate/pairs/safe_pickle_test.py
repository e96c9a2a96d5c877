import contextlib
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from bct_keras.errors import InputError
from bct_keras.evaluate.pairs import safe_pickle
from bct_keras.evaluate.pairs.pair_sets import read_bin

IMAGES = [b"\xff\xd8\x00 one", b"\xff\xd8\n'two'\\", b"", b"\x80" * 300]
SAME = [True, False]


class Touch:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def loaded(tmp_path, content: bytes):
    path = tmp_path / "set.bin"
    path.write_bytes(content)
    return safe_pickle.load(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_python_3_s_pickles(tmp_path, protocol):
    assert loaded(tmp_path, pickle.dumps((IMAGES, SAME), protocol)) == (IMAGES, SAME)


# Written by hand after Python 2's pickle.py: a str of Python 2 is S'...' in protocol 0, and T or U
# (with its length) in 1 and 2; True is I01 in 0 and 1.
PYTHON_2 = {
    0: b"((lp0\nS'\\xff\\xd8\\x00 one'\np1\naS'two'\np2\na(lp3\nI01\naI00\natp4\n.",
    1: b"(]q\x00(U\x07\xff\xd8\x00 oneq\x01T\x03\x00\x00\x00twoq\x02e]q\x03(I01\nI00\netq\x04.",
    2: b"\x80\x02]q\x00(U\x07\xff\xd8\x00 oneq\x01U\x03twoq\x02e]q\x03(\x88\x89e\x86q\x04.",
}


@pytest.mark.parametrize("protocol", PYTHON_2)
def test_python_2_s_pickles(tmp_path, protocol):
    assert loaded(tmp_path, PYTHON_2[protocol]) == ([b"\xff\xd8\x00 one", b"two"], [True, False])


# An array of three bytes as numpy 1 under Python 2 wrote it, by hand from what numpy 1.16's
# __reduce__ returns.
PYTHON_2_ARRAY = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
    b"(K\x01K\x03\x85cnumpy\ndtype\nq\x04U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    b"\x89U\x03\xff\x00atb."
)


def test_byte_arrays(tmp_path):
    found = loaded(tmp_path, PYTHON_2_ARRAY)
    assert found.content == b"\xff\x00a"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for array in (np.array([255, 0, 97], np.uint8), np.array([True, False])):
            value = loaded(
                tmp_path, pickle.dumps([array, np.bool_(True), np.bool_(False)], protocol)
            )
            assert getattr(value[0], "content", value[0]) == array.tobytes()
            assert value[1:] == [True, False]
        assert loaded(tmp_path, pickle.dumps(bytearray(b"\xffa"), protocol)) == b"\xffa"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_malicious_pickle_does_not_run(tmp_path, protocol):
    content = pickle.dumps((IMAGES, SAME, Touch(tmp_path / "touched")), protocol)
    with pytest.raises(
        InputError,
        match=r"set.bin was not loaded: it asks for (io|__builtin__)\.open, which is not",
    ):
        loaded(tmp_path, content)
    assert not (tmp_path / "touched").exists()
    pickle.loads(content)[2].close()
    assert (tmp_path / "touched").exists()  # it would have


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", r"asks for os\.system, which is not allowed"),
        (b"cnumpy.core.multiarray\n_reconstruct.__class__\n.", "not allowed"),
        (
            b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__new__\x93.",
            r"numpy\.dtype\.__new__, which is not allowed",
        ),
        (b"(ios\nsystem\n.", "the step INST is not allowed"),
        (b"(cos\nsystem\no.", "the step OBJ is not allowed"),
        (b"}.", "the step EMPTY_DICT is not allowed"),
        (b"\x82\x01.", "the step EXT1 is not allowed"),
        (b"Pname\n.", "the step PERSID is not allowed"),
        (b"", "no pickle of images"),
        (b"hello", "no pickle of images"),
        (pickle.dumps((IMAGES, SAME))[:-20], "no pickle of images"),
        (pickle.dumps(np.zeros(3)), "is not of bytes"),
        (pickle.dumps(np.float64(3)), "is not of bytes"),
        (pickle.dumps(np.array([IMAGES], object)), "is not of bytes"),
    ],
)
def test_what_is_not_allowed_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        loaded(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02Kar\xff\xff\xff\x7f.",  # the memo's place 2,147,483,647: 16 GB of pointers
        b"p99999999999\n.",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"x.",  # a terabyte of bytes
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.",
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",  # a frame
        b"c__builtin__\nbytearray\n(I99999999999\ntR.",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",  # a number of two billion bytes
    ],
)
def test_a_small_file_cannot_ask_for_much_memory(tmp_path, content):
    resource = pytest.importorskip("resource")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError):
        loaded(tmp_path, content)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # KB


MEGABYTE = 1_000_000
KIND = b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R"
TEXT = b"X" + struct.pack("<I", MEGABYTE) + b"a" * MEGABYTE
BYTE_ARRAY = b"\x96" + struct.pack("<Q", MEGABYTE) + b"a" * MEGABYTE


@pytest.mark.parametrize(
    ("kept", "repeated"),
    [
        (b"c_codecs\nencode\nq\x00" + TEXT + b"\x85q\x01", b"h\x00h\x01R"),
        (
            b"cnumpy.core.numeric\n_frombuffer\nq\x00" + BYTE_ARRAY + KIND + b"\x86q\x01",
            b"h\x00h\x01R",
        ),
        (BYTE_ARRAY + b"q\x00", b"h\x00"),
    ],
    ids=["calls that encode one text", "calls with one buffer", "one byte array named often"],
)
def test_what_is_repeated_in_a_verification_set_is_not_copied(tmp_path, kept, repeated):
    path = tmp_path / "set.bin"
    path.write_bytes(b"\x80\x05" + kept + b"](" + repeated * 40 + b"e](" + b"\x88" * 20 + b"e\x86.")
    tracemalloc.start()
    with contextlib.suppress(InputError):
        read_bin(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 6 * MEGABYTE  # of copies there would be 40


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_verification_set_of_arrays_is_one_of_bytes(tmp_path, protocol):
    images = [np.frombuffer(bytes((number,)) * 9, np.uint8).copy() for number in range(40)]
    path = tmp_path / "set.bin"
    path.write_bytes(pickle.dumps((images, np.arange(20) % 2 == 0), protocol))
    found = read_bin(path)
    assert found.images == [image.tobytes() for image in images]
    assert {type(image) for image in found.images} == {bytes}
    assert found.same.tolist() == [True, False] * 10
