#!/usr/bin/env python3
"""Makes `zoo.safetensors`: what Keras, torchvision and timm give for each of their networks that featurize builds.

No network is trained: each is filled with weights of an integer formula, gets one input of another formula, and is run
in float64. What it gives is stored as F32, so the numbers are the true ones to the last digit or so and do not depend
on the machine; the script prints how far the library's own F32 run is from them.

Weights. A tensor of PyTorch's layout (convolution (out, in, kh, kw), depthwise (c, 1, kh, kw), dense (out, in)) with a
name that is

    torchvision, timm    the name in the `state_dict`
    Keras                `<layer>.weight`, `.bias`, `.running_mean`, `.running_var`; of a SeparableConv2D
                         `<layer>/depthwise.weight` and `<layer>/pointwise.weight`. Layers without a name of their own
                         are counted from a fresh session: `conv2d`, `conv2d_1`, ...

has as value number i, in memory order (all modulo 2^64):

    h = FNV-1a of the name's bytes, 64 bits
    x = h + i + 0x9E3779B97F4A7C15
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9
    x = (x ^ x >> 27) * 0x94D049BB133111EB
    u = ((x ^ x >> 31) >> 40) / 2^24                      in [0, 1)

    class and register tokens, position embeddings and    2 u - 1
    the query of an attention pool: (1, n, c)
    other weight of two or more dimensions                (2 u - 1) * (gain * sqrt(6 / fan_in))
                                                          fan_in: the product of all dimensions but the first
    bias of such a layer, bias and weight of a layer norm,
    and the factors of a layer scale (`gamma`)            0.2 u - 0.1, the weight 0.5 + u
    batch norm (a layer that has a running_mean)          weight, running_var 0.5 + u; bias, running_mean 0.4 u - 0.2

all in float64, as the brackets say, and rounded once to F32. The gain is 1, or what GAINS says: with He's weights and
batch norms that do not normalise, networks with residual sums grow from block to block (Xception's to 10^7), until the
biases are lost in the rounding; MobileNet v2 would sit at the six of its ReLU6.

Input, as in `efficientnet_lite0.py`, for the side S that the network was trained with (224 or 299); all products modulo
2^32:

    i     = (y * S + x) * 3 + c                           y, x in 0..S, c in 0..3 (R, G, B)
    noise = ((i * 2654435761) mod 2^32) >> 16
    level = (x * (c + 2) + y * (3 - c) + noise mod 64) mod 256
    value = (level / 255 - 0.5) / 0.5                     in F32

whatever recipe the library's own weights want; for networks of Keras that normalise pixels themselves, the levels as
they are (the metadata `MODEL.SOURCE.input` is then `levels`), and the mean and variance of their `Normalization` are
those of ImageNet. Tensors (F32), for each pair of MODEL and SOURCE:

    MODEL.SOURCE.avg         (channels,)   the last feature map, mean over the positions (include_top=False in Keras;
                                           in torch the map that is pooled or flattened for the classifier); of
                                           transformers the vector before the classifier, of CLIP behind its projection
    MODEL.SOURCE.logits      (1000,)       before the softmax
    MODEL.SOURCE.tap.first   (128,)        an inner layer: the first values in the library's own order, (h, w, c) of
                                           Keras and of Swin, (c, h, w) of torch, (n, c) of tokens
    MODEL.SOURCE.tap.mean    (channels,)   and the mean of each channel

of networks behind MORE in PAIRS the first 256 values of `avg`, `logits` and `tap.mean` alone, and of the larger ones of
a family a smaller picture than they were trained with; and to tell a wrong formula from a wrong network

    formula.weight           (64, 3, 3, 3) the weights of `features.0.weight`, gain 1
    formula.bias             (64,)         the values of `features.0.bias`, not of a batch norm
    formula.input            (64,)         the first values of the input for S = 224, in the order (h, w, c)

The file's metadata has `MODEL.SOURCE.tap`, the layer's name in the library, `MODEL.SOURCE.size`, the side of the input,
and `MODEL.SOURCE.gain`.

torchvision's networks are those that its published weights are for: with auxiliary heads, which do nothing in
evaluation, and with the `transform_input` of GoogLeNet and Inception v3.

    pip install torch torchvision timm keras tensorflow-cpu numpy safetensors
    python zoo.py                                         # writes beside itself
    python zoo.py resnet50.keras vgg16.timm               # makes these alone anew
    KERAS_BACKEND=torch python zoo.py convnext_base.keras # without minutes of XLA for convolutions in groups
"""

