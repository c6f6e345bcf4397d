#!/usr/bin/env python3
"""Compares what the program reads from ONNX files with ONNX Runtime: every family, every exporter, every opset.

    pip install torch torchvision timm transformers onnx onnxruntime onnxscript keras tensorflow-cpu tf2onnx pyarrow
    python tests/python/exporters.py                             # target/release/featurize; everything, two hours
    python tests/python/exporters.py --only torchvision.swin     # networks whose name begins so
    python tests/python/exporters.py --exporters dynamo --opsets 18 21

Each network of a family gets the weights of `tests/golden/onnx_files.py`, whose sizes are those of a trained network:
layer scales of 1e-6, as networks begin with, would hide whole blocks. One picture of noise and gradients goes through
`featurize embed` and through ONNX Runtime: the vector that feeds the last dense layer, where there is one, and the
class scores must be the same (‖a − b‖ ≤ 1e-5 ‖b‖). At the end stands a table for the documentation. Exit code 1 when a
number differs or a file is refused; a file that the exporter itself does not make is told and counted apart.
"""

import argparse
import contextlib
import functools
import io
import subprocess
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "golden"))

# torch before TensorFlow, as there
import onnx_files as golden
import numpy as np
import onnx
import pyarrow.parquet as pq
import torch
from PIL import Image

TOLERANCE = 1e-5
OPSETS = {"torchscript": range(11, 18), "dynamo": range(18, 24), "tf2onnx": range(11, 19)}
EXPORTERS = {"torchvision": ["torchscript", "dynamo"], "timm": ["torchscript", "dynamo"],
             "transformers": ["torchscript", "dynamo"], "keras": ["tf2onnx"]}  # fmt: skip
# the first that leaves values of some size: larger ones enlarge the rounding of gated networks, see there. Of timm's
# EfficientNetV2-B0 a gain of 1.02 leaves squares of 0.1 and one of 1.06 squares of 2000, of which ONNX Runtime itself
# is 9e-6 away from float64
GAINS = (0.8, 0.9, 0.95, 1.0, 1.02, 1.04, 1.06, 1.09, 1.12, 1.15, 1.18, 1.25, 1.4, 1.6)


def vision(name, side=64, **options):
    return f"torchvision.{name}", golden.vision(name, num_classes=100, **options), side


def timm(name, side=64, **options):
    return f"timm.{name}", golden.of_timm(name, num_classes=100, **options), side


def keras(name, side=64, **options):
    return f"keras.{name}", golden.of_keras(name, side, classifier_activation=None, **options), side


def transformer(name, output, side=64, **options):
    # the attention of single nodes, where the exporter does not know the fused one
    def build():
        kind = {} if golden.timm.layers.use_fused_attn() else {"attn_implementation": "eager"}
        return golden.of_transformers(name, output, **kind, **options)()

    return f"transformers.{name}", build, side


