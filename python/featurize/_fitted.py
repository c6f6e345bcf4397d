"""What a run has fitted, as objects of scikit-learn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ._featurize import FeaturizeError


def pipeline(run: Path) -> Any:
    """The pipeline of the run in the folder `run`: features in, classes and probabilities out."""
    from sklearn.pipeline import Pipeline

    folder = run / "classifier"
    path = folder / "classifier.json"
    if not path.is_file():
        raise FeaturizeError(f"{run} holds no classifier: run a pipeline with the section `train` to its end")
    card = json.loads(path.read_text(encoding="utf-8"))
    width, steps = int(np.prod(card["shape"])), []
    if card.get("select"):
        import pyarrow.parquet as pq
        from sklearn.preprocessing import FunctionTransformer

        kept = np.flatnonzero(pq.read_table(folder / card["select"], columns=["kept"])["kept"].to_numpy())
        steps.append(("select", FunctionTransformer(np.take, kw_args={"indices": kept, "axis": 1})))
        width = len(kept)
    if card.get("reduce"):
        steps += reduction(tensors(folder / card["reduce"]), width)
    kind = card.get("kind") or "mlp"
    model = classifier(card, kind, tensors(folder / card["train"]))
    return Pipeline([*steps, (kind, model)])


def tensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    types = {"F32": np.float32, "F64": np.float64}
    arrays = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            first, end = (8 + length + offset for offset in entry["data_offsets"])
            arrays[name] = np.frombuffer(data[first:end], types[entry["dtype"]]).reshape(entry["shape"])
    return arrays


def fitted(model: Any, **attributes: Any) -> Any:
    """The model with the attributes that `fit` would have given it."""
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def reduction(stored: dict[str, np.ndarray], width: int) -> list[tuple[str, Any]]:
    """The scale and the components."""
    from sklearn.decomposition import PCA, TruncatedSVD
    from sklearn.preprocessing import Normalizer, StandardScaler

    steps = []
    if "scaler.mean" in stored:
        mean, scale = stored["scaler.mean"], stored["scaler.scale"]
        scaler = fitted(StandardScaler(), mean_=mean, scale_=scale, var_=scale**2, n_features_in_=width)
        steps.append(("scale", scaler))
    elif "scaler.l2" in stored:
        steps.append(("scale", Normalizer("l2")))
    if "components" in stored:
        components = stored["components"].astype(np.float64)
        count = len(components)
        words = ("explained_variance", "explained_variance_ratio", "singular_values")
        common = {"components_": components, "n_features_in_": width} | {f"{word}_": stored[word] for word in words}
        if "mean" in stored:
            noise, rows = float(stored["noise_variance"][0]), int(stored["rows"][0])
            own = {"mean_": stored["mean"], "n_components_": count, "noise_variance_": noise, "n_samples_": rows}
            steps.append(("pca", fitted(PCA(count, whiten=bool(stored["whiten"][0])), **common, **own)))
        else:
            steps.append(("svd", fitted(TruncatedSVD(count), **common)))
    return steps


def classifier(card: dict[str, Any], kind: str, stored: dict[str, np.ndarray]) -> Any:
    """The classifier, with its calibration."""
    classes, temperature = np.array(card["classes"]), card.get("temperature")
    if kind == "knn":
        model = neighbours(card["knn"], stored, classes)
    elif kind == "logistic" and temperature is None:
        model = logistic(stored, classes)
    else:
        # a perceptron without hidden layers gives probabilities, which the calibration is made of, and no other scores
        model = perceptron(card["activation"], stored, classes)
    return model if temperature is None else calibrated(model, temperature)


def neighbours(knn: dict[str, Any], stored: dict[str, np.ndarray], classes: np.ndarray) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(knn["k"], metric=knn["metric"], weights=knn["weights"], algorithm="brute")
    # in the order of the run's classes, which need not be that of the alphabet
    return fitted(model.fit(stored["x"].astype(np.float64), stored["y"].astype(int)), classes_=classes)


def layers(stored: dict[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights (inputs, outputs) and biases of each layer."""
    count = sum(name.endswith(".weight") for name in stored)
    return tuple([stored[f"layers.{i}.{word}"].astype(np.float64) for i in range(count)] for word in ("weight", "bias"))


def logistic(stored: dict[str, np.ndarray], classes: np.ndarray) -> Any:
    from sklearn.linear_model import LogisticRegression

    [weight], [bias] = layers(stored)
    own = {"coef_": weight.T, "intercept_": bias, "n_iter_": np.array([0])}
    return fitted(LogisticRegression(), classes_=classes, n_features_in_=len(weight), **own)


def perceptron(activation: str, stored: dict[str, np.ndarray], classes: np.ndarray) -> Any:
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import LabelBinarizer

    weights, biases = layers(stored)
    binarizer = fitted(LabelBinarizer().fit(np.arange(len(classes))), classes_=classes)
    last = "logistic" if len(classes) == 2 else "softmax"
    return fitted(
        MLPClassifier([len(bias) for bias in biases[:-1]], activation=activation),
        coefs_=weights,
        intercepts_=biases,
        classes_=classes,
        n_features_in_=len(weights[0]),
        n_layers_=len(weights) + 1,
        n_outputs_=len(biases[-1]),
        out_activation_=last,
        n_iter_=0,
        t_=0,
        _label_binarizer=binarizer,
    )


def calibrated(model: Any, temperature: float) -> Any:
    """The classifier whose probabilities p become softmax(ln(p) / temperature)."""
    try:
        from sklearn.calibration import CalibratedClassifierCV, _CalibratedClassifier, _TemperatureScaling
    except ImportError as error:
        text = "the run's probabilities are calibrated by a temperature, which scikit-learn knows from version 1.8 on"
        raise FeaturizeError(f"{text}: install that version, or run with `train.calibrate: none`") from error
    scaling = fitted(_TemperatureScaling(), beta_=1.0 / temperature)
    one = _CalibratedClassifier(model, [scaling], classes=model.classes_, method="temperature")
    whole = CalibratedClassifierCV(model, method="temperature", ensemble=False)
    return fitted(whole, calibrated_classifiers_=[one], classes_=model.classes_, n_features_in_=model.n_features_in_)