# ruff: noqa: E402, I001
import gc
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# torch before TensorFlow: both carry an LLVM, and in the other order the process is aborted
import torch
import torchvision
import timm
import keras
import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

OUTPUT = Path(__file__).resolve().with_suffix(".safetensors")
MASK = 2**64 - 1
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation of its pixels


class Pair(NamedTuple):
    """A network of a library."""

    model: str
    source: str
    builder: str  # what the library calls it
    tap: str  # the inner layer that is stored, by the library's name
    last: str = ""  # torchvision: the module that gives the last feature map
    size: int = 224
    few: bool = False  # the first values alone
    levels: bool = False  # the network wants pixels from 0 to 255

    @property
    def key(self):
        return f"{self.model}.{self.source}"


# the end of the third stage, or its last convolution where the first channel is nearly dead at the end; with batch
# norm, the last norm of that stage
VGG_TAPS = {
    "vgg11": "features.8",
    "vgg13": "features.14",
    "vgg16": "features.16",
    "vgg19": "features.16",
    "vgg11_bn": "features.12",
    "vgg13_bn": "features.18",
    "vgg16_bn": "features.21",
    "vgg19_bn": "features.24",
}

REGNETS = [
    *(f"y_{size}" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")),
    *(f"x_{size}" for size in ("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf")),
]

DENSENETS = (121, 161, 169, 201)

PAIRS = [
    Pair("alexnet", "torchvision", "alexnet", "features.8", "features"),
    *(Pair(model, "torchvision", model, tap, "features") for model, tap in VGG_TAPS.items()),
    *(Pair(model, "timm", model, VGG_TAPS[model]) for model in ("vgg16", "vgg19", "vgg16_bn")),
    Pair("vgg16", "keras", "VGG16", "block3_conv2"),
    Pair("vgg19", "keras", "VGG19", "block3_conv3"),
    Pair("googlenet", "torchvision", "googlenet", "inception4c", "inception5b"),
    Pair("inception_v3", "keras", "InceptionV3", "mixed4", size=299),
    Pair("inception_v3", "torchvision", "inception_v3", "Mixed_6b", "Mixed_7c", 299),
    Pair("inception_v3", "timm", "inception_v3", "Mixed_6b", size=299),
    *(Pair(f"resnet{d}", "torchvision", f"resnet{d}", "layer2.1", "layer4") for d in (18, 50, 101, 152)),
    Pair("resnet34", "torchvision", "resnet34", "layer2.1.bn2", "layer4"),
    *(Pair(f"resnet{d}", "timm", f"resnet{d}", "layer2.1") for d in (18, 34, 50)),
    *(Pair(f"resnet{d}", "keras", f"ResNet{d}", "conv3_block2_out") for d in (50, 101, 152)),
    *(Pair(f"resnet{d}v2", "keras", f"ResNet{d}V2", "conv3_block2_out") for d in (50, 101, 152)),
    Pair("xception", "keras", "Xception", "block5_sepconv2", size=299),
    Pair("xception", "timm", "legacy_xception", "block4.rep.4", size=299),
    Pair("mobilenet_v2", "keras", "MobileNetV2", "block_5_add"),
    Pair("mobilenet_v2", "torchvision", "mobilenet_v2", "features.5", "features"),
    *(Pair(f"densenet{d}", "keras", f"DenseNet{d}", "conv3_block4_concat") for d in (121, 169, 201)),
    *(
        Pair(f"densenet{d}", "torchvision", f"densenet{d}", "features.transition1.pool", "features")
        for d in (121, 169, 201)
    ),
]

# EfficientNet, MobileNetV3 and all that came later: MORE
EFFICIENTNETS = [f"b{i}" for i in range(8)]
PAIRS += [
    *(
        Pair(f"efficientnet_{b}", "keras", f"EfficientNet{b.upper()}", "block3b_add", "", side, True, True)
        for b, side in zip(EFFICIENTNETS, (224, 97, 96, 96, 96, 96, 64, 64))
    ),
    *(
        Pair(f"efficientnet_{b}", "torchvision", f"efficientnet_{b}", "features.3.1", "features", side, True)
        for b, side in zip(EFFICIENTNETS, (224, 97, 96, 96, 96, 96, 64, 64))
    ),
    *(
        Pair(f"efficientnet_{b}", "timm", f"efficientnet_{b}", "blocks.2.1", "", side, True)
        for b, side in zip(EFFICIENTNETS[:6], (224, 97, 96, 96, 96, 96))
    ),
    *(
        Pair(f"tf_efficientnet_{b}", "timm", f"tf_efficientnet_{b}", "blocks.2.1", "", side, True)
        for b, side in zip(EFFICIENTNETS, (224, 97, 96, 96, 96, 96, 64, 64))
    ),
    Pair("mobilenet_v3_small", "keras", "MobileNetV3Small", "expanded_conv_5_add", few=True, levels=True),
    Pair("mobilenet_v3_large", "keras", "MobileNetV3Large", "expanded_conv_5_add", few=True, levels=True),
    Pair("mobilenet_v3_small", "torchvision", "mobilenet_v3_small", "features.6", "classifier.1", few=True),
    Pair("mobilenet_v3_large", "torchvision", "mobilenet_v3_large", "features.6", "classifier.1", few=True),
    Pair("mobilenet_v3_small", "timm", "mobilenetv3_small_100", "blocks.2.2", few=True),
    Pair("mobilenet_v3_large", "timm", "mobilenetv3_large_100", "blocks.2.2", few=True),
    Pair("mobilenet", "keras", "MobileNet", "conv_pw_5_relu", few=True),
    *(
        Pair(name, source, name, "layer2.1", "layer4" if source == "torchvision" else "", 96, True)
        for name in ("resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2")
        for source in ("torchvision", "timm")
    ),
    Pair("resnext101_64x4d", "torchvision", "resnext101_64x4d", "layer2.1", "layer4", 96, True),
    Pair("squeezenet1_0", "torchvision", "squeezenet1_0", "features.5", "features", few=True),
    Pair("squeezenet1_1", "torchvision", "squeezenet1_1", "features.5", "features", few=True),
    *(
        Pair(f"mnasnet{d}", "torchvision", f"mnasnet{d}", "layers.9.1", "layers", few=True)
        for d in ("0_5", "0_75", "1_0", "1_3")
    ),
    *(
        Pair(f"shufflenet_v2_x{d}", "torchvision", f"shufflenet_v2_x{d}", "stage3.1.branch2.6", "conv5", few=True)
        for d in ("0_5", "1_0", "1_5", "2_0")
    ),
    Pair("densenet161", "torchvision", "densenet161", "features.transition1.pool", "features", 96, True),
    *(
        Pair(f"convnext_{size}", "torchvision", f"convnext_{size}", "features.3.1", "classifier.1", 96, True)
        for size in ("tiny", "small", "base", "large")
    ),
    *(
        Pair(f"convnext_{size}", "timm", f"convnext_{size}", "stages.1.blocks.1", "", 96, True)
        for size in ("tiny", "small", "base", "large")
    ),
    *(
        Pair(f"regnet_{d}", "torchvision", f"regnet_{d}", "trunk_output.block2", "trunk_output", 64, True)
        for d in REGNETS
    ),
]

# EfficientNetV2, and what keras.applications and timm have beside the networks above
PAIRS += [
    *(
        Pair(f"efficientnetv2_b{i}", source, builder.format(i), tap, "", side, True, source == "keras")
        for source, builder, tap in (
            ("keras", "EfficientNetV2B{}", "block3b_add"),
            ("timm", "tf_efficientnetv2_b{}", "blocks.2.1"),
        )
        for i, side in enumerate((224, 97, 96, 96))
    ),
    *(
        Pair(f"efficientnet_v2_{s}", source, builder.format(s.upper(), s), tap, last, 64, True, source == "keras")
        for source, builder, tap, last in (
            ("keras", "EfficientNetV2{0}", "block3b_add", ""),
            ("torchvision", "efficientnet_v2_{1}", "features.3.1", "features"),
            ("timm", "tf_efficientnetv2_{1}", "blocks.2.1", ""),
        )
        for s in "sml"
    ),
    Pair("efficientnet_v2_xl", "timm", "tf_efficientnetv2_xl", "blocks.2.1", "", 64, True),
    *(
        Pair(f"efficientnet_lite{i}", "timm", f"tf_efficientnet_lite{i}", "blocks.2.1", "", side, True)
        for i, side in ((1, 97), (2, 96), (3, 96), (4, 96))
    ),
    *(
        Pair(
            f"convnext_{size}",
            "keras",
            f"ConvNeXt{size.title() if size != 'xlarge' else 'XLarge'}",
            f"convnext_{size}_stage_1_block_1_layer_scale",
            "",
            64 if size == "xlarge" else 96,
            True,
            True,
        )
        for size in ("tiny", "small", "base", "large", "xlarge")
    ),
    Pair("convnext_xlarge", "timm", "convnext_xlarge", "stages.1.blocks.1", "", 64, True),
    Pair("inception_resnet_v2", "keras", "InceptionResNetV2", "block35_3_ac", "", 139, True),
    Pair("inception_resnet_v2", "timm", "inception_resnet_v2", "repeat.2", "", 139, True),
    Pair("nasnet_mobile", "keras", "NASNetMobile", "normal_concat_1", "", 224, True),
    Pair("nasnet_large", "keras", "NASNetLarge", "normal_concat_1", "", 97, True),
    Pair("mobilenet_v2", "timm", "mobilenetv2_100", "blocks.2.1", "", 224, True),
    Pair("mnasnet1_0", "timm", "mnasnet_100", "blocks.2.1", "", 224, True),
    Pair("tf_mobilenet_v3_small", "timm", "tf_mobilenetv3_small_100", "blocks.2.2", few=True),
    Pair("tf_mobilenet_v3_large", "timm", "tf_mobilenetv3_large_100", "blocks.2.2", few=True),
    Pair("mobilenet", "timm", "mobilenetv1_100", "blocks.2.1", few=True),
    *(Pair(f"resnet{d}", "timm", f"resnet{d}", "layer2.1", "", 96, True) for d in (101, 152)),
    Pair("resnext101_64x4d", "timm", "resnext101_64x4d", "layer2.1", "", 96, True),
    *(Pair(f"densenet{d}", "timm", f"densenet{d}", "features.transition1.pool", "", 96, True) for d in DENSENETS),
    *(
        Pair(model, "timm", model, VGG_TAPS[model], "", 224, True)
        for model in ("vgg11", "vgg13", "vgg11_bn", "vgg13_bn", "vgg19_bn")
    ),
    *(
        Pair(f"regnet_{d}", "timm", f"regnet{d[0]}_{number}", "s2", "", 64, True)
        for d, number in zip(REGNETS, 2 * ("004", "008", "016", "032", "080", "160", "320"))
    ),
]

# exact in binary, so that no language rounds them otherwise
# transformers: a network of each width, with each patch, norm, token and pool
PAIRS += [
    Pair("vit_b_16", "torchvision", "vit_b_16", "encoder.layers.encoder_layer_5", size=64, few=True),
    Pair("vit_b_32", "torchvision", "vit_b_32", "encoder.layers.encoder_layer_5", size=224, few=True),
    *(
        Pair(f"vit_l_{patch}", "torchvision", f"vit_l_{patch}", "encoder.layers.encoder_layer_5", size=64, few=True)
        for patch in (16, 32)
    ),
    *(
        Pair(f"vit_{kind}_224", "timm", f"vit_{kind}_224", "blocks.5", size=size, few=True)
        for kind, size in (
            ("tiny_patch16", 224),
            ("small_patch8", 40),
            ("small_patch16", 64),
            ("small_patch32", 96),
            ("base_patch8", 40),
            ("base_patch16", 64),
            ("base_patch32", 96),
            ("large_patch16", 48),
            ("large_patch32", 64),
            ("base_patch32_clip_quickgelu", 96),
            ("base_patch16_clip_quickgelu", 64),
            ("large_patch14_clip_quickgelu", 56),
            ("base_patch32_clip", 96),
            ("base_patch16_clip", 64),
            ("large_patch14_clip", 56),
            ("base_patch16_siglip", 64),
        )
    ),
    Pair("resnet50_clip", "timm", "resnet50_clip", "stages.1.1.conv3_1x1", size=96, few=True),
    *(
        Pair(f"vit_{kind}_dinov2", "timm", f"vit_{kind}_dinov2", "blocks.5", size=size, few=True)
        for kind, size in (
            ("small_patch14", 224),
            ("base_patch14", 56),
            ("large_patch14", 56),
            ("small_patch14_reg4", 70),
            ("base_patch14_reg4", 56),
            ("large_patch14_reg4", 56),
        )
    ),
    *(
        Pair(f"vit_{size}_patch14_reg4_dinov2", "facebook", f"vit_{size}_patch14_reg4_dinov2", "blocks.5", "", 56, True)
        for size in ("small", "base", "large")
    ),
    *(Pair(f"swin_{size}", "torchvision", f"swin_{size}", "features.3.1", few=True) for size in "tsb"),
    *(Pair(f"swin_v2_{size}", "torchvision", f"swin_v2_{size}", "features.3.1", size=256, few=True) for size in "tsb"),
    *(
        Pair(f"swin_{size}_patch4_window7_224", "timm", f"swin_{size}_patch4_window7_224", "layers.1.blocks.1", few=True)
        for size in ("tiny", "small", "base")
    ),
    *(
        Pair(model, "timm", model, "layers.1.blocks.1", size=size, few=True)
        for model, size in (
            ("swin_base_patch4_window12_384", 96),
            ("swinv2_tiny_window8_256", 256),
            ("swinv2_small_window8_256", 128),
            ("swinv2_base_window8_256", 128),
            ("swinv2_tiny_window16_256", 256),
            ("swinv2_small_window16_256", 128),
            ("swinv2_base_window16_256", 128),
            ("swinv2_base_window12_192", 96),
            ("swinv2_base_window12to16_192to256", 128),
            ("swinv2_base_window12to24_192to384", 96),
        )
    ),
]
TRANSFORMER = re.compile("(vit|swin|resnet50_clip)")

GAINS = {
    "resnet50_clip": 0.75,
    "resnet": 0.625,
    "mobilenet": 0.875,
    "xception": 0.75,
    "efficientnet_v2_s": 0.78125,
    "efficientnet_v2_m": 0.75,
    "efficientnet_v2": 0.6875,
    "efficientnetv2_b3": 0.78125,
    "efficientnetv2_b2": 0.8125,
    "efficientnetv2": 0.84375,
    "efficientnet": 0.8125,
    "tf_efficientnet": 0.8125,
    "resnext": 0.625,
    "wide_resnet": 0.625,
    "regnet": 0.625,
    "mnasnet": 0.75,
    "convnext": 0.25,
    "shufflenet": 0.75,
    "inception_resnet": 0.75,
    "nasnet": 0.75,
    "tf_mobilenet": 0.875,
}


def gain_of(pair):
    """The factor of a network's weights."""
    return next((gain for prefix, gain in GAINS.items() if pair.model.startswith(prefix)), 1.0)


def fnv1a(name):
    """FNV-1a, 64 bits, of the name's UTF-8 bytes."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    return h


def uniform(name, start, count):
    """Values `start..start + count` of u for a tensor's name, float64."""
    x = np.arange(start, start + count, dtype=np.uint64)
    x += np.uint64((fnv1a(name) + 0x9E3779B97F4A7C15) & MASK)
    x = (x ^ x >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ x >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(40)).astype(np.float64) / 2.0**24


def formula_tensor(name, shape, norm, gain):
    """The F32 tensor of a name and shape, PyTorch's layout; `norm`: of a batch norm."""
    kind = name.rsplit(".", 1)[-1]
    if len(shape) == 3 and shape[0] == 1:
        rule = lambda u: 2.0 * u - 1.0
    elif len(shape) >= 2:
        bound = gain * np.sqrt(6.0 / np.prod(shape[1:]))
        rule = lambda u: (2.0 * u - 1.0) * bound
    elif kind in ("weight", "running_var"):
        rule = lambda u: 0.5 + u
    elif not norm:
        rule = lambda u: 0.2 * u - 0.1
    else:
        rule = lambda u: 0.4 * u - 0.2
    out, step = np.empty(int(np.prod(shape)), np.float32), 1 << 22
    for start in range(0, out.size, step):
        part = out[start : start + step]
        part[:] = rule(uniform(name, start, part.size))
    return out.reshape(shape)


def formula_levels(size):
    """The levels of the formula above, (size, size, 3), in 0..256."""
    y, x, c = np.meshgrid(np.arange(size), np.arange(size), np.arange(3), indexing="ij")
    i = ((y * size + x) * 3 + c).astype(np.uint64)
    noise = ((i * 2654435761) % 2**32 >> 16).astype(np.int64)
    return (x * (c + 2) + y * (3 - c) + noise % 64) % 256


def values_of(levels):
    """The network's input for such levels, F32."""
    return (levels.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)


# torch


def torch_model(pair):
    """The network of torchvision or timm in evaluation mode, with the formula's weights, in F32."""
    sized = {"img_size": pair.size} if TRANSFORMER.match(pair.model) else {}
    if "_clip" in pair.model:
        # those of a classifier otherwise
        widths = {"vit_base": 512, "vit_large": 768, "resnet50": 1024}
        sized["num_classes"] = next(width for start, width in widths.items() if pair.model.startswith(start))
    if pair.source in ("timm", "facebook"):
        model = timm.create_model(pair.builder, pretrained=False, **sized)
    elif pair.model.startswith("vit"):
        model = getattr(torchvision.models, pair.builder)(weights=None, image_size=pair.size)
    else:
        aux = {"aux_logits": True, "transform_input": True, "init_weights": False}
        more = aux if pair.model in ("googlenet", "inception_v3") else {}
        model = getattr(torchvision.models, pair.builder)(weights=None, **more)
    state = model.state_dict()
    if pair.source == "facebook":
        # by timm's own conversion
        model.load_state_dict(timm.models.vision_transformer.checkpoint_filter_fn(facebooks_file(state, pair), model))
        return model.eval()
    for name, tensor in state.items():
        # of torchvision's Swin some tensors are constants
        if not name.endswith(("num_batches_tracked", "relative_position_index", "relative_coords_table")):
            norm = f"{name.rsplit('.', 1)[0]}.running_mean" in state
            tensor.copy_(torch.from_numpy(joined_tensor(pair, name, tuple(tensor.shape), norm)))
    return model.eval()


def joined_tensor(pair, name, shape, norm):
    """The formula's tensor; of CLIP's ResNet queries, keys and values are thirds of one, and the embeddings of positions
    have a dimension more.
    """
    kind = re.fullmatch(r"head\.(q|k|v|pos_embed)(\..+)?", name) if pair.model == "resnet50_clip" else None
    if kind is None:
        return formula_tensor(name, shape, norm, gain_of(pair))
    if kind[1] == "pos_embed":
        return formula_tensor(name, (1, *shape), norm, gain_of(pair))[0]
    whole = formula_tensor(f"head.qkv{kind[2]}", (3 * shape[0], *shape[1:]), norm, gain_of(pair))
    return np.split(whole, 3)["qkv".index(kind[1])]


def facebooks_file(state, pair):
    """The formula's weights of DINOv2 with registers, as its authors publish them; `state` is that of timm's network."""
    other = {"reg_token": "register_tokens"}
    shapes = {other.get(name, name): tuple(tensor.shape) for name, tensor in state.items()}
    _, n, c = shapes["pos_embed"]
    shapes["pos_embed"] = (1, n + 1, c)
    file = {name: torch.from_numpy(formula_tensor(name, shape, False, gain_of(pair))) for name, shape in shapes.items()}
    return file | {"mask_token": torch.zeros(1, c)}


def torch_outputs(pair, model, batch):
    """For (n, size, size, 3): `map` and `tap` (n, c, h, w) and `logits` (n, 1000), in the precision of the model."""
    kept = {}
    if TRANSFORMER.match(pair.model):
        return transformer_outputs(pair, model, batch)

    def keep(name):
        # a copy: the next module may be a ReLU in place
        return lambda _module, _inputs, output: kept.update({name: output.clone()})

    hooks = [model.get_submodule(pair.tap).register_forward_hook(keep("tap"))]
    if pair.source == "torchvision":
        hooks.append(model.get_submodule(pair.last).register_forward_hook(keep("map")))
    values = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy()).to(next(model.parameters()).dtype)
    with torch.inference_mode():
        if pair.source == "timm":
            kept["map"] = model.forward_features(values)
            logits = model.forward_head(kept["map"].clone())
            if pair.model.startswith(("mobilenet_v3", "tf_mobilenet_v3", "convnext")):
                kept["map"] = model.forward_head(kept["map"], pre_logits=True)
        else:
            logits = model(values)
    for hook in hooks:
        hook.remove()
    if pair.model.startswith("densenet"):
        kept["map"] = kept["map"].relu()  # a function in torchvision, not a module
    return {"map": kept["map"].numpy(), "tap": kept["tap"].numpy(), "logits": logits.numpy()}


