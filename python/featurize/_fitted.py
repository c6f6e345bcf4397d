"""What a run has fitted, as objects of scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def tensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    types = {"F32": np.float32, "F64": np.float64}
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, end = (8 + length + offset for offset in entry["data_offsets"])
            arrays[name] = np.frombuffer(data[first:end], types[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def pipeline(run: Path) -> Any:
    """The pipeline of the run in the folder `run`: features in, classes and probabilities out."""
    from sklearn.pipeline import Pipeline

    folder = run / "classifier"
    card = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
    width, steps = int(np.prod(card["shape"])), []
    if card.get("select"):
        import pyarrow.parquet as pq
        from sklearn.preprocessing import FunctionTransformer

        kept = np.flatnonzero(pq.read_table(folder / card["select"], columns=["kept"])["kept"].to_numpy())
        steps.append(("select", FunctionTransformer(np.take, kw_args={"indices": kept, "axis": 1})))
        width = len(kept)
    if card.get("reduce"):
        steps += reduction(tensors(folder / card["reduce"]), width)
    classes = np.array(card["classes"])
    steps.append((card.get("kind") or "mlp", classifier(card, tensors(folder / card["train"]), classes)))
    return Pipeline(steps)


def fitted(model: Any, **attributes: Any) -> Any:
    """The model with what `fit` would have given it."""
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def reduction(stored: dict[str, np.ndarray], width: int) -> list[tuple[str, Any]]:
    from sklearn.decomposition import PCA, TruncatedSVD
    from sklearn.preprocessing import Normalizer, StandardScaler

    steps = []
    if "scaler.mean" in stored:
        mean, scale = stored["scaler.mean"], stored["scaler.scale"]
        scaler = fitted(StandardScaler(), mean_=mean, scale_=scale, var_=scale**2, n_features_in_=width)
        steps.append(("scale", fitted(scaler, n_samples_seen_=int(stored["rows"][0]) if "rows" in stored else 0)))
    elif "scaler.l2" in stored:
        steps.append(("scale", Normalizer("l2")))
    if "components" in stored:
        components = stored["components"].astype(np.float64)
        count = len(components)
        words = ("explained_variance", "explained_variance_ratio", "singular_values")
        spectrum = {f"{word}_": stored[word] for word in words}
        common = {"components_": components, "n_features_in_": width, **spectrum}
        if "mean" in stored:
            pca = PCA(count, whiten=bool(stored["whiten"][0]))
            noise, rows = float(stored["noise_variance"][0]), int(stored["rows"][0])
            more = {"mean_": stored["mean"], "n_components_": count, "noise_variance_": noise, "n_samples_": rows}
            steps.append(("pca", fitted(pca, **common, **more)))
        else:
            steps.append(("svd", fitted(TruncatedSVD(count), **common)))
    return steps


def classifier(card: dict[str, Any], stored: dict[str, np.ndarray], classes: np.ndarray) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import LabelBinarizer

    if card.get("knn"):
        knn = card["knn"]
        model = KNeighborsClassifier(knn["k"], metric=knn["metric"], weights=knn["weights"], algorithm="brute")
        return model.fit(stored["x"].astype(np.float64), classes[stored["y"].astype(int)])
    count = sum(name.endswith(".weight") for name in stored)
    weights = [stored[f"layers.{i}.weight"].astype(np.float64) for i in range(count)]
    biases = [stored[f"layers.{i}.bias"].astype(np.float64) for i in range(count)]
    common = {"classes_": classes, "n_features_in_": weights[0].shape[0]}
    if card.get("kind") == "logistic":
        return fitted(LogisticRegression(), coef_=weights[0].T, intercept_=biases[0], n_iter_=np.array([0]), **common)
    model = MLPClassifier([len(bias) for bias in biases[:-1]], activation=card["activation"])
    last = "logistic" if len(classes) == 2 else "softmax"
    sizes = {"n_layers_": count + 1, "n_outputs_": len(biases[-1]), "out_activation_": last, "n_iter_": 0, "t_": 0}
    return fitted(model, coefs_=weights, intercepts_=biases, _label_binarizer=LabelBinarizer().fit(classes), **sizes, **common)
