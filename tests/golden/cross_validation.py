"""Makes cross_validation.json: scikit-learn's accuracy and log loss on every fold of whole pipelines, for the test of
src/stages/train/validate.rs.

    python tests/golden/cross_validation.py        # needs scikit-learn 1.7 or later; writes beside itself

Everything is fitted without the fold: columns, scale, components, classifier. `leaky` is the mean with columns, scale
and components fitted once, on all rows: where it differs, a test can tell one from the other. Tables come from the
formulas of sklearn.py.
"""

import importlib.util
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
# sklearn.py beside this file would shadow the library it is named after
sys.path[:] = [p for p in sys.path if pathlib.Path(p or ".").resolve() != HERE]

import numpy as np
import sklearn
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

spec = importlib.util.spec_from_file_location("formulas", HERE / "sklearn.py")
formulas = importlib.util.module_from_spec(spec)
spec.loader.exec_module(formulas)

CASES = [
    # few rows of many columns, the best of which fit by chance: a selection that sees the fold scores far too well
    (
        {"seed": 31, "rows": 90, "cols": 400, "classes": 3},
        5,
        "select: {top_k: 12, score: f_classif}\ntrain: {logistic: {}, knn: {k: 3, metric: euclidean}, cv: 5}\n",
        [SelectKBest(f_classif, k=12)],
        [LogisticRegression(), KNeighborsClassifier(3)],
    ),
    (
        {"seed": 47, "rows": 101, "cols": 40, "classes": 4},
        4,
        "select: {variance_threshold: 0.85}\nreduce: {scale: standard, pca: {components: 6}}\ntrain: {knn: {k: 5}, cv: 4}\n",
        [VarianceThreshold(0.85), StandardScaler(), PCA(6, svd_solver="full")],
        [KNeighborsClassifier(5, metric="cosine")],
    ),
    (
        {"seed": 53, "rows": 64, "cols": 30, "classes": 2},
        3,
        "reduce: {scale: l2, svd: {components: 4}}\ntrain: {logistic: {c: 10}, cv: 3}\n",
        [Normalizer(), TruncatedSVD(4, algorithm="arpack")],
        [LogisticRegression(C=10)],
    ),
    (
        {"seed": 61, "rows": 70, "cols": 9, "classes": 3},
        7,
        "train: {knn: {k: 7, metric: euclidean, weights: distance}, cv: 7}\n",
        [],
        [KNeighborsClassifier(7, weights="distance")],
    ),
]


def log_loss_f32(model, x, y):
    """The log loss of probabilities in float32, which scikit-learn clips at the epsilon of float32."""
    return log_loss(y, model.predict_proba(x).astype(np.float32), labels=model.classes_)


def main():
    cases = []
    for formula, folds, yaml, steps, classifiers in CASES:
        x, y = formulas.labelled(**formula)
        x = np.asarray(x, np.float32)
        split = StratifiedKFold(folds)
        wide = x.astype(np.float64)
        scores = [cross_val_score(make_pipeline(*steps, one), wide, y, cv=split) for one in classifiers]
        losses = [
            cross_val_score(make_pipeline(*steps, one), wide, y, cv=split, scoring=log_loss_f32) for one in classifiers
        ]
        once = make_pipeline(*steps).fit_transform(x.astype(np.float64), y) if steps else x
        leaky = [cross_val_score(one, once, y, cv=split).mean() for one in classifiers]
        print(yaml, [s.mean() for s in scores], leaky)
        cases.append(
            {
                "labelled": formula,
                "folds": folds,
                "yaml": yaml,
                "scores": [s.tolist() for s in scores],
                "log_losses": [s.tolist() for s in losses],
                "leaky": leaky,
            }
        )
    out = {"made_with": {"sklearn": sklearn.__version__}, "cases": cases}
    (HERE / "cross_validation.json").write_text(json.dumps(out, indent=1) + "\n")


main()