def transformer_outputs(pair, model, batch):
    """The same; `map` is the vector of features (n, c), `tap` (n, tokens, c), of Swin (n, h, w, c)."""
    kept = {}
    hook = model.get_submodule(pair.tap).register_forward_hook(
        lambda _module, _inputs, output: kept.update(tap=output.clone())
    )
    before = None
    if pair.source == "torchvision":
        head = model.head if pair.model.startswith("swin") else model.heads
        before = head.register_forward_hook(lambda _module, inputs, _output: kept.update(map=inputs[0].clone()))
    values = torch.from_numpy(batch.transpose(0, 3, 1, 2).copy()).to(next(model.parameters()).dtype)
    with torch.inference_mode():
        logits = model(values)
        if before is None:
            # fewer than 1000 classes are none: CLIP's are its features
            bare = model.num_classes < 1000 or "_clip" in pair.model
            kept["map"] = logits if bare else model.forward_head(model.forward_features(values), pre_logits=True)
    hook.remove()
    if before is not None:
        before.remove()
    return {"map": kept["map"].numpy(), "tap": kept["tap"].numpy(), "logits": logits.numpy()}


# Keras


def canonical(layer):
    """(name, variable, to PyTorch's axes, batch norm?) of each variable of a Keras layer."""
    kind, named = type(layer).__name__, {v.name: v for v in layer.weights}
    if kind == "Normalization":
        return []
    conv, depthwise, dense = (3, 2, 0, 1), (2, 3, 0, 1), (1, 0)
    if kind == "SeparableConv2D":
        rows = [("/depthwise.weight", "depthwise_kernel", depthwise), ("/pointwise.weight", "pointwise_kernel", conv)]
    elif kind == "BatchNormalization":
        words = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
        rows = [(f".{word}", keras, (0,)) for keras, word in words.items() if keras in named]
    elif kind == "LayerNormalization":
        rows = [(".weight", "gamma", (0,)), (".bias", "beta", (0,))]
    elif kind == "LayerScale":
        rows, named = [(".gamma", "gamma", (0,))], {"gamma": layer.gamma}
    else:
        axes = {"Conv2D": conv, "DepthwiseConv2D": depthwise, "Dense": dense}[kind] if named else None
        rows = [(".weight", "kernel", axes), (".bias", "bias", (0,))]
        rows = [row for row in rows if row[1] in named]
    if len(rows) != len(named):
        raise SystemExit(f"{layer.name}: a {kind} with {sorted(named)}")
    return [(layer.name + name, named[keras], axes, kind == "BatchNormalization") for name, keras, axes in rows]


