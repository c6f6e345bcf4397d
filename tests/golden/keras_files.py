"""Small weight files as Keras writes them, for crates/nets/src/weights/keras, in tests/golden/keras_files.zip.

    KERAS_BACKEND=tensorflow python tests/golden/keras_files.py

Written by Keras 3.15.1, h5py 3.14.0, numpy 2.4.6. Three functional models: `named` with chosen layer names and every
kind of layer, `branches` with the names that Keras makes up, counted on from 1 and from 94, whose layers come in
another order by depth than they are made, and `convnext` with the layers of that family, some of them in a Sequential.
The k-th variable of a model, layers in the order in which they are made, holds ((7 i + 13 k) mod 256 - 128) / 64 at
place i: exact in every float type, bfloat16 too. The files other than Keras' own are made of those by h5py: what older
versions wrote, and other HDF5 layouts.
"""

import os
import tempfile
import zipfile

import h5py
import keras
import ml_dtypes
import numpy as np
from keras import layers
from keras.src.applications.convnext import LayerScale
from keras.src.legacy.saving import legacy_h5_format


def fill(made):
    k = 0
    for layer in made:
        values = []
        for weight in layer.weights:
            size = int(np.prod(weight.shape))
            values.append((((7 * np.arange(size) + 13 * k) % 256 - 128) / 64).astype("float32").reshape(weight.shape))
            k += 1
        layer.set_weights(values)


def named(top=True, classes=3, deeper=False):
    made = []

    def use(layer, x):
        made.append(layer)
        return layer(x)

    image = keras.Input((6, 6, 3))
    x = use(layers.Conv2D(4, 3, padding="same", activation="relu", name="block1_conv1"), image)
    if deeper:
        x = use(layers.Conv2D(4, 3, padding="same", activation="relu", name="block1_conv2"), x)
    x = use(layers.BatchNormalization(name="block1_bn"), x)
    y = use(layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="dw"), x)
    y = use(layers.BatchNormalization(scale=False, name="dw_bn"), y)
    x = use(layers.Add(name="add"), [y, x])
    x = use(layers.SeparableConv2D(5, 3, strides=2, use_bias=False, padding="same", name="sep"), x)
    if top:
        x = use(layers.Flatten(name="flatten"), x)
        x = use(layers.Dense(6, activation="relu", name="fc1"), x)
        x = use(layers.Dropout(0.5, name="dropout"), x)
        x = use(layers.Dense(classes, activation="softmax", name="predictions"), x)
    model = keras.Model(image, x)
    fill(made)
    return model


def branches(first, top=True):
    keras.backend.clear_session()
    for _ in range(first):
        layers.Conv2D(1, 1), layers.BatchNormalization(), layers.Dense(1)
    made = []

    def conv_bn(x, filters, kernel):
        conv = layers.Conv2D(filters, kernel, padding="same", use_bias=False)
        norm = layers.BatchNormalization(scale=False)
        made.extend([conv, norm])
        return layers.Activation("relu")(norm(conv(x)))

    image = keras.Input((5, 5, 3))
    a = conv_bn(image, 4, 1)
    b = conv_bn(image, 4, 1)
    b = conv_bn(b, 4, 3)
    c = layers.AveragePooling2D(3, 1, padding="same")(image)
    c = conv_bn(c, 4, 1)
    x = layers.concatenate([a, b, c], name="mixed0")
    if top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        dense = layers.Dense(3)
        made.append(dense)
        x = dense(x)
    model = keras.Model(image, x)
    fill(made)
    return model


