"""Finds what comes with the package and is no code of it: flag files, and files for those who
deploy.

In a checkout they stand beside the package, in configs/ and export/; a wheel has them in this
folder (building.py).
"""

from pathlib import Path

HERE = Path(__file__).parent
FOLDERS = ("configs", "export")
LEFT_OUT = {"node_modules", "__pycache__"}  # what npm and Python have put there, if anything


def place(name: str) -> Path:
    """Returns where one of the folders lies.

    Args:
        name: "configs" or "export".
    """
    inside = HERE / name
    return inside if inside.is_dir() else HERE.parents[1] / name


def flag_file(name: str) -> Path:
    """Returns the flag file of this name: the user's own, or else the one that comes with us.

    Args:
        name: A path. Ours are found as `mixbct.flags` and as `configs/mixbct.flags`.
    """
    try:
        own = Path(name).expanduser()
        if own.exists() or own.is_absolute() or ".." in own.parts:
            return own
    except (OSError, RuntimeError):  # a name that no file has, or a home that nobody has
        return Path(name)  # whoever reads it says what is wrong
    ours = place("configs") / name.removeprefix("configs/")
    return ours if ours.is_file() else own