def leaves(model):
    """The layers of a model and of the models in it."""
    for layer in model.layers:
        yield from leaves(layer) if hasattr(layer, "layers") else [layer]


def keras_model(pair, dtype, fill=True, **options):
    """The network of keras.applications, with the formula's weights; names are counted anew."""
    keras.backend.clear_session()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    keras.config.set_image_data_format("channels_last")
    if pair.few and pair.size != 224:
        options["input_shape"] = (pair.size, pair.size, 3)
    model = getattr(keras.applications, pair.builder)(weights=None, **options)
    for layer in model.layers:
        if type(layer).__name__ == "Normalization" and layer.input_mean is None:
            # the published files hold the deviations in the place of the variances, and another layer mends that
            layer.adapt_mean.assign(IMAGENET[0])
            layer.adapt_variance.assign(np.square(IMAGENET[1]))
            layer.finalize_state()
    for layer in leaves(model) if fill else []:
        for name, variable, axes, norm in canonical(layer):
            shape = tuple(variable.shape[axis] for axis in axes)
            values = formula_tensor(name, shape, norm, gain_of(pair))
            variable.assign(values.transpose(np.argsort(axes)))
    return model


def keras_outputs(pair, dtype, batch):
    """For (n, size, size, 3): `map` and `tap` (n, h, w, c) and `logits` (n, 1000)."""
    # ConvNeXt has a norm behind the mean
    pooling = "avg" if pair.model.startswith("convnext") else None
    bare = keras_model(pair, dtype, False, include_top=False, pooling=pooling, input_shape=(pair.size, pair.size, 3))
    last = len(bare.layers) - 1  # a layer without a name of its own has another one in the other model
    model = keras_model(pair, dtype, include_top=True, classifier_activation=None)
    taps = keras.Model(model.input, [model.layers[last].output, model.get_layer(pair.tap).output, model.output])
    names = ("map", "tap", "logits")
    values = taps(keras.ops.convert_to_tensor(batch.astype(dtype)), training=False)
    outputs = dict(zip(names, map(keras.ops.convert_to_numpy, values)))
    if any(str(values.dtype) != dtype for values in outputs.values()):
        raise SystemExit(f"{pair.key}: asked for {dtype}, got {[v.dtype for v in outputs.values()]}")
    return outputs


