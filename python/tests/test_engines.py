"""The examples of docs/python.md for Ray, Daft and Spark; each is skipped where its engine is not installed."""

import os
import shutil
import sys

import numpy as np
import pyarrow as pa
import pytest

import featurize as fz
from conftest import FRUITS

FOLDER = FRUITS / "Test" / "Banana"
RECIPE = {"size": 64}


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    paths = fz.pictures(FOLDER)
    return dict(zip(map(os.path.basename, paths), fz.embed(paths, recipe=RECIPE)))


def assert_same(paths, features, expected) -> None:
    rows = dict(zip(map(os.path.basename, paths), features))
    assert rows.keys() == expected.keys()
    for name, row in rows.items():
        assert np.asarray(row, np.float32).tobytes() == expected[name].tobytes(), name


def test_ray(expected, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    pytest.importorskip("ray.data", reason="Ray is installed without `data`")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")

    class Features:
        def __init__(self):
            self.extractor = fz.Extractor(recipe=RECIPE, threads=1)

        def __call__(self, batch):
            return self.extractor(batch)

    # a CPU more than the actor takes: with none left the reading would wait for ever
    ray.init(
        address="local",  # and not a cluster that runs on this machine
        num_cpus=2,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        logging_level="error",
        log_to_driver=False,
    )
    try:
        photos = ray.data.read_binary_files(str(FOLDER), include_paths=True)
        rows = photos.map_batches(Features, batch_size=8, batch_format="pyarrow", num_cpus=1, concurrency=1).take_all()
    finally:
        ray.shutdown()
    assert all(row["status"] == "ok" and row["error"] is None for row in rows)
    assert_same([row["path"] for row in rows], [row["features"] for row in rows], expected)


def test_daft(expected, monkeypatch):
    daft = pytest.importorskip("daft", reason="Daft is not installed")
    monkeypatch.setenv("DO_NOT_TRACK", "1")

    @daft.cls
    class Features:
        def __init__(self):
            self.extractor = fz.Extractor(recipe=RECIPE, threads=1)

        @daft.method.batch(return_dtype=daft.DataType.list(daft.DataType.float32()))
        def __call__(self, bytes):
            return self.extractor(pa.table({"bytes": bytes.to_arrow()})).column("features").combine_chunks()

    photos = daft.from_glob_path(str(FOLDER / "*.jpg")).with_column("bytes", daft.col("path").download())
    table = photos.select("path", Features()(daft.col("bytes")).alias("features")).to_pydict()
    assert_same(table["path"], table["features"], expected)


def test_spark(expected, monkeypatch):
    pytest.importorskip("pyspark", reason="Spark is not installed")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not installed")
    from pyspark.sql import SparkSession

    def features(batches):
        extractor = fz.Extractor(recipe={"size": 64}, threads=1)
        for batch in batches:
            table = extractor(batch)
            # Spark knows no lists of a fixed length
            lists = table.column("features").cast(pa.list_(pa.float32()))
            yield table.set_column(table.num_columns - 1, "features", lists)

    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.sql.shuffle.partitions", "1").getOrCreate()
    try:
        photos = spark.read.format("binaryFile").load(str(FOLDER)).selectExpr("path", "content AS bytes")
        schema = "path string, bytes binary, width int, height int, "
        schema += "status string, kind string, error string, features array<float>"
        rows = photos.mapInArrow(features, schema).select("path", "status", "features").collect()
    finally:
        spark.stop()
    assert all(row.status == "ok" for row in rows)
    assert_same([row.path for row in rows], [row.features for row in rows], expected)
