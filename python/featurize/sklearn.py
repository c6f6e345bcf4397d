"""Features of pictures as a step of a scikit-learn pipeline."""

from __future__ import annotations

import os
from typing import Any, Mapping

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError

from .extractor import Extractor


class FeatureExtractor(TransformerMixin, BaseEstimator):
    """A transformer from pictures to features: `X` is a sequence of paths, bytes of files, PIL images or uint8 arrays.

        make_pipeline(FeatureExtractor("resnet50", weights="torchvision"), StandardScaler(), LogisticRegression())

    The parameters are those of `Extractor`. A map is flattened, since scikit-learn takes rows. `errors="null"` gives a
    row of NaN for a picture that cannot be read.

    Nothing is learnt: `fit` opens the network, and so does `transform` where nobody called `fit`. A copy that travels
    to another process opens the network there again.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        weights: str | os.PathLike[str] | None = None,
        source: str | None = None,
        layer: str | list[str] | None = None,
        features: str | None = None,
        precision: str | None = None,
        device: str | None = None,
        threads: int | None = None,
        recipe: Mapping[str, Any] | None = None,
        image: Mapping[str, Any] | None = None,
        errors: str = "raise",
    ) -> None:
        self.model = model
        self.weights = weights
        self.source = source
        self.layer = layer
        self.features = features
        self.precision = precision
        self.device = device
        self.threads = threads
        self.recipe = recipe
        self.image = image
        self.errors = errors

    def fit(self, X: Any, y: Any = None) -> FeatureExtractor:
        """Open the network; the pictures are not looked at."""
        parameters = self.get_params(deep=False)
        parameters.pop("errors")
        self.extractor_ = Extractor(**parameters)
        self.n_features_out_ = self.extractor_.width
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features of the pictures `X`, float32 (n, n_features_out_)."""
        if not hasattr(self, "extractor_"):
            self.fit(X)
        rows = self.extractor_.embed(X, errors=self.errors)
        return rows.reshape(len(rows), self.n_features_out_)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """The name of each feature, as in the program's tables."""
        if not hasattr(self, "extractor_"):
            raise NotFittedError("the names of the features are known once the network is open: call `fit` first")
        return np.asarray(self.extractor_.columns, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.string = True
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = []
        return tags
