#!/usr/bin/env python3
"""Makes `sources/`: the same eight pictures in a folder and in archives and tables, as other programs write these.

    folder/                   the pictures: `Training/Kiwi/0.jpg` …
    ustar.tar gnu.tar pax.tar by Python's tarfile, in its three formats; the last two with a long name
    gnu.tar.gz gnu.tar.zst    the same, compressed
    odd.tar                   links, folders, a FIFO, a name twice, `../`, `./`, an absolute name, a name that is not UTF-8, hidden files
    sparse.tar                a member with holes, by GNU tar
    plain.zip                 by Python's zipfile, members stored and deflated, one by bzip2, a name twice
    samples.tar samples.tar.gz by the webdataset library: `.jpg`, `.cls`, `.json`, `.txt`
    plain.parquet             by pyarrow, three row groups, bytes, classes as text, names, a null
    polars.parquet            by polars
    hub/                      by `datasets`: Parquet with the names of the Hub's splits, classes as ClassLabel
    saved/                    by `datasets`: `save_to_disk` of both splits, Arrow streams
    file.arrow                by pyarrow, Arrow's file form, large binary
    packed.arrow              by pyarrow, a stream with compressed buffers
    sources.json              per archive: path, SHA-256 and class of every picture, in stored order

    pip install datasets webdataset pyarrow polars pillow
    python sources.py                                     # writes beside itself and prints the versions
"""

import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from pathlib import Path

import datasets
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from PIL import Image

HERE = Path(__file__).resolve().parent / "sources"
CLASSES = ["Fig", "Kiwi"]
LONG = "Training/Kiwi/" + "a-very-long-name-of-a-folder/" * 5 + "käfer.jpg"


def picture(seed: int, form: str) -> bytes:
    """Coloured rectangles: small, and other bytes for each seed."""
    draw = random.Random(seed)
    image = Image.new("RGB", (40, 32), tuple(draw.randrange(256) for _ in range(3)))
    for _ in range(4):
        at = (draw.randrange(40), draw.randrange(32))
        image.paste(tuple(draw.randrange(256) for _ in range(3)), (*at, at[0] + 20, at[1] + 16))
    file = io.BytesIO()
    image.save(file, form, **({"quality": 60} if form == "JPEG" else {}))
    return file.getvalue()


# archives are padded to this
tarfile.RECORDSIZE = 1024


def pictures() -> dict[str, bytes]:
    all = {}
    for i, name in enumerate(["Training/Kiwi/1", "Training/Kiwi/0", "Training/Fig/0", "Training/Fig/1",
                              "Test/Kiwi/0", "Test/Fig/0", "Test/Kiwi/1", "Test/Fig/1"]):
        form, ending = ("PNG", "png") if i % 4 == 3 else ("JPEG", "jpg")
        all[f"{name}.{ending}"] = picture(i, form)
    return all


def label(path: str) -> str:
    return path.split("/")[1]


class Expected:
    """What a reader should find."""

    def __init__(self):
        self.files = {}

    def add(self, archive: str, members):
        self.files[archive] = [[path, hashlib.sha256(data).hexdigest(), label] for path, data, label in members]


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    return info, data


def tar(path: Path, members, form: int):
    with tarfile.open(path, "w", format=form, encoding="utf-8", errors="surrogateescape") as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data) if info.isreg() else None)


def tars(all: dict[str, bytes], expected: Expected):
    plain = [member(name, data) for name, data in all.items()]
    long = plain + [member(LONG, all["Training/Kiwi/0.jpg"])]
    for name, members, form in [("ustar", plain, tarfile.USTAR_FORMAT), ("gnu", long, tarfile.GNU_FORMAT), ("pax", long, tarfile.PAX_FORMAT)]:
        tar(HERE / f"{name}.tar", members, form)
        found = [(info.name, data, None) for info, data in members]
        for ending in ["", ".gz", ".zst"] if name == "gnu" else [""]:
            expected.add(f"{name}.tar{ending}", found)
    data = (HERE / "gnu.tar").read_bytes()
    with pa.CompressedOutputStream(str(HERE / "gnu.tar.gz"), "gzip") as file:
        file.write(data)
    with pa.CompressedOutputStream(str(HERE / "gnu.tar.zst"), "zstd") as file:
        file.write(data)
    names = list(all)
    first, second, third = (all[name] for name in names[:3])
    odd = [
        member("a", kind=tarfile.DIRTYPE),
        member("./a/0.jpg", first),
        member("a/link.jpg", kind=tarfile.SYMTYPE, link="0.jpg"),
        member("a/hard.jpg", kind=tarfile.LNKTYPE, link="a/0.jpg"),
        member("a/fifo.jpg", kind=tarfile.FIFOTYPE),
        member("a/twice.jpg", first),
        member("../out.jpg", first),
        member("/roof/absolute.jpg", second),
        member("a/b\\c.jpg", second),
        member(b"a/caf\xe9.jpg".decode("utf-8", "surrogateescape"), third),
        member("a/.hidden.jpg", first),
        member("a/._0.jpg", first),
        member("__MACOSX/a/0.jpg", first),
        member("__MACOSX/a/1.jpg", first),
        member("a/notes.txt.bak", b"text"),
        member("a//twice.jpg", third),
        member("a/empty.jpg", b""),
    ]
    tar(HERE / "odd.tar", odd, tarfile.GNU_FORMAT)
    expected.add("odd.tar", [("a/0.jpg", first, None), ("roof/absolute.jpg", second, None), ("a/b\\c.jpg", second, None),
                             ("a/caf\\xe9.jpg", third, None), ("a/twice.jpg", third, None), ("a/empty.jpg", b"", None)])
    with tempfile.TemporaryDirectory() as folder:
        with open(Path(folder, "holes.jpg"), "wb") as file:
            file.seek(1 << 20)
            file.write(first)
        Path(folder, "whole.jpg").write_bytes(first)
        subprocess.run(["tar", "--sparse", "--format=gnu", "-cf", HERE / "sparse.tar", "holes.jpg", "whole.jpg"], cwd=folder, check=True)
    expected.add("sparse.tar", [("whole.jpg", first, None)])


