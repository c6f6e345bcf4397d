#!/usr/bin/env python3
"""Opens every table of a run with pyarrow, pandas, polars, DuckDB and, where it is installed, Spark, and compares what
they read value by value.

    pip install numpy pyarrow pandas polars duckdb safetensors        # pyspark, with a Java runtime
    python tests/python/readers.py                        # target/release/featurize on pipelines/fruits.yaml
    python tests/python/readers.py target/debug/featurize --set input.limit_per_class=6 --set extract.shard_rows=16

The pipeline runs three times into a temporary folder: in both layouts, and without classes. One line a check, floats
compared bit by bit, and at the end "N passed, N failed"; exit code 1 when one failed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
from safetensors.numpy import load_file

try:
    from pyspark.sql import SparkSession
except ImportError:
    SparkSession = None

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = "pipelines/fruits.yaml"
PICTURES = ROOT / "data" / "fruits"
KEYS = ["path", "label", "split"]
MANIFEST = [*KEYS, "bytes", "width", "height", "status", "kind", "error"]
METADATA = ["version", "model", "weights", "weights_sha256", "layer", "features", "shape", "precision", "recipe"]
CATEGORIES = ("label", "split", "predicted", "status")
STATUSES = ["ok", "skipped", "failed", "listed"]


class Checks:
    """Counts what held and what did not."""

    def __init__(self):
        self.passed = self.failed = 0

    def __call__(self, name, test):
        """Runs `test`: true or a text: it held; false or an exception: it did not."""
        try:
            outcome = test()
        except Exception as error:  # a reader that cannot open a file raises whatever it likes
            outcome, reason = False, f": {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        else:
            reason = f": {outcome}" if isinstance(outcome, str) else ""
        held = outcome is None or bool(outcome)
        self.passed, self.failed = self.passed + held, self.failed + (not held)
        print(f"{'ok    ' if held else 'FAILED'} {name}{reason}", flush=True)


def expect(condition, message):
    """Raises with `message` when `condition` does not hold."""
    if not condition:
        raise AssertionError(message)


# ---- one reader, one function: a path, a list of paths or a folder → {column: plain values}


def plain(values):
    """Values that compare exactly: floats as their bits, text, whole numbers and truth values as lists with None."""
    values = values if isinstance(values, np.ndarray) else np.asarray(values, dtype=object)
    if values.dtype == np.float32:
        return values.view(np.uint32)
    if values.dtype == np.float64:
        return values.view(np.uint64)
    return [None if value is None or value != value else value for value in values.tolist()]


def read_pyarrow(paths):
    table = pa.concat_tables([pq.read_table(path) for path in paths])
    columns = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if pa.types.is_fixed_size_list(column.type):
            columns[name] = plain(column.flatten().to_numpy().reshape(len(column), -1))
        elif pa.types.is_floating(column.type):
            columns[name] = plain(column.to_numpy())
        else:
            columns[name] = plain(column.to_pylist())
    return columns


def read_pandas(paths):
    # one file by its name, several as users do it: the folder
    frame = pd.read_parquet(paths[0] if len(paths) == 1 else paths[0].parent)
    columns = {}
    for name, column in frame.items():
        if name == "features":
            columns[name] = plain(np.stack(column.to_list()))
        elif column.dtype == "float64" and name in MANIFEST:  # whole numbers with gaps, as pandas holds them
            columns[name] = [None if value != value else int(value) for value in column]
        else:
            columns[name] = plain(column.to_numpy() if column.dtype.kind == "f" else column.to_list())
    return columns


def read_polars(paths):
    frame = pl.read_parquet(paths[0] if len(paths) == 1 else paths[0].parent / "*.parquet")
    floats = (pl.Float32, pl.Float64, pl.Array)
    return {c.name: plain(c.to_numpy() if isinstance(c.dtype, floats) else c.to_list()) for c in frame}


def read_duckdb(paths):
    place = paths[0] if len(paths) == 1 else paths[0].parent / "*.parquet"
    columns = {}
    for name, column in duckdb.sql(f"SELECT * FROM '{place}'").fetchnumpy().items():
        if name == "features":
            column = np.stack(list(column))
        elif isinstance(column, np.ma.MaskedArray):
            column = column.tolist() if column.mask.any() else column.data  # a list has None where it was masked
        columns[name] = plain(column)
    return columns


def read_spark(paths):
    place = paths[0] if len(paths) == 1 else paths[0].parent
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    frame = spark.read.parquet(str(place))
    # files come in any order; the tables are sorted by path
    rows = sorted(frame.collect(), key=lambda row: row[0].encode()) if frame.columns[0] == "path" else frame.collect()
    kinds = {"float": np.float32, "double": np.float64, "array<float>": np.float32}
    columns = {}
    for i, (name, kind) in enumerate(frame.dtypes):
        values = [row[i] for row in rows]
        whole = kind in kinds and all(value is not None for value in values)
        columns[name] = plain(np.array(values, dtype=kinds[kind]) if whole else values)
    return columns


READERS = {"pandas": read_pandas, "polars": read_polars, "duckdb": read_duckdb}
if SparkSession is not None:
    READERS["spark"] = read_spark


def same(ours, theirs):
    """Raises at the first column that differs; the number of values when none does."""
    expect(list(ours) == list(theirs), f"columns {list(ours)[:5]}… and {list(theirs)[:5]}…")
    count = 0
    for name in ours:
        a, b = ours[name], theirs[name]
        equal = np.array_equal(a, b) if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else a == b
        expect(isinstance(equal, bool) and equal, f"column {name} differs")
        count += a.size if isinstance(a, np.ndarray) else len(a)
    return f"{count} values"


def floats(bits):
    """The numbers that `plain` has made bits of."""
    return bits.view(np.float32 if bits.dtype == np.uint32 else np.float64)


def matrix(table):
    """All features, (rows, width), of either layout."""
    if "features" in table:
        return floats(np.ascontiguousarray(table["features"]))
    return np.stack([floats(table[name]) for name in table if name not in KEYS], axis=1)


# ---- a run


class Run:
    """A finished run: its folder, its tables' files, and what pyarrow reads in them."""

    def __init__(self, folder):
        self.folder = folder
        self.shards = sorted((folder / "features").glob("part-*.parquet"))
        single = ["manifest", "reduced", "predictions", "classifier/columns"]
        files = {name: [folder / f"{name}.parquet"] for name in single}
        self.files = {"features": self.shards} | {n: f for n, f in files.items() if f[0].exists()}
        self.tables = {}

    def rows(self, status="ok"):
        """Places of the manifest's rows of this status."""
        return [i for i, word in enumerate(self.tables["manifest"]["status"]) if word == status]


