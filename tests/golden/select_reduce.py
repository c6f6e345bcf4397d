"""Makes select_reduce.json: what scikit-learn says about the choice and the reduction of columns, for the tests of src/learn/.

    python tests/golden/select_reduce.py        # needs numpy, scipy and scikit-learn 1.7 or later; writes beside itself

Tables come from the formulas of sklearn.py, which have their twins in src/learn/golden.rs; scikit-learn sees them as float64.
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
from sklearn.feature_selection import SelectKBest, f_classif

spec = importlib.util.spec_from_file_location("formulas", HERE / "sklearn.py")
formulas = importlib.util.module_from_spec(spec)
spec.loader.exec_module(formulas)
numbers = formulas.numbers


def f_classif_case(formula):
    x, y = formulas.labelled(**formula)
    x = x.astype(np.float64)
    f, p = f_classif(x, y)
    kept = [{"k": k, "columns": SelectKBest(f_classif, k=k).fit(x, y).get_support(indices=True).tolist()} for k in [1, 3, 6]]
    return {"labelled": formula, "f": numbers(f), "p": numbers(p), "kept": kept}


def fdtrc_cases():
    cases = [(1, 1, 0.3), (1, 8, 161.0), (3, 156, 2.5), (3, 156, 900.0), (199, 99_800, 1.02), (9, 1990, 60.0), (1, 99_998, 3.8),
             (2, 3, 1e-9), (999, 1, 2.0)]
    return [{"m": m, "n": n, "f": f, "p": float(scipy.special.fdtrc(m, n, f))} for m, n, f in cases]


if __name__ == "__main__":
    golden = {
        "made_by": f"tests/golden/select_reduce.py with scikit-learn {sklearn.__version__}, numpy {np.__version__}",
        "f_classif": [
            f_classif_case({"seed": 91, "rows": 120, "cols": 12, "classes": 4}),
            f_classif_case({"seed": 95, "rows": 25, "cols": 7, "classes": 2}),
        ],
        "fdtrc": fdtrc_cases(),
    }
    target = HERE / "select_reduce.json"
    target.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(target, target.stat().st_size, "bytes")
