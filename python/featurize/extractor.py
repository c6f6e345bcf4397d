"""Features of pictures: `embed` for a call, `Extractor` for many."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, Literal, Mapping

from . import _featurize, _pictures

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Errors = Literal["raise", "null"]

# the shortest pipeline; the parameters are its keys
_PIPELINE = "version: 1\nname: embed\ninput: {root: .}\n"


class Extractor:
    """A network that gives features of pictures; its weights are read once, and any number of threads may call it.

    Parameters
    ----------
    model
        A network of `featurize models list`. Default: that of `weights` with a name of your own, else
        `efficientnet_lite0`, which is inside the package with its ImageNet weights.
    weights
        `"keras"`, `"torchvision"`, `"timm"`, a file, `"hf:owner/repo/file"`, a URL, `"random"`, or a name that
        `featurize weights import --name` gave. Default: the first of `featurize models list`.
    source
        The library of the network, where the weights are a file that does not say so: `"keras"`, `"torchvision"` or `"timm"`.
    layer
        The layer, or a list of layers, by name. Default: the last one before the classifier.
    features
        `"avg"` and `"max"` pool a map, `"flatten"` gives all of it as one row, `"map"` as (height, width, channels).
    precision
        `"f32"`, `"bf16"` or `"int8"`, on a GPU `"f32"`, `"tf32"`, `"bf16"` or `"f16"`. Networks other than the bundled
        one want a file of ranges for `"int8"`, which `featurize embed --ranges` writes:
        `settings={"extract.calibration": "r.safetensors"}`.
    device
        `"auto"`, `"cpu"`, `"cuda"`, `"cuda:0,2"`, `"cuda:all"` or `"metal"`.
    threads
        Threads of the CPU; all by default.
    recipe, image
        The keys below `extract.recipe` and `image` of a pipeline, as dictionaries: `recipe={"size": 160}`.
    settings
        Any other keys: `{"runtime.decode_memory": "2GB"}`.
    weights_dir, offline
        As the flags of the commands.

    Raises
    ------
    ConfigError
        A parameter is wrong.
    FeaturizeError
        The weights cannot be had, or the device is not there.
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
        settings: Mapping[str, Any] | None = None,
        weights_dir: str | os.PathLike[str] | None = None,
        offline: bool = False,
    ) -> None:
        keys: list[tuple[str, Any]] = [
            ("extract.model", model),
            ("extract.weights", weights),
            ("extract.source", source),
            ("extract.layers" if isinstance(layer, (list, tuple)) else "extract.layer", layer),
            ("extract.features", features),
            ("extract.precision", precision),
            ("runtime.device", device),
            ("runtime.threads", threads),
        ]
        keys += [(f"extract.recipe.{key}", value) for key, value in (recipe or {}).items()]
        keys += [(f"image.{key}", value) for key, value in (image or {}).items()]
        keys += list((settings or {}).items())
        self._open(_PIPELINE, "embed", _pictures.settings(keys), weights_dir, offline)

    @classmethod
    def from_yaml(
        cls,
        file: str | os.PathLike[str],
        *,
        set: Mapping[str, Any] | None = None,
        weights_dir: str | os.PathLike[str] | None = None,
        offline: bool = False,
    ) -> Extractor:
        """The extractor that the pipeline in `file` describes, with the keys of `set` changed."""
        new = cls.__new__(cls)
        with open(file, encoding="utf-8") as text:
            new._open(text.read(), os.fspath(file), _pictures.settings((set or {}).items()), weights_dir, offline)
        return new

    def _open(self, text: str, file: str, sets: list[str], weights_dir: Any, offline: bool) -> None:
        weights_dir = None if weights_dir is None else os.fspath(weights_dir)
        self._arguments = (text, file, sets, weights_dir, offline)
        self._inner = _featurize.Extractor(*self._arguments)

    def __reduce__(self) -> Any:
        return (_reopened, (type(self), self._arguments))

    def __repr__(self) -> str:
        return f"Extractor({self.model!r}, layer={self.layer!r}, shape={self.shape}, device={self.device!r})"

    @property
    def model(self) -> str:
        """The network's name."""
        return self._inner.model

    @property
    def layer(self) -> str:
        """The layers whose values are the features, with commas between."""
        return self._inner.layer

    @property
    def device(self) -> str:
        """The device that computes."""
        return self._inner.device

    @property
    def width(self) -> int:
        """Number of features of a picture."""
        return self._inner.width

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the features of a picture: `(1280,)`, or `(7, 7, 2048)` where the features are a map."""
        return tuple(self._inner.shape)

    @property
    def columns(self) -> list[str]:
        """The name that each feature has as a column of a table."""
        return self._inner.columns

    @property
    def metadata(self) -> dict[str, str]:
        """How the features come about: model, weights and their hash, layer, recipe, version; as the program's tables
        have it.
        """
        return dict(self._inner.metadata)

    def embed(self, pictures: Any, *, errors: Errors = "raise") -> np.ndarray:
        """Features of `pictures`, float32 (n, *shape), in the order of `pictures`.

        A picture is a path, the bytes of a picture file, a PIL image, or an array of uint8 (height, width, 3). PIL
        images and arrays are taken as they are; files are decoded and turned upright by the program.

        With `errors="raise"` the first picture that cannot be read raises `PictureError`; with `errors="null"` its row
        is NaN.
        """
        pictures = _pictures.listed(pictures)
        rows = self._compute(pictures, errors)
        return _pictures.matrix(rows).reshape(len(pictures), *self.shape)

    def table(self, pictures: Any, *, errors: Errors = "null") -> pa.Table:
        """Features of `pictures` as a `pyarrow.Table`: path, width, height, status, kind, error, features.

        A picture that cannot be read has the status `failed`, a kind, a reason, and no features.
        """
        import pyarrow as pa

        pictures = _pictures.listed(pictures)
        rows = self._compute(pictures, errors)
        columns = {"path": pa.array([_pictures.name_of(picture) for picture in pictures], pa.string())}
        columns |= _pictures.outcome_columns(rows) | {"features": _pictures.list_column(rows)}
        table = pa.table(columns)
        return table.replace_schema_metadata({**(table.schema.metadata or {}), **_encoded(self.metadata)})

    def __call__(self, batch: Any) -> Any:
        """The rows of `batch` with the columns width, height, status, kind, error and features added.

        `batch` is a `pyarrow.RecordBatch` or `Table`, or a dictionary of columns as Ray hands it over, with a column
        `bytes` (picture files) or `path`. The result is of the same kind. No picture stops the others.
        """
        if isinstance(batch, Mapping):
            return self._dictionary(batch)
        import pyarrow as pa

        names = batch.schema.names
        name = _column(names)
        rows = self._compute(batch.column(name).to_pylist(), "null")
        added = _pictures.outcome_columns(rows) | {"features": _pictures.list_column(rows)}
        columns = {kept: batch.column(kept) for kept in names if kept not in added} | added
        make = pa.RecordBatch.from_arrays if isinstance(batch, pa.RecordBatch) else pa.Table.from_arrays
        return make(list(columns.values()), names=list(columns))

    def _dictionary(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        import numpy as np

        rows = self._compute(list(batch[_column(list(batch))]), "null")
        added = _pictures.outcome_columns(rows)
        sizes = {key: added[key].to_numpy(zero_copy_only=False) for key in ("width", "height")}
        words = {key: np.array(added[key].to_pylist(), dtype=object) for key in ("status", "kind", "error")}
        return {**batch, **sizes, **words, "features": _pictures.matrix(rows)}

    def _compute(self, pictures: list[Any], errors: str) -> _featurize.Rows:
        if errors not in ("raise", "null"):
            raise ValueError(f"errors is 'raise' or 'null', not {errors!r}")
        rows = self._inner.compute([_pictures.prepared(picture) for picture in pictures])
        if errors == "raise":
            _pictures.check(rows, pictures)
        return rows


def embed(pictures: Any, *, as_arrow: bool = False, errors: Errors | None = None, **parameters: Any) -> Any:
    """Features of `pictures`: numpy float32 (n, *shape), or with `as_arrow=True` a `pyarrow.Table`.

    `pictures` is a list of paths, bytes of picture files, PIL images or uint8 arrays; or one of these; or a folder or
    an archive, all of whose pictures are taken, sorted. The path of a picture in an archive is `photos.tar/cats/1.jpg`.
    The other parameters are those of `Extractor`; the extractors of the last calls stay open.

    Errors are raised by default; a table has rows of nulls instead, unless `errors="raise"`.
    """
    extractor = _opened(_frozen(parameters))
    if as_arrow:
        return extractor.table(pictures, errors=errors or "null")
    return extractor.embed(pictures, errors=errors or "raise")


def list_pictures(folder: str | os.PathLike[str]) -> list[str]:
    """The paths of all pictures below `folder` or in an archive or table of pictures, sorted, by the rules of the
    program's scan.
    """
    return _featurize.pictures(os.fspath(folder))


pictures = list_pictures


@functools.lru_cache(maxsize=2)
def _opened(parameters: tuple[tuple[str, Any], ...]) -> Extractor:
    return Extractor(**{key: _thawed(value) for key, value in parameters})


def _frozen(value: Any) -> Any:
    """`value` with dictionaries and lists made into tuples that can be keys."""
    if isinstance(value, Mapping):
        return tuple((key, _frozen(inner)) for key, inner in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return _List(_frozen(inner) for inner in value)
    return value


class _List(tuple):
    """A frozen list, which a frozen dictionary must not be taken for."""


def _thawed(value: Any) -> Any:
    if isinstance(value, _List):
        return [_thawed(inner) for inner in value]
    if isinstance(value, tuple):
        return {key: _thawed(inner) for key, inner in value}
    return value


def _reopened(cls: type[Extractor], arguments: tuple[Any, ...]) -> Extractor:
    new = cls.__new__(cls)
    new._open(*arguments)
    return new


def _column(names: list[str]) -> str:
    for name in ("bytes", "path"):
        if name in names:
            return name
    raise ValueError(f"a batch has a column `bytes` or `path`; this one has {', '.join(names)}")


def _encoded(metadata: Mapping[str, str]) -> dict[bytes, bytes]:
    return {key.encode(): value.encode() for key, value in metadata.items()}
