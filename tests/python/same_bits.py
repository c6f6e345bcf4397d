#!/usr/bin/env python3
"""Compares two builds of featurize: do they give the same bits?

    python tests/python/same_bits.py OLD NEW [--networks all|none|NAME,NAME]

OLD and NEW are two programs (a build of before a change and one of after it). Both run, on this machine, the pipelines
that ship and one pipeline for each network of `featurize models` (random weights, two pictures a class, as `avg` and as
`map`). For every file of a run that both programs write, the script compares

* Parquet: the schema with its metadata, and the bits of every value (pyarrow reads both; the version of featurize in
  the metadata is left out);
* JSON, HTML and text: everything but timings, dates and the version;
* every other file (weights of the classifier, CSV, arrays): the bytes.

The exit code is 0 where all is the same and 1 where something differs; every difference is printed. Needs pyarrow.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ["fruits", "unlabeled"]
# keys of records whose values are times, sizes of memory, names of machines or hashes of files that hold such
VOLATILE = re.compile(
    r"(_at|seconds?|timing|time|wall|load|rate|started|finished|date|version|host|pid|memory|memory_mb|blake3|bytes|program|nonce|run_id)$"
)


def run(program, arguments, cwd):
    done = subprocess.run([program, *arguments], cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def steady(value):
    """`value` of a JSON record without what differs from run to run."""
    if isinstance(value, dict):
        return {key: steady(inner) for key, inner in value.items() if not VOLATILE.search(key)}
    if isinstance(value, list):
        return [steady(inner) for inner in value]
    return value


def text_of(path):
    """A text file without numbers that carry a unit of time or a rate, without dates and without the version."""
    text = path.read_text()
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?Z?( UTC)?", "DATE", text)
    text = re.sub(r"\d+\.\d+\.\d+(-\w+)?", "VERSION", text)
    text = re.sub(r"takes [\d.]+\s*% of the work", "TIMING", text)
    # rows of the tables of times and of memory have bars
    text = re.sub(r"<tr(?:(?!</tr>).)*class=\"track plain\".*?</tr>", "TIMING", text, flags=re.S)
    text = re.sub(r"\d[\d,.]*\s*(ms|s|min|h|images(/|&#x2f;)s|KiB|MiB|GiB|kB|MB|GB|%\s*of the time)\b", "TIME", text)
    return text


def parquet(path):
    table = pq.read_table(path)
    metadata = {
        key.decode(): value.decode(errors="replace")
        for key, value in (table.schema.metadata or {}).items()
        if key not in (b"ARROW:schema",)
    }
    metadata = {key: value for key, value in metadata.items() if "version" not in key}
    return table, [(field.name, str(field.type), field.nullable) for field in table.schema], metadata


def same_table(old, new):
    a, columns_a, metadata_a = parquet(old)
    b, columns_b, metadata_b = parquet(new)
    if columns_a != columns_b:
        return "other columns or types"
    if metadata_a != metadata_b:
        keys = sorted(set(metadata_a) | set(metadata_b))
        return "other metadata: " + ", ".join(k for k in keys if metadata_a.get(k) != metadata_b.get(k))
    for name in a.column_names:
        x, y = a.column(name).combine_chunks(), b.column(name).combine_chunks()
        # `equals` calls NaN unequal to itself and 0.0 equal to -0.0, so buffers are compared where it says no or values
        # are floats
        if x.to_pylist() != y.to_pylist() and [m.to_pybytes() if m else None for m in x.buffers()] != [
            m.to_pybytes() if m else None for m in y.buffers()
        ]:
            return f"other values in column {name}"
    return None


def names(folder):
    """The files of a run, without those of its store."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".store" not in path.parts)
    return {str(path.relative_to(folder)) for path in files}


def compare(old, new):
    """The differences between two folders, one text each, and how many files were compared."""
    a, b = names(old), names(new)
    found = [f"{name}: only the old program writes it" for name in sorted(a - b)]
    found += [f"{name}: only the new program writes it" for name in sorted(b - a)]
    for name in sorted(a & b):
        x, y = old / name, new / name
        if x.read_bytes() == y.read_bytes():
            continue
        if name.endswith(".parquet"):
            why = same_table(x, y)
        elif name.endswith(".json"):
            why = None if steady(json.loads(x.read_text())) == steady(json.loads(y.read_text())) else "other contents"
        elif name.endswith((".html", ".md", ".txt", ".yaml", ".svg")):
            why = None if text_of(x) == text_of(y) else "other text"
        else:
            why = "other bytes"
        if why:
            found.append(f"{name}: {why}")
    return found, len(a & b)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--networks", default="all", help="all, none, or names with commas between")
    parser.add_argument("--keep", help="a folder that keeps the runs")
    options = parser.parse_args()
    programs = {"old": str(Path(options.old).resolve()), "new": str(Path(options.new).resolve())}
    networks = []
    if options.networks == "all":
        listed = run(programs["old"], ["models", "list", "--json"], ROOT)
        networks = [json.loads(line)["name"] for line in listed.splitlines()]
    elif options.networks != "none":
        networks = options.networks.split(",")
    jobs = [(name, [str(ROOT / "pipelines" / f"{name}.yaml")]) for name in SHIPPED]
    random = [
        "extract.weights=random",
        "input.limit_per_class=2",
        "input.classes=[Banana,Strawberry]",
        "train.mlp.max_iter=20",
    ]
    for network in networks:
        for features in ("avg", "map"):
            settings = [f"extract.model={network}", f"extract.features={features}", "reduce.pca.components=2", *random]
            if features == "map":
                settings.append("output.layout=array")
            sets = [word for setting in settings for word in ("--set", setting)]
            jobs.append((f"{network}-{features}", [str(ROOT / "pipelines/fruits.yaml"), *sets]))
    scratch = tempfile.TemporaryDirectory() if options.keep is None else None
    base = Path(scratch.name if scratch else options.keep)
    differences = files = 0
    for name, arguments in jobs:
        for which, program in programs.items():
            folder = base / which / name
            folder.mkdir(parents=True)
            run(program, ["run", *arguments, "--out", "run"], folder)
        found, compared = compare(base / "old" / name / "run", base / "new" / name / "run")
        files += compared
        differences += len(found)
        print(f"{name}: {compared} files, " + ("the same" if not found else "; ".join(found)), flush=True)
    print(f"{len(jobs)} runs, {files} files compared, {differences} differ")
    sys.exit(1 if differences or not files else 0)


if __name__ == "__main__":
    main()
