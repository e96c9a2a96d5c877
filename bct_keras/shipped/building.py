"""Puts configs/ and export/ into a wheel and an sdist; only setuptools imports this, as it builds.

They stand beside the package, where setuptools looks for no files of it, and go into this folder of
it. It uses what setuptools documents for commands of one's own, and nothing else.
"""

from collections.abc import Iterator
from pathlib import Path

from setuptools.command.build_py import build_py

TARGET = Path("bct_keras/shipped")
# As in __init__.py, which cannot be imported here: setuptools loads this file alone.
FOLDERS = ("configs", "export")
LEFT_OUT = {"node_modules", "__pycache__"}


class WithShippedFiles(build_py):
    """Builds the package's modules and files, and these files with them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # they are found in the checkout
        for source, target in self.get_output_mapping_of_shipped().items():
            self.mkpath(str(Path(target).parent))
            self.copy_file(source, target)

    def get_output_mapping_of_shipped(self) -> dict[str, str]:
        """Returns the source of each file by the file that is written."""
        return {str(path): str(Path(self.build_lib) / TARGET / path) for path in shipped()}

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        found = super().get_outputs(include_bytecode)
        if self.editable_mode:
            return found
        return [*found, *self.get_output_mapping_of_shipped().values()]

    def get_output_mapping(self) -> dict[str, str]:
        found = super().get_output_mapping()
        if not self.editable_mode:
            for source, target in self.get_output_mapping_of_shipped().items():
                found[target] = source
        return found

    def get_source_files(self) -> list[str]:
        """Returns what an sdist needs."""
        return [*super().get_source_files(), *(str(path) for path in shipped())]


def shipped() -> Iterator[Path]:
    """Yields the files, from the folder that has pyproject.toml, where setuptools builds."""
    for folder in FOLDERS:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and not LEFT_OUT & set(path.parts):
                yield path
