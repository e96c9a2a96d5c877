"""Runs pytest, which a test's own file does not.

It is called as `python tests ARGUMENTS`, and by every test of BUILD.
"""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:]))
