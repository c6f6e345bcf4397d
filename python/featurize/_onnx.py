"""Exported runs, checked with ONNX Runtime where it is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from . import _featurize

LIMIT = 1e-4


def write(run: Path, path: Path, form: str, weights: str | None) -> None:
    """Write the ONNX file of a run to `path`."""
    exported = _featurize.export_onnx(str(run), form, weights)
    check(exported)
    path.write_bytes(exported.file)


def check(exported: Any) -> None:
    """Run the file on the inputs that came with it."""
    try:
        import onnxruntime
    except ImportError:
        return
    dtype = np.uint8 if exported.input == "pixels" else np.float32
    inputs = {exported.input: np.frombuffer(exported.sample, dtype).reshape(exported.shape)}
    session = onnxruntime.InferenceSession(exported.file, providers=["CPUExecutionProvider"])
    [found] = session.run(["probabilities"], inputs)
    expected = np.frombuffer(exported.probabilities, np.float32).reshape(found.shape)
    apart = float(np.abs(found - expected).max())
    if not apart <= LIMIT:
        runtime = f"ONNX Runtime {onnxruntime.__version__}"
        text = f"{runtime} gives probabilities that are {apart:.1e} away from those of the run"
        raise _featurize.FeaturizeError(f"{text}: nothing was written; please report it")
