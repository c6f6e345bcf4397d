"""`run` and `Run`."""

import json
import os
import signal
import subprocess
import sys
import threading
from itertools import compress

import numpy as np
import pyarrow.parquet as pq
import pytest

import featurize as fz


@pytest.fixture(scope="module")
def run(pipeline, tmp_path_factory) -> fz.Run:
    return fz.run(pipeline, out=tmp_path_factory.mktemp("runs") / "bananas", progress=False)


def test_a_run_has_its_tables(run):
    assert 0.0 <= run.metrics["test"]["accuracy"] <= 1.0
    features = run.features()
    assert features.num_rows == 24 and features.num_columns == 3 + 1280
    assert run.reduced().num_columns == 3 + 4
    assert run.manifest().num_rows >= 24
    assert run.predictions().column("path").to_pylist() == features.column("path").to_pylist()
    assert run.report.is_file() and "report.html" in run._repr_html_()
    assert run.quality().num_rows >= 0 and run.info["name"] == "bananas"


def test_predictions_for_new_pictures_are_those_of_the_run(run, pipeline):
    stored = run.predictions()
    paths = [os.path.join(pipeline["input"]["root"], path) for path in stored.column("path").to_pylist()]
    table = run.predict([open(path, "rb").read() for path in paths])
    assert run.classes == ["Banana", "Strawberry"]
    for name in ["predicted", "confidence", "p_Banana", "p_Strawberry"]:
        assert table.column(name).to_pylist() == stored.column(name).to_pylist(), name
    # a train picture of the run is measured without itself
    test = [split == "test" for split in stored.column("split").to_pylist()]
    for name in ["known", "distance"]:
        found, expected = (list(compress(one.column(name).to_pylist(), test)) for one in (table, stored))
        assert found == expected and len(found) > 0, name
    assert run.predict(paths[0]).column("path").to_pylist() == paths[:1]
    with pytest.raises(fz.PictureError):
        run.predict(["nowhere.jpg"])
    nulls = run.predict(["nowhere.jpg", paths[0]], errors="null")
    assert nulls.column("predicted").null_count == 1 and nulls.column("kind").to_pylist() == ["missing", None]
    assert run.predict([]).num_rows == 0
    rate = run.predict(paths, reject_rate=0.5).column("known").to_pylist()
    assert 0 < sum(rate) < sum(stored.column("known").to_pylist())
    assert not any(run.predict(paths, min_confidence=1.0).column("known").to_pylist())
    with pytest.raises(fz.FeaturizeError, match="no picture would be refused"):
        run.predict(paths, reject_rate=1e-4)
    with pytest.raises(ValueError, match="min_confidence"):
        run.predict(paths, min_confidence=2)


CLASSIFIERS = [
    {},
    {"select": {"top_k": 300}, "reduce.scale": "standard", "reduce.pca.whiten": True},
    {"select": {}, "reduce": {"scale": "l2", "svd": {"components": 5}}},
    {"train": {"logistic": {}}, "input.classes": ["Strawberry", "Banana", "Lemon"]},
    {"train": {"logistic": {}, "calibrate": "temperature"}},
    {
        "train": {"mlp": {"hidden": [8, 4], "activation": "tanh", "seed": 7}, "calibrate": "temperature"},
        "input.classes": None,
    },
    {"train": {"knn": {"k": 3, "weights": "distance"}, "calibrate": "none"}},
    {"train": {"knn": {"k": 5, "metric": "euclidean"}, "calibrate": "temperature"}},
]


@pytest.mark.parametrize("keys", CLASSIFIERS)
def test_scikit_learn_gives_the_probabilities_of_the_run(pipeline, tmp_path, keys):
    run = fz.run(pipeline, out=tmp_path / "run", set=keys, progress=False)
    features, stored = run.features(), run.predictions()
    rows = np.stack([column.to_numpy() for column in features.columns[3:]], axis=1)
    expected = np.stack([stored.column(f"p_{name}").to_numpy() for name in run.classes], axis=1)
    model = run.to_sklearn()
    assert list(model.classes_) == run.classes
    assert np.abs(model.predict_proba(rows) - expected).max() <= 1e-5
    assert model.predict(rows).tolist() == stored.column("predicted").to_pylist()


@pytest.mark.parametrize("keys", CLASSIFIERS)
def test_onnx_runtime_gives_the_probabilities_of_the_run(pipeline, tmp_path, keys):
    onnxruntime = pytest.importorskip("onnxruntime")
    keys = {"input.limit_per_class": None, "extract.recipe": {"size": 64, "fit": "stretch"}, **keys}
    run = fz.run(pipeline, out=tmp_path / "run", set=keys, progress=False)
    # in the network's size, so that no resize stands between
    noise = np.random.default_rng(5).integers(0, 40, (200, 64, 64, 3))
    columns, rows = np.meshgrid(np.arange(64), np.arange(64))
    stripes = np.stack([columns * (k % 4) + rows * (k % 3) + k for k in range(200)])
    pixels = ((stripes[..., None] * [1, 2, 3] + noise) % 256).astype(np.uint8)
    predicted = run.predict(list(pixels))
    expected = np.stack([predicted.column(f"p_{name}").to_numpy() for name in run.classes], axis=1)
    for form in ("input", "pixels"):
        path = run.to_onnx(tmp_path / f"{form}.onnx", input=form)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        notes = session.get_modelmeta().custom_metadata_map
        assert json.loads(notes["featurize.classes"]) == run.classes and notes["featurize.precision"] == "f32"
        recipe = json.loads(notes["featurize.recipe"])
        mean, std = (np.array(recipe[key], np.float32) for key in ("mean", "std"))
        prepared = ((pixels / np.float32(recipe["divisor"]) - mean) / std).astype(np.float32).transpose(0, 3, 1, 2)
        [found] = session.run(None, {form: pixels if form == "pixels" else np.ascontiguousarray(prepared)})
        assert np.abs(found - expected).max() <= 1e-4
        assert (found.argmax(1) == expected.argmax(1)).all()
    session = onnxruntime.InferenceSession(run.to_onnx(tmp_path / "head.onnx", input="features"))
    features, stored = run.features(), run.predictions()
    rows = np.stack([column.to_numpy() for column in features.columns[3:]], axis=1)
    [found] = session.run(None, {"features": rows})
    expected = np.stack([stored.column(f"p_{name}").to_numpy() for name in run.classes], axis=1)
    assert np.abs(found - expected).max() <= 1e-4