def convnext(top=True):
    keras.backend.clear_session()
    conv = layers.Conv2D(4, 2, strides=2, name="net_stem_conv")
    norm = layers.LayerNormalization(epsilon=1e-6, name="net_stem_layernorm")
    made = [conv, norm]

    def use(layer, x):
        made.append(layer)
        return layer(x)

    image = keras.Input((6, 6, 3))
    shortcut = keras.Sequential([conv, norm], name="net_stem")(image)
    x = use(layers.Conv2D(4, 3, padding="same", groups=4, name="net_depthwise_conv"), shortcut)
    x = use(layers.LayerNormalization(epsilon=1e-6, name="net_layernorm"), x)
    x = use(layers.Dense(8, name="net_pointwise_conv_1"), x)
    x = use(layers.Dense(4, name="net_pointwise_conv_2"), layers.Activation("gelu")(x))
    x = shortcut + use(LayerScale(1e-6, 4, name="net_layer_scale"), x)
    x = layers.GlobalAveragePooling2D()(x)
    x = use(layers.LayerNormalization(epsilon=1e-6, name="net_head_layernorm" if top else None), x)
    if top:
        x = use(layers.Dense(3, name="net_head_dense"), x)
    model = keras.Model(image, x)
    fill(made)
    return model


def texts(names):
    return [name if isinstance(name, str) else name.decode() for name in names]


def datasets(file):
    found = []
    file.visititems(lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None)
    return found


def copy(source, target, rename=lambda name: name, layer_names={}, order=list, dtype=None, split=None, variable=False, **options):
    """Writes the older file `source` anew: other names, another order, another type, attributes in parts, chunked and
    packed.
    """

    def names(items):
        return np.array(items, dtype=h5py.string_dtype() if variable else None)

    def attribute(group, name, items):
        if split and len(items) >= split:
            for i, part in enumerate(np.array_split(names([item.encode() for item in items]), split)):
                group.attrs[f"{name}{i}"] = part
        else:
            group.attrs[name] = names(items if variable else [item.encode() for item in items])

    with h5py.File(source, "r") as old, h5py.File(target, "w", **options.pop("file", {})) as new:
        kept = texts(old.attrs["layer_names"])
        attribute(new, "layer_names", order([layer_names.get(layer, layer) for layer in kept]))
        for layer in kept:
            group = new.create_group(layer_names.get(layer, layer))
            weights = texts(old[layer].attrs["weight_names"])
            attribute(group, "weight_names", [rename(name) for name in weights])
            for name in weights:
                values = old[layer][name][()]
                group.create_dataset(rename(name), data=values.astype(dtype or values.dtype), **options)


