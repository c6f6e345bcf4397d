"""Makes classifiers.json: what scikit-learn, scipy and torch say about classifiers, their scores and their folds, for the tests of src/learn/.

    python tests/golden/classifiers.py        # needs scikit-learn 1.7 or later, scipy 1.15 or later and torch; writes beside itself

Tables come from the formulas of sklearn.py, which have their twins in src/learn/golden.rs.
"""

import importlib.util
import json
import pathlib
import sys
import warnings

HERE = pathlib.Path(__file__).resolve().parent
# sklearn.py beside this file would shadow the library it is named after
sys.path[:] = [p for p in sys.path if pathlib.Path(p or ".").resolve() != HERE]

import numpy as np
import sklearn
from sklearn import metrics
from sklearn.calibration import calibration_curve

spec = importlib.util.spec_from_file_location("formulas", HERE / "sklearn.py")
formulas = importlib.util.module_from_spec(spec)
spec.loader.exec_module(formulas)
draws, labelled, numbers = formulas.draws, formulas.labelled, formulas.numbers


def metrics_case(name, truth, scores, classes):
    truth = np.array(truth)
    probabilities = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    predicted = probabilities.argmax(axis=1)
    areas = []
    for c in range(classes):
        own = truth == c
        column = 1 if classes == 2 else c
        positive = truth == column
        areas.append(float(metrics.roc_auc_score(positive, probabilities[:, column])) if 0 < own.sum() < len(own) else None)
    support = np.bincount(truth, minlength=classes)
    there = [c for c in range(classes) if areas[c] is not None]
    mean = None
    if there:
        values = np.array([areas[c] for c in there])
        mean = [float(values.mean()), float(np.average(values, weights=support[there]))]
    if len(np.unique(truth)) == classes > 2:  # the official number, where it is defined
        whole = probabilities.astype(np.float64)
        whole /= whole.sum(axis=1, keepdims=True)
        for average, value in zip(["macro", "weighted"], mean):
            official = metrics.roc_auc_score(truth, probabilities, multi_class="ovr", average=average)
            assert abs(official - value) < 1e-12, (official, value)
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = predicted == truth
    accuracy, means = calibration_curve(right, confidence, n_bins=10, strategy="uniform") if right.any() and not right.all() else (None, None)
    # calibration_curve leaves empty bins out and wants both outcomes: count with the same edges
    place = np.searchsorted(np.linspace(0, 1, 11)[1:-1], confidence)
    counts = np.bincount(place, minlength=10)
    bins = [b for b in range(10) if counts[b]]
    own_accuracy = np.array([right[place == b].mean() for b in bins])
    own_means = np.array([confidence[place == b].mean() for b in bins])
    if accuracy is not None:
        assert np.allclose(accuracy, own_accuracy, atol=1e-12) and np.allclose(means, own_means, atol=1e-12)
    error = float((counts[bins] * np.abs(own_accuracy - own_means)).sum() / len(truth))
    return {
        "name": name,
        "classes": classes,
        "truth": truth.tolist(),
        "probabilities": numbers(probabilities),
        "roc_auc": areas,
        "roc_auc_mean": mean,
        "calibration_counts": counts.tolist(),
        "calibration_accuracy": own_accuracy.tolist(),
        "calibration_confidence": own_means.tolist(),
        "calibration_error": error,
    }


def metrics_cases():
    usual = draws(81, 60, 0, 3)
    scores = draws(82, 240, 1, 40).reshape(60, 4) + 20 * np.eye(4)[usual]
    absent = np.where(usual == 2, 0, usual)
    never = scores * np.array([1, 0, 1, 1])
    sure = np.eye(2)[draws(83, 20, 0, 1)]
    two = draws(85, 50, 0, 1)
    unsure = draws(86, 100, 1, 9).reshape(50, 2) + 3 * np.eye(2)[two]
    return [
        metrics_case("four classes", usual, scores, 4),
        metrics_case("a class without pictures, one that training lacked", absent, never, 4),
        metrics_case("two classes, sure and sometimes wrong", draws(84, 20, 0, 1), sure, 2),
        metrics_case("two classes", two, unsure, 2),
        metrics_case("ties", [0, 1, 2, 1], np.ones((4, 3)), 3),
        metrics_case("one class only", [1, 1, 1], draws(87, 9, 1, 9).reshape(3, 3), 3),
        metrics_case("tenths", [0, 1, 0, 1, 1], np.array([[5, 5], [6, 4], [3, 7], [2, 8], [10, 0]]), 2),
    ]


if __name__ == "__main__":
    golden = {
        "made_by": f"tests/golden/classifiers.py with scikit-learn {sklearn.__version__}, numpy {np.__version__}",
        "metrics": metrics_cases(),
    }
    target = HERE / "classifiers.json"
    target.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(target, target.stat().st_size, "bytes")
