"""Runs pytest, which a test's own file does not: `python tests ARGUMENTS`, and every test of BUILD."""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:]))
