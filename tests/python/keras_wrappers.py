"""Networks of keras.applications as people save them: with their own classes, without a top, within functional and
sequential models, grown together with a head; in `.weights.h5`, `.keras` and `.h5`. All must load, and the features be
those of Keras for the same input, to 1e-5.

    python tests/python/keras_wrappers.py [network ...]              # FEATURIZE names the binary, TMPDIR needs 2 GB for
    VGG

Keras 3.15.1, TensorFlow 2.21.0.
"""
import os
import subprocess
import sys
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
import pyarrow.parquet as pq
from keras import layers
from PIL import Image

K = keras.applications
BINARY = os.environ.get("FEATURIZE", "target/release/featurize")
NETWORKS = {
    "vgg16": K.VGG16, "vgg19": K.VGG19, "resnet50": K.ResNet50, "resnet101": K.ResNet101, "resnet152": K.ResNet152,
    "resnet50v2": K.ResNet50V2, "resnet101v2": K.ResNet101V2, "resnet152v2": K.ResNet152V2, "inception_v3": K.InceptionV3,
    "xception": K.Xception, "mobilenet_v2": K.MobileNetV2, "densenet121": K.DenseNet121, "densenet169": K.DenseNet169,
    "densenet201": K.DenseNet201,
}
SIZE = 96


def noisy(network):
    """Random moving averages and shifts, so that every tensor counts and none may be taken for another."""
    random = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            new = []
            for weight in layer.weights:
                shape = weight.shape
                new.append(random.uniform(0.7, 1.4, shape) if "gamma" in weight.path or "variance" in weight.path else random.normal(0, 0.1, shape))
            layer.set_weights(new)
    return network


def wrapped(make):
    """Name, whole model, the network within it."""
    image = (SIZE, SIZE, 3)
    head = lambda x: layers.Dense(7)(layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x)))
    own = noisy(make(weights=None, classes=7, input_shape=image))
    yield "classes", own, own
    bare = noisy(make(weights=None, include_top=False, input_shape=image))
    yield "no top", bare, bare
    pooled = noisy(make(weights=None, include_top=False, pooling="avg", input_shape=image))
    yield "pooled", pooled, pooled
    within = noisy(make(weights=None, include_top=False, input_shape=image))
    x = start = keras.Input(image)
    x = layers.Rescaling(1 / 127.5, offset=-1)(layers.RandomRotation(0.1)(layers.RandomFlip()(x)))
    yield "functional", keras.Model(start, head(within(x, training=False))), within
    within = noisy(make(weights=None, include_top=False, pooling="avg", input_shape=image))
    augment = keras.Sequential([layers.RandomFlip(), layers.RandomZoom(0.1)])
    rest = [layers.Dense(32, activation="relu"), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(7)]
    yield "sequential", keras.Sequential([keras.Input(image), augment, layers.Rescaling(1 / 255), within, *rest]), within
    flat = noisy(make(weights=None, include_top=False, input_shape=image))
    x = layers.Dense(64, activation="relu")(layers.BatchNormalization()(layers.GlobalAveragePooling2D()(flat.output)))
    yield "flat", keras.Model(flat.input, layers.Dense(7, activation="softmax", name="predictions")(x)), flat


def featurize(file, name, folder, *more):
    out = os.path.join(folder, "e.parquet")
    if os.path.exists(out):
        os.remove(out)
    command = [BINARY, "embed", os.path.join(folder, "a.png"), "-o", out, "--model", name, "--source", "keras", "--layout", "array"]
    command += ["--weights", file, "--set", f"extract.recipe.size={SIZE}", "--set", "extract.recipe.fit=stretch", *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return None, " / ".join(done.stderr.strip().splitlines())[:400]
    return np.array(pq.read_table(out).column(1)[0].as_py(), "float32"), ""


def main(folder):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), "uint8")).save(os.path.join(folder, "a.png"))
    done = failed = 0
    for name in sys.argv[1:] or NETWORKS:
        worst = 0
        for kind, whole, network in wrapped(NETWORKS[name]):
            want = None
            for ending in (".weights.h5", ".keras", ".h5"):
                file = os.path.join(folder, "w" + ending)
                (whole.save_weights if ending == ".weights.h5" else whole.save)(file)
                if want is None:
                    x, told = featurize(file, name, folder, "--layer", "input", "--features", "map")
                    last = {"classes": {"vgg16": "block5_pool", "vgg19": "block5_pool"}.get(name)}.get(kind)
                    tops = (layers.GlobalAveragePooling2D, layers.Dense, layers.Flatten)
                    maps = [layer for layer in network.layers if not isinstance(layer, tops)]
                    output = network.get_layer(last).output if last else maps[-1].output
                    if x is not None:
                        values = keras.Model(network.input, output)(x.reshape(1, SIZE, SIZE, 3), training=False)
                        want = np.asarray(values).mean((1, 2))[0]
                got, told = featurize(file, name, folder, "--features", "avg")
                far = np.linalg.norm(got - want) / np.linalg.norm(want) if got is not None and want is not None else np.inf
                done, worst = done + 1, max(worst, far)
                if not far < 1e-5:
                    failed += 1
                    print(f"FAIL {name} {kind} {ending}: {far:.1e} {told}", flush=True)
                os.remove(file)
        print(f"{name}: {worst:.1e} away at most", flush=True)
        keras.backend.clear_session()
    print(f"{done - failed} of {done} load with Keras' features")
    return failed


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(bool(main(folder)))