# both


def outputs(pair, batch):
    """The outputs in F32 and in float64."""
    if pair.source == "keras":
        return tuple(keras_outputs(pair, dtype, batch) for dtype in ("float32", "float64"))
    model = torch_model(pair)
    return torch_outputs(pair, model, batch), torch_outputs(pair, model.double(), batch)


def stored(pair, result):
    """What is stored of the outputs for the first picture."""
    tap, last = result["tap"][0], result["map"][0]
    positions = (0, 1) if pair.source == "keras" or pair.model.startswith("swin") else (1, 2)
    positions = 0 if tap.ndim == 2 else positions
    values = {
        "avg": last.mean(positions) if last.ndim == 3 else last,
        "logits": result["logits"][0],
        "tap.first": tap.reshape(-1)[:128],
        "tap.mean": tap.mean(positions),
    }
    return {name: part[:256] if pair.few else part for name, part in values.items()}


def distance(a, b):
    """|a - b| / |b|."""
    return np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b)


def run(pair):
    """The stored tensors of a pair; prints what tells whether they are worth comparing with."""
    levels = formula_levels(pair.size)
    batch = np.stack([levels, levels[::-1]])
    batch = batch.astype(np.float32) if pair.levels else values_of(batch)
    single, double = outputs(pair, batch)
    a, b = stored(pair, single), stored(pair, double)
    apart = " ".join(f"{name} {distance(a[name], b[name]):.0e}" for name in b)
    logits, last = double["logits"], double["map"][0]
    print(
        f"{pair.key:<25} |f32 - f64|: {apart};  logits std {logits[0].std():.3g} mean {logits[0].mean():.3g},"
        f" last map rms {np.sqrt((last**2).mean()):.3g} zeros {(last == 0).mean():.2f} sixes {(last == 6).mean():.2f},"
        f" upside down: logits {distance(logits[1], logits[0]):.2g},"
        f" tap rms {np.sqrt((double['tap'][0] ** 2).mean()):.3g}",
        flush=True,
    )
    return b


