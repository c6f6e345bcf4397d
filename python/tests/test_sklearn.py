"""`FeatureExtractor` as a step of scikit-learn."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

import featurize as fz
from conftest import FRUITS


def data() -> tuple[list[str], list[str]]:
    rows = [
        (str(path), name) for name in ("Banana", "Strawberry") for path in sorted((FRUITS / "Test" / name).iterdir())
    ]
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
    with pytest.raises(NotFittedError):
        two.get_feature_names_out()
    rows = two.set_params(errors="null").fit_transform([*paths[:2], "nowhere.jpg"])
    assert rows.shape == (3, two.n_features_out_) and np.isnan(rows[2]).all()
    # without `fit` the network is opened when it is needed
    assert np.array_equal(clone(one).transform(paths[:2]), rows[:2])


# the checks of scikit-learn that feed no data
CHECKS = [
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_feature_names_out_error",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("name", CHECKS)
def test_the_checks_of_scikit_learn_that_feed_no_data(name):
    check = getattr(estimator_checks, name, None)
    if check is None:
        pytest.skip(f"this version of scikit-learn has no {name}")
    check("FeatureExtractor", fz.FeatureExtractor(recipe={"size": 64}))


def test_scikit_learn_knows_that_its_tables_of_numbers_are_no_pictures():
    # check_estimator feeds tables of numbers in every other check; the tags say that `X` is a sequence of names, so it
    # runs none of them
    with pytest.warns(SkipTestWarning, match="requires input"):
        results = estimator_checks.check_estimator(fz.FeatureExtractor(recipe={"size": 64}), on_fail=None)
    assert results and all(result["status"] == "passed" for result in results)