def execute(binary, folder, overrides):
    command = [str(binary), "run", PIPELINE, "--out", str(folder), "-q"]
    for override in overrides:
        command += ["--set", override]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if outcome.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {outcome.returncode}\n{outcome.stderr}")
    return Run(folder)


def check_readers(check, name, run):
    """Every table opens everywhere and reads alike; false when pyarrow, with which all is compared, opens not all."""
    for table, files in run.files.items():

        def opened(table=table, files=files):
            run.tables[table] = read_pyarrow(files)
            rows = len(next(iter(run.tables[table].values())))
            return f"{rows} rows, {len(run.tables[table])} columns, {len(files)} file{'s' * (len(files) > 1)}"

        check(f"{name}: {table}: pyarrow opens it", opened)
        for reader, read in READERS.items():
            check(f"{name}: {table}: {reader} = pyarrow", lambda: same(run.tables[table], read(files)))

    def dataset():
        whole = pa.dataset.dataset(run.folder / "features").to_table(columns=["path"])
        return whole["path"].to_pylist() == run.tables["features"]["path"]

    def lazy():
        column = next(c for c in run.tables["features"] if c not in KEYS)
        frame = pl.scan_parquet(run.folder / "features" / "*.parquet").select(column).collect()
        expect(np.array_equal(plain(frame[column].to_numpy()), run.tables["features"][column]), "other values")
        return column

    check(f"{name}: features: a pyarrow dataset of the folder", dataset)
    check(f"{name}: features: polars scans *.parquet lazily for one column", lazy)
    return len(run.tables) == len(run.files)


