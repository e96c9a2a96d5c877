"""Every command of every page runs, as it stands, but for those that a page marks "(not run here:
why)".

All run in one folder, as a reader would run them, page after page. Its flag files make the demo
small; all else is what the pages have.
"""

import json
import os
import re
import shutil
from pathlib import Path

import documents
import forked
import numpy as np
import pytest
import simulated_encoders
from documents import ROOT, Fence, Page
from PIL import Image

from bct_keras.prepare.sources.synthetic import Synthetic

pytestmark = [pytest.mark.long, pytest.mark.seconds(400)]

# The demo, with fewer people and smaller networks. The last people are held out, as in the demo.
SMALL = {
    "base": """
--source=synthetic(identities=1800, images=8, image_size=32)
--split=class(old_share=0.3, test_share=0.3, within=(0.55, 1))
--prepared=data/demo
--backbone=iresnet_small(width=12)
--dims=64
--batch_size=64
--epochs=8
--optimizer=adamw(weight_decay=0.2)
--schedule=cosine
--learning_rate=0.01
""",
    "old": """
--flagfile=configs/base.flags
--backbone=iresnet_small(width=4)
--method=independent
--head=softmax
--epochs=2
--workdir=runs/old
--protocol=none
--formats=none
""",
}
# What these make the others need.
FIRST = ["README.md", "bct_keras/adapt/README.md", "bct_keras/gallery/README.md"]
PAGES = {page.name: page for page in documents.pages()}
# Installing, and the tests themselves, are run by .ci/run.
NOT_TO_BE_RUN = (".", "pip", "pytest", "python3.11")
# What the gate says of a file that loses too much, with the interval of the loss.
LOSS = re.compile(r"error: tflite_int8 is refused: .* interval (?P<lowest>-?[\d.]+)% to")
PEOPLE, EACH = 48, 10  # of `photos`


def in_order() -> list[Page]:
    names = [*FIRST, *(name for name in PAGES if name not in FIRST)]
    return [PAGES[name] for name in names if any(commands_to_run(each) for each in fences(name))]


def fences(name: str) -> list[Fence]:
    return [fence for fence in PAGES[name].fences if not fence.not_run]


def commands_to_run(fence: Fence) -> list[list[str]]:
    """The words of each program of a fence, but for those that install."""
    found = []
    for command in fence.commands:
        for words in documents.programs(command):
            if words[0] not in NOT_TO_BE_RUN:
                found.append(words)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What a reader has: flag files, photos, an old encoder, a better network, stored embeddings.

    Both networks have seen people of the demo, and nobody of the photos.
    """
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "configs", folder / "configs")
    for name, text in SMALL.items():
        (folder / f"configs/{name}.flags").write_text(text.lstrip())
    save_photos(folder / "photos")
    shutil.copy(folder / "photos/person-00/0.jpg", folder / "photo.jpg")
    save_embeddings(folder)
    for method in ("mixbct", "independent"):
        train = ("-m", "bct_keras.train", f"--flagfile=configs/{method}.flags")
        done = forked.run(*train, cwd=folder, timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
    shutil.copy(folder / "runs/old/encoder.keras", folder / "old.keras")
    shutil.copy(folder / "runs/independent/encoder.keras", folder / "pretrained.keras")
    return folder


def save_photos(place: Path) -> None:
    """Writes photos of people that the demo does not have, a sub-folder for each."""
    source = Synthetic(identities=PEOPLE, images=EACH, image_size=64, seed=7)
    for row in range(PEOPLE * EACH):
        person, number = divmod(row, EACH)
        path = place / f"person-{person:02d}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".png")
        scratch.write_bytes(source.read(row).image)
        Image.open(scratch).save(path, quality=95)
        scratch.unlink()


def save_embeddings(folder: Path) -> None:
    """Writes stored embeddings by two encoders, and their labels."""
    encoders = simulated_encoders.gallery_to_move(np.random.default_rng(0))
    ids = np.array([f"item-{row}" for row in range(len(simulated_encoders.LABELS))])
    for name, embeddings in encoders.items():
        np.savez(folder / f"{name}.npz", embeddings=embeddings.astype(np.float32), ids=ids)
    np.savez(folder / "labels.npz", labels=simulated_encoders.LABELS, ids=ids)


@pytest.mark.parametrize("page", in_order(), ids=lambda page: page.name)
def test_the_commands_of_a_page_run(page, folder):
    for fence in fences(page.name):
        for words in commands_to_run(fence):
            assert_runs(words, folder, fence)


def test_some_hundred_photos_are_enough_for_a_map(folder):
    """The README's way in place of step 2, and step 4 after it."""
    report = json.loads((folder / "adapted/mine/report/report.json").read_text())
    assert report["verdict"] in ("compatible", "undecided")
    steps, _ = PAGES["README.md"].fences[-2:]
    changes = {"--encoder=runs/mine": "--encoder=adapted/mine", "--out=exported": "--out=mapped"}
    (export,) = [words for words in commands_to_run(steps) if "--encoder=runs/mine" in words]
    assert_runs([changes.get(word, word) for word in export], folder, steps)
    assert (folder / "mapped/encoder.tflite").exists()


def assert_runs(words: list[str], folder: Path, fence: Fence) -> None:
    """Runs a command, which has to end with status 0, or at the gate for a chance of the data.

    The small demo cannot tell a loss of 1 % from none: whether the gate lets its int8 file out
    differs by processor.
    """
    command = " ".join(words)
    if words[0] == "cp":
        shutil.copy(folder / words[1], folder / words[2])
        return
    assert words[0] in ("python", "bct"), f"{fence.name}: {command}"
    arguments = words[1:] if words[0] == "python" else ["-m", "bct_keras", *words[1:]]
    done = forked.run(*arguments, cwd=folder, timeout=600)
    said = f"{fence.name}: {command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    refused = LOSS.search(done.stderr)
    may_be_chance = refused and float(refused["lowest"]) <= 0
    assert done.returncode == 0 or may_be_chance, said


PYTHON = [
    fence
    for page in PAGES.values()
    for fence in page.fences
    if fence.language == "python" and not fence.not_run
]
# What the snippets of pages take for granted.
GIVEN = """
import sys
sys.path.insert(0, {root!r})
import keras
import numpy as np
import bct_keras as bct
random = np.random.default_rng(0)
labels = np.repeat(np.arange(200), 4)
images = random.integers(0, 256, (800, 28, 28, 3)).astype("float32")
old_embeddings = random.normal(size=(800, 16)).astype("float32")
new_embeddings = random.normal(size=(800, 16)).astype("float32")
old_gallery, new_of_a_query = old_embeddings, new_embeddings
image = keras.Input((28, 28, 3))
backbone = keras.Model(image, keras.layers.Dense(16)(keras.layers.Flatten()(image)))
"""


@pytest.mark.parametrize("fence", PYTHON, ids=lambda fence: fence.name)
def test_the_python_of_a_page_runs(fence, tmp_path):
    program = tmp_path / "program.py"
    given = "" if fence.page.parent == ROOT else GIVEN.format(root=str(ROOT))
    program.write_text(f"{given}\n{fence.text}\n")
    done = forked.run(program, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_notebook_runs(tmp_path):
    """Its cells in one name space, as Jupyter runs them, without Jupyter."""
    (notebook,) = (ROOT / "bct_keras").rglob("*.ipynb")
    cells = json.loads(notebook.read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    program = tmp_path / "program.py"
    program.write_text("\n\n".join(sources))
    done = forked.run(program, cwd=tmp_path, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith(("the file: compatible", "the file: undecided")), last
    assert (tmp_path / "exported/encoder.tflite").exists()
