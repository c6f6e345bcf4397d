"""Pipelines: `run` runs one, `Run` is the folder that it leaves."""

from __future__ import annotations

import functools
import html
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Mapping

from . import _featurize, _pictures

if TYPE_CHECKING:
    import pyarrow as pa


def run(
    pipeline: str | os.PathLike[str] | Mapping[str, Any],
    out: str | os.PathLike[str] | None = None,
    *,
    set: Mapping[str, Any] | None = None,
    until: str | None = None,
    force: str | None = None,
    retry_failed: bool = False,
    rescan: bool = False,
    progress: bool = True,
    weights_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> Run:
    """Run a pipeline, a YAML file or a dictionary with its keys, as `featurize run` does, and return its folder.

    What an earlier run has computed is not computed again. Ctrl-C (KeyboardInterrupt) keeps what is finished; the next
    call goes on from there.

    Parameters
    ----------
    out
        The run's folder. Default: the pipeline's `output.dir`, else `runs/<name>`.
    set
        Keys to change: `{"reduce.pca.components": 64}`. `None` removes a key.
    until, force
        The name of a stage: stop after it, or compute it and what follows again.
    rescan
        Whether the pictures are listed again although the listing in the run could be taken.
    progress
        Whether progress is written to standard error.

    Raises
    ------
    ConfigError
        The pipeline is wrong; `line` and `column` say where.
    FeaturizeError
        The run failed.
    """
    if isinstance(pipeline, Mapping):
        text, file = json.dumps({"version": 1, **pipeline}, default=os.fspath), "pipeline"
    else:
        file = os.fspath(pipeline)
        text = Path(file).read_text(encoding="utf-8")
    sets = [f"{key}={json.dumps(value, default=os.fspath)}" for key, value in (set or {}).items()]
    out = None if out is None else os.fspath(out)
    weights_dir = None if weights_dir is None else os.fspath(weights_dir)
    return Run(
        _featurize.run(text, file, sets, out, until, force, retry_failed, rescan, progress, weights_dir, offline)
    )


class Run:
    """The folder of a run. Tables are read when they are asked for; pyarrow must be installed for them."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not (self.path / "run.json").is_file():
            raise _featurize.FeaturizeError(f"{self.path} is no folder of a run: it has no run.json")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def info(self) -> dict[str, Any]:
        """`run.json`: versions, settings, fingerprints, weights, device, timings."""
        return json.loads((self.path / "run.json").read_text(encoding="utf-8"))

    @property
    def metrics(self) -> dict[str, Any] | None:
        """`metrics.json`: `["test"]["accuracy"]`, precision and recall by class, confusion matrix, loss; None without
        `evaluate`.
        """
        path = self.path / "metrics.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    @property
    def report(self) -> Path | None:
        """The path of `report.html`; None without the stage `report`."""
        path = self.path / "report.html"
        return path if path.is_file() else None

    @property
    def card(self) -> str:
        """The model card in Markdown: data, splits, scores with their intervals, limits, licence of the weights."""
        return _featurize.model_card(str(self.path))

    def to_sklearn(self) -> Any:
        """Return what the run has fitted as a `Pipeline` of scikit-learn.

        Its rows are features, of the run's tables or of `embed` with the run's network: (n, columns). `predict_proba`
        gives the probabilities of `predictions.parquet` to 1e-5.
        """
        from . import _fitted

        return _fitted.pipeline(self.path)

    def to_onnx(
        self,
        path: str | os.PathLike[str],
        *,
        input: str = "input",
        weights: str | os.PathLike[str] | None = None,
    ) -> Path:
        """Write network and classifier to one ONNX file, as `featurize export` does, and return its path.

        Where onnxruntime is installed, it runs the file first, and the probabilities are compared with those of the
        run.

        Parameters
        ----------
        input
            The input of the file: `input`, the picture as the recipe prepares it, (n, channels, height, width),
            float32; `pixels`, bytes of red, green and blue, (n, height, width, 3), cut to the size of the recipe; or
            `features`, rows of the run's tables, (n, columns), float32. Its output is `probabilities`, (n, classes),
            float32.
        weights
            The file of the network's weights, where it is no longer where the run found it.

        Raises
        ------
        FeaturizeError
            The run has no classifier, or the file gives other probabilities than the run.
        """
        from . import _onnx

        path = Path(path)
        _onnx.write(self.path, path, input, None if weights is None else os.fspath(weights))
        return path

    def manifest(self) -> pa.Table:
        """Every file met: path, label, split, size, status, kind, error."""
        return self._table("manifest.parquet")

    def features(self, columns: list[str] | None = None) -> pa.Table:
        """The features of all pictures: path, label, split, then a column for each feature (or one column of lists)."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = sorted((self.path / "features").glob("part-*.parquet"), key=lambda path: int(path.stem.split("-")[1]))
        if not parts:
            raise _featurize.FeaturizeError(f"{self.path} has no features: run the pipeline to the stage `extract`")
        return pa.concat_tables([pq.read_table(part, columns=columns) for part in parts])

    def reduced(self) -> pa.Table:
        """The components of all pictures: path, label, split, pc_000 …"""
        return self._table("reduced.parquet")

    def predictions(self) -> pa.Table:
        """The predictions for the run's own pictures: path, label, split, predicted, confidence, p_<class> …"""
        return self._table("predictions.parquet")

    def quality(self) -> pa.Table:
        """Pictures that deserve a look: copies, labels in doubt, outliers."""
        return self._table("quality.parquet")

    def _table(self, name: str) -> pa.Table:
        import pyarrow.parquet as pq

        path = self.path / name
        if not path.is_file():
            raise _featurize.FeaturizeError(
                f"{self.path} has no {name}: the pipeline has no stage that writes it, or has not come so far"
            )
        return pq.read_table(path)

    @property
    def classes(self) -> list[str]:
        """The classes, in the order of the probabilities."""
        return self._predictor.classes

    @functools.cached_property
    def _predictor(self) -> _featurize.Predictor:
        return _featurize.Predictor(str(self.path))

    def predict(
        self,
        pictures: Any,
        *,
        errors: str = "raise",
        reject_rate: float | None = None,
        min_confidence: float | None = None,
    ) -> pa.Table:
        """Predictions for `pictures` (paths, bytes, PIL images, arrays): path, predicted, confidence, p_<class> …,
        known, distance; the program's own numbers.

        `distance` tells how far a picture is from the train pictures: 1 for a typical one of them. `known` is false
        where it is farther than all but a share of `reject_rate` of the train pictures are from one another (default:
        beyond the 0.99 quantile of their distances), and where `confidence` is below `min_confidence`. A run of before
        version 0.4 has neither column, unless `min_confidence` is given.

        With `errors="raise"` the first picture that cannot be read raises `PictureError`; with `errors="null"` its row
        has nulls and the columns `kind` and `error` tell why.
        """
        import numpy as np
        import pyarrow as pa

        if errors not in ("raise", "null"):
            raise ValueError(f"errors is 'raise' or 'null', not {errors!r}")
        if reject_rate is not None and not 0 < reject_rate < 1:
            raise ValueError(f"reject_rate is a number above 0 and below 1, not {reject_rate!r}")
        if min_confidence is not None and not 0 < min_confidence <= 1:
            raise ValueError(f"min_confidence is a number above 0, at most 1, not {min_confidence!r}")
        limit = self._predictor.limit(reject_rate)
        pictures = _pictures.listed(pictures)
        rows = self._predictor.compute([_pictures.prepared(picture) for picture in pictures])
        if errors == "raise":
            _pictures.check(rows, pictures)
        values, failed = _pictures.matrix(rows), np.array([kind is not None for kind in rows.kinds], dtype=bool)
        values, distance = (values, None) if limit is None else (values[:, :-1], values[:, -1])
        best = np.where(failed, 0, np.nan_to_num(values).argmax(axis=1)) if len(values) else np.zeros(0, dtype=int)
        named = np.array(self.classes, dtype=object)[best]
        confidence = values[np.arange(len(values)), best]
        columns = {
            "path": pa.array([_pictures.name_of(picture) for picture in pictures], pa.string()),
            "predicted": pa.array(named, pa.string(), mask=failed),
            "confidence": pa.array(confidence, pa.float32(), mask=failed),
        }
        columns |= {
            f"p_{name}": pa.array(values[:, i], pa.float32(), mask=failed) for i, name in enumerate(self.classes)
        }
        if limit is not None or min_confidence is not None:
            known = np.ones(len(values), dtype=bool) if limit is None else distance <= np.float32(limit)
            known &= confidence >= np.float32(min_confidence or 0)
            columns["known"] = pa.array(known, pa.bool_(), mask=failed)
        if limit is not None:
            columns["distance"] = pa.array(distance, pa.float32(), mask=failed)
        if errors == "null":
            columns |= {"kind": pa.array(rows.kinds, pa.string()), "error": pa.array(rows.reasons, pa.string())}
        return pa.table(columns)

    def _repr_html_(self) -> str:
        rows = [("folder", html.escape(str(self.path)))]
        scores = (self.metrics or {}).get("test")
        if scores is not None:
            rows.append(("accuracy on test", f"{scores['accuracy']:.4f}"))
        if self.report is not None:
            link = html.escape(self.report.resolve().as_uri(), quote=True)
            rows.append(("report", f'<a href="{link}">report.html</a>'))
        cells = "".join(f"<tr><th style='text-align:left'>{key}</th><td>{value}</td></tr>" for key, value in rows)
        return f"<table>{cells}</table>"