# one small network of each family, of each library that has it
NETWORKS = [
    # their pools give 6 × 6 and 7 × 7, which TorchScript's exporter knows of maps of this size
    *(vision(name, 224) for name in ("alexnet", "vgg11", "vgg11_bn")),
    *map(vision, ("resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2")),
    *map(vision, ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "densenet121", "efficientnet_b0")),
    *map(vision, ("efficientnet_v2_s", "squeezenet1_0", "squeezenet1_1", "mnasnet0_5", "shufflenet_v2_x0_5")),
    *map(vision, ("convnext_tiny", "regnet_y_400mf", "regnet_x_400mf")),
    vision("googlenet", init_weights=False, aux_logits=False, transform_input=True),
    vision("inception_v3", 96, init_weights=False, aux_logits=False, transform_input=True),
    vision("vit_b_32", image_size=64),
    vision("swin_t", 224),
    vision("swin_v2_t", 256),
    *(timm(name, 224) for name in ("vgg11", "vgg11_bn")),
    *map(timm, ("tf_efficientnet_lite0", "resnet18", "resnet50", "resnext50_32x4d")),
    *map(timm, ("wide_resnet50_2", "mobilenetv1_100", "mobilenetv2_100", "mobilenetv3_small_100")),
    *map(timm, ("tf_mobilenetv3_small_100", "densenet121", "efficientnet_b0", "tf_efficientnet_b0")),
    *map(timm, ("tf_efficientnetv2_b0", "tf_efficientnetv2_s", "mnasnet_100", "convnext_atto", "convnextv2_atto")),
    *map(timm, ("regnety_004", "regnetx_004")),
    timm("inception_v3", 96),
    timm("inception_resnet_v2", 96),
    timm("legacy_xception", 96),
    timm("resnet50_clip", img_size=64),
    timm("vit_tiny_patch16_224", img_size=64),
    timm("deit_tiny_patch16_224", img_size=64),
    timm("vit_small_patch14_dinov2", 56, img_size=56),
    timm("vit_small_patch14_reg4_dinov2", 56, img_size=56),
    timm("vit_base_patch32_clip_quickgelu_224", img_size=64),
    timm("vit_base_patch32_clip_224", img_size=64),
    timm("vit_base_patch16_siglip_224", img_size=64),
    timm("swin_tiny_patch4_window7_224", 224),
    timm("swinv2_tiny_window8_256", 256),
    timm("swinv2_tiny_window16_256", 256),
    transformer("ViTForImageClassification", "logits"),
    transformer("DeiTForImageClassification", "logits"),
    transformer("Dinov2Model", "pooler_output", 56, image_size=56, patch_size=14, mlp_ratio=2),
    transformer("Dinov2WithRegistersModel", "pooler_output", 56, image_size=56, patch_size=14, mlp_ratio=2),
    transformer("DINOv3ViTModel", "pooler_output", num_register_tokens=4),
    transformer("CLIPVisionModelWithProjection", "image_embeds", projection_dim=48),
    transformer("SiglipVisionModel", "pooler_output"),
    transformer("SwinForImageClassification", "logits", mlp_ratio=2.0),
    transformer("Swinv2ForImageClassification", "logits", mlp_ratio=2.0),
    *map(keras, ("VGG16", "ResNet50", "ResNet50V2", "MobileNet", "MobileNetV2", "DenseNet121", "EfficientNetB0")),
    *(keras(name, include_preprocessing=False) for name in ("MobileNetV3Small", "MobileNetV3Large")),
    *(keras(name, include_preprocessing=False) for name in ("EfficientNetV2B0", "ConvNeXtTiny")),
    keras("NASNetMobile", 224),
    *(keras(name, 96) for name in ("Xception", "InceptionV3", "InceptionResNetV2")),
]


def levels(side):
    """The bytes of a picture."""
    y, x, c = np.meshgrid(np.arange(side), np.arange(side), np.arange(3), indexing="ij")
    noise = (((y * side + x) * 3 + c) * 2654435761 % 2**32) >> 16
    return ((x * (c + 2) + y * (3 - c) + noise % 64) % 256).astype(np.uint8)


def by_runtime(path, names, side):
    """The values of those names, for the picture in [-1, 1]: every step of it is exact in F32."""
    options = golden.onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = golden.onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    input = session.get_inputs()[0]
    picture = (levels(side)[None].astype(np.float32) / 256 - 0.5) / 0.5
    picture = picture if input.shape[-1] == 3 else np.ascontiguousarray(picture.transpose(0, 3, 1, 2))
    return [values.reshape(-1).astype(np.float64) for values in session.run(names, {input.name: picture})]


def by_program(binary, folder, path, layer, side):
    recipe = {"size": side, "divisor": 256, "mean": [0.5] * 3, "std": [0.5] * 3}
    out = folder / "features.parquet"
    command = [binary, "embed", "--weights", path, folder / "picture.png", "-o", out, "--overwrite"]
    command += ["--layout", "array"]
    command += [f"--set=extract.recipe.{key}={value}" for key, value in recipe.items()]
    command += ["--layer", layer, "--features", "flatten"] if layer else []
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return np.array(pq.read_table(out).to_pydict()["features"][0], np.float64)


@functools.lru_cache(600)
def weights(t, n, low, high):
    return golden.formula(t, n, low, high).tobytes()


