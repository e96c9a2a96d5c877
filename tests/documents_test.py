"""The pages hold what they say: every link leads somewhere, and every command is one.

A command has to be known, with flags, flag files and names that are there. That they also run is
for documents_run_test.py.
"""

import json

import documents
import pytest
from command_lines import OF_OTHERS, check
from documents import ROOT, Page

README_BYTES = 8192
PAGES = documents.pages()

by_page = pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])


@pytest.fixture(autouse=True)
def in_a_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= README_BYTES


@by_page
def test_every_link_leads_somewhere(page):
    for link in page.links:
        place, _, anchor = link.partition("#")
        target = (page.path.parent / place).resolve() if place else page.path
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        if anchor:
            found = documents.read_page(target).anchors
            assert anchor in found, f"{page.name} links to {link}; there are {sorted(found)}"


@by_page
def test_every_command_is_one(page):
    for fence in page.fences:
        assert fence.language in {"", "json", "python", "sh", "text"}, fence.name
        for command in fence.commands:
            check(command, f"{fence.name}: {command}")
    for command in page.inline_commands:
        check(command, f"{page.name}: {command}")


def unknown_to_us(page: Page) -> list[str]:
    """Returns commands of a page that only others' programs can run, and that are not marked."""
    found = []
    for fence in page.fences:
        for command in fence.commands:
            started = {words[0] for words in documents.programs(command)}
            if started & (OF_OTHERS - {".", "cp", "mkdir"}) and not fence.not_run:
                found.append(f"{fence.name}: {command}")
    return found


@by_page
def test_what_cannot_run_here_is_marked(page):
    assert unknown_to_us(page) == []


def test_the_notebook_has_no_output():
    (notebook,) = (ROOT / "bct_keras").rglob("*.ipynb")
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