def test_a_file_that_gives_other_probabilities_is_not_written(run, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("featurize._onnx.LIMIT", -1.0)
    with pytest.raises(fz.FeaturizeError, match="away from those of the run"):
        run.to_onnx(tmp_path / "wrong.onnx", input="features")
    assert not (tmp_path / "wrong.onnx").exists()
    assert run.card.startswith("# bananas\n") and "Apache-2.0" in run.card


def test_the_program_predicts_the_same_bits(run, pipeline, tmp_path):
    paths = fz.pictures(os.path.join(pipeline["input"]["root"], "Test"))
    words = [sys.executable, "-m", "featurize", "predict", str(run.path), *paths, "--quiet"]
    subprocess.run([*words, "--parquet", str(tmp_path / "p.parquet")], check=True, capture_output=True)
    stored, table = pq.read_table(tmp_path / "p.parquet"), run.predict(paths)
    for name in ["path", "predicted", "confidence", "p_Banana", "p_Strawberry", "known", "distance"]:
        assert stored.column(name).to_pylist() == table.column(name).to_pylist(), name


def test_the_progress_is_shown_where_it_is_asked_for(pipeline, tmp_path, capfd):
    fz.run(pipeline, out=tmp_path / "shown", progress=True)
    lines = capfd.readouterr().err.splitlines()
    assert [line.split()[0] for line in (lines[0], lines[-1])] == ["scan", "report"], lines
    fz.run(pipeline, out=tmp_path / "silent", progress=False)
    # warnings are told all the same
    assert all(line.startswith("warning: ") for line in capfd.readouterr().err.splitlines())


def test_a_run_again_computes_nothing_and_changed_keys_are_followed(run, pipeline):
    before = (run.path / "features" / "part-00000.parquet").stat().st_mtime_ns
    again = fz.run(pipeline, out=run.path, set={"reduce.pca.components": 3}, progress=False)
    assert again.reduced().num_columns == 3 + 3
    assert (run.path / "features" / "part-00000.parquet").stat().st_mtime_ns == before
    fz.run(pipeline, out=run.path, progress=False)


def test_what_is_wrong_is_told_with_its_place(pipeline, tmp_path):
    file = tmp_path / "wrong.yaml"
    file.write_text("version: 1\nname: x\ninput:\n  root: .\ntrain:\n  mlp: {hiden: [3]}\n")
    with pytest.raises(fz.ConfigError, match="hidden") as raised:
        fz.run(file)
    assert raised.value.line == 6
    with pytest.raises(fz.ConfigError, match="no stage"):
        fz.run(pipeline, out=tmp_path / "x", until="nothing")
    with pytest.raises(fz.FeaturizeError):
        fz.run({**pipeline, "input": {"root": str(tmp_path / "nowhere")}}, out=tmp_path / "y")
    with pytest.raises(fz.FeaturizeError, match="run.json"):
        fz.Run(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_keeps_what_is_finished(pipeline, tmp_path):
    slow = {
        **pipeline,
        "input": {k: v for k, v in pipeline["input"].items() if k not in ("limit_per_class", "classes")},
    }
    slow["extract"] = {"recipe": {"size": 320}, "shard_rows": 16}
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fz.run(slow, out=tmp_path / "slow", progress=False)
    timer.join()
    assert any((tmp_path / "slow").rglob("*"))
    done = fz.run(slow, out=tmp_path / "slow", until="extract", set={"extract.recipe.size": 320}, progress=False)
    assert done.features().num_rows > 24


def test_the_command_is_there():
    words = [sys.executable, "-m", "featurize"]
    version = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout.strip() == f"featurize {fz.__version__}"
    models = subprocess.run([*words, "models", "list", "--json"], capture_output=True, text=True, check=True)
    assert "efficientnet_lite0" in [json.loads(line)["name"] for line in models.stdout.splitlines()]
    wrong = subprocess.run([*words, "run", "nowhere.yaml"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "nowhere.yaml" in wrong.stderr


def test_numbers_do_not_depend_on_the_form_of_the_pipeline(run, pipeline, tmp_path):
    file = tmp_path / "bananas.yaml"
    file.write_text(json.dumps({"version": 1, **pipeline}))
    other = fz.run(file, out=tmp_path / "other", progress=False)
    tables = [each.features() for each in (run, other)]
    columns = tables[0].column_names[3:]
    mine, theirs = (np.array([table.column(name).to_numpy() for name in columns]) for table in tables)
    assert mine.tobytes() == theirs.tobytes()