def check_types(check, name, run, classes):
    """Categories arrive as categories, in the order of the classes."""
    words = {"label": classes, "split": ["train", "test"], "predicted": classes, "status": STATUSES}
    for table, files in run.files.items():
        columns = [c for c in CATEGORIES if c in run.tables[table]]
        if not columns:
            continue

        def in_pyarrow(columns=columns, path=files[0]):
            types = {field.name: field.type for field in pq.read_schema(path)}
            expect(all(pa.types.is_dictionary(types[c]) for c in columns), "not a dictionary")
            return ", ".join(columns)

        def in_pandas(columns=columns, path=files[0]):
            frame = pd.read_parquet(path, columns=columns)
            kinds = {c: frame[c].dtype for c in columns}
            expect(all(isinstance(kind, pd.CategoricalDtype) for kind in kinds.values()), kinds)
            return all(list(kinds[c].categories) == words[c] for c in columns)

        def in_polars(columns=columns, path=files[0]):
            schema = pl.read_parquet_schema(path)
            return all(schema[c] == pl.Enum(words[c]) for c in columns)

        check(f"{name}: {table}: dictionaries in pyarrow", in_pyarrow)
        check(f"{name}: {table}: categories in pandas, every class in order", in_pandas)
        check(f"{name}: {table}: Enum in polars, every class in order", in_polars)


def check_files(check, name, run, layout, classes):
    """What the footers say: compression, statistics, metadata, names."""
    card = json.loads((run.folder / "run.json").read_text())
    for table, files in run.files.items():
        footers = [pq.ParquetFile(path).metadata for path in files]
        groups = [footer.row_group(i) for footer in footers for i in range(footer.num_row_groups)]
        chunks = [group.column(i) for group in groups for i in range(group.num_columns)]
        check(f"{name}: {table}: zstd", lambda: all(chunk.compression == "ZSTD" for chunk in chunks))
        check(f"{name}: {table}: no min/max statistics", lambda: not any(chunk.is_stats_set for chunk in chunks))
        if table == "manifest":  # the files met do not depend on the model
            check(f"{name}: {table}: metadata", lambda: b"featurize.version" in footers[0].metadata)
            continue

        def metadata(footers=footers):
            for footer in footers:
                missing = [key for key in METADATA if f"featurize.{key}".encode() not in footer.metadata]
                expect(not missing, f"missing {missing}")
                recipe = json.loads(footer.metadata[b"featurize.recipe"])
                expect(recipe == card["recipe"], "the recipe is not that of run.json")
            return ", ".join(METADATA)

        check(f"{name}: {table}: metadata featurize.*", metadata)

    def names():
        width = matrix(run.tables["features"]).shape[1]
        wide = [f"efficientnet_lite0_avg_{i:04}" for i in range(width)]
        tables = {"manifest": MANIFEST, "features": KEYS + (wide if layout == "wide" else ["features"])}
        for table, expected in tables.items():
            expect(list(run.tables[table]) == expected, f"{table}: {list(run.tables[table])[:8]}…")
        reduced, predictions = list(run.tables["reduced"]), list(run.tables["predictions"])
        expect(reduced == KEYS + [f"pc_{i:03}" for i in range(len(reduced) - len(KEYS))], f"reduced: {reduced[:8]}…")
        first = [*KEYS, "predicted", "confidence"]
        named = [f"p_{name}" for name in classes]
        expect(predictions == [*first, *named, "known", "distance"], f"predictions: {predictions[:8]}…")
        return f"{width} features"

    check(f"{name}: column names", names)


