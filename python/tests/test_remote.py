"""Pictures by URLs and in a bucket, from servers on the loopback."""

import functools
import http.server
import os
import threading

import numpy as np
import pytest

import featurize as fz
from conftest import FRUITS


@pytest.fixture(scope="module")
def server():
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=FRUITS))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_urls_give_the_features_of_the_files(server, paths):
    urls = [f"{server}/{os.path.relpath(path, FRUITS)}" for path in paths]
    assert np.array_equal(fz.embed(urls), fz.embed(paths))
    nulls = fz.embed([urls[0], f"{server}/none.jpg"], errors="null", as_arrow=True)
    assert nulls.column("kind").to_pylist() == [None, "missing"]


def test_a_bucket_gives_the_run_of_the_folder(pipeline, tmp_path, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        settings = {"ENDPOINT_URL": f"http://{host}:{port}", "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x"}
        for name, value in {**settings, "REGION": "us-east-1", "DEFAULT_REGION": "us-east-1"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        client = boto3.client("s3", endpoint_url=settings["ENDPOINT_URL"])
        client.create_bucket(Bucket="bucket")
        for split in ["Training", "Test"]:
            for label in pipeline["input"]["classes"]:
                for path in sorted((FRUITS / split / label).iterdir())[:6]:
                    client.upload_file(str(path), "bucket", f"fruits/{path.relative_to(FRUITS)}")
        folder = fz.run(pipeline, out=tmp_path / "folder", progress=False)
        try:
            fz.embed([f"s3://bucket/fruits/{path.relative_to(FRUITS)}"])
        except fz.FeaturizeError as error:
            if "cloud" in str(error):
                pytest.skip("this package was built without the feature cloud")
            raise
        remote = {**pipeline, "input": {**pipeline["input"], "root": "s3://bucket/fruits"}}
        bucket = fz.run(remote, out=tmp_path / "bucket", progress=False)
        assert bucket.features().equals(folder.features())
    finally:
        server.stop()
