"""A pipeline on the nodes of a Ray cluster: `python -m featurize.ray pipeline.yaml`.

The driver lists the pictures. Actors, one a node with its CPUs but one or one a GPU, compute whole shards of features
and write them into the run's folder themselves; only the counts of pictures travel. The driver then goes on as
`featurize run` does. A shard of a node that died is computed on another one, and a driver that is started again
computes only what is missing. The tables are those of one machine, byte for byte.

All nodes see the pictures and the run's folder under the same paths, and have this version of featurize installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter, deque
from pathlib import Path
from typing import Any

from . import _featurize

try:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise ImportError("featurize.ray needs Ray: pip install 'featurize[ray]'") from error

# shards that wait at an actor while it computes one
AHEAD = 1
# times that an actor of one place may die before the place is left alone
DEATHS = 3
# seconds after which nodes that have joined since are given actors
LOOK = 10.0


class Shards:
    """Computes shards in a process on a node; Ray makes an actor of it."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.worker = _featurize.Worker(**arguments)

    def load(self) -> None:
        self.worker.load()

    def compute(self, shard: int) -> int:
        pictures, _ = self.worker.compute(shard)
        return pictures


class Pool:
    """Actors on the nodes of the cluster, the shards that each is computing, and those that wait.

    A place is a node and the number of an actor on it.
    """

    def __init__(
        self, arguments: dict[str, Any], shards: list[int], limit: int | None, gpus: bool, progress: _featurize.Progress
    ) -> None:
        self.arguments, self.limit, self.gpus, self.progress = arguments, limit or sys.maxsize, gpus, progress
        self.waiting = deque(shards)
        self.actors: dict[tuple[str, int], Any] = {}
        # what is under way: the place, and the shard, which is None while the actor loads the network
        self.tasks: dict[Any, tuple[tuple[str, int], int | None]] = {}
        self.deaths: Counter[tuple[str, int]] = Counter()
        self.reasons: list[str] = []

    def places(self) -> dict[tuple[str, int], dict[str, Any]]:
        """What each actor may take of its node."""
        places = {}
        for node in ray.nodes():
            cpus, gpus = (int(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU"))
            count = gpus if self.gpus else min(cpus, 1)
            for number in range(count if node["Alive"] else 0):
                # an actor that held every CPU would keep the node from anything else, the driver's own work included
                share = min(cpus, max(1, (cpus - 1) // count))
                places[node["NodeID"], number] = {"num_cpus": share, "num_gpus": int(self.gpus)}
        return places

    def grow(self) -> None:
        """Start actors where there are none, and give the others work."""
        for place, resources in sorted(self.places().items()):
            if place in self.actors or self.deaths[place] >= DEATHS or len(self.actors) >= self.limit:
                continue
            sets = [*self.arguments["sets"], f"runtime.threads={max(1, resources['num_cpus'])}"]
            where = NodeAffinitySchedulingStrategy(place[0], soft=False)
            actor = ray.remote(Shards).options(scheduling_strategy=where, max_restarts=0, **resources)
            self.actors[place] = actor.remote({**self.arguments, "sets": sets})
            self.tasks[self.actors[place].load.remote()] = (place, None)
        for place, actor in self.actors.items():
            under_way = [shard for at, shard in self.tasks.values() if at == place]
            # an actor whose node is busy may never begin, and holds no shard
            while self.waiting and None not in under_way and len(under_way) <= AHEAD:
                under_way.append(self.waiting.popleft())
                self.tasks[actor.compute.remote(under_way[-1])] = (place, under_way[-1])

    def lose(self, place: tuple[str, int], reason: str, deaths: int) -> None:
        """Forget an actor; its shards wait for another one."""
        del self.actors[place]
        self.deaths[place] += deaths
        self.reasons.append(reason)
        shards = [self.tasks.pop(task)[1] for task in [task for task, (at, _) in self.tasks.items() if at == place]]
        self.waiting.extendleft(shard for shard in reversed(shards) if shard is not None)

    def settle(self, task: Any) -> int:
        """Take what became of a task; the number of pictures that were computed."""
        if task not in self.tasks:
            return 0
        place, shard = self.tasks[task]
        name = f"node {place[0][:8]}"
        try:
            pictures = ray.get(task)
        except ray.exceptions.RayTaskError as error:
            if shard is not None:
                raise
            # another version, other kernels, no such device
            reason = str(error.cause)
            self.progress.warn(f"{name} takes no part: {reason}")
            self.lose(place, reason, DEATHS)
            return 0
        except ray.exceptions.RayActorError as error:
            refused = [line for line in str(error).splitlines() if "featurize." in line and "Error: " in line]
            if refused:
                self.progress.warn(f"{name} takes no part: {refused[-1]}")
            else:
                self.progress.warn(f"{name} is lost; its shards are computed elsewhere")
            self.lose(place, refused[-1] if refused else f"{name} is lost", DEATHS if refused else 1)
            return 0
        del self.tasks[task]
        return pictures or 0

    def run(self) -> None:
        """Compute every shard."""
        while self.waiting or any(shard is not None for _, shard in self.tasks.values()):
            self.grow()
            if not self.tasks:
                reasons = "".join(f"\n  {reason}" for reason in sorted(set(self.reasons)))
                raise _featurize.FeaturizeError(f"no node of the cluster computes shards{reasons}")
            ready, _ = ray.wait(list(self.tasks), timeout=LOOK)
            for task in ready:
                self.progress.advance(self.settle(task))


def extract(arguments: dict[str, Any], num_actors: int | None, gpus: bool, quiet: bool) -> None:
    """Compute the shards that are missing of a run that is listed, on the cluster that Ray is connected to."""
    missing = _featurize.Worker(**arguments).missing()
    if not missing:
        return
    pictures = sum(count for _, count in missing)
    progress = _featurize.Progress(pictures, quiet)
    pool = Pool(arguments, [shard for shard, _ in missing], num_actors, gpus, progress)
    pool.run()
    nodes = len({node for node, _ in pool.actors})
    progress.finish(f"{len(missing)} shards, {pictures} images on {nodes} {'node' if nodes == 1 else 'nodes'}")


def main(words: list[str] | None = None) -> int:
    description = "Run a pipeline on the nodes of a Ray cluster."
    parser = argparse.ArgumentParser(prog="python -m featurize.ray", description=description)
    parser.add_argument("file", help="the YAML file")
    address = "the address of the cluster (default: the one that runs on this machine)"
    parser.add_argument("--address", default="auto", help=address)
    actors = "the most actors (default: one a node, or one a GPU)"
    parser.add_argument("--num-actors", type=int, metavar="N", help=actors)
    parser.add_argument("--gpus", action="store_true", help="one actor a GPU instead of one a node")
    parser.add_argument("--out", metavar="DIR", help="the run's folder, instead of the one that the file names")
    override = "override a key, as `featurize run` does"
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=override)
    parser.add_argument("--weights-dir", metavar="DIR", help="the folder for weights, on every node")
    parser.add_argument("--offline", action="store_true", help="download nothing")
    parser.add_argument("-q", "--quiet", action="store_true", help="print only warnings and errors")
    options = parser.parse_args(words)
    file, weights = os.path.abspath(options.file), options.weights_dir and os.path.abspath(options.weights_dir)
    try:
        ray.init(address=options.address, log_to_driver=False, logging_level="error")
        text = Path(file).read_text(encoding="utf-8")
        out = options.out and os.path.abspath(options.out)
        # nodes have other current folders
        out = os.path.abspath(
            _featurize.run(
                text, file, options.set, out, "scan", None, False, False, not options.quiet, weights, options.offline
            )
        )
        arguments = {"text": text, "file": file, "sets": options.set, "out": out}
        arguments |= {"weights_dir": weights, "offline": options.offline}
        extract(arguments, options.num_actors, options.gpus, options.quiet)
        ray.shutdown()
    except ConnectionError:
        parser.error(f"there is no Ray cluster at `{options.address}`: start one with `ray start --head`")
    except (_featurize.FeaturizeError, ray.exceptions.RayError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, _featurize.ConfigError) else 1
    except KeyboardInterrupt:
        print("interrupted; every shard that is finished is kept: the same command goes on from there", file=sys.stderr)
        return 130
    rest = ["featurize", "run", file, "--out", out, *(f"--set={one}" for one in options.set)]
    rest += (
        ["--quiet"] * options.quiet
        + ["--offline"] * options.offline
        + ([f"--weights-dir={weights}"] if weights else [])
    )
    return _featurize.main(rest)


if __name__ == "__main__":
    sys.exit(main())
