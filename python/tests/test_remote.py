"""Pictures by URLs and in a bucket, from servers on the loopback."""

import functools
import http.server
import os
import sys
import threading

import numpy as np
import pytest

import featurize as fz
from conftest import FRUITS, ROOT

# the scripts that try the program beside other programs
sys.path.append(str(ROOT / "tests" / "python"))
from buckets import Small  # noqa: E402


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
    folders = [FRUITS / split / label for split in ["Training", "Test"] for label in pipeline["input"]["classes"]]
    paths = [path for folder in folders for path in sorted(folder.iterdir())[:6]]
    server = Small({str(path.relative_to(FRUITS)): path.read_bytes() for path in paths})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        settings = {"ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "REGION": "us-east-1"}
        for name, value in {**settings, "ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        objects = [f"s3://bucket/photos/{path.relative_to(FRUITS)}" for path in paths]
        assert np.array_equal(fz.embed(objects[:2]), fz.embed([str(path) for path in paths[:2]]))
        # one beside the other would give its tables
        pipeline = {**pipeline, "output": {"cache": "none"}}
        folder = fz.run(pipeline, out=tmp_path / "folder", progress=False)
        remote = {**pipeline, "input": {**pipeline["input"], "root": "s3://bucket/photos"}}
        bucket = fz.run(remote, out=tmp_path / "bucket", progress=False)
        assert bucket.features().equals(folder.features())
        assert bucket.metrics["test"] == folder.metrics["test"]
    finally:
        server.shutdown()
