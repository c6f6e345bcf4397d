#!/usr/bin/env python3
"""Weight files as Keras, torchvision and timm write them today, read by the program.

For each network its library makes it with random weights (batch norms too), writes the file, and gives its features
of one picture; `featurize embed` reads the file and the picture and must give the same, by the recipe of the library's
weights. Keras writes `.weights.h5`, `.keras` and the older `.h5` in turn, torchvision `.pth`, timm `model.safetensors`.

    pip install torch torchvision timm keras h5py safetensors pillow numpy pyarrow
    python native_weights.py target/release/featurize PICTURE [MODEL.SOURCE ...]
"""

# ruff: noqa: E402, I001
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))

# torch before TensorFlow: both carry an LLVM, and in the other order the process is aborted
import torch
import torchvision
import timm
import published  # before Keras, which takes the folder out of the path
import h5py
import keras
import numpy as np
from keras.src.legacy.saving import legacy_h5_format
from PIL import Image
from safetensors.torch import save_file

# what is new or has layers of its own; every other file is read by the same code
KERAS = (
    "convnext_tiny",
    "efficientnetv2_b0",
    "efficientnet_v2_s",
    "inception_resnet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "nasnet_mobile",
)
TORCHVISION = (
    "efficientnet_v2_s",
    "convnext_tiny",
    "regnet_y_400mf",
    "mnasnet1_0",
    "mobilenet_v2",
    "mobilenet_v3_large",
)
TIMM = (
    "efficientnetv2_b0",
    "efficientnet_v2_s",
    "efficientnet_lite1",
    "convnext_tiny",
    "inception_resnet_v2",
    "regnet_y_400mf",
    "densenet121",
    "mobilenet",
    "mobilenet_v2",
    "mnasnet1_0",
    "tf_mobilenet_v3_small",
)
# With Keras' first weights and norms that do not normalise, values grow a thousandfold from the stem to the last block
# of this network, and its gates multiply their rounding: TensorFlow's own F32 is then as far from its float64 as ours.
GAINS = {"efficientnet_v2_s": 0.75}
RNG = np.random.default_rng(7)


def keras_case(model, at, picture):
    """Writes a file of Keras; gives it and the features."""
    keras.utils.set_random_seed(7)
    build = getattr(keras.applications, published.KERAS[model][0])
    network = build(weights=None)
    for layer in network.layers:
        if type(layer).__name__ == "Normalization" and layer.input_mean is None:
            # the published files hold the mean and the deviation of ImageNet's pixels, which the program has inside
            layer.adapt_mean.assign((0.485, 0.456, 0.406))
            layer.adapt_variance.assign(np.square((0.229, 0.224, 0.225)))
            layer.finalize_state()
        if type(layer).__name__ == "BatchNormalization":
            weights = [value + RNG.uniform(-0.1, 0.1, value.shape).astype("f4") for value in layer.get_weights()]
            layer.set_weights([weights[0] * GAINS.get(model, 1.0), *weights[1:]])
    kind = ("weights.h5", "keras", "h5")[KERAS.index(model) % 3]
    path = at / f"{model}.{kind}"
    if kind == "h5":
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, network)
    elif kind == "keras":
        network.save(path)
    else:
        network.save_weights(path)
    side = network.input_shape[1] or 224
    values = keras.utils.img_to_array(keras.utils.load_img(picture, target_size=(side, side)))
    module = sys.modules[build.__module__]
    bare = build(weights=None, include_top=False, pooling="avg", input_shape=(side, side, 3))
    bare.set_weights(network.get_weights()[: len(bare.get_weights())])
    for layer in bare.layers:
        if type(layer).__name__ == "Normalization":
            layer.finalize_state()
    return path, keras.ops.convert_to_numpy(bare(module.preprocess_input(values[None])))[0]


def torch_case(model, source, at, picture):
    """Writes a file of torchvision or timm; gives it and the features."""
    torch.manual_seed(7)
    if source == "torchvision":
        network = getattr(torchvision.models, model)(weights=None)
        transform = torchvision.models.get_model_weights(model)["IMAGENET1K_V1"].transforms()
    else:
        arch, tag = published.TIMM[model]
        network = timm.create_model(arch)
        config = timm.models.get_pretrained_cfg(f"{arch}.{tag}").to_dict()
        transform = timm.data.create_transform(**timm.data.resolve_data_config({}, pretrained_cfg=config))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    network.eval()
    path = at / (f"{model}.pth" if source == "torchvision" else f"{model}.safetensors")
    if source == "torchvision":
        torch.save(network.state_dict(), path)
        last = network.classifier if hasattr(network, "classifier") else network
        name, _ = list(last.named_children())[-1]
    else:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
    with torch.inference_mode():
        values = transform(Image.open(picture).convert("RGB"))[None]
        if source == "timm":
            return path, network.forward_head(network.forward_features(values), pre_logits=True)[0].numpy()
        setattr(last, name, torch.nn.Identity())
        return path, network(values)[0].numpy()


def main():
    """Compares them all."""
    program, picture, *asked = sys.argv[1:]
    worst = 0.0
    cases = [(m, "keras") for m in KERAS] + [(m, "torchvision") for m in TORCHVISION] + [(m, "timm") for m in TIMM]
    for model, source in cases:
        if asked and f"{model}.{source}" not in asked:
            continue
        with tempfile.TemporaryDirectory() as folder:
            at = Path(folder)
            make = keras_case if source == "keras" else lambda *rest: torch_case(rest[0], source, *rest[1:])
            path, expected = make(model, at, picture)
            table = at / "features.csv"
            network = ["--model", model, "--weights", path, "--source", source]
            subprocess.run([program, "embed", picture, "-o", table, *network, "--quiet"], check=True)
            with open(table, encoding="utf-8") as file:
                _, row = csv.reader(file)
            found = np.array([float(value) for value in row[-len(expected) :]])
        error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
        worst = max(worst, error)
        print(f"{model:<24} {source:<12} {path.suffixes[-1]:<12} {len(found):>5} features  {error:.1e}", flush=True)
    print(f"worst {worst:.1e}")
    if worst > 1e-5:
        sys.exit(1)


if __name__ == "__main__":
    main()
