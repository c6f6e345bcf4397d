#!/usr/bin/env python3
"""Compares networks of tokens with the libraries whose files they read, at sizes for which no positions are stored.

    pip install torch timm transformers open_clip_torch numpy pillow pyarrow safetensors
    python tests/python/towers.py                         # target/release/featurize, everything
    python tests/python/towers.py --only dinov2 rn50      # the cases whose names contain one of the words

Each case builds a library's network with seeded random weights, writes them as the library does, and lets
`featurize embed` read the file beside pictures of exactly the network's size, so that nothing but the network is
compared:

    hf-…       `save_pretrained` of transformers; positions are resized by its own `interpolate_pos_encoding`
    hf-…-head  the class scores of `ViTForImageClassification`, by `featurize classify`
    timm-…     the state_dict of timm's network of the stored size, loaded into one of the size of the pictures
    rn50-…     the two towers of CLIP's RN50 by OpenCLIP, as TorchScript, which is how OpenAI publishes them (without
               the program, which nobody runs), and as a state_dict

Printed is |ours - reference| / |reference|. The exit code is 1 when one is over 1e-5.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 1e-5
MEAN, STD = 0.5, 0.25


def pictures(folder, sides):
    """Two pictures as files, and the network's input for them, float32 (2, 3, height, width)."""
    levels = np.random.default_rng(1).integers(0, 256, (2, *sides, 3)).astype(np.uint8)
    for i, picture in enumerate(levels):
        Image.fromarray(picture).save(folder / f"{i}.png")
    values = (levels.astype(np.float32) / np.float32(255) - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(values.transpose(0, 3, 1, 2).copy())


def shaken(model):
    """The model in evaluation, its norms, scales and tokens not all alike, the convolutions of a ResNet so strong that
    its last map is as large as the positions.
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() == 4 and parameter.shape[-1] <= 3:
            parameter.data *= 1.6 / (parameter.std() * parameter[0].numel() ** 0.5)
        if parameter.dim() == 1 and name.endswith("weight"):
            parameter.data = 0.5 + torch.rand_like(parameter)
        elif parameter.dim() < 2 or parameter.shape[0] == 1:
            parameter.data += 0.2 * torch.randn_like(parameter)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.data += 0.3 * torch.rand_like(buffer)
    return model.eval()


def recipe(sides):
    """The settings that give the pictures' values as they are."""
    values = {"size": list(sides), "crop_pct": 1.0, "mean": [MEAN] * 3, "std": [STD] * 3}
    return [part for key, value in values.items() for part in ("--set", f"extract.recipe.{key}={json.dumps(value)}")]


def features(binary, folder, model, weights, sides):
    """The features of both pictures by `featurize embed`."""
    out = folder / "f.parquet"
    command = [binary, "embed", "0.png", "1.png", "-o", out, "--model", model, "--weights", weights, "-q"]
    subprocess.run([*command, *recipe(sides)], cwd=folder, check=True)
    table = pq.read_table(out).sort_by("path")
    return np.column_stack([table[name] for name in table.column_names if name[-4:].isdigit()])


def scores(binary, folder, model, weights, sides):
    """The logarithms of the probabilities of all classes by `featurize classify`."""
    command = [binary, "classify", "0.png", "1.png", "--model", model, "--weights", weights, "--json", "--top", "5"]
    lines = subprocess.run([*command, *recipe(sides)], cwd=folder, check=True, capture_output=True, text=True).stdout
    rows = [{top["label"]: top["probability"] for top in json.loads(line)["top"]} for line in lines.splitlines()]
    return np.log([[row[f"class {i}"] for i in range(5)] for row in rows])


def transformers_case(make, sides, head=False):
    """The file of a model of `transformers`, and what it gives."""

    def case(folder, values):
        import transformers

        model = shaken(make(transformers))
        model.save_pretrained(folder / "saved")
        try:
            output = model(pixel_values=values, interpolate_pos_encoding=True)
        except TypeError:
            output = model(pixel_values=values)
        if head:
            result = output.logits.log_softmax(1)
        else:
            result = output.image_embeds if "image_embeds" in output else output.last_hidden_state[:, 0]
        return folder / "saved/model.safetensors", result

    return case, sides


def timm_case(name, sides):
    """The state_dict of timm's network of its own size, and what the network of `sides` gives with it."""

    def case(folder, values):
        import timm

        model = shaken(timm.create_model(name, pretrained=False, num_classes=0))
        save_file(model.state_dict(), folder / "w.safetensors")
        sized = timm.create_model(name, pretrained=False, num_classes=0, img_size=sides).eval()
        filter_fn = timm.models.vision_transformer.checkpoint_filter_fn
        sized.load_state_dict(filter_fn(model.state_dict(), sized))
        return folder / "w.safetensors", sized(values)

    return case, sides


def timm_rn50_case(sides):
    """The state_dict of timm's network, which resizes its positions when it meets pictures of `sides`."""

    def case(folder, values):
        import timm

        model = shaken(timm.create_model("resnet50_clip", pretrained=False, num_classes=1024))
        save_file(model.state_dict(), folder / "w.safetensors")
        return folder / "w.safetensors", model(values)

    return case, sides


class Parts(torch.nn.Module):
    """A module that holds the tensors of another one and computes nothing."""

    def __init__(self, module):
        super().__init__()
        for name, parameter in module.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        for name, buffer in module.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        for name, child in module.named_children():
            if child.state_dict():
                self.add_module(name, Parts(child))

    def forward(self, x):
        """Nothing."""
        return x


def rn50_case(script):
    """CLIP's RN50 with both towers."""

    def case(folder, values):
        import open_clip

        model = shaken(open_clip.create_model("RN50", pretrained=None))
        result = model.encode_image(values)
        if script:
            torch.jit.script(Parts(model)).save(folder / "RN50.pt")
            return folder / "RN50.pt", result
        torch.save(model.state_dict(), folder / "w.pth")
        return folder / "w.pth", result

    return case, (224, 224)


SMALL = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "patch_size": 14, "image_size": 518}
BASE = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP = {**BASE, "intermediate_size": 3072, "patch_size": 32, "projection_dim": 512}
VIT, CLIP_VIT = "vit_base_patch16_224", "vit_base_patch32_clip_quickgelu_224"
CASES = {
    "hf-dinov2-224": (
        "vit_small_patch14_dinov2",
        *transformers_case(lambda hf: hf.Dinov2Model(hf.Dinov2Config(**SMALL)), (224, 224)),
    ),
    "hf-dinov2-140x196": (
        "vit_small_patch14_dinov2",
        *transformers_case(lambda hf: hf.Dinov2Model(hf.Dinov2Config(**SMALL)), (140, 196)),
    ),
    "hf-dinov2-registers-224": (
        "vit_small_patch14_reg4_dinov2",
        *transformers_case(
            lambda hf: hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(**SMALL)), (224, 224)
        ),
    ),
    "hf-vit-224": (VIT, *transformers_case(lambda hf: hf.ViTModel(hf.ViTConfig(**BASE)), (224, 224))),
    "hf-vit-160x192": (VIT, *transformers_case(lambda hf: hf.ViTModel(hf.ViTConfig(**BASE)), (160, 192))),
    "hf-vit-head": (
        VIT,
        *transformers_case(
            lambda hf: hf.ViTForImageClassification(hf.ViTConfig(**BASE, num_labels=5)), (224, 224), head=True
        ),
    ),
    "hf-clip-224": (
        CLIP_VIT,
        *transformers_case(
            lambda hf: hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(**CLIP)), (224, 224)
        ),
    ),
    "hf-clip-160": (
        CLIP_VIT,
        *transformers_case(
            lambda hf: hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(**CLIP)), (160, 160)
        ),
    ),
    "timm-dinov2-224": ("vit_small_patch14_dinov2", *timm_case("vit_small_patch14_dinov2", (224, 224))),
    "timm-dinov2-registers-140": (
        "vit_small_patch14_reg4_dinov2",
        *timm_case("vit_small_patch14_reg4_dinov2", (140, 140)),
    ),
    "timm-vit-160x192": ("vit_tiny_patch16_224", *timm_case("vit_tiny_patch16_224", (160, 192))),
    "timm-rn50-224": ("resnet50_clip", *timm_rn50_case((224, 224))),
    "timm-rn50-160x288": ("resnet50_clip", *timm_rn50_case((160, 288))),
    "rn50-script": ("resnet50_clip", *rn50_case(script=True)),
    "rn50-state": ("resnet50_clip", *rn50_case(script=False)),
}


def main():
    """Runs the cases."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", default=ROOT / "target/release/featurize", type=Path)
    parser.add_argument("--only", nargs="*", default=[""])
    arguments = parser.parse_args()
    torch.manual_seed(0)
    worst = 0.0
    for name, (model, case, sides) in CASES.items():
        if not any(word in name for word in arguments.only):
            continue
        with tempfile.TemporaryDirectory() as path, torch.inference_mode():
            folder = Path(path)
            weights, reference = case(folder, pictures(folder, sides))
            run = scores if name.endswith("-head") else features
            ours, reference = run(arguments.binary.resolve(), folder, model, weights, sides), reference.numpy()
            error = np.linalg.norm(ours - reference) / np.linalg.norm(reference)
            apart = np.linalg.norm(reference[0] - reference[1]) / np.linalg.norm(reference[0])
            print(f"{name:<28} {error:.1e} (the two pictures are {apart:.1g} apart)", flush=True)
            worst = max(worst, error)
    sys.exit(int(worst > LIMIT))


if __name__ == "__main__":
    main()
