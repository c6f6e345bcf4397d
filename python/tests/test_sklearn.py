"""`FeatureExtractor` as a step of scikit-learn."""

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import featurize as fz
from conftest import FRUITS


def data() -> tuple[list[str], list[str]]:
    rows = [(str(path), name) for name in ("Banana", "Strawberry") for path in sorted((FRUITS / "Test" / name).iterdir())]
    return [path for path, _ in rows], [name for _, name in rows]


def test_it_is_a_step_of_a_pipeline():
    paths, labels = data()
    steps = make_pipeline(fz.FeatureExtractor(recipe={"size": 64}), StandardScaler(), LogisticRegression())
    steps.fit(paths[::2], labels[::2])
    assert steps.score(paths[1::2], labels[1::2]) >= 0.9
    names = steps[:1].get_feature_names_out()
    assert len(names) == 1280 and names[0] == "efficientnet_lite0_avg_0000"


def test_it_can_be_cloned_and_asked_for_its_parameters():
    one = fz.FeatureExtractor("resnet18", weights="random", recipe={"size": 64}, features="map")
    two = clone(one)
    assert two.get_params() == one.get_params() and two is not one
    paths, _ = data()
    with pytest.raises(sklearn.exceptions.NotFittedError):
        two.transform(paths)
    rows = two.set_params(errors="null").fit_transform([*paths[:2], "nowhere.jpg"])
    assert rows.shape == (3, two.n_features_out_) and np.isnan(rows[2]).all()


# scikit-learn's checks feed tables of numbers; those that need `X` to be one cannot hold for pictures
NOT_FOR_PICTURES: dict[str, str] = {}


@pytest.mark.skipif(tuple(map(int, sklearn.__version__.split(".")[:2])) < (1, 6), reason="needs expected_failed_checks")
def test_the_checks_of_scikit_learn():
    from sklearn.utils.estimator_checks import check_estimator

    results = check_estimator(
        fz.FeatureExtractor(recipe={"size": 64}), expected_failed_checks=NOT_FOR_PICTURES, on_fail=None, on_skip=None
    )
    failed = sorted(result["check_name"] for result in results if result["status"] == "failed")
    assert failed == []
    assert sum(result["status"] == "passed" for result in results) >= 10
    # a check that would hold must not be excused
    excused = {result["check_name"] for result in results if result["status"] == "xfail"}
    assert excused == set(NOT_FOR_PICTURES)
