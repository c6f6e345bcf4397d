"""`embed` and `Extractor`: the numbers of the program, whatever a picture comes as."""

import os
import pickle
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import featurize as fz
from conftest import FRUITS, ROOT


@pytest.fixture(scope="module")
def extractor() -> fz.Extractor:
    return fz.Extractor(recipe={"size": 64})


def bits(array: np.ndarray) -> bytes:
    assert array.dtype == np.float32
    return np.ascontiguousarray(array).tobytes()


def program() -> list[str]:
    """The program that was built beside the package, else the package's own command."""
    built = ROOT / "target" / "release" / "featurize"
    return [str(built)] if built.is_file() else [sys.executable, "-m", "featurize"]


def test_features_are_those_of_the_program(paths, tmp_path):
    out = tmp_path / "features.parquet"
    words = [*program(), "embed", *paths, "--quiet", "--layout", "array", "-o", str(out)]
    subprocess.run(words, check=True)
    table = pq.read_table(out)
    expected = np.stack([np.asarray(row, np.float32) for row in table.column(table.column_names[-1]).to_pylist()])
    assert table.column("path").to_pylist() == paths
    features = fz.embed(paths)
    assert features.shape == (len(paths), 1280)
    assert bits(features) == bits(expected)


def test_every_form_of_a_picture_gives_the_same_bits(extractor, paths, tmp_path):
    image = Image.open(paths[0]).convert("RGB")
    plain = tmp_path / "plain.png"
    image.save(plain)
    array = np.asarray(image)
    forms = [
        str(plain),
        plain,
        plain.read_bytes(),
        bytearray(plain.read_bytes()),
        image,
        array,
        array[:, ::-1][:, ::-1],
    ]
    rows = extractor.embed(forms)
    assert all(bits(row) == bits(rows[0]) for row in rows)
    assert bits(extractor.embed(plain)) == bits(rows[:1])
    assert bits(extractor.embed(array)) == bits(rows[:1])
    grey = np.asarray(image.convert("L"))
    assert bits(extractor.embed(grey)) == bits(extractor.embed(grey[:, :, None]))


def test_rows_come_in_the_order_asked_for_whatever_the_threads(extractor, paths):
    together = extractor.embed(paths)
    assert len({bits(row) for row in together}) == len(paths)
    back = extractor.embed(paths[::-1])[::-1]
    alone = np.concatenate([fz.Extractor(recipe={"size": 64}, threads=1).embed(path) for path in paths])
    assert bits(together) == bits(back) == bits(alone)
    assert extractor.embed([]).shape == (0, 1280)


def test_a_folder_is_all_its_pictures():
    folder = FRUITS / "Test" / "Banana"
    listed = fz.pictures(folder)
    assert listed == sorted(listed) and len(listed) == len(list(folder.iterdir()))
    table = fz.embed(folder, as_arrow=True, recipe={"size": 64})
    assert table.column("path").to_pylist() == listed


def test_an_archive_is_all_its_pictures_and_its_members_are_paths(extractor, paths, tmp_path):
    plain, packed = tmp_path / "a.tar", tmp_path / "b.tar.gz"
    for name, mode in [(plain, "w"), (packed, "w:gz")]:
        with tarfile.open(name, mode) as archive:
            for path in paths:
                archive.add(path, f"bananas/{os.path.basename(path)}")
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        for path in paths:
            archive.write(path, os.path.basename(path))
    pq.write_table(pa.table({"image": [open(path, "rb").read() for path in paths]}), tmp_path / "d.parquet")
    expected = extractor.embed(paths)
    for archive in ["a.tar", "b.tar.gz", "c.zip", "d.parquet"]:
        assert bits(extractor.embed(tmp_path / archive)) == bits(expected), archive
        assert bits(extractor.embed(fz.pictures(tmp_path / archive)[::-1])) == bits(expected[::-1]), archive
    inside = f"{plain}/bananas/{os.path.basename(paths[3])}"
    mixed = extractor.table([inside, paths[0], f"{plain}/nothing.jpg"])
    assert mixed.column("status").to_pylist() == ["ok", "ok", "failed"]
    assert np.array_equal(np.float32(mixed.column("features").to_pylist()[0]), expected[3])


