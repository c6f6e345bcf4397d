"""Makes sklearn_learn.json: what scikit-learn says about small tables, for the tests of crates/learn/src/.

    python tests/golden/sklearn.py        # needs numpy and scikit-learn 1.7 or later; writes beside itself

Tables are not stored where a formula does: `draws` and `table` have their twins in crates/learn/src/golden.rs. They
hold small integers divided by a power of two, so both languages see the same float32 to the bit. scikit-learn computes
PCA and variance on float64 copies of them, and trains its MLP on the float32 as a user's notebook would.
"""

import json
import pathlib
import sys
import warnings

# this file's own folder would shadow the library it is named after
sys.path[:] = [p for p in sys.path if pathlib.Path(p or ".").resolve() != pathlib.Path(__file__).resolve().parent]

import numpy as np
import sklearn
from sklearn import metrics
from sklearn.decomposition import PCA
from sklearn.feature_selection import VarianceThreshold
from sklearn.neural_network import MLPClassifier
from sklearn.neural_network import _multilayer_perceptron as perceptron


def draws(seed, count, low, high):
    """`count` integers of low..=high from Numerical Recipes' linear congruential generator."""
    state, out = seed, []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(low + (state >> 16) % (high - low + 1))
    return np.array(out, dtype=np.int64)


def table(seed, rows, cols, rank, noise):
    """rows × cols float32: `rank` directions of falling weight, noise of ±`noise` sixteenths, and a mean per column."""
    left = draws(seed, rows * rank, -9, 9).reshape(rows, rank)
    right = draws(seed + 1, rank * cols, -9, 9).reshape(rank, cols)
    weights = np.array([4 * (rank - r) for r in range(rank)])
    grain = draws(seed + 2, rows * cols, -noise, noise).reshape(rows, cols)
    mean = draws(seed + 3, cols, -900, 900)
    return ((left * weights) @ right / 16 + grain / 16 + mean).astype(np.float32)


def labelled(seed, rows, cols, classes):
    """Rows around one centre per class, overlapping enough that the loss does not reach 0."""
    y = draws(seed, rows, 0, classes - 1)
    y[:classes] = np.arange(classes)
    centres = draws(seed + 1, classes * cols, -8, 8).reshape(classes, cols)
    grain = draws(seed + 2, rows * cols, -24, 24).reshape(rows, cols)
    return ((centres[y] + grain) / 16).astype(np.float32), y


def numbers(array):
    """JSON numbers that read back as the same value."""
    array = np.asarray(array)
    if array.dtype == np.float32:
        return [float(f"{v:.9g}") for v in array.ravel()]
    return array.ravel().tolist()


def variance_case():
    shifted = 1e4 + draws(11, 400, -64, 64) / 4096
    small = draws(12, 400, 0, 1) * 1e-6
    heavy = np.where(np.arange(400) == 399, 1e6, draws(13, 400, 0, 3) / 8)
    plain = draws(14, 400, -900, 900) / 16
    x = np.stack([shifted, np.full(400, 0.1), small, heavy, plain, np.zeros(400)], axis=1).astype(np.float32)
    wide = x.astype(np.float64)
    kept = []
    for threshold in [0.0, 1e-13, 1e-4, 10.0]:
        columns = VarianceThreshold(threshold).fit(wide).get_support(indices=True)
        kept.append({"threshold": threshold, "columns": columns.tolist()})
    return {
        "x": {"rows": 400, "cols": 6, "values": numbers(x)},
        "mean": numbers(wide.mean(axis=0)),
        "variance": numbers(wide.var(axis=0)),
        "kept": kept,
    }


def pca_case(name, formula, n_components, whiten=False):
    x = table(**formula)
    pca = PCA(n_components, svd_solver="full", whiten=whiten).fit(x.astype(np.float64))
    return {
        "name": name,
        "table": formula,
        "n_components": n_components,
        "whiten": whiten,
        "mean": numbers(pca.mean_),
        "components": numbers(pca.components_.astype(np.float32)),
        "explained_variance": numbers(pca.explained_variance_),
        "explained_variance_ratio": numbers(pca.explained_variance_ratio_),
        "singular_values": numbers(pca.singular_values_),
        "noise_variance": float(pca.noise_variance_),
        "projected": numbers(pca.transform(x[:5].astype(np.float64)).astype(np.float32)),
    }


