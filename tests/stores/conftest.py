from pathlib import Path

import pytest

from bct_keras import stores

BUCKET = "bucket"


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """An S3 server on the loopback, in a thread of this process, with an empty bucket."""
    pytest.importorskip("s3fs")
    boto3 = pytest.importorskip("boto3")
    moto_server = pytest.importorskip("moto.server")
    started = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    _, port = started.get_host_and_port()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        patched.setenv("AWS_ACCESS_KEY_ID", "a")
        patched.setenv("AWS_SECRET_ACCESS_KEY", "b")
        patched.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patched.setenv("AWS_MAX_ATTEMPTS", "2")
        patched.setenv("BCT_KERAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        yield started
        started.stop()


@pytest.fixture
def bucket(server, request) -> Path:
    """A folder of the store for each test."""
    return stores.place(f"s3://{BUCKET}/{request.node.name}")
