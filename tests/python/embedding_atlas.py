#!/usr/bin/env python3
"""Opens atlas.parquet of a run with Apple's Embedding Atlas, and compares it with the other tables of the run.

    pip install embedding-atlas numpy pandas pyarrow pillow
    python tests/python/embedding_atlas.py                # target/release/featurize on pipelines/fruits.yaml
    python tests/python/embedding_atlas.py target/debug/featurize --set input.limit_per_class=6

The package loads the table as its command does, exports its page with these columns, and computes the degrees of the
graph of neighbours from them. Ends with an error at the first thing that is not as it should be.
"""

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# this file is named like the package
sys.path = [path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent]

import numpy as np
import pandas as pd
from click.testing import CliRunner
from embedding_atlas.cli import main as atlas
from embedding_atlas.graph_metrics import compute_degree_columns
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else ROOT / "target/release/featurize"
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [program, "run", ROOT / "pipelines/fruits.yaml", "--out", run, "--set", "output.atlas=true", "-q"]
        subprocess.run([*command, *sys.argv[2:]], check=True)
        table = pd.read_parquet(run / "atlas.parquet")
        predictions = pd.read_parquet(run / "predictions.parquet")
        reduced = pd.read_parquet(run / "reduced.parquet").filter(like="pc_").to_numpy()
        for column in ["path", "label", "split", "predicted", "confidence"]:
            assert table[column].astype(str).equals(predictions[column].astype(str)), column
        assert np.array_equal(table[["x", "y"]].to_numpy(), reduced[:, :2])
        unit = reduced.astype(np.float64) / np.linalg.norm(reduced.astype(np.float64), axis=1, keepdims=True)
        cosine = unit @ unit.T
        np.fill_diagonal(cosine, -2)
        for row, near in enumerate(table["neighbors"]):
            expected = np.sort(cosine[row])[::-1][: len(near["ids"])]
            assert np.allclose(cosine[row][near["ids"]], expected, atol=1e-5), row
            assert np.allclose(near["distances"], np.maximum(1 - expected, 0), atol=1e-5), row
        for image, path in zip(table["image"], table["path"]):
            assert image["path"] == path and max(Image.open(io.BytesIO(image["bytes"])).size) <= 128

        page = Path(folder) / "page.zip"
        columns = ["--x", "x", "--y", "y", "--neighbors", "neighbors", "--image", "image"]
        arguments = [str(run / "atlas.parquet"), *columns, "--export-application", str(page)]
        result = CliRunner().invoke(atlas, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        with zipfile.ZipFile(page) as files:
            shown = pd.read_parquet(io.BytesIO(files.read("data/dataset.parquet")))
            props = json.loads(files.read("data/metadata.json"))["props"]
        assert len(shown) == len(table) and shown["image"][0]["bytes"] == table["image"][0]["bytes"]
        degrees = compute_degree_columns(table, neighbors="neighbors")
        assert len(degrees[1]) == len(table) and min(degrees[1]) > 0
        print(f"{len(table)} pictures; the package shows them with {json.dumps(props)[:300]}")


main()
