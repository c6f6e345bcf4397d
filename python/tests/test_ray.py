"""A run on the nodes of a Ray cluster of which one dies, and then the driver: the tables of one machine."""

import collections
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import featurize as fz

from conftest import FRUITS

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytest.importorskip("ray.cluster_utils", reason="this Ray has no cluster for tests")

YAML = """\
version: 1
name: fruits
input: {root: pictures, split: {train: 'Training/**', test: 'Test/**'}, max_bad_fraction: 0.1}
extract: {shard_rows: 8}
select: {}
reduce: {pca: {components: 6}}
train: {mlp: {hidden: [16], max_iter: 60, seed: 1}}
report: {samples: 2}
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ray")
    for split, count in [("Training", 24), ("Test", 12)]:
        for source in sorted((FRUITS / split).iterdir()):
            target = folder / "pictures" / split / source.name
            target.mkdir(parents=True)
            for picture in sorted(source.iterdir())[:count]:
                shutil.copy(picture, target / picture.name)
    (folder / "pictures" / "Training" / "Banana" / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (folder / "pipeline.yaml").write_text(YAML)
    return folder / "pipeline.yaml"


def node() -> dict[str, Any]:
    """What a node of the cluster has; Ray takes 127.0.0.1 for the address of the network."""
    # a raylet waits 15 s for its agents to tell the ports that they have chosen (ray#65983), and then dies
    names = ["metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port"]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.2", 0))) for _ in names]
        ports = {name: one.getsockname()[1] for name, one in zip(names, sockets)}
    return {"num_cpus": 2, "node_ip_address": "127.0.0.2", "object_store_memory": 100 << 20, **ports}


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    os.environ.update(RAY_USAGE_STATS_ENABLED="0", DO_NOT_TRACK="1")
    # a death is noticed within two seconds instead of fifteen
    settings = {"health_check_period_ms": 500, "health_check_failure_threshold": 3}
    first = {**node(), "_system_config": settings, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=first)
    cluster.node = cluster.add_node(**node())
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


def results(out: Path) -> dict[str, bytes]:
    """Every table, fitted model and metric of a run, by name."""
    files = [path for path in out.rglob("*") if path.is_file() and ".store" not in path.parts]
    return {
        str(path.relative_to(out)): path.read_bytes() for path in files if path.name not in ("run.json", "report.html")
    }


class Watch(threading.Thread):
    """Counts how often each shard is committed: each time its record is another file.

    A shard that a killed driver has left half done may be listed under another name by the next one; its table tells
    which it is.
    """

    def __init__(self, out: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.seen, self.ended = out / ".store" / "shards", collections.defaultdict(set), threading.Event()

    def run(self) -> None:
        known = set()
        while not self.ended.wait(0.005):
            for record in self.folder.glob("*.commit"):
                try:
                    status = record.stat()
                    file = record.name, status.st_ino, status.st_mtime_ns
                    if file not in known:
                        self.seen[json.loads(record.read_bytes())["id"]].add(file)
                        known.add(file)
                except FileNotFoundError:
                    continue

    def wait(self, shards: int, driver: subprocess.Popen) -> None:
        end = time.monotonic() + 300
        while len(self.seen) < shards:
            assert driver.poll() is None, driver.communicate()[1]
            assert time.monotonic() < end, f"{len(self.seen)} shards after five minutes"
            time.sleep(0.02)


def start(pipeline: Path, out: Path, address: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "featurize.ray", str(pipeline), "--address", address, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_node_dies_and_then_the_driver(pipeline, cluster, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    fz.run(pipeline, whole, progress=False)
    watch = Watch(out)
    watch.start()
    driver = start(pipeline, out, cluster.address)
    watch.wait(6, driver)
    cluster.remove_node(cluster.node, allow_graceful=False)
    before = len(watch.seen)
    watch.wait(before + 12, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    computed = len(watch.seen)
    again = start(pipeline, out, cluster.address)
    said = again.communicate(timeout=200)
    assert again.returncode == 0, said
    watch.ended.set()
    watch.join()
    expected, found = results(whole), results(out)
    shards = sum(name.startswith("features/") for name in expected)
    assert len(watch.seen) == shards > computed > before, "the driver was killed in the middle"
    assert found.keys() == expected.keys() and "quality.parquet" in found
    for name, content in expected.items():
        assert found[name] == content, name
    # an actor holds two shards, and each of the two that died may have committed one more
    twice = [name for name, times in watch.seen.items() if len(times) > 1]
    assert len(twice) <= 4, twice
    assert "speed" not in said[0], "the driver has computed none itself"


def test_a_node_with_other_kernels_takes_no_part(pipeline, cluster, tmp_path):
    out = tmp_path / "out"
    fz.run(pipeline, out, until="scan", progress=False)
    (out / ".store" / "workers.json").write_text('{"version": "0.0.1", "device": "cpu", "kernels": "abacus"}')
    # the listing stays as it is, and with it what is noted of the machines at work
    driver = start(pipeline, out, cluster.address)
    said = driver.communicate(timeout=100)[1]
    assert driver.returncode == 1
    assert "takes no part" in said and "abacus" in said, said