def test_a_picture_that_cannot_be_read_raises_or_is_a_row_of_nulls(extractor, paths):
    mixed = [paths[0], "nowhere.jpg", b"no picture", paths[1]]
    with pytest.raises(fz.PictureError, match="nowhere.jpg: missing: ") as raised:
        extractor.embed(mixed)
    assert (raised.value.index, raised.value.kind) == (1, "missing")
    assert isinstance(raised.value, fz.FeaturizeError)
    rows = extractor.embed(mixed, errors="null")
    assert np.isnan(rows[1:3]).all() and not np.isnan(rows[[0, 3]]).any()
    assert bits(rows[[0, 3]]) == bits(extractor.embed(paths[:2]))
    table = extractor.table(mixed)
    assert table.column("status").to_pylist() == ["ok", "failed", "failed", "ok"]
    assert table.column("kind").to_pylist() == [None, "missing", "not_an_image", None]
    assert table.column("path").to_pylist() == [paths[0], "nowhere.jpg", None, paths[1]]
    assert table.column("features").null_count == 2
    assert table.column("width").to_pylist()[0] == Image.open(paths[0]).width
    with pytest.raises(ValueError, match="errors is"):
        extractor.embed(mixed, errors="ignore")


def test_what_is_no_picture_is_told(extractor):
    for wrong in ([3], 3):
        with pytest.raises(TypeError, match="not int"):
            extractor.embed(wrong)
    with pytest.raises(ValueError, match="uint8"):
        extractor.embed([np.zeros((4, 4, 3), np.float32)])
    with pytest.raises(ValueError, match="shape"):
        extractor.embed([np.zeros((4, 4, 7), np.uint8)])


def test_parameters_are_the_keys_of_the_pipeline(paths):
    maps = fz.Extractor(recipe={"size": 64}, features="map")
    assert maps.shape == (2, 2, 1280) and maps.embed(paths[:3]).shape == (3, 2, 2, 1280)
    flat = fz.Extractor(recipe={"size": 64}, features="flatten")
    assert bits(flat.embed(paths[:3])) == bits(maps.embed(paths[:3]))
    random = fz.Extractor("resnet18", weights="random", recipe={"size": 64}, layer=["layer1", "layer2"])
    assert random.layer == "layer1,layer2" and random.width == 192 and len(random.columns) == 192
    assert random.metadata["featurize.model"] == "resnet18" and random.device == "cpu"
    with pytest.raises(fz.ConfigError, match="resnet18"):
        fz.Extractor("resnet17")
    with pytest.raises(fz.ConfigError, match="layer"):
        fz.Extractor(layer="no_such_layer")
    with pytest.raises(fz.ConfigError):
        fz.embed(paths, device="cuda9")


def test_a_pipeline_is_an_extractor_too(extractor, paths, tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("version: 1\nname: p\ninput: {root: .}\nextract: {recipe: {size: 96}}\n")
    other = fz.Extractor.from_yaml(file, set={"extract.recipe.size": 64})
    assert bits(other.embed(paths)) == bits(extractor.embed(paths))
    file.write_text("version: 1\nname: p\ninput: {root: .}\nextract:\n  modle: resnet50\n")
    with pytest.raises(fz.ConfigError) as raised:
        fz.Extractor.from_yaml(file)
    assert (raised.value.line, raised.value.column) == (5, 3) and "model" in str(raised.value)


def test_batches_come_back_with_their_features(extractor, paths):
    data = [open(path, "rb").read() for path in paths[:2]] + [b"no picture"]
    batch = pa.record_batch({"id": [1, 2, 3], "bytes": data})
    result = extractor(batch)
    assert isinstance(result, pa.RecordBatch)
    assert result.schema.names == ["id", "bytes", "width", "height", "status", "kind", "error", "features"]
    assert result.column("status").to_pylist() == ["ok", "ok", "failed"]
    expected = extractor.embed(paths[:2])
    assert np.array_equal(np.stack(result.column("features").to_pylist()[:2]).astype(np.float32), expected)
    table = extractor(pa.table({"path": paths[:2]}))
    assert isinstance(table, pa.Table) and table.column("features").null_count == 0
    columns = extractor({"path": np.array(paths[:2] + ["nowhere"], object)})
    assert bits(columns["features"][:2]) == bits(expected) and columns["kind"].tolist() == [None, None, "missing"]
    with pytest.raises(ValueError, match="`bytes` or `path`"):
        extractor(pa.table({"image": paths}))


def test_an_extractor_travels_to_another_process(extractor, paths):
    other = pickle.loads(pickle.dumps(extractor))
    assert bits(other.embed(paths[:2])) == bits(extractor.embed(paths[:2]))


def test_other_threads_of_python_go_on(extractor, paths):
    ticks, over = [], threading.Event()

    def tick():
        while not over.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    extractor.embed(paths * 20)
    over.set()
    thread.join()
    assert len(ticks) >= 20


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_ends_the_work(paths):
    extractor = fz.Extractor()
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        extractor.embed(paths * 2000)
    assert time.monotonic() - start < 5
    timer.join()


def test_the_import_brings_no_large_package():
    script = (
        "import sys, featurize; print([name for name in ('numpy', 'pyarrow', 'sklearn', 'PIL') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
