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
    "check_do_not_raise_errors_in_init_or_set_params",
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


# the checks that feed tables of numbers, or ask about them, where the input is pictures
TABLES = [
    "check_array_api_input",
    "check_complex_data",
    "check_dict_unchanged",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimator_sparse_tag",
    "check_estimators_dtypes",
    "check_estimators_empty_data_messages",
    "check_estimators_fit_returns_self",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_estimators_unfitted",
    "check_f_contiguous_array_estimator",
    "check_fit1d",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_transformer_data_not_an_array",
    "check_transformer_general",
    "check_transformer_n_iter",
    "check_transformer_preserve_dtypes",
    "check_transformers_unfitted",
    "check_transformers_unfitted_stateless",
]


class OfNumbers(fz.FeatureExtractor):
    """The same, which says that its input is a table of numbers."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        return tags


def test_every_check_of_scikit_learn_runs_or_is_listed():
    generator = getattr(estimator_checks, "estimator_checks_generator", None)
    if generator is None:
        pytest.skip("this version of scikit-learn does not list its checks")
    checks = {getattr(check, "func", check).__name__ for _, check in generator(OfNumbers())}
    assert "check_transformer_general" in checks
    assert checks <= {*CHECKS, *TABLES}, checks - {*CHECKS, *TABLES}


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