def formula_samples():
    """A little of each formula."""
    return {
        "formula.weight": formula_tensor("features.0.weight", (64, 3, 3, 3), False, 1.0),
        "formula.bias": formula_tensor("features.0.bias", (64,), False, 1.0),
        "formula.input": values_of(formula_levels(224)).reshape(-1)[:64],
    }


def main():
    asked = sys.argv[1:]
    golden, metadata = formula_samples(), {"made_by": Path(__file__).name}
    if asked:
        with safe_open(OUTPUT, "numpy") as file:
            golden = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata()
    for pair in PAIRS:
        if asked and pair.key not in asked:
            continue
        golden.update({f"{pair.key}.{part}": values for part, values in run(pair).items()})
        metadata[f"{pair.key}.tap"] = pair.tap
        metadata[f"{pair.key}.size"] = str(pair.size)
        metadata[f"{pair.key}.gain"] = str(gain_of(pair))
        if pair.levels:
            metadata[f"{pair.key}.input"] = "levels"
        gc.collect()
        if asked:
            write(golden, metadata)
    write(golden, metadata)


def write(golden, metadata):
    """Writes the file."""
    arrays = {name: np.ascontiguousarray(values.astype(np.float32)) for name, values in golden.items()}
    OUTPUT.write_bytes(save(arrays, metadata=metadata))
    print(f"{OUTPUT.name}: {len(arrays)} tensors, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
