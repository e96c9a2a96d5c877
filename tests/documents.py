"""Reads the pages of this repository: their links, their commands and their Python."""

import dataclasses
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = ("python", "python3.11", "python3")
# How a line begins that is a command in a fence that does not say what it holds.
PROGRAMS = (
    *PYTHON,
    ".",
    "bct",
    "cd",
    "checkov",
    "cp",
    "docker",
    "kubectl",
    "kubernetes-validate",
    "mkdir",
    "npm",
    "pip",
    "pytest",
    "sbatch",
    "unzip",
)
FENCE = re.compile(r"^ *```(\w*)$")
NOT_RUN = re.compile(r"\(not run here[^:]*: (.*)")
INLINE_CODE = re.compile(r"`([^`]+)`")
INLINE_COMMAND = re.compile(r"(?:python|bct|pytest|pip install) ")
LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclasses.dataclass(frozen=True)
class Fence:
    """What stands between two lines of three backticks."""

    page: Path
    line: int  # of its first line
    language: str
    text: str
    not_run: str  # why the commands are not run here, where the page says so below the fence

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Its commands, one a line; a line that ends with a backslash goes on."""
        lines = []
        for line in self.text.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith("#"):
                lines.append(line.strip())
        if self.language == "sh":
            return lines
        begins = [line.split()[0] in PROGRAMS for line in lines]
        return lines if self.language == "" and any(begins) else []


@dataclasses.dataclass(frozen=True)
class Page:
    """A page, taken apart."""

    path: Path
    fences: list[Fence]
    prose: str  # all that stands outside of fences

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def inline_commands(self) -> list[str]:
        """What stands between two backticks and is a command."""
        found = []
        for code in INLINE_CODE.findall(self.prose.replace("\n", " ")):
            if INLINE_COMMAND.match(code) and "..." not in code:
                found.append(" ".join(code.split()))
        return found

    @property
    def links(self) -> list[str]:
        """Where its links lead, but for those into the web."""
        found = LINK.findall(INLINE_CODE.sub("", self.prose))
        return [link for link in found if not link.startswith(("http:", "https:", "mailto:"))]

    @property
    def anchors(self) -> set[str]:
        """What a link may name of it behind a #: its headings, as GitHub writes them."""
        found = set()
        for heading in re.findall(r"^#+ (.*)$", self.prose, re.MULTILINE):
            text = re.sub(r"[^\w\- ]", "", heading.strip().lower())
            found.add(text.replace(" ", "-"))
        return found


def read_page(path: Path) -> Page:
    """Takes a page apart."""
    lines = path.read_text().splitlines()
    fences: list[Fence] = []
    prose = []
    number = 0
    while number < len(lines):
        opened = FENCE.match(lines[number])
        number += 1
        if not opened:
            prose.append(lines[number - 1])
            continue
        first = number
        while not FENCE.match(lines[number]):
            number += 1
        text = "\n".join(lines[first:number])
        number += 1
        fences.append(Fence(path, first + 1, opened[1], text, reason_below(lines[number:])))
    return Page(path, fences, "\n".join(prose))


def reason_below(lines: list[str]) -> str:
    """Returns why the commands above these lines are not run; empty where nothing is said."""
    for line in lines:
        if line.strip():
            said = NOT_RUN.match(line.strip())
            return said[1] if said else ""
    return ""


def pages() -> list[Page]:
    """All pages that are ours, in a fixed order."""
    paths = [ROOT / "README.md"]
    for folder in ("bct_keras", "configs", "export", "tests"):
        paths += sorted((ROOT / folder).rglob("*.md"))
    return [read_page(path) for path in paths if "node_modules" not in path.parts]


def programs(command: str) -> list[list[str]]:
    """The words of each program that a shell would start."""
    words = shlex.shlex(command, posix=True, punctuation_chars="&|;")
    words.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in words:
        if set(word) <= set("&|;"):
            found.append([])
        else:
            found[-1].append(word)
    return [each for each in found if each]