def check_rows(check, name, run, limited):
    """The manifest has every file, the shards exactly its ok rows."""
    manifest, features = run.tables["manifest"], run.tables["features"]
    there = {path.relative_to(PICTURES).as_posix() for path in PICTURES.rglob("*") if path.is_file()}

    def sizes():
        rows = [(path, size) for path, size in zip(manifest["path"], manifest["bytes"]) if size is not None]
        return all((PICTURES / path).stat().st_size == size for path, size in rows)

    def listed():
        ok = run.rows()
        expect(limited or len(ok) == sum(path.endswith(".jpg") for path in there), f"{len(ok)} rows are ok")
        for key in KEYS:
            expect(features[key] == [manifest[key][i] for i in ok], f"{key} differs")
        return f"{len(ok)} rows in {len(run.shards)} shards"

    def every_file():
        paths = manifest["path"]
        return set(paths) == there and paths == sorted(paths, key=str.encode)

    def reasons():
        return all((word == "ok") == (error is None) for word, error in zip(manifest["status"], manifest["error"]))

    def numbers():
        every = matrix(features)
        return bool(np.isfinite(every).all() and every.any(axis=1).all())

    def classes():
        words = {"Training": "train", "Test": "test"}
        parts = [path.split("/") for path in features["path"]]
        expect([part[1] for part in parts] == features["label"], "label")
        expect([words[part[0]] for part in parts] == features["split"], "split")

    def reduced():
        return all(run.tables["reduced"][key] == features[key] for key in KEYS)

    check(f"{name}: the manifest has every file of the folder, sorted", every_file)
    check(f"{name}: the manifest's sizes are the files'", sizes)
    check(f"{name}: every row that is not ok says why, no other does", reasons)
    check(f"{name}: the shards hold exactly the ok rows, sorted", listed)
    check(f"{name}: the label is the picture's folder, the split the folder above", classes)
    check(f"{name}: every feature is finite, no row is zero", numbers)
    check(f"{name}: reduced has the rows of the features", reduced)


def check_learning(check, name, run):
    """numpy repeats what was fitted, from the files alone."""
    features, columns, predictions = (run.tables[t] for t in ("features", "classifier/columns", "predictions"))
    every = matrix(features)
    train = np.array([split == "train" for split in features["split"]])
    kept = np.array(columns["kept"])

    def statistics():
        mean, variance = every[train].astype(np.float64).mean(0), every[train].astype(np.float64).var(0)
        expect(np.allclose(floats(columns["mean"]), mean, rtol=1e-12, atol=1e-12), "mean")
        expect(np.allclose(floats(columns["variance"]), variance, rtol=1e-9, atol=1e-15), "variance")
        expect(np.array_equal(kept, np.ptp(every[train], axis=0) > 0), "kept")
        return f"{kept.sum()} of {len(kept)} kept"

    def projection():
        pca = load_file(run.folder / "classifier" / "pca.safetensors")
        ours = matrix(run.tables["reduced"])
        theirs = (every[:, kept] - pca["mean"]) @ pca["components"].T.astype(np.float64)
        error = np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)
        expect(error < 1e-5, error)
        return f"relative error {error:.1e}"

    def perceptron():
        layers = load_file(run.folder / "classifier" / "mlp.safetensors")
        depth = len(layers) // 2
        x = matrix(run.tables["reduced"]).astype(np.float64)
        for i in range(depth):
            x = x @ layers[f"layers.{i}.weight"] + layers[f"layers.{i}.bias"]
            x = np.maximum(x, 0) if i + 1 < depth else np.exp(x - x.max(1, keepdims=True))
        x /= x.sum(1, keepdims=True)
        classes = [c for c in predictions if c.startswith("p_")]
        ours = np.stack([floats(predictions[c]) for c in classes], axis=1)
        expect(np.abs(ours - x).max() < 1e-5, np.abs(ours - x).max())
        expect([f"p_{word}" for word in predictions["predicted"]] == [classes[i] for i in ours.argmax(1)], "predicted")
        expect(np.array_equal(floats(predictions["confidence"]), ours.max(1)), "confidence")
        return f"largest difference of a probability {np.abs(ours - x).max():.1e}"

    def accuracy():
        stated = json.loads((run.folder / "metrics.json").read_text())["test"]["accuracy"]
        rows = zip(predictions["label"], predictions["predicted"], ~train)
        right = [label == predicted for label, predicted, test in rows if test]
        expect(abs(sum(right) / len(right) - stated) < 1e-12, stated)
        return f"{100 * stated:.2f} % of {len(right)}"

    check(f"{name}: classifier/columns are numpy's mean and variance of the train rows", statistics)
    check(f"{name}: classifier/pca.safetensors gives reduced", projection)
    check(f"{name}: classifier/mlp.safetensors gives predictions", perceptron)
    check(f"{name}: metrics.json counts predictions", accuracy)