def pca_cases():
    tall = {"seed": 21, "rows": 200, "cols": 30, "rank": 12, "noise": 40}
    wide = {"seed": 31, "rows": 12, "cols": 400, "rank": 11, "noise": 8}
    flat = {"seed": 41, "rows": 60, "cols": 20, "rank": 4, "noise": 0}
    flat_wide = {"seed": 51, "rows": 16, "cols": 90, "rank": 3, "noise": 0}
    return [
        pca_case("tall", tall, 8),
        pca_case("wide", wide, 12),
        pca_case("rank deficient, tall", flat, 7),
        pca_case("rank deficient, wide", flat_wide, 6),
        pca_case("whitened", tall, 6, whiten=True),
        pca_case("fraction", tall, 0.9),
        pca_case("fraction, wide", wide, 0.9),
    ]


def trained(x, y, params, init, shuffle):
    """The classifier, with `init` and `shuffle` in the place of scikit-learn's own functions."""
    own = MLPClassifier._init_coef, perceptron.shuffle
    MLPClassifier._init_coef, perceptron.shuffle = init, shuffle
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return MLPClassifier(random_state=3, **params).fit(x, y)
    finally:
        MLPClassifier._init_coef, perceptron.shuffle = own


def mlp_case(name, formula, **params):
    """Trains with the first weights and the order of samples of every epoch on record; then again in float64, from these
    weights and in this order. A sum at the kink of a ReLU would lead elsewhere there: the curve of float32 would be that
    of one order of summation alone, and such a case is refused."""
    x, y = labelled(**formula)
    init, shuffle = MLPClassifier._init_coef, perceptron.shuffle
    layers, start, orders = [], [], []

    def recorded_init(self, *args):
        weights, bias = init(self, *args)
        layers.append((weights.astype(np.float64), bias.astype(np.float64)))
        start.append({"weights": numbers(weights), "bias": numbers(bias)})
        return weights, bias

    def recorded_shuffle(index, random_state):
        order = shuffle(index, random_state=random_state)
        orders.append(order.tolist())
        return order

    model = trained(x, y, params, recorded_init, recorded_shuffle)
    first, order = iter(layers), iter(orders)
    again = (lambda self, *args: next(first)), (lambda index, random_state: np.array(next(order)))
    exact = trained(x.astype(np.float64), y, params, *again)
    assert (model.coefs_[0].dtype, exact.coefs_[0].dtype) == (np.float32, np.float64)
    np.testing.assert_allclose(model.loss_curve_, exact.loss_curve_, rtol=1e-5)
    return {
        "name": name,
        "labelled": formula,
        "params": params,
        "start": start,
        "orders": orders,
        "loss_curve": [float(v) for v in model.loss_curve_],
        "n_iter": model.n_iter_,
        "probabilities": numbers(model.predict_proba(x[:6])),
    }


def mlp_cases():
    three = {"seed": 61, "rows": 90, "cols": 14, "classes": 3}
    two = {"seed": 71, "rows": 70, "cols": 9, "classes": 2}
    common = {"hidden_layer_sizes": [12, 6], "max_iter": 30, "batch_size": 32}
    sgd = common | {"solver": "sgd", "learning_rate_init": 0.05}
    return [
        mlp_case("multiclass, adam", three, **common | {"learning_rate_init": 0.01}),
        mlp_case("multiclass, adam, defaults, no shuffle", three, hidden_layer_sizes=[12, 6], max_iter=30, shuffle=False),
        mlp_case("multiclass, sgd", three, **sgd),
        mlp_case("multiclass, sgd, invscaling, plain momentum, tanh", three,
                 **sgd | {"learning_rate": "invscaling", "power_t": 0.2, "nesterovs_momentum": False, "activation": "tanh"}),
        mlp_case("binary, adam, logistic", two, **common | {"activation": "logistic", "learning_rate_init": 0.02}),
        mlp_case("binary, sgd, strong alpha", two, **sgd | {"alpha": 0.5}),
        mlp_case("identity, adaptive, stops", two,
                 **sgd | {"activation": "identity", "learning_rate": "adaptive", "tol": 0.01, "n_iter_no_change": 2,
                          "max_iter": 90}),
        mlp_case("adam, converges", two | {"seed": 74},
                 **common | {"learning_rate_init": 0.05, "tol": 0.02, "n_iter_no_change": 4, "max_iter": 200}),
    ]


