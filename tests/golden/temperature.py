"""Makes temperature.json: temperatures of scikit-learn, and log loss and calibration error before and after, for
crates/learn/src/temperature.rs.

    python tests/golden/temperature.py        # needs scikit-learn 1.8 or later; writes beside itself

Every case has probabilities in float32 of rows that were held out, by `cross_val_predict`, and what
`CalibratedClassifierCV` makes of them.
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
from sklearn.calibration import CalibratedClassifierCV, _TemperatureScaling
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier

spec = importlib.util.spec_from_file_location("formulas", HERE / "sklearn.py")
formulas = importlib.util.module_from_spec(spec)
spec.loader.exec_module(formulas)


def calibration_error(truth, p):
    """Mean distance of confidence and accuracy in ten bins of confidence, weighted by their rows."""
    confidence, right = p.max(axis=1), p.argmax(axis=1) == truth
    bins = np.searchsorted(np.arange(1, 10) * 0.1, confidence, side="left")
    return float(
        sum(abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).mean() for b in np.unique(bins))
    )


def scores(truth, p):
    p = p.astype(np.float32)
    return [float(log_loss(truth, p, labels=range(p.shape[1]))), calibration_error(truth, p.astype(np.float64))]


def case(name, model, seed, rows, cols, classes, noise):
    x, y = formulas.labelled(seed, rows, cols, classes)
    x = x + noise * np.random.default_rng(seed).standard_normal(x.shape)
    folds = StratifiedKFold(5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        held_out = cross_val_predict(model, x, y, cv=folds, method="predict_proba").astype(np.float32)
        whole = CalibratedClassifierCV(model, method="temperature", cv=folds, ensemble=False).fit(x, y)
    official = 1 / whole.calibrated_classifiers_[0].calibrators[0].beta_
    scaling = _TemperatureScaling().fit(
        held_out.astype(np.float64) / held_out.sum(axis=1, keepdims=True, dtype=np.float64), y
    )
    # the classifier's own way goes by its logits where it has some; the binary ones are (-x, x), twice as far apart
    if classes > 2 or not hasattr(model, "decision_function"):
        assert abs(official * scaling.beta_ - 1) < 1e-5, (name, official, 1 / scaling.beta_)
    calibrated = scaling.predict(held_out.astype(np.float64) / held_out.sum(axis=1, keepdims=True, dtype=np.float64))
    return {
        "name": name,
        "classes": classes,
        "truth": y.tolist(),
        "held_out": [float(v) for v in held_out.ravel()],
        "temperature": float(1 / scaling.beta_),
        "calibrated": [float(v) for v in calibrated.ravel()],
        "before": scores(y, held_out),
        "after": scores(y, calibrated),
    }


cases = [
    case("too sure", MLPClassifier((20,), alpha=0, max_iter=400, random_state=1), 11, 90, 6, 3, 2.0),
    case("not sure enough", LogisticRegression(C=0.002), 12, 80, 20, 3, 0.0),
    case("two classes", LogisticRegression(C=10.0), 13, 60, 3, 2, 1.5),
    case("shares of neighbours", KNeighborsClassifier(9), 14, 90, 12, 3, 0.3),
]
(HERE / "temperature.json").write_text(json.dumps({"sklearn": sklearn.__version__, "cases": cases}) + "\n")
for one in cases:
    print(one["name"], one["temperature"], one["before"], one["after"])
