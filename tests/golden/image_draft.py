#!/usr/bin/env python3
"""Makes `image_draft.json`: the JPEGs of `image_grid.bin` at 1/2, 1/4 and 1/8 of their size, as Pillow's `draft` has
libjpeg-turbo decode them.

For every fifth of them and some of the files: what it is, its place in `image_grid.bin` or its file, the part of the
size, width, height and the sha256 of the pixels.

    pip install pillow
    python image_draft.py               # writes beside itself
"""

import hashlib
import io
import json
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
FILES = ["420", "420_even", "422", "440", "444", "grey", "progressive", "q30", "restart", "tiny"]


def main():
    rows = []
    grid, cases = (HERE / "image_grid.bin").read_bytes(), json.loads((HERE / "image_grid.json").read_text())
    sources = [({"what": c["what"], "bytes": c["bytes"]}, grid[slice(*c["bytes"])]) for c in cases[::5]]
    sources += [
        ({"what": name, "file": f"image_{name}.jpg"}, (HERE / f"image_{name}.jpg").read_bytes()) for name in FILES
    ]
    for what, data in sources:
        for part in 2, 4, 8:
            image = Image.open(io.BytesIO(data))
            if image.mode == "CMYK" or min(image.size) < part:
                continue
            image.draft(image.mode, (image.width // part, image.height // part))
            assert image.width == -(-Image.open(io.BytesIO(data)).width // part)
            pixels = image.convert("RGB").tobytes()
            rows.append(what | {"part": part, "size": list(image.size), "sha256": hashlib.sha256(pixels).hexdigest()})
    lines = ",\n".join(json.dumps(row) for row in rows)
    (HERE / "image_draft.json").write_text(f"[\n{lines}\n]\n")
    print(len(rows), "pictures")


if __name__ == "__main__":
    main()
