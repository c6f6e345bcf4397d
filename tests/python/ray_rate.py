#!/usr/bin/env python3
"""The rate of an extraction by Ray on one node beside the program alone, in alternating rounds.

    pip install './python[ray]'
    python tests/python/ray_rate.py target/release/featurize FOLDER --threads 2

Both sides extract EfficientNet-Lite0 from every photograph below FOLDER, `--copies` times over, with as many threads.
Ray's node has one processor more than threads, since an actor leaves one to the driver. Starting, listing and the
reading of weights do not count; decoding, the network, and the tables do. The tables of both sides must be the same
bytes. The last line has the median and the worst ratio of Ray's rate to the program's.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ray
from featurize import _featurize
from featurize.ray import Pool

ENDINGS = {".jpg", ".jpeg", ".png"}


def pipeline(root, threads):
    return json.dumps(
        {
            "version": 1,
            "name": "rate",
            "input": {"root": str(root)},
            "extract": {"model": "efficientnet_lite0"},
            "runtime": {"device": "cpu", "threads": threads},
            "output": {"cache": "none"},
        }
    )  # JSON is YAML


def alone(options, file, out, computed=None):
    """Pictures a second of the program, which must compute as many as are expected."""
    command = [options.featurize, "run", file, "--out", out, "--until", "extract", "-q"]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    timing = json.loads((out / "run.json").read_text())["extract"]["timing"]
    assert computed is None or timing["pictures"] == computed, f"{timing['pictures']} pictures were computed"
    return timing["pictures"] / max(timing["wall"] - timing["load"], 1e-9)


def by_ray(options, file, out):
    """Pictures a second of an actor."""
    text = file.read_text()
    _featurize.run(text, str(file), [], str(out), "scan", None, False, False, False, None, True)
    arguments = {"text": text, "file": str(file), "sets": [], "out": str(out), "weights_dir": None, "offline": True}
    missing = _featurize.Worker(**arguments).missing()
    pool = Pool(arguments, [], None, False, _featurize.Progress(0, True))
    pool.grow()
    for task in list(pool.tasks):
        ray.get(task)
        pool.settle(task)
    pool.waiting.extend(shard for shard, _ in missing)
    start = time.perf_counter()
    pool.run()
    seconds = time.perf_counter() - start
    for actor in pool.actors.values():
        ray.kill(actor)
    alone(options, file, out, computed=0)  # gives the tables their places
    return sum(count for _, count in missing) / seconds


def tables(out):
    return {file.name: file.read_bytes() for file in (out / "features").glob("*.parquet")}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("featurize", type=Path, help="the program")
    parser.add_argument("folder", type=Path, help="photographs, in any folders below it")
    parser.add_argument("--copies", type=int, default=20, help="of every photograph")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    options.featurize = options.featurize.resolve()
    files = sorted(file for file in options.folder.rglob("*") if file.suffix.lower() in ENDINGS)
    ray.init(num_cpus=options.threads + 1, include_dashboard=False, logging_level="error", log_to_driver=False)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        root, file = Path(folder) / "pictures", Path(folder) / "rate.yaml"
        root.mkdir()
        for copy in range(options.copies):
            for i, picture in enumerate(files):
                shutil.copy(picture, root / f"{copy:04d}-{i:05d}{picture.suffix}")
        file.write_text(pipeline(root, options.threads))
        for round in range(options.rounds):
            outs = [Path(folder) / f"{side}-{round}" for side in ("alone", "ray")]
            sides = list(zip((alone, by_ray), outs, strict=True))
            rates = {side: side(options, file, out) for side, out in (sides if round % 2 == 0 else sides[::-1])}
            ratios.append(rates[by_ray] / rates[alone])
            told = f"the program {rates[alone]:.1f}, Ray {rates[by_ray]:.1f} images/s, ratio {ratios[-1]:.3f}"
            print(f"round {round + 1}: {told}", flush=True)
            assert tables(outs[0]) == tables(outs[1]), "the tables differ"
            for out in outs:
                shutil.rmtree(out)
    count = len(files) * options.copies
    print(f"{count} pictures: median ratio {statistics.median(ratios):.3f}, worst {min(ratios):.3f}")


if __name__ == "__main__":
    main()