def main(folder):
    def at(name):
        return os.path.join(folder, name)

    model = named()
    legacy_h5_format.save_model_to_hdf5(model, at("named.model.h5"), include_optimizer=False)
    with h5py.File(at("named.h5"), "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    model.save_weights(at("named.weights.h5"))
    model.save(at("named.keras"))
    with h5py.File(at("named_notop.h5"), "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, named(top=False))
    named(top=False).save_weights(at("named_notop.weights.h5"))
    named(classes=7).save_weights(at("named_7.weights.h5"))

    # the file of a deflating zip program
    with zipfile.ZipFile(at("named.keras")) as old, zipfile.ZipFile(at("named_packed.keras"), "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))

    packed = dict(chunks=True, compression="gzip", shuffle=True, file=dict(libver="latest"))
    copy(at("named.h5"), at("named_latest.h5"), file=dict(libver="latest"), variable=True)
    copy(at("named.h5"), at("named_split.h5"), split=2)
    copy(at("named.h5"), at("named_f16.h5"), dtype="float16", file=dict(userblock_size=1024))
    copy(at("named.h5"), at("named_f64be.h5"), dtype=">f8", **packed)
    old = {"kernel": "W", "bias": "b", "gamma": "gamma", "beta": "beta", "moving_mean": "running_mean"}

    def keras1(name):
        layer, variable = name.rsplit("/", 1)
        return f"{layer}_{old.get(variable, variable).replace('moving_variance', 'running_std')}_1:0"

    copy(at("named.h5"), at("named_old.h5"), rename=keras1)

    # the names of the first ResNets, in an order in which only they tell what is what
    resnet = dict(block1_conv1="conv1", block1_bn="bn_conv1", dw="res2b1_branch2a", dw_bn="bn2b1_branch2a", predictions="fc1000")
    copy(at("named.h5"), at("named_resnet.h5"), layer_names=resnet, order=lambda names: names[::-1])

    for first in [1, 94]:
        model = branches(first)
        with h5py.File(at(f"branches_{first}.h5"), "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
        model.save_weights(at(f"branches_{first}.weights.h5"))
    model.save(at("branches_94.keras"))

    copy(at("branches_94.h5"), at("branches_sorted.h5"), order=sorted)

    # the first versions of Keras 3 wrote no names
    with h5py.File(at("branches_94.weights.h5"), "r") as old, h5py.File(at("branches_nameless.weights.h5"), "w") as new:
        for name, item in datasets(old):
            new.create_dataset(name, data=item[()])

    model = convnext()
    legacy_h5_format.save_model_to_hdf5(model, at("convnext.h5"), include_optimizer=False)
    model.save_weights(at("convnext.weights.h5"))
    model.save(at("convnext.keras"))
    with h5py.File(at("convnext_notop.h5"), "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, convnext(top=False))
    convnext(top=False).save_weights(at("convnext_notop.weights.h5"))
    # as Keras 2 wrote it: a colon behind each variable, no path before it
    copy(at("convnext_notop.h5"), at("convnext_old.h5"), rename=lambda name: "/".join(name.split("/")[-2:]) + ":0")

    # bfloat16 as Keras stores it: two opaque bytes and a mark; a counter of a random layer beside it
    with h5py.File(at("branches_94.weights.h5"), "r") as old, h5py.File(at("branches_bf16.weights.h5"), "w") as new:
        for name, item in datasets(old):
            made = new.create_dataset(name, data=item[()].astype(ml_dtypes.bfloat16).view("V2"))
            made.attrs["dtype"] = "bfloat16"
        new.create_dataset("layers/dropout/seed_generator/vars/0", data=np.array([1, 2], "uint32"))
        new.create_dataset("optimizer/vars/0", data=np.zeros((3, 3, 3, 4), "float32"))

    # the network as a layer of another model
    base = branches(0, top=False)
    head = layers.Dense(3)
    outer = keras.Sequential([keras.Input((5, 5, 3)), base, layers.GlobalAveragePooling2D(), head])
    size = 12 * 3
    head.set_weights([((7 * np.arange(size) + 13 * 16) % 256 - 128).reshape(12, 3) / 64, (7 * np.arange(3) + 13 * 17 - 128) / 64])
    outer.save_weights(at("nested.weights.h5"))
    with h5py.File(at("nested.h5"), "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, outer)

    # the network with a head: within a model behind layers that prepare its input, in a row with them, and grown
    # together with it
    for kind in ["functional", "sequential", "flat"]:
        base = branches(0, top=False)
        if kind == "sequential":
            augment = keras.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 255)])
            rest = [layers.GlobalAveragePooling2D(), layers.Dense(6), layers.BatchNormalization(), layers.Dense(5)]
            outer = keras.Sequential([keras.Input((5, 5, 3)), augment, base, *rest])
        else:
            image = keras.Input((5, 5, 3))
            x = base.output if kind == "flat" else base(layers.Normalization()(layers.RandomFlip()(image)), training=False)
            x = layers.BatchNormalization()(layers.GlobalAveragePooling2D()(x))
            x = layers.Dense(6, activation="relu")(layers.Dropout(0.2)(x))
            outer = keras.Model(base.input if kind == "flat" else image, layers.Dense(5, name="predictions")(x))
        outer.save(at(f"{kind}_head.h5"))
        outer.save(at(f"{kind}_head.keras"))
        outer.save_weights(at(f"{kind}_head.weights.h5"))

    # the network beside a deeper one of its family, which has all of its layers and one more
    image = keras.Input((6, 6, 3))
    both = [named(top=False, deeper=deeper)(image) for deeper in (True, False)]
    outer = keras.Model(image, layers.Concatenate()(both))
    outer.save(at("beside.h5"))
    outer.save(at("beside.keras"))
    outer.save_weights(at("beside.weights.h5"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
        target = os.path.join(os.path.dirname(os.path.abspath(__file__)), "keras_files.zip")
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as zip:
            for name in sorted(os.listdir(folder)):
                zip.write(os.path.join(folder, name), name)
