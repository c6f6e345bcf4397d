"""Features of pictures from pretrained networks, and the pipelines of `featurize`, from Python.

    import featurize as fz

    x = fz.embed(["a.jpg", "b.png"])                     # numpy, (2, 1280), float32
    extractor = fz.Extractor("resnet50", weights="torchvision")
    run = fz.run("pipelines/fruits.yaml", out="runs/fruits")
    run.metrics["test"]["accuracy"], run.predictions()           # a number, a pyarrow.Table

The numbers are those of the program, bit for bit. Work runs without the GIL, on all cores.
"""

from ._featurize import ConfigError, FeaturizeError, PictureError, __version__
from .extractor import Extractor, embed, pictures
from .runs import Run, run

__all__ = [
    "ConfigError",
    "Extractor",
    "FeatureExtractor",
    "FeaturizeError",
    "PictureError",
    "Run",
    "__version__",
    "embed",
    "pictures",
    "run",
]


def __getattr__(name: str):
    # scikit-learn takes a second to import and is needed by this class alone
    if name == "FeatureExtractor":
        from .sklearn import FeatureExtractor

        return FeatureExtractor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
