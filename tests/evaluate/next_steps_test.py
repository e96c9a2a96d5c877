import html
import re
from pathlib import Path

import pytest
from command_lines import check

from bct_keras.evaluate import page
from bct_keras.evaluate.next_steps import next_steps
from bct_keras.evaluate.outcome import outcome


@pytest.mark.parametrize(
    ("verdict", "facts", "commands"),
    [
        ("compatible", {}, ["bct gallery add"]),
        ("undecided", {"identities_needed": 210}, ["bct evaluate", "bct gallery add"]),
        ("undecided", {}, ["bct gallery add"]),
        ("undecided", {"identities_needed": 210, "looks_worse": True}, ["bct evaluate"]),
        ("undecided", {"looks_worse": True}, ["bct advise"]),
        ("not compatible", {}, ["bct advise"]),
        (None, {}, ["bct evaluate"]),
    ],
)
def test_page_and_terminal_name_the_same_next_steps(verdict, facts, commands):
    given = {"verdict": verdict, "because": "top-1", "protocols": {}, **facts}
    given["made_from"] = {"--old": "a/encoder.keras", "--new": "b"}
    text = html.unescape(page.as_html(given, place="report"))
    shown = re.findall(r"<pre><code>(.*?)</code></pre>", text, re.DOTALL)
    said = outcome(given, Path("report")).then
    assert said == [command.replace(" \\\n  ", " ") for command in shown]
    assert [command.partition(" --")[0] for command in said] == commands


def test_a_route_is_measured_again_as_it_was():
    given = {
        "verdict": None,
        "routes": {
            "moved": {"verdict": "undecided", "because": "few", "identities_needed": 300},
        },
        "protocols": {"retrieval(data/test)": {}},
        "made_from": {
            "--old": "old.keras",
            "--new": "new.keras",
            "--moved": "adapted(old.keras, adapted/gallery/adapter.keras)",
            "--adapted": "adapted(new.keras, adapted/mine)",
            "--decide_by": "top-1",
            "--margin": "0.02",
        },
    }
    measured, moved = next_steps(given, "reports/x")
    assert " ".join(measured.command) == (
        "bct evaluate --old=old.keras --new=new.keras --adapted='adapted(new.keras, adapted/mine)'"
        " --moved=adapted/gallery --protocol='retrieval(MORE)' --decide_by=top-1"
        " --margin=0.02 --out=reports/more"
    )
    assert " ".join(moved.command) == (
        "bct gallery move --gallery='file(people.gallery)'"
        " --adapter=adapted/gallery --new=new.keras --report=reports/x"
    )
    for step in (measured, moved):
        check(" ".join(step.command), step.text)
