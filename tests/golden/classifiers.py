"""Makes classifiers.json: what scikit-learn and scipy say about classifiers, their scores and their folds, for the
tests of crates/learn/src/.

    python tests/golden/classifiers.py        # needs scikit-learn 1.7 or later, scipy 1.15 or later; writes beside itself

Tables come from the formulas of sklearn.py, which have their twins in crates/learn/src/golden.rs.
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
import scipy
import sklearn
from sklearn import metrics
from scipy.optimize import minimize, rosen, rosen_der
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

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


def lbfgs_case():
    values = []
    start = [-1.2, 1.0, -0.5, 0.8, 1.3, -0.7, 0.1, 2.0]
    options = {"maxiter": 500, "gtol": 1e-6, "ftol": 2.22e-9}
    found = minimize(rosen, start, jac=rosen_der, method="L-BFGS-B", options=options,
                     callback=lambda intermediate_result: values.append(float(intermediate_result.fun)))
    return {"start": start, "iterations": int(found.nit), "values": values}


def mlp_lbfgs_case(name, formula, **params):
    x, y = labelled(**formula)
    start, values, init, plain = [], [], MLPClassifier._init_coef, scipy.optimize.minimize

    def recorded(self, *args):
        # in f64, as ours computes: in f32 the reference's own rounding shows after ten iterations
        weights, bias = (values.astype(np.float32).astype(np.float64) for values in init(self, *args))
        start.append({"weights": numbers(weights), "bias": numbers(bias)})
        return weights, bias

    def told(*args, **kwargs):
        return plain(*args, callback=lambda intermediate_result: values.append(float(intermediate_result.fun)), **kwargs)

    MLPClassifier._init_coef, scipy.optimize.minimize = recorded, told
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # scikit-learn's own tolerance ends where the loss still has a thousandth to fall: rounding decides by how
            # much
            model = MLPClassifier(random_state=3, solver="lbfgs", **params).fit(x.astype(np.float64), y)
    finally:
        MLPClassifier._init_coef, scipy.optimize.minimize = init, plain
    assert values
    return {"name": name, "labelled": formula, "params": params | {"solver": "lbfgs"}, "start": start,
            "values": values[:15], "loss": float(model.loss_), "n_iter": int(model.n_iter_), "accuracy": float(model.score(x, y))}


def logistic_case(formula, C, class_weight=None, fit_intercept=True):
    x, y = labelled(**formula)
    x = x.astype(np.float64)
    model = LogisticRegression(C=C, class_weight=class_weight, fit_intercept=fit_intercept, tol=1e-10, max_iter=5000).fit(x, y)
    return {"labelled": formula, "C": C, "class_weight": class_weight, "fit_intercept": fit_intercept,
            "coef": numbers(model.coef_.T), "intercept": numbers(np.broadcast_to(model.intercept_, len(model.coef_))),
            "probabilities": numbers(model.predict_proba(x[:6]).astype(np.float32))}


def knn_case(formula, train, k, metric, weights):
    x, y = labelled(**formula)
    x = x.astype(np.float64)
    model = KNeighborsClassifier(k, metric=metric, weights=weights, algorithm="brute").fit(x[:train], y[:train])
    far, _ = KNeighborsClassifier(k + 1, metric=metric, algorithm="brute").fit(x[:train], y[:train]).kneighbors(x[train:])
    assert (np.diff(far, axis=1) > 1e-9).all(), "scikit-learn leaves the order of equal distances open"
    return {"labelled": formula, "train": train, "k": k, "metric": metric, "weights": weights,
            "probabilities": numbers(model.predict_proba(x[train:]).astype(np.float32))}


def folds_case(seed, rows, classes, groups, folds):
    y, group = draws(seed, rows, 0, classes - 1), draws(seed + 1, rows, 0, groups - 1)
    _, group = np.unique(group, return_inverse=True)

    def numbered(splits):
        fold = np.zeros(rows, dtype=int)
        for i, (_, test) in enumerate(splits):
            fold[test] = i
        return fold.tolist()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"y": y.tolist(), "groups": group.tolist(), "folds": folds,
                "stratified": numbered(StratifiedKFold(folds).split(y, y)),
                "grouped": numbered(StratifiedGroupKFold(folds).split(y, y, group))}


if __name__ == "__main__":
    three = {"seed": 61, "rows": 90, "cols": 14, "classes": 3}
    two = {"seed": 71, "rows": 70, "cols": 9, "classes": 2}
    five = {"seed": 101, "rows": 260, "cols": 40, "classes": 5}
    small = {"hidden_layer_sizes": [12, 6], "max_iter": 500, "tol": 1e-8}
    golden = {
        "made_by": f"tests/golden/classifiers.py with scikit-learn {sklearn.__version__}, numpy {np.__version__}",
        "metrics": metrics_cases(),
        "lbfgs": lbfgs_case(),
        "mlp_lbfgs": [
            mlp_lbfgs_case("three classes", three, **small | {"alpha": 0.01}),
            mlp_lbfgs_case("two classes, tanh", two, **small | {"activation": "tanh", "alpha": 1.0}),
            mlp_lbfgs_case("five classes, logistic", five, **small | {"activation": "logistic", "alpha": 0.1, "max_iter": 60}),
            mlp_lbfgs_case("few iterations", five, **small | {"max_iter": 10}),
        ],
        "logistic": [logistic_case(three, 1.0), logistic_case(two, 0.1), logistic_case(five, 10.0, "balanced"),
                     logistic_case(three, 0.5, fit_intercept=False), logistic_case(two, 2.0, "balanced")],
        "knn": [knn_case(five, 200, k, metric, weights) for k in [1, 5] for metric in ["cosine", "euclidean"]
                for weights in ["uniform", "distance"]],
        "folds": [folds_case(111, 40, 3, 12, 5), folds_case(121, 61, 4, 9, 3), folds_case(131, 30, 2, 30, 2), folds_case(141, 50, 5, 7, 4)],
    }
    target = HERE / "classifiers.json"
    target.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(target, target.stat().st_size, "bytes")