def made(model, folder, side, gain):
    """Stores the network with weights of its own; the names of the values that are compared, and those values."""
    tensors = golden.emptied(model, gain)
    with open(folder / "weights.bin", "wb") as file:
        file.writelines(weights(t, *tensor) for t, tensor in enumerate(tensors))
    path, (features, _, logits, _) = folder / "network.onnx", golden.ends(model)
    path.write_bytes(model.SerializeToString())
    names = [name for name in (features, logits) if name]
    model.graph.ClearField("output")
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
    (folder / "tapped.onnx").write_bytes(model.SerializeToString())
    return path, features, logits, by_runtime(folder / "tapped.onnx", names, side)


def compare(binary, folder, exported, side, gains):
    """The largest distance from ONNX Runtime. The list of gains becomes the one that is right for the network."""
    for gain in list(gains):
        model = onnx.ModelProto()
        model.CopyFrom(exported)
        path, features, logits, wanted = made(model, folder, side, gain)
        if all(np.isfinite(values).all() and 0.01 <= np.mean(values**2) <= 1e6 for values in wanted):
            gains[:] = [gain]
            break
    found = [by_program(binary, folder, path, None, side)] if features else []
    found.append(by_program(binary, folder, path, logits, side))
    for a, b in zip(found, wanted):
        if a.shape != b.shape:
            raise RuntimeError(f"{a.shape} values, not {b.shape}")
    return max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(found, wanted))


def check(options, folder, exporter, opset, network, gains):
    """The distance from ONNX Runtime, or the reason for which there is none."""
    build, side = network
    path = folder / "exported.onnx"
    golden.timm.layers.set_fused_attn(exporter != "torchscript" or opset >= 14)
    golden.NETWORKS[f"{exporter}.checked"] = (build, opset, side)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            golden.export(f"{exporter}.checked", path)
        exported = onnx.load(str(path))
    except Exception as error:  # the exporter's
        return "not exported: " + str(error).strip().splitlines()[0][:200]
    try:
        return compare(options.binary, folder, exported, side, gains)
    except golden.onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph as error:
        return "not exported as ONNX: " + str(error).strip().splitlines()[0][-200:]
    except Exception as error:
        return str(error) if isinstance(error, RuntimeError) else traceback.format_exc()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=str(ROOT / "target" / "release" / "featurize"))
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--exporters", nargs="*", default=list(OPSETS))
    parser.add_argument("--opsets", nargs="*", type=int)
    options = parser.parse_args()
    results = {}
    for name, build, side in NETWORKS:
        library = name.split(".")[0]
        weights.cache_clear()
        for exporter in EXPORTERS[library] if name.startswith(tuple(options.only)) else []:
            gains = list(GAINS)
            for opset in OPSETS[exporter] if exporter in options.exporters else []:
                if options.opsets and opset not in options.opsets:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    folder = Path(folder)
                    Image.fromarray(levels(side)).save(folder / "picture.png")
                    found = check(options, folder, exporter, opset, (build, side), gains)
                text = found if isinstance(found, str) else f"{found:.1e}{'' if found <= TOLERANCE else '  WRONG'}"
                print(f"{name:44} {exporter:12} {opset}  {text}", flush=True)
                results.setdefault((library, exporter), []).append((name, opset, found))
    wrong = 0
    print("| library | exporter | opsets | networks | files | largest distance | not exported |")
    print("|---|---|---|---|---|---|---|")
    for (library, exporter), rows in results.items():
        numbers = [found for _, _, found in rows if not isinstance(found, str)]
        absent = sum(isinstance(found, str) and found.startswith("not exported") for _, _, found in rows)
        wrong += len(rows) - absent - sum(number <= TOLERANCE for number in numbers)
        opsets = sorted({opset for _, opset, _ in rows})
        networks = len({name for name, _, _ in rows})
        print(
            f"| {library} | {exporter} | {opsets[0]} to {opsets[-1]} | {networks} | {len(numbers)} | "
            f"{max(numbers, default=0):.1e} | {absent} |"
        )
    print(f"{wrong} wrong" if wrong else "all right")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
