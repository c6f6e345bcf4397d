"""Makes select_reduce.json: what scikit-learn says about the choice and the reduction of columns, for the tests of
crates/learn/src/.

    python tests/golden/select_reduce.py        # needs numpy, scipy and scikit-learn 1.7 or later; writes beside itself

Tables come from the formulas of sklearn.py, which have their twins in crates/learn/src/golden.rs; scikit-learn sees
them as float64.
"""

import importlib.util
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
# sklearn.py beside this file would shadow the library it is named after
sys.path[:] = [p for p in sys.path if pathlib.Path(p or ".").resolve() != HERE]

import numpy as np
import scipy.special
import sklearn
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.preprocessing import Normalizer, StandardScaler

spec = importlib.util.spec_from_file_location("formulas", HERE / "sklearn.py")
formulas = importlib.util.module_from_spec(spec)
spec.loader.exec_module(formulas)
numbers = formulas.numbers


def f_classif_case(formula):
    x, y = formulas.labelled(**formula)
    x = x.astype(np.float64)
    f, p = f_classif(x, y)
    kept = [
        {"k": k, "columns": SelectKBest(f_classif, k=k).fit(x, y).get_support(indices=True).tolist()} for k in [1, 3, 6]
    ]
    return {"labelled": formula, "f": numbers(f), "p": numbers(p), "kept": kept}


def fdtrc_cases():
    cases = [
        (1, 1, 0.3),
        (1, 8, 161.0),
        (3, 156, 2.5),
        (3, 156, 900.0),
        (199, 99_800, 1.02),
        (9, 1990, 60.0),
        (1, 99_998, 3.8),
        (2, 3, 1e-9),
        (999, 1, 2.0),
    ]
    return [{"m": m, "n": n, "f": f, "p": float(scipy.special.fdtrc(m, n, f))} for m, n, f in cases]


def scale_case():
    columns = [
        1e4 + formulas.draws(101, 50, -64, 64) / 4096,
        np.full(50, 0.1),
        formulas.draws(102, 50, 0, 1) * 1e-6,
        formulas.draws(103, 50, -900, 900) / 16,
        np.zeros(50),
    ]
    x = np.stack(columns, axis=1).astype(np.float32)
    wide = x.astype(np.float64)
    standard = StandardScaler().fit(wide)
    return {
        "x": {"rows": 50, "cols": 5, "values": numbers(x)},
        "mean": numbers(standard.mean_),
        "scale": numbers(standard.scale_),
        "standard": numbers(standard.transform(wide)),
        "l2": numbers(Normalizer("l2").transform(wide)),
    }


def mle_case(name, x):
    pca = PCA(svd_solver="full").fit(x.astype(np.float64))
    dimension = PCA("mle", svd_solver="full").fit(x.astype(np.float64)).n_components_
    return {"name": name, "rows": len(x), "spectrum": numbers(pca.explained_variance_), "dimension": int(dimension)}


def mle_cases():
    table = formulas.table
    return [
        mle_case("tall", table(seed=21, rows=200, cols=30, rank=12, noise=40)),
        mle_case("square", table(seed=111, rows=24, cols=24, rank=5, noise=60)),
        mle_case("rank deficient", table(seed=41, rows=60, cols=20, rank=4, noise=0)),
        mle_case("no signal", formulas.draws(112, 4000, -99, 99).reshape(400, 10)),
        mle_case("classes", formulas.labelled(113, 300, 40, 5)[0]),
        mle_case("two columns", formulas.draws(114, 60, -99, 99).reshape(30, 2)),
    ]


def few(components):
    """Some entries of each component: the first ones and those of large numbers."""
    at = [0, 1, 2, *range(5, components.shape[1], max(1, components.shape[1] // 40))]
    return {"at": at, "entries": numbers(components[:, at])}


def svd_case(name, formula, n_components):
    x = formulas.table(**formula).astype(np.float64)
    svd = TruncatedSVD(n_components, algorithm="arpack", random_state=0).fit(x)
    return {
        "name": name,
        "table": formula,
        "n_components": n_components,
        "components": few(svd.components_),
        "explained_variance": numbers(svd.explained_variance_),
        "explained_variance_ratio": numbers(svd.explained_variance_ratio_),
        "singular_values": numbers(svd.singular_values_),
        "projected": numbers(svd.transform(x[:5])),
    }


def pca_case(name, formula, n_components):
    x = formulas.table(**formula).astype(np.float64)
    pca = PCA(n_components, svd_solver="full").fit(x)
    return {
        "name": name,
        "table": formula,
        "n_components": n_components,
        "components": few(pca.components_),
        "explained_variance": numbers(pca.explained_variance_),
        "explained_variance_ratio": numbers(pca.explained_variance_ratio_),
        "singular_values": numbers(pca.singular_values_),
        "projected": numbers(pca.transform(x[:5])),
    }


TALL = {"seed": 121, "rows": 150, "cols": 25, "rank": 9, "noise": 30}
WIDE = {"seed": 131, "rows": 14, "cols": 300, "rank": 8, "noise": 8}
FLAT = {"seed": 141, "rows": 40, "cols": 18, "rank": 4, "noise": 0}
# ResNet50, flattened, on the twenty pictures of the notebook
FLATTENED = {"seed": 151, "rows": 20, "cols": 100_352, "rank": 15, "noise": 30}


if __name__ == "__main__":
    golden = {
        "made_by": f"tests/golden/select_reduce.py with scikit-learn {sklearn.__version__}, numpy {np.__version__}",
        "f_classif": [
            f_classif_case({"seed": 91, "rows": 120, "cols": 12, "classes": 4}),
            f_classif_case({"seed": 95, "rows": 25, "cols": 7, "classes": 2}),
        ],
        "fdtrc": fdtrc_cases(),
        "scale": scale_case(),
        "mle": mle_cases(),
        "svd": [
            svd_case("tall", TALL, 8),
            svd_case("wide", WIDE, 10),
            svd_case("rank deficient", FLAT, 4),
            svd_case("flattened", FLATTENED, 12),
        ],
        "pca": [pca_case("flattened", FLATTENED, 12), pca_case("mle", TALL, "mle")],
    }
    target = HERE / "select_reduce.json"
    target.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(target, target.stat().st_size, "bytes")
