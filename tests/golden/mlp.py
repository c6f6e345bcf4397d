"""Makes mlp.json: what scikit-learn and torch say about weighted, smoothed and thinned perceptrons, for the tests of
crates/learn/src/mlp/.

    python tests/golden/mlp.py        # needs scikit-learn 1.7 or later and torch; writes beside itself

Tables come from the formulas of sklearn.py, which have their twins in crates/learn/src/golden.rs.
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
import torch
from sklearn.neural_network import MLPClassifier
from torch.nn import functional

spec = importlib.util.spec_from_file_location("formulas", HERE / "sklearn.py")
formulas = importlib.util.module_from_spec(spec)
spec.loader.exec_module(formulas)
draws, labelled, numbers = formulas.draws, formulas.labelled, formulas.numbers


def weighted_case(name, formula, class_weight, **params):
    """A loss curve of MLPClassifier with the class weights given as the weights of the rows."""
    plain = MLPClassifier.fit

    def fit(self, x, y):
        return plain(self, x, y, sample_weight=np.array(class_weight)[y])

    MLPClassifier.fit = fit
    try:
        return formulas.mlp_case(name, formula, **params) | {"class_weight": class_weight}
    finally:
        MLPClassifier.fit = plain


def batch_case(formula, hidden, activation, alpha, class_weight, label_smoothing, dropout):
    """Loss and gradients of one batch in f64, by torch's autograd: the mean of the rows' losses by their weights, and
    the L2 penalty of scikit-learn. Factors of dropout are drawn by formula: 0, or 1 / (1 - dropout)."""
    x, y = labelled(**formula)
    classes = formula["classes"]
    widths = [formula["cols"], *hidden, 1 if classes == 2 else classes]
    layers, start = [], []
    for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
        weights = (draws(201 + i, inputs * outputs, -16, 16) / 32).astype(np.float32)
        bias = (draws(211 + i, outputs, -16, 16) / 32).astype(np.float32)
        start.append({"weights": numbers(weights), "bias": numbers(bias)})
        layers.append([torch.tensor(weights.reshape(inputs, outputs), dtype=torch.float64, requires_grad=True),
                       torch.tensor(bias, dtype=torch.float64, requires_grad=True)])
    value, factors = torch.tensor(x, dtype=torch.float64), []
    for i, (weights, bias) in enumerate(layers):
        value = value @ weights + bias
        if i + 1 < len(layers):
            value = {"relu": torch.relu, "tanh": torch.tanh, "logistic": torch.sigmoid, "identity": lambda v: v}[activation](value)
            if dropout:
                kept = draws(221 + i, value.numel(), 0, 99) >= 100 * dropout
                factors.append(kept.astype(int).tolist())
                value = value * torch.tensor(kept.reshape(value.shape), dtype=torch.float64) / (1 - dropout)
    # two classes as two logits, of which the first is 0: the softmax of these is the sigmoid of the one
    logits = torch.cat([torch.zeros_like(value), value], 1) if classes == 2 else value
    rows = functional.cross_entropy(logits, torch.tensor(y), reduction="none", label_smoothing=label_smoothing)
    weight = torch.tensor(class_weight or [1.0] * classes, dtype=torch.float64)[torch.tensor(y)]
    loss = (weight * rows).sum() / weight.sum() + 0.5 * alpha * sum((w * w).sum() for w, _ in layers) / weight.sum()
    loss.backward()
    return {"labelled": formula, "hidden": hidden, "activation": activation, "alpha": alpha, "class_weight": class_weight,
            "label_smoothing": label_smoothing, "dropout": dropout, "start": start, "kept": factors, "loss": loss.item(),
            "gradients": [{"weights": numbers(w.grad), "bias": numbers(b.grad)} for w, b in layers]}


if __name__ == "__main__":
    three = {"seed": 61, "rows": 90, "cols": 14, "classes": 3}
    two = {"seed": 71, "rows": 70, "cols": 9, "classes": 2}
    common = {"hidden_layer_sizes": [12, 6], "max_iter": 20, "batch_size": 32}
    some = {"seed": 301, "rows": 12, "cols": 7, "classes": 4}
    pair = {"seed": 311, "rows": 11, "cols": 6, "classes": 2}
    golden = {
        "made_by": f"tests/golden/mlp.py with scikit-learn {sklearn.__version__}, torch {torch.__version__}, numpy {np.__version__}",
        "weighted": [
            weighted_case("three classes, adam", three, [0.5, 3.0, 1.25], **common | {"learning_rate_init": 0.01, "alpha": 0.1}),
            weighted_case("two classes, sgd", two, [2.5, 0.25], **common | {"solver": "sgd", "learning_rate_init": 0.05}),
        ],
        "batch": [
            batch_case(some, [6, 5], "relu", 0.1, [0.5, 3.0, 1.0, 1.25], 0.0, 0.0),
            batch_case(some, [6, 5], "relu", 0.1, None, 0.1, 0.0),
            batch_case(some, [6, 5], "relu", 0.0, None, 0.0, 0.25),
            batch_case(some, [6, 5], "tanh", 0.2, [0.5, 3.0, 1.0, 1.25], 0.2, 0.25),
            batch_case(some, [8], "logistic", 0.01, [0.5, 3.0, 1.0, 1.25], 0.3, 0.5),
            batch_case(pair, [6, 5], "relu", 0.1, [2.0, 0.5], 0.0, 0.0),
            batch_case(pair, [5], "tanh", 0.0, None, 0.1, 0.0),
            batch_case(pair, [6, 4], "identity", 0.3, [2.0, 0.5], 0.15, 0.25),
        ],
    }
    target = HERE / "mlp.json"
    target.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(target, target.stat().st_size, "bytes")