def metrics_case(name, truth, scores, classes, top_k):
    truth = np.array(truth)
    probabilities = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    predicted = probabilities.argmax(axis=1)
    labels = list(range(classes))
    given = {"labels": labels, "zero_division": 0}
    precision, recall, f1, support = metrics.precision_recall_fscore_support(truth, predicted, **given)
    averages = {}
    for average in ["macro", "weighted"]:
        p, r, f, _ = metrics.precision_recall_fscore_support(truth, predicted, average=average, **given)
        averages[average] = {"precision": p, "recall": r, "f1_score": f}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        balanced = metrics.balanced_accuracy_score(truth, predicted)
    # float32 probabilities are clipped at the float32 epsilon, then summed here in float64 to have digits to compare
    eps = np.finfo(np.float32).eps
    clipped = np.clip(probabilities, eps, 1 - eps).astype(np.float64)
    tops = []
    for k in top_k:
        if classes == 2:
            score = 1.0 if k == 2 else metrics.accuracy_score(truth, probabilities[:, 1] > 0.5)
        else:
            score = metrics.top_k_accuracy_score(truth, probabilities, k=k, labels=labels)
        tops.append({"k": k, "accuracy": float(score)})
    log_loss = -np.mean(np.log(clipped[np.arange(len(truth)), truth]))
    official = metrics.log_loss(truth, probabilities, labels=labels)
    assert abs(log_loss - official) < 1e-5 * abs(official), (log_loss, official)
    return {
        "name": name,
        "classes": classes,
        "truth": truth.tolist(),
        "predicted": predicted.tolist(),
        "probabilities": numbers(probabilities),
        "accuracy": metrics.accuracy_score(truth, predicted),
        "balanced_accuracy": balanced,
        "log_loss": float(log_loss),
        "top_k_accuracy": tops,
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1_score": f1.tolist(),
        "support": support.tolist(),
        "averages": averages,
        "confusion_matrix": metrics.confusion_matrix(truth, predicted, labels=labels).tolist(),
    }


def metrics_cases():
    usual = draws(81, 60, 0, 3)
    scores = draws(82, 240, 1, 40).reshape(60, 4) + 20 * np.eye(4)[usual]
    absent = np.where(usual == 2, 0, usual)
    never = scores * np.array([1, 1e-9, 1, 1])
    sure = np.eye(2)[draws(83, 20, 0, 1)]
    return [
        metrics_case("four classes", usual, scores, 4, [1, 2, 3]),
        metrics_case("a class without pictures, one never predicted", absent, never, 4, [1, 3]),
        metrics_case("two classes, sure and sometimes wrong", draws(84, 20, 0, 1), sure, 2, [1, 2]),
        metrics_case("ties", [0, 1, 2, 1], np.ones((4, 3)), 3, [1, 2]),
    ]


if __name__ == "__main__":
    golden = {
        "made_by": f"tests/golden/sklearn.py with scikit-learn {sklearn.__version__}, numpy {np.__version__}",
        "variance": variance_case(),
        "pca": pca_cases(),
        "mlp": mlp_cases(),
        "metrics": metrics_cases(),
    }
    target = pathlib.Path(__file__).with_name("sklearn_learn.json")
    target.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(target, target.stat().st_size, "bytes")
