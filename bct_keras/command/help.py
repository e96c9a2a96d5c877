"""What `--help` shows, and what is said of a flag that there is not."""

import difflib
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from absl import flags

WIDTH = 80  # columns
TEXT_STARTS = 24  # the column of a flag's text
# The titles of a command's groups, each with the names of its flags, in the order to show.
HELP = frozenset(("--help", "-h", "-help"))
Groups = Mapping[str, Sequence[str]]
# What Python and absl say of a value, and what is said in place of it.
PLAINLY = {
    r"invalid literal for int\(\) with base 10: .*": "a whole number is needed",
    r"could not convert string to float: .*": "a number is needed",
    r"\('Non-boolean argument to boolean flag', .*\)": "it is given as --name or --noname",
}
COMMON_FLAGS = ("quiet", "json")
COMMON = "For every command"
# What absl writes behind the help of a flag that may be given several times.
REPEATED = ";\n    repeat this option"
FLAGFILE = "a file of flags, one a line; those after it on the command line count more"


def help_text(usage: str, groups: Groups) -> str:
    """Returns what `--help` prints.

    Args:
        usage: What the command does, paragraph by paragraph.
        groups: Its flags.
    """
    parts = [wrapped(paragraph) for paragraph in usage.strip().split("\n\n")]
    for title, names in groups.items():
        parts.append(group_text(title, [flags.FLAGS[name] for name in names]))
    common = [entry("--flagfile", FLAGFILE)]
    for name in COMMON_FLAGS:
        if name in flags.FLAGS:
            common.append(flag_text(flags.FLAGS[name]))
    common.append(entry("--help", "this text; --helpfull shows the flags of absl too"))
    parts.append("\n".join([f"{COMMON}:", *common]))
    return "\n\n".join(parts)


def with_choices(usage: str, title: str, choices: Mapping[str, str]) -> str:
    """Returns what `--help` prints where a command or an action is to be chosen first."""
    parts = [wrapped(paragraph) for paragraph in usage.strip().split("\n\n")]
    column = max(len(name) for name in choices) + 4
    lines = [entry(name, text, column) for name, text in choices.items()]
    parts.append("\n".join([f"{title}:", *lines]))
    return "\n\n".join(parts)


def wrapped(paragraph: str) -> str:
    """Returns a paragraph within 80 columns; one with indented lines or a command stays as is."""
    lines = paragraph.splitlines()
    if any(line.startswith((" ", "bct ")) for line in lines):
        return paragraph
    return textwrap.fill(" ".join(lines), WIDTH, break_on_hyphens=False)


def group_text(title: str, members: Iterable[flags.Flag]) -> str:
    """Returns a title and the flags below it."""
    return "\n".join([f"{title}:", *(flag_text(flag) for flag in members)])


def flag_text(flag: flags.Flag) -> str:
    """Returns a flag's name and what it says, with its choices and its default."""
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    text, _, _ = (flag.help or "").partition(REPEATED)
    choices = getattr(flag.parser, "enum_values", None)
    if choices:
        text = text.removeprefix(f"<{'|'.join(choices)}>: ")
        text = f"{', '.join(choices)}: {text}"
    if flag.flag_type().startswith("multi") and "twice" not in text:
        text += "; may be given twice"
    shown = default_text(flag)
    if shown:
        text += f" (default: {shown})"
    return entry(name, text)


def default_text(flag: flags.Flag) -> str:
    """Returns what a flag is where it is not given; nothing where it has no default."""
    default = flag.default
    if flag.boolean:
        return "yes" if default else ""
    if default is None or default in ("", []):
        return ""
    if isinstance(default, list | tuple):
        return ",".join(str(each) for each in default)
    return str(default)


def entry(name: str, text: str, column: int = TEXT_STARTS) -> str:
    """Returns a name and its text beside it, or below it where the name is long."""
    margin = " " * column
    body = textwrap.fill(
        text,
        WIDTH,
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    start = f"  {name}"
    if len(start) + 2 > column:
        return f"{start}\n{body}"
    return start + body[len(start) :]


def no_such_flag(name: str) -> tuple[str, str]:
    """Returns the two lines on a flag that there is not."""
    known = ["flagfile", "help"]
    for module, members in flags.FLAGS.flags_by_module_dict().items():
        if not module.startswith("absl."):
            known += [flag.name for flag in members]
    hint = nearest(name, known, "--")
    return f"there is no flag --{name}", f"{hint}--help tells which flags there are"


def wrong_value(error: flags.Error) -> tuple[str, str]:
    """Returns the two lines on a flag whose value it does not take, in plain words."""
    said = " ".join(str(error).splitlines()).removeprefix("flag ")
    start, _, choices = said.partition("value should be one of <")
    if choices:
        known = choices.removesuffix(">").split("|")
        value = start.rstrip(": ").partition("=")[2]
        said = f"{start}it is one of {', '.join(known)}"
        return said, f"{nearest(value, known)}--help tells what each flag takes"
    for pattern, plain in PLAINLY.items():
        said = re.sub(pattern, plain, said)
    return said, "--help tells what each flag takes"


def nearest(name: str, known: Iterable[str], start: str = "") -> str:
    """Returns a question that names the nearest of the known names; nothing where none is near.

    >>> nearest("serch", ["add", "search"])
    'did you mean search? '
    >>> nearest("xyz", ["add", "search"])
    ''
    """
    found = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {start}{found[0]}? " if found else ""
