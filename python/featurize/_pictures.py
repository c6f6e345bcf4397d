"""Pictures as callers have them, made into what the extension module takes; and its results, made into numpy and Arrow.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Iterable, Sequence

from . import _featurize

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def listed(pictures: Any) -> list[Any]:
    """`pictures` as a list: one picture is a list of one, a folder or an archive is all its pictures."""
    if isinstance(pictures, (str, os.PathLike)) and _featurize.holds_pictures(os.fspath(pictures)):
        return _featurize.pictures(os.fspath(pictures))
    if isinstance(pictures, (str, os.PathLike, bytes, bytearray, memoryview)) or _is_pillow(pictures):
        return [pictures]
    if _is_array(pictures) and pictures.dtype.kind in "uif" and pictures.ndim in (2, 3):
        return [pictures]
    return list(pictures) if hasattr(pictures, "__iter__") else [pictures]


def prepared(picture: Any) -> Any:
    """What the extension module takes for `picture`.

    Raises `TypeError` for what is no picture and `ValueError` for an array of a shape or type that no picture has.
    """
    if isinstance(picture, (str, os.PathLike)):
        return os.fspath(picture)
    if isinstance(picture, (bytes, bytearray)):
        return bytes(picture)
    if isinstance(picture, memoryview):
        return picture.tobytes()
    if _is_pillow(picture):
        image = picture.convert("RGB")
        return (image.tobytes(), image.width, image.height)
    if _is_array(picture):
        return _pixels(picture)
    if hasattr(picture, "as_py"):  # a scalar of pyarrow
        return prepared(picture.as_py())
    raise TypeError(
        f"a picture is a path, the bytes of a file, a PIL image or a uint8 array (height, width, 3), not {type(picture).__name__}"
    )


def name_of(picture: Any) -> str | None:
    """The path of a picture that was given as one."""
    return os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else None


def check(rows: _featurize.Rows, pictures: Sequence[Any]) -> None:
    """Raises `PictureError` for the first picture that could not be read."""
    for index, kind in enumerate(rows.kinds):
        if kind is not None:
            name = name_of(pictures[index])
            where = name if name is not None else f"picture {index}"
            error = _featurize.PictureError(f"{where}: {kind}: {rows.reasons[index]}")
            error.index, error.kind = index, kind
            raise error


def matrix(rows: _featurize.Rows) -> np.ndarray:
    """The values as float32 (n, width); a picture that failed has a row of NaN."""
    import numpy as np

    values = np.frombuffer(rows.values, dtype=np.float32).reshape(len(rows.kinds), rows.width)
    for index, kind in enumerate(rows.kinds):
        if kind is not None:
            values[index] = np.nan
    return values


def outcome_columns(rows: _featurize.Rows) -> dict[str, pa.Array]:
    """The columns width, height, status, kind and error; a picture that failed has no size."""
    import pyarrow as pa

    sizes = [size or (None, None) for size in rows.sizes]
    return {
        "width": pa.array([width for width, _ in sizes], pa.int32()),
        "height": pa.array([height for _, height in sizes], pa.int32()),
        "status": pa.array(["ok" if kind is None else "failed" for kind in rows.kinds], pa.string()),
        "kind": pa.array(rows.kinds, pa.string()),
        "error": pa.array(rows.reasons, pa.string()),
    }


def list_column(rows: _featurize.Rows) -> pa.Array:
    """The values as a column of lists of `width` float32; null for a picture that failed."""
    import pyarrow as pa

    n = len(rows.kinds)
    type_ = pa.list_(pa.float32(), rows.width)
    values = pa.Array.from_buffers(pa.float32(), n * rows.width, [None, pa.py_buffer(rows.values)])
    validity = pa.array([kind is None for kind in rows.kinds], pa.bool_()).buffers()[1]
    return pa.Array.from_buffers(type_, n, [validity], children=[values])


def _is_pillow(picture: Any) -> bool:
    return hasattr(picture, "tobytes") and hasattr(picture, "convert") and hasattr(picture, "getbands")


def _is_array(picture: Any) -> bool:
    return hasattr(picture, "__array_interface__") and hasattr(picture, "dtype")


def _pixels(array: np.ndarray) -> tuple[bytes, int, int]:
    import numpy as np

    if array.dtype != np.uint8:
        raise ValueError(f"pixels are uint8 from 0 to 255, not {array.dtype}: scale and convert the array first")
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise ValueError(
            f"pixels have the shape (height, width, 3), (height, width, 1) or (height, width), not {array.shape}"
        )
    height, width, channels = array.shape
    if channels == 1:
        array = np.repeat(array, 3, axis=2)
    return (np.ascontiguousarray(array).tobytes(), width, height)


def settings(values: Iterable[tuple[str, Any]]) -> list[str]:
    """`key=value` texts with the value in JSON, which is YAML; None leaves a key at its default."""
    import json

    return [f"{key}={json.dumps(value, default=os.fspath)}" for key, value in values if value is not None]
