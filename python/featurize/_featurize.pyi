"""The extension module. Programs use the package's own names; this file is for type checkers."""

import os
import pathlib
from typing import Sequence

__version__: str

class FeaturizeError(Exception): ...

class ConfigError(FeaturizeError):
    line: int | None
    column: int | None

class PictureError(FeaturizeError):
    index: int
    kind: str

# a file's name, a file's bytes, or RGB pixels with width and height
_Input = str | os.PathLike[str] | bytes | bytearray | tuple[bytes, int, int]

class Rows:
    """Results of pictures, in the order asked for. `values` holds `len(kinds) * width` floats; a failed picture has
    zeros there.
    """

    values: bytearray
    width: int
    kinds: list[str | None]
    reasons: list[str | None]
    sizes: list[tuple[int, int] | None]

class Extractor:
    model: str
    layer: str
    device: str
    width: int
    shape: list[int]
    columns: list[str]
    metadata: list[tuple[str, str]]
    def __new__(
        cls, text: str, file: str, sets: Sequence[str], weights_dir: str | None = None, offline: bool = False
    ) -> Extractor: ...
    def compute(self, pictures: Sequence[_Input]) -> Rows: ...

class Predictor:
    classes: list[str]
    def __new__(cls, run: str, weights: str | None = None, threads: int | None = None) -> Predictor: ...
    def limit(self, reject_rate: float | None = None) -> float | None: ...
    def compute(self, pictures: Sequence[_Input]) -> Rows: ...

class Worker:
    """Shards of a run that is listed; `missing` gives their numbers, each with the number of its pictures."""

    def __new__(
        cls,
        text: str,
        file: str,
        sets: Sequence[str],
        out: str | None,
        weights_dir: str | None = None,
        offline: bool = False,
    ) -> Worker: ...
    def missing(self) -> list[tuple[int, int]]: ...
    def load(self) -> None: ...
    def compute(self, shard: int) -> tuple[int, int]: ...

class Progress:
    def __new__(cls, pictures: int, quiet: bool) -> Progress: ...
    def advance(self, pictures: int) -> None: ...
    def warn(self, text: str) -> None: ...
    def finish(self, text: str) -> None: ...

class Exported:
    """An ONNX file, values of `shape` for its input, and the probabilities that the program gives for them.

    The values are bytes for `pixels`, else float32.
    """

    file: bytes
    input: str
    shape: list[int]
    sample: bytes
    probabilities: bytes

def export_onnx(run: str, input: str, weights: str | None = None) -> Exported: ...
def model_card(run: str) -> str: ...
def pictures(folder: str) -> list[str]: ...
def holds_pictures(path: str) -> bool: ...
def run(
    text: str,
    file: str,
    sets: Sequence[str],
    out: str | None,
    until: str | None,
    force: str | None,
    retry_failed: bool,
    rescan: bool,
    progress: bool,
    weights_dir: str | None,
    offline: bool,
) -> pathlib.Path: ...
def main(arguments: Sequence[str]) -> int: ...
