"""Jobs on a Ray cluster of several nodes, on this machine: real processes, killed for real."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from line_writer import job, log

from bct_keras.data.dataset import open_data_set
from bct_keras.embed.by_shards import embeddings_by
from bct_keras.embed.run import embed
from bct_keras.encoders import load_encoder
from bct_keras.engines import ENGINES, Ray, on_ray
from bct_keras.engines import told as telling
from bct_keras.errors import InputError
from bct_keras.prepare import writing
from bct_keras.prepare.run import prepare
from bct_keras.specs import build

pytestmark = pytest.mark.seconds(100)

ROOT = Path(__file__).parents[2]
MEMORY = 80 * 2**20  # bytes of each node's store of objects, which we do not use
FACES = "synthetic(identities=200, images=10, image_size=28)"


def test_the_engine_of_a_flag():
    engine = build(ENGINES, "ray(address=10.0.0.1:6379, num_gpus=1)")
    assert (engine.address, engine.num_gpus) == ("10.0.0.1:6379", 1)
    with pytest.raises(InputError, match="have to be 0 or more"):
        build(ENGINES, "ray(num_cpus=-1)")


def test_a_clear_line_where_ray_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"Ray is not installed: pip install 'bct_keras\[ray\]'"):
        Ray().run(job(tmp_path))


def test_a_log_tells_rate_and_time_left(monkeypatch, capsys):
    monkeypatch.setattr(telling, "SECONDS_BETWEEN_LINES", 0.0)
    with telling.Told("embedding", 10_000) as told:
        told.update(2_500)
        assert told.line(50.0) == "embedding: 2,500 of 10,000 images, 50 a second, 0:02:30 left"
        told.lost = 2
        told.show()
        told.once("waiting")
        told.once("waiting")
    said = capsys.readouterr().out
    assert "left; 2 processes died, and others do their pieces\n" in said
    assert said.count("waiting") == 1


@pytest.fixture(scope="module")
def cluster():
    """A head that does no work and two nodes of one core."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    paths = [str(ROOT), str(ROOT / "tests")]
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", os.pathsep.join(paths))
        patched.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": MEMORY}
        started = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            started.add_node(num_cpus=1, object_store_memory=MEMORY)
        yield started
        started.shutdown()


@pytest.fixture
def engine(cluster) -> Ray:
    return Ray(cluster.address)


def texts(pieces: int) -> dict[int, dict[str, str]]:
    """Returns the results of so many pieces, by their numbers."""
    return {number: {"text": f"text {number}"} for number in range(pieces)}


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.long
def test_every_piece_is_done_once(tmp_path, engine):
    assert dict(engine.results(job(tmp_path))) == texts(7)
    assert dict(engine.results(job(tmp_path))) == dict(job(tmp_path).read_results())
    assert log(tmp_path) == [f"p{number}" for number in range(7)]
    assert not list(engine.results(job(tmp_path, pieces=0)))


@pytest.mark.long
def test_failed_pieces_are_named_with_reasons_and_the_others_are_done(tmp_path, engine, capsys):
    with pytest.raises(InputError, match=r"^p2 failed: p2: this cannot be done\nwhat is done is k"):
        engine.run(job(tmp_path, refused="p2"))
    assert "p2 failed: p2: this cannot be done\n" in capsys.readouterr().out
    assert len(log(tmp_path)) == 6


@pytest.mark.long
def test_a_piece_that_kills_its_process_each_time_is_given_up(tmp_path, engine, monkeypatch):
    monkeypatch.setattr(on_ray, "ATTEMPTS", 3)
    with pytest.raises(InputError, match=r"^p3 failed: its process or machine died \(3 times\)"):
        engine.run(job(tmp_path, killed_at="p3"))
    assert len(log(tmp_path)) == 6


@pytest.mark.long
def test_a_machine_that_dies_costs_the_pieces_it_was_at(tmp_path, cluster, engine):
    def kill_one():
        while len(list(tmp_path.glob("*.txt"))) < 4:
            time.sleep(0.05)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    killer = threading.Thread(target=kill_one)
    killer.start()
    found = dict(engine.results(job(tmp_path, pieces=12, seconds=0.5)))
    killer.join()
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    assert found == texts(12)
    assert 12 <= len(log(tmp_path)) <= 13


DRIVER = """
import sys
from pathlib import Path
from line_writer import job
from bct_keras.engines import Ray
Ray(sys.argv[1]).run(job(Path(sys.argv[2]), pieces=12, seconds=0.5))
"""


@pytest.mark.long
def test_after_the_driver_was_killed_the_same_command_goes_on(tmp_path, cluster, engine):
    program = [sys.executable, "-c", DRIVER, cluster.address, str(tmp_path)]
    driver = subprocess.Popen(program)
    while len(list(tmp_path.glob("*.txt"))) < 4 and driver.poll() is None:
        time.sleep(0.05)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    found = dict(engine.results(job(tmp_path, pieces=12, seconds=0.5)))
    assert found == texts(12)
    assert len(log(tmp_path)) <= 12 + 2  # those that were at work


@pytest.mark.long
def test_prepare_and_embed_give_the_bytes_of_this_machine(
    tmp_path, engine, tiny_encoder_path, monkeypatch
):
    monkeypatch.setattr(writing, "RECORDS_PER_SHARD", 128)
    for name, chosen in (("here", None), ("there", engine)):
        prepare(FACES, "none", tmp_path / name, on_bad="skip", engine=chosen)
    assert content(tmp_path / "here") == content(tmp_path / "there")
    encoder = load_encoder(tiny_encoder_path(4))
    data = open_data_set(tmp_path / "here")
    for name, chosen in (("here", None), ("there", engine)):
        embed(encoder, data, tmp_path / "by" / name, engine=chosen)
    assert content(tmp_path / "by/here") == content(tmp_path / "by/there")
    embedded = embeddings_by(engine, encoder, data, tmp_path / "beside")
    here = sorted((tmp_path / "by/here").glob("*.old_embedding.npy"))
    np.testing.assert_array_equal(embedded, np.concatenate([np.load(path) for path in here]))


@pytest.mark.long
def test_an_encoder_that_is_not_found_on_the_cluster_is_named(
    tmp_path, engine, tiny_encoder_path, data_root
):
    path = tiny_encoder_path(4)
    encoder = load_encoder(path)
    assert encoder.fingerprint
    path.rename(path.with_name("elsewhere.keras"))
    with pytest.raises(InputError, match=r"no process of the cluster can begin: .*no such encoder"):
        embed(encoder, open_data_set(data_root), tmp_path / "out", engine=engine)
