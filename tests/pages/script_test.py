"""The script of a page: keys and the mouse read a plot's values."""

import json
import shutil
import subprocess

import pytest

from bct_keras.pages import document

# A page of one figure, which notes what its listeners do with each key.
PAGE = """
const listeners = {};
const line = {hidden: true, style: {}}, text = {textContent: ""};
const frame = {addEventListener: (name, listener) => { listeners[name] = listener; }};
const parts = {".frame": frame, ".line": line, output: text};
const figure = {
  dataset: {readings: JSON.stringify([[0.1, "a"], [0.5, "b"], [0.9, "c"]])},
  querySelector: (name) => parts[name],
};
globalThis.document = {querySelectorAll: () => [figure]};
SCRIPT
const found = [];
for (const event of EVENTS) {
  let taken = false;
  listeners.keydown({...event, preventDefault: () => { taken = true; }});
  found.push([text.textContent, taken]);
}
console.log(JSON.stringify(found));
"""


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
def test_arrow_keys_read_the_values_and_leave_the_browser_its_own_keys():
    pages = document.environment()
    assert pages.loader
    script, _, _ = pages.loader.get_source(pages, "plots.js.j2")
    events = [
        {"key": "ArrowRight"},
        {"key": "ArrowLeft", "altKey": True},  # back to the page before
        {"key": "End"},
        {"key": "toString"},
        {"key": "Home"},
    ]
    program = PAGE.replace("SCRIPT", script).replace("EVENTS", json.dumps(events))
    run = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == [
        ["b", True],
        ["b", False],
        ["c", True],
        ["c", False],
        ["a", True],
    ]
