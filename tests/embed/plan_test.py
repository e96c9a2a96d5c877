"""What `embed --dry_run` tells: arithmetic on what was measured, and where it breaks."""

import json
from dataclasses import replace

import numpy as np
import pytest

from bct_keras import artefacts
from bct_keras.artefacts import tables
from bct_keras.artefacts.tables import LARGEST_TABLE
from bct_keras.command.results import as_object
from bct_keras.data.dataset import open_data_set
from bct_keras.embed import __main__ as command
from bct_keras.embed.plan import EmbedPlan, Measured, plan
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.errors import InputError
from bct_keras.prepare.run import prepare
from bct_keras.progress import Outcome


@pytest.fixture(scope="module")
def data(data_root):
    return open_data_set(data_root / "new")


@pytest.fixture
def big(data) -> EmbedPlan:
    measured = Measured(images=1000, per_second=500.0, memory=10**9)
    return EmbedPlan(data, 512, images=3.6e6, nodes=1, measured=measured, in_store=True)


def test_hours_go_with_images_and_against_machines(big):
    assert big.hours == pytest.approx(2.0)  # 3.6e6 / 500 / 3600
    assert replace(big, nodes=4).hours == pytest.approx(0.5)
    # Two full shards, which a third machine cannot share.
    two = replace(big, images=2.0 * 8192, nodes=2)
    assert replace(two, nodes=3).hours == two.hours


def test_bytes_are_those_that_are_written(data, tiny_encoder_path, tmp_path):
    encoder = load_encoder(tiny_encoder_path(4))
    told = plan(encoder, data, tmp_path / "out", images=0, nodes=1)
    embed(encoder, data, tmp_path / "out")
    headers = 128 * 2 * len(data.shards)  # of the .npy files
    written = sum(path.stat().st_size for path in (tmp_path / "out").glob("*.npy"))
    assert told.bytes_written == written - headers
    assert told.bytes_read == sum(shard.bytes for shard in data.shards)
    assert told.measured.images == data.records
    assert told.measured.memory > 10**8


def test_where_it_breaks_is_told(big, data, tiny_encoder_path, tmp_path):
    first, second = big.limits()
    assert first.images < second.images
    # A shard's row in the table is as long as is counted.
    embed(load_encoder(tiny_encoder_path(4)), data, tmp_path / "out")
    of_shard = np.load(tmp_path / "out" / artefacts.TABLE).dtype.itemsize
    (table,) = [each for each in big.limits() if "table" in each.what]
    assert LARGEST_TABLE / table.images * big.images_a_shard == pytest.approx(of_shard)
    assert big.lines()[-1].startswith("would break first at ")
    huge = replace(big, images=1e15)
    assert huge.lines()[-1].startswith("breaks at ")


def test_a_dry_run_tells_and_makes_nothing(here, data, tiny_encoder_path, tmp_path):
    given = (
        f"--encoder={tiny_encoder_path(4)}",
        f"--data={data.folder}",
        f"--out={tmp_path / 'x'}",
    )
    status, said, error = here(command, *given, "--dry_run", "--images=1e8", "--nodes=16")
    assert (status, error) == (0, "")
    lines = said.splitlines()
    assert lines[0].startswith("100,000,000 images on 16 machines like this one (")
    assert [line.split(":")[0] for line in lines[1:5]] == ["time", "read", "written", "memory"]
    assert not (tmp_path / "x").exists()


def test_a_table_that_could_not_be_read_is_refused_before_the_work(
    data, tiny_encoder_path, tmp_path, monkeypatch
):
    monkeypatch.setattr(tables, "LARGEST_TABLE", 1050)  # fewer bytes than a header and a row
    said = r"would have 1,\d+ bytes, and one of more than 1,050 cannot be read\ndivide the images"
    with pytest.raises(InputError, match=said):
        embed(load_encoder(tiny_encoder_path(4)), data, tmp_path / "out")
    with pytest.raises(InputError, match=said):
        prepare("synthetic(identities=4, images=2, image_size=28)", "none", tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_has_the_same_for_programs(here, data, tiny_encoder_path, tmp_path, monkeypatch):
    told: list[Outcome] = []
    monkeypatch.setattr(command.command, "finish", told.append)
    given = (
        f"--encoder={tiny_encoder_path(4)}",
        f"--data={data.folder}",
        f"--out={tmp_path / 'x'}",
    )
    status, _, _ = here(command, *given, "--dry_run", "--images=1e8", "--nodes=16")
    assert status == 0
    (found,) = told
    facts = json.loads(as_object(found.facts))
    assert (facts["images"], facts["nodes"], facts["requests"]) == (1e8, 16, 0)
    assert found.text.startswith(f"{facts['images']:,.0f} images on 16 machines like this one ")
    assert f"time: {facts['hours']:,.2f} hours" in found.text
    breaks = facts["breaks_at"]
    assert found.text.endswith(f" at {breaks['images']:,.0f} images: {breaks['because']}")