def zips(all: dict[str, bytes], expected: Expected):
    with zipfile.ZipFile(HERE / "plain.zip", "w") as archive:
        archive.mkdir("Training")
        for i, (name, data) in enumerate(all.items()):
            archive.writestr(name, data, zipfile.ZIP_STORED if i % 2 else zipfile.ZIP_DEFLATED)
        archive.writestr("Training/käfer.jpg", all["Test/Kiwi/0.jpg"])
        archive.writestr("Training/bzip2.jpg", all["Test/Kiwi/0.jpg"], zipfile.ZIP_BZIP2)
        link = zipfile.ZipInfo("Training/link.jpg")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "käfer.jpg")
        archive.writestr("__MACOSX/._0.jpg", b"x")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            archive.writestr("twice.jpg", b"x")
            archive.writestr("twice.jpg", all["Test/Kiwi/1.jpg"])
    found = [(name, data, None) for name, data in all.items()]
    expected.add("plain.zip", found + [("Training/käfer.jpg", all["Test/Kiwi/0.jpg"], None), ("twice.jpg", all["Test/Kiwi/1.jpg"], None)])


def samples(all: dict[str, bytes], expected: Expected):
    for ending in ["tar", "tar.gz"]:
        found = []
        with webdataset.TarWriter(str(HERE / f"samples.{ending}"), mtime=0) as writer:
            for i, (name, data) in enumerate(all.items()):
                key, form = f"part/{i:04}", name.rsplit(".")[-1]
                told = [{"cls": CLASSES.index(label(name)), "txt": "a caption"}, {"json": {"label": label(name)}}, {"txt": label(name)}, {}][i % 4]
                writer.write({"__key__": key, form: data, **told})
                wanted = [str(CLASSES.index(label(name))), label(name), label(name), None][i % 4]
                found.append((f"{key}.{form}", data, wanted))
        expected.add(f"samples.{ending}", found)


def tables(all: dict[str, bytes], expected: Expected):
    rows = list(all.items())
    names, data = [name for name, _ in rows], [data for _, data in rows]
    classes = [label(name) for name in names]
    columns = {"id": list(range(9)), "image": data + [None], "note": ["x" * 50] * 9, "label": classes + ["Fig"], "name": names + ["none.jpg"]}
    table = pa.table({**columns, "image": pa.array(columns["image"], pa.binary())})
    pq.write_table(table, HERE / "plain.parquet", row_group_size=3)
    numbered = [(f"{i:06}", one, classes[i]) for i, one in enumerate(data)]
    expected.add("plain.parquet", numbered)
    polars.DataFrame({"picture": data, "other": classes, "label": classes}).write_parquet(HERE / "polars.parquet")
    expected.add("polars.parquet", numbered)
    with pa.OSFile(str(HERE / "file.arrow"), "wb") as file:
        table = pa.table({"list": [[1], [2, 3]] * 4, "image": pa.array(data, pa.large_binary()), "label": pa.array(classes)})
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=5)
    expected.add("file.arrow", numbered)
    with pa.OSFile(str(HERE / "packed.arrow"), "wb") as file:
        small = table.select(["image", "label"]).slice(0, 2)
        with pa.ipc.new_stream(file, small.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_table(small)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    splits = {}
    for split, folder in [("train", "Training/"), ("test", "Test/")]:
        own = [(name, one) for name, one in rows if name.startswith(folder)]
        images = [{"bytes": one, "path": name.rsplit("/")[-1]} for name, one in own]
        splits[split] = datasets.Dataset.from_dict({"image": images, "label": [label(name) for name, _ in own]}, features=features)
        (HERE / "hub/data").mkdir(parents=True, exist_ok=True)
        found = [(f"{i:06}", one, label(name)) for i, (name, one) in enumerate(own)]
        parts = 2 if split == "train" else 1
        for part in range(parts):
            shard = splits[split].shard(parts, part, contiguous=True)
            path = f"hub/data/{split}-{part:05}-of-{parts:05}.parquet"
            shard.to_parquet(HERE / path)
            each = len(found) // parts
            expected.add(path, [(f"{i:06}", one, label) for i, (_, one, label) in enumerate(found[part * each:][:each])])
        expected.add(f"saved/{split}/data-00000-of-00001.arrow", found)
    datasets.DatasetDict(splits).save_to_disk(str(HERE / "saved"))


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    all, expected = pictures(), Expected()
    for name, data in all.items():
        path = HERE / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    tars(all, expected)
    zips(all, expected)
    samples(all, expected)
    tables(all, expected)
    (HERE / "sources.json").write_text(json.dumps(expected.files, indent=1, ensure_ascii=False) + "\n")
    total = sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file())
    versions = [f"{module.__name__} {module.__version__}" for module in (datasets, pa, polars, webdataset)]
    print(f"{total} bytes; Python {sys.version.split()[0]}, {', '.join(versions)}")


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    main()