def main():
    parser = argparse.ArgumentParser(description="Opens every table of a run with pyarrow, pandas, polars and DuckDB.")
    parser.add_argument("binary", nargs="?", type=Path, default=ROOT / "target" / "release" / "featurize")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="passed on to `featurize run`")
    args = parser.parse_args()
    libraries = {"pyarrow": pa, "pandas": pd, "polars": pl, "duckdb": duckdb, "numpy": np}
    print(", ".join(f"{name} {library.__version__}" for name, library in libraries.items()))
    check, limited = Checks(), any("limit_per_class" in override for override in args.set)
    classes = sorted({path.parent.name for path in PICTURES.rglob("*.jpg")})
    with tempfile.TemporaryDirectory() as folder:

        def run(name, *overrides):
            return execute(args.binary.resolve(), Path(folder) / name, [*args.set, *overrides])

        runs = {layout: run(layout, f"output.layout={layout}") for layout in ("wide", "array")}
        for layout, finished in runs.items():
            if not check_readers(check, layout, finished):
                continue
            check_types(check, layout, finished, classes)
            check_files(check, layout, finished, layout, classes)
            check_rows(check, layout, finished, limited)
            check_learning(check, layout, finished)

        def alike():
            wide, array = (matrix(finished.tables["features"]).view(np.uint32) for finished in runs.values())
            return np.array_equal(wide, array)

        check("wide and array hold the same features", alike)

        halves = run("half", "output.dtype=f16", "output.npy=true", "output.layout=array", "train=null", "report=null")

        def half(read):
            expected = matrix(runs["wide"].tables["features"]).astype(np.float16)
            expect(np.array_equal(read(), expected), "other values than numpy's float16 of them")

        folder16 = halves.folder / "features"
        check(
            "f16: numpy maps features.npy", lambda: half(lambda: np.load(halves.folder / "features.npy", mmap_mode="r"))
        )
        check("f16: pyarrow", lambda: half(lambda: np.stack(pq.read_table(folder16)["features"].to_numpy())))
        check("f16: polars", lambda: half(lambda: pl.read_parquet(folder16 / "*.parquet")["features"].to_numpy()))
        glob = f"SELECT features FROM '{folder16}/*.parquet'"
        check("f16: DuckDB, as f32", lambda: half(lambda: np.stack(list(duckdb.sql(glob).fetchnumpy()["features"]))))

        def index():
            frame = pd.read_parquet(halves.folder / "index.parquet")
            return frame["path"].to_list() == runs["wide"].tables["features"]["path"]

        check("index.parquet names the rows of features.npy", index)

        unlabelled = run("none", "input.label=none", "train=null", "report=null")
        if check_readers(check, "no classes", unlabelled):
            check_types(check, "no classes", unlabelled, [])
            check("no classes: the label is null", lambda: set(unlabelled.tables["features"]["label"]) == {None})
    print(f"{check.passed} passed, {check.failed} failed")
    sys.exit(check.failed > 0)


if __name__ == "__main__":
    main()
