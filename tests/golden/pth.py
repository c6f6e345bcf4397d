#!/usr/bin/env python3
"""Makes `pth_*`: what `torch.save` writes, and the values that PyTorch has for it.

pth_types.pth             a state dict with every kind of tensor: float types, integers, one without dimensions, an
                          empty one, transposed, expanded, sliced and channels-last ones, two of one storage, a
                          parameter, special values, types without a storage class of their own
pth_types_legacy.pth      the same in the format of PyTorch before 1.6
pth_types_deflated.pth    the same in a zip that somebody packed anew, with pickle protocol 4
pth_checkpoint.pth        a training checkpoint: epoch, best accuracy (a tensor), options, optimizer, and a state dict
                          of `DataParallel`
pth_checkpoint_legacy.pth the same in the format of PyTorch before 1.6
pth_module.pth            a whole module, which cannot be read without running its code
pth_script.pt             TorchScript
pth.json                  name, shape and the values in f32, as bits, of the state dict in pth_types and
                          pth_checkpoint; null for other types

pip install torch numpy
python pth.py                                         # writes beside itself and prints the versions
"""

import argparse
import collections
import io
import json
import sys
import zipfile
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent


def ramp(*shape, dtype=torch.float32):
    """i * 0.37 - 2, rounded to the type."""
    count = torch.Size(shape).numel()
    return (torch.arange(count, dtype=torch.float64) * 0.37 - 2).reshape(shape).to(dtype)


def types():
    shared = ramp(12)
    state = collections.OrderedDict()
    state["f32"] = ramp(2, 3)
    state["f16"] = ramp(5, dtype=torch.float16)
    state["bf16"] = ramp(5, dtype=torch.bfloat16)
    state["f64"] = torch.tensor([1 / 3, 1e300, 1e-310, -0.0], dtype=torch.float64)
    state["special"] = torch.tensor([float("inf"), float("-inf"), float("nan"), 1e-45, 3.4028235e38])
    state["special_f16"] = torch.tensor([float("inf"), 6e-8, 65504.0, -0.0], dtype=torch.float16)
    state["bn.num_batches_tracked"] = torch.tensor(7)
    state["mask"] = torch.tensor([True, False])
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.empty(0, 4)
    state["transposed"] = ramp(3, 4).t()
    state["transposed_f16"] = ramp(3, 4, dtype=torch.float16).t()
    state["permuted"] = ramp(2, 3, 4).permute(2, 0, 1)
    state["expanded"] = ramp(3, 1).expand(3, 5)
    state["sliced"] = ramp(4, 6)[1:3, ::2]
    state["channels_last"] = ramp(2, 3, 2, 2).to(memory_format=torch.channels_last)
    state["single"] = ramp(4, 6)[2:3, 1:2]
    state["shared.head"] = shared[:4]
    state["shared.tail"] = shared[4:].view(2, 4)
    state["shared.whole"] = shared
    state["parameter"] = torch.nn.Parameter(ramp(3))
    state["uint16"] = torch.tensor([1, 2], dtype=torch.uint16)
    state["float8"] = ramp(3).to(torch.float8_e4m3fn)
    state["_extra_state"] = {"version": 3}
    state._metadata = {"": {"version": 1}}
    return state


def checkpoint():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 2), torch.nn.BatchNorm2d(3), torch.nn.Flatten(), torch.nn.Linear(3, 2)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model(torch.ones(2, 2, 2, 2)).sum().backward()
    optimizer.step()
    model = torch.nn.DataParallel(model)
    return {
        "epoch": 3,
        "arch": "tiny",
        "best_acc1": torch.tensor(71.5),
        "args": argparse.Namespace(lr=0.01, steps=[1, 2], seed=None),
        "loss": [2.5, 1.25],
        "optimizer": optimizer.state_dict(),
        "state_dict": model.state_dict(),
    }


def described(state):
    tensors = {}
    for name, tensor in state.items():
        if not torch.is_tensor(tensor):
            continue
        values = None
        if tensor.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            values = tensor.detach().to(torch.float32).contiguous().flatten().view(torch.int32)
            values = [bits & 0xFFFFFFFF for bits in values.tolist()]
        tensors[name.removeprefix("module.")] = {"shape": list(tensor.shape), "bits": values}
    return tensors


def deflated(state):
    """The zip of `state`, unpacked and packed anew."""
    stored, packed = io.BytesIO(), io.BytesIO()
    torch.save(state, stored, pickle_protocol=4)
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.namelist():
            target.writestr(zipfile.ZipInfo(entry), source.read(entry), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def main():
    print("python", sys.version.split()[0], "torch", torch.__version__)
    for name, value in [("types", types()), ("checkpoint", checkpoint())]:
        torch.save(value, HERE / f"pth_{name}.pth")
        torch.save(value, HERE / f"pth_{name}_legacy.pth", _use_new_zipfile_serialization=False)
    (HERE / "pth_types_deflated.pth").write_bytes(deflated(types()))
    module = torch.nn.Linear(1, 2)
    torch.save(module, HERE / "pth_module.pth")
    torch.jit.save(torch.jit.trace(module, torch.ones(1, 1)), HERE / "pth_script.pt")
    expected = {"types": described(types()), "checkpoint": described(checkpoint()["state_dict"])}
    (HERE / "pth.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
