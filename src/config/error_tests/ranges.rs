//! Values outside of their range, and keys that do not go together.

use super::*;

#[test]
fn values_out_of_range() {
    let components = "expected how many components (a whole number of at least 1), how much of the variance (between 0 and 1), or `mle`";
    check(&[
        (
            "name: a/b",
            "3:7: `name`: expected a name usable for a folder (no / \\ : * ? \" < > |, no space or dot at either end), found `a/b`",
        ),
        ("extract: {weights: 'hf:a/b'}", "3:20: `extract.weights`: expected `hf:owner/repo/file`, found `hf:a/b`"),
        (
            "extract: {weights: 'ftp://a/b.pth'}",
            "3:20: `extract.weights`: expected a URL of http or https, found `ftp://a/b.pth`",
        ),
        ("extract: {channels: 2}", "3:21: `extract.channels`: expected 3, or 1 for grey pictures, found `2`"),
        ("extract: {layers: []}", "3:19: `extract.layers`: expected at least one layer, found `none`"),
        ("extract: {layer: a, layers: [b]}", "3:29: `extract.layers` and `extract.layer` name layers both"),
        (
            "extract: {layers: [a], features: map}",
            "3:34: `features: map` keeps the shape of one layer; take `flatten` for several",
        ),
        (
            "extract: {source: torch}",
            "3:19: `extract.source`: expected `keras`, `torchvision` or `timm`, found `torch`; did you mean `torchvision`?",
        ),
        (
            "extract: {weights: ''}",
            "3:20: `extract.weights`: expected `bundled`, `keras`, `torchvision`, `timm`, `random`, a file, `hf:owner/repo/file` or a URL, found an empty text",
        ),
        ("extract: {weights_key: ''}", "3:24: `extract.weights_key`: expected a name, found ``"),
        (
            "extract: {shard_rows: 0}",
            "3:23: `extract.shard_rows`: expected a whole number from 1 to 1000000, found `0`",
        ),
        (
            "extract: {shard_rows: 1000001}",
            "3:23: `extract.shard_rows`: expected a whole number from 1 to 1000000, found `1000001`",
        ),
        ("extract: {batch_size: 0}", "3:23: `extract.batch_size`: expected a whole number from 1 to 65536, found `0`"),
        (
            "extract: {batch_size: 4}\nruntime: {batch_size: 8}",
            "3:23: `extract.batch_size` is 4 and `runtime.batch_size` is 8, and both are the same setting; leave one out",
        ),
        ("runtime: {batch_size: 0}", "3:23: `runtime.batch_size`: expected a whole number from 1 to 65536, found `0`"),
        (
            "select: {variance_threshold: -1}",
            "3:30: `select.variance_threshold`: expected a number of at least 0, found `-1`",
        ),
        (
            "select: {variance_threshold: .inf}",
            "3:30: `select.variance_threshold`: expected a number of at least 0, found `inf`",
        ),
        ("select: {top_k: 0}", "3:17: `select.top_k`: expected a whole number from 1 to 1000000000, found `0`"),
        (
            "select: {score: f_classif}",
            "3:17: `select.score` ranks the columns for `top_k`, which is not there; write `top_k: 100`",
        ),
        ("select: {top_k: 5, score: anova}", "3:27: `select.score`: expected `variance` or `f_classif`, found `anova`"),
        ("reduce: {pca: {components: 0}}", &format!("3:28: `reduce.pca.components`: {components}, found `0`")),
        ("reduce: {pca: {components: -3}}", &format!("3:28: `reduce.pca.components`: {components}, found `-3`")),
        ("reduce: {pca: {components: 1.5}}", &format!("3:28: `reduce.pca.components`: {components}, found `1.5`")),
        (
            "reduce: {pca: {components: 1.0}}",
            "3:28: `reduce.pca.components`: 1.0 can be read in two ways; write `1` for one component, `0.999` for nearly all of the \
             variance, or leave `reduce` out to keep every column",
        ),
        ("reduce: {pca: {components: all}}", &format!("3:28: `reduce.pca.components`: {components}, found `all`")),
        (
            "reduce: {svd: {components: mle}}",
            "3:28: `reduce.svd.components`: expected how many components (a whole number of at least 1; a share of the variance and \
             `mle` are for `pca`), found `mle`",
        ),
        ("reduce: {pca: {}, svd: {}}", "3:24: `reduce` has `pca` and `svd` both; leave one of them out"),
        ("reduce: {scale: minmax}", "3:17: `reduce.scale`: expected `none`, `standard` or `l2`, found `minmax`"),
        ("reduce: {scale: none}", "3:9: `reduce` has nothing to do; write `reduce: {pca: {}}`, or leave `reduce` out"),
        ("reduce:", "3:1: `reduce` has nothing to do; write `reduce: {pca: {}}`, or leave `reduce` out"),
        (
            "train: {}",
            "3:8: `train` names no classifier; write `train: {mlp: {}}`, `logistic` or `knn`, or leave `train` out",
        ),
        ("train: {mlp: {}, cv: 1}", "3:22: `train.cv`: expected a whole number from 2 to 10000, found `1`"),
        ("train: {knn: {k: 0}}", "3:18: `train.knn.k`: expected a whole number from 1 to 1000000, found `0`"),
        ("train: {logistic: {c: 0}}", "3:23: `train.logistic.c`: expected a number greater than 0, found `0`"),
        (
            "train: [{mlp: {}}, {knn: {k: 0}}]",
            "3:30: `train[1].knn.k`: expected a whole number from 1 to 1000000, found `0`",
        ),
        (
            "train: [{mlp: {}, knn: {}}]",
            "3:9: `train[0]`: expected one of `mlp`, `logistic` and `knn`, found `2 of them`",
        ),
        (
            "train: {knn: {}, group_by: a}",
            "3:28: `train.group_by` keeps pictures in one fold, and there are no folds; write `cv: 5`",
        ),
        (
            "train: {mlp: {hidden: [9, 0]}}",
            "3:27: `train.mlp.hidden[1]`: expected a whole number from 1 to 65536, found `0`",
        ),
        (
            "train: {mlp: {hidden_layer_sizes: [0]}}",
            "3:36: `train.mlp.hidden_layer_sizes[0]`: expected a whole number from 1 to 65536, found `0`",
        ),
        ("train: {mlp: {alpha: -1}}", "3:22: `train.mlp.alpha`: expected a number of at least 0, found `-1`"),
        ("train: {mlp: {alpha: .nan}}", "3:22: `train.mlp.alpha`: expected a number of at least 0, found `NaN`"),
        (
            "train: {mlp: {learning_rate_init: 0}}",
            "3:35: `train.mlp.learning_rate_init`: expected a number greater than 0, found `0`",
        ),
        ("train: {mlp: {momentum: 1.1}}", "3:25: `train.mlp.momentum`: expected a number from 0 to 1, found `1.1`"),
        (
            "train: {mlp: {beta_1: 1}}",
            "3:23: `train.mlp.beta_1`: expected a number of at least 0 and less than 1, found `1`",
        ),
        (
            "train: {mlp: {max_fun: 0}}",
            "3:24: `train.mlp.max_fun`: expected a whole number from 1 to 1000000000, found `0`",
        ),
        (
            "train: {mlp: {solver: lbfgs, early_stopping: true}}",
            "3:46: `train.mlp.early_stopping` goes with `solver: adam` or `sgd`; `lbfgs` has no passes to stop after",
        ),
        (
            "train: {mlp: {solver: lbfgs, dropout: 0.2}}",
            "3:39: `train.mlp.dropout` goes with `solver: adam` or `sgd`; `lbfgs` needs the same loss at every step",
        ),
        ("train: {mlp: {in_memory: 2}}", "3:26: `train.mlp.in_memory`: expected `auto`, `true` or `false`, found `2`"),
        (
            "train: {mlp: {in_memory: never}}",
            "3:26: `train.mlp.in_memory`: expected `auto`, `true` or `false`, found `never`",
        ),
        (
            "train: [{knn: {}}, {logistic: {in_memory: 0}}]",
            "3:43: `train[1].logistic.in_memory`: expected `auto`, `true` or `false`, found `0`",
        ),
        (
            "train: {knn: {in_memory: false}}",
            "3:15: unknown key `in_memory` in `train.knn`; `in_memory` belongs under `train.mlp` or `train.logistic`",
        ),
        (
            "train: [{knn: {}}, {mlp: {early_stopping: true, validation_fraction: 0}}]",
            "3:70: `train[1].mlp.early_stopping` watches the validation rows; `validation_fraction` has to be greater than 0",
        ),
        (
            "train: {mlp: {dropout: 1}}",
            "3:24: `train.mlp.dropout`: expected a number of at least 0 and less than 1, found `1`",
        ),
        (
            "train: {mlp: {label_smoothing: -0.1}}",
            "3:32: `train.mlp.label_smoothing`: expected a number of at least 0 and less than 1, found `-0.1`",
        ),
        (
            "train: {mlp: {class_weight: {a: 1, b: 0}}}",
            "3:39: `train.mlp.class_weight.b`: expected a number greater than 0, found `0`",
        ),
        (
            "train: {mlp: {class_weight: {}}}",
            "3:29: `train.mlp.class_weight`: expected `balanced`, or weights of classes, found `none`",
        ),
        (
            "train: [{logistic: {class_weight: even}}]",
            "3:35: `train[0].logistic.class_weight`: expected `balanced`, or weights of classes, `{Banana: 2.0}`, found `even`",
        ),
        (
            "train: {mlp: {warm_start: runs/a}, cv: 3}",
            "3:27: `train.mlp.warm_start` and cross-validation: the earlier run may have learnt the pictures that are held out; leave `cv` and \
             other classifiers out",
        ),
        (
            "train: [{mlp: {warm_start: runs/a}}, {knn: {}}]",
            "3:28: `train[0].mlp.warm_start` and cross-validation: the earlier run may have learnt the pictures that are held out; leave `cv` and \
             other classifiers out",
        ),
        ("train: {mlp: {warm_start: ''}}", "3:27: `train.mlp.warm_start`: expected the folder of a run, found ``"),
        (
            "train: {mlp: {max_iter: 0}}",
            "3:25: `train.mlp.max_iter`: expected a whole number from 1 to 1000000000, found `0`",
        ),
        (
            "train: {mlp: {early_stopping: true, validation_fraction: 0}}",
            "3:58: `train.mlp.early_stopping` watches the validation rows; `validation_fraction` has to be greater than 0",
        ),
        ("output: {dir: ''}", "3:15: `output.dir`: expected a path, found an empty text"),
    ]);
    check_input(&[
        ("max_bad_fraction: 2", "4:21: `input.max_bad_fraction`: expected a number from 0 to 1, found `2`"),
        (
            "classes: []",
            "4:12: `input.classes`: expected at least one class, found an empty list; leave it out for all classes",
        ),
        ("classes: [a, b, a]", "4:19: `input.classes` has `a` twice"),
        (
            "limit_per_class: {train: 0}",
            "4:28: `input.limit_per_class.train`: expected a whole number from 1 to 1000000000, found `0`",
        ),
    ]);
}

#[test]
fn impossible_combinations() {
    let ways = "write `{train: GLOB, test: GLOB}`, `{fraction: 0.25}` or `{csv: FILE}`, or leave `split` out";
    check_input(&[
        ("split: {train: a}", &format!("4:18: `input.split` has `train` but no `test`; {ways}")),
        ("split: {test: a}", &format!("4:17: `input.split` has `test` but no `train`; {ways}")),
        ("split: {}", &format!("4:10: `input.split` is empty; {ways}")),
        (
            "split: {seed: 1}",
            &format!("4:17: `input.split.seed` is the seed of `fraction`, which is not there; {ways}"),
        ),
        ("split: {fraction: 1}", "4:21: `input.split.fraction`: expected a number between 0 and 1, found `1`"),
        (
            "split: {train: a, test: b, csv: c}",
            &format!("4:35: `csv` of `input.split` does not go with `train` and `test`; {ways}"),
        ),
        (
            "split: {train: a, test: b, fraction: 0.5}",
            &format!("4:40: `fraction` of `input.split` does not go with `train` and `test`; {ways}"),
        ),
        (
            "split: {train: a, test: a}",
            &format!("4:27: `train` and `test` of `input.split` are the same pictures; {ways}"),
        ),
        (
            "split: {train: 'a/[', test: b}",
            "4:18: `input.split.train`: `a/[` is no glob: unclosed character class; missing ']'",
        ),
        (
            "label: none\ntrain: {mlp: {}}",
            "4:10: `train` needs classes, and `input.label` is `none`; write `label: folder` or leave `train` out",
        ),
        (
            "label: none\nselect: {top_k: 5, score: f_classif}",
            "5:27: `f_classif` compares classes, and `input.label` is `none`; take `score: variance`",
        ),
        (
            "label: none\n  classes: [a]",
            "5:12: `input.classes` chooses classes, and `input.label` is `none`; leave one of them out",
        ),
    ]);
}

#[test]
fn numbers_that_are_too_large() {
    let size = "a size from 1MB to 1000TB, such as `2GiB` or `500MB`, a number of MB, or `auto`";
    check(&[
        (
            "runtime: {threads: 100000}",
            "3:20: `runtime.threads`: expected a whole number from 1 to 1024, found `100000`",
        ),
        (
            "runtime: {batch_size: 65537}",
            "3:23: `runtime.batch_size`: expected a whole number from 1 to 65536, found `65537`",
        ),
        ("runtime: {decode_memory: 2g}", &format!("3:26: `runtime.decode_memory`: expected {size}, found `2g`")),
        ("runtime: {decode_memory: 0}", &format!("3:26: `runtime.decode_memory`: expected {size}, found `0`")),
        ("runtime: {decode_memory: 0.5MB}", &format!("3:26: `runtime.decode_memory`: expected {size}, found `0.5MB`")),
        ("runtime: {decode_memory: -1}", &format!("3:26: `runtime.decode_memory`: expected {size}, found `-1`")),
        (
            "extract: {batch_size: 100000}",
            "3:23: `extract.batch_size`: expected a whole number from 1 to 65536, found `100000`",
        ),
        (
            "extract: {recipe: {size: [4097, 224]}}",
            "3:26: `extract.recipe.size`: expected from 1 to 4096 pixels each way, found `[4097, 224]`",
        ),
        (
            "extract: {recipe: {crop_pct: 0.001}}",
            "3:30: `extract.recipe.crop_pct`: expected from 0.01 to 1, found `0.001`",
        ),
        ("extract: {recipe: {divisor: 0}}", "3:29: `extract.recipe.divisor`: expected finite and not 0, found `0`"),
        (
            "extract: {recipe: {mean: [0, .nan, 0]}}",
            "3:26: `extract.recipe.mean`: expected three finite numbers, found `[0.0, NaN, 0.0]`",
        ),
        (
            "extract: {recipe: {std: [1, 0, 1]}}",
            "3:25: `extract.recipe.std`: expected three finite numbers, none of them 0, found `[1.0, 0.0, 1.0]`",
        ),
        (
            "image: {max_pixels: 10000000001}",
            "3:21: `image.max_pixels`: expected a whole number from 1 to 10000000000, found `10000000001`",
        ),
        (
            "select: {top_k: 1000000001}",
            "3:17: `select.top_k`: expected a whole number from 1 to 1000000000, found `1000000001`",
        ),
        (
            "reduce: {pca: {components: 1000001}}",
            "3:28: `reduce.pca.components`: expected a whole number from 1 to 1000000, found `1000001`",
        ),
        (
            "reduce: {svd: {components: 1000001}}",
            "3:28: `reduce.svd.components`: expected a whole number from 1 to 1000000, found `1000001`",
        ),
        (
            "train: {mlp: {hidden: [1000000000, 10]}}",
            "3:24: `train.mlp.hidden[0]`: expected a whole number from 1 to 65536, found `1000000000`",
        ),
        (
            "train: {mlp: {hidden: 70000}}",
            "3:23: `train.mlp.hidden`: expected a whole number from 1 to 65536, found `70000`",
        ),
        (
            "train: {mlp: {batch_size: 1000000001}}",
            "3:27: `train.mlp.batch_size`: expected a whole number from 1 to 1000000000, found `1000000001`",
        ),
        (
            "train: {mlp: {n_iter_no_change: 1000000001}}",
            "3:33: `train.mlp.n_iter_no_change`: expected a whole number from 1 to 1000000000, found `1000000001`",
        ),
        ("train: {mlp: {tol: .inf}}", "3:20: `train.mlp.tol`: expected a number of at least 0, found `inf`"),
        ("train: {logistic: {tol: .nan}}", "3:25: `train.logistic.tol`: expected a number greater than 0, found `NaN`"),
        (
            "train: {logistic: {max_iter: 1000000001}}",
            "3:30: `train.logistic.max_iter`: expected a whole number from 1 to 1000000000, found `1000000001`",
        ),
        (
            "train: {knn: {n_neighbors: 1000001}}",
            "3:28: `train.knn.n_neighbors`: expected a whole number from 1 to 1000000, found `1000001`",
        ),
        ("train: {mlp: {}, cv: 10001}", "3:22: `train.cv`: expected a whole number from 2 to 10000, found `10001`"),
        ("report: {samples: 10001}", "3:19: `report.samples`: expected a whole number from 0 to 10000, found `10001`"),
    ]);
    let layers = format!("train: {{mlp: {{hidden: [{}1]}}}}", "1, ".repeat(64));
    check(&[(layers.as_str(), "3:23: `train.mlp.hidden`: expected at most 64 layers, found `65`")]);
    check_input(&[
        (
            "limit_per_class: 1000000001",
            "4:20: `input.limit_per_class`: expected a whole number from 1 to 1000000000, found `1000000001`",
        ),
        (
            "limit_per_class: {test: 1000000001}",
            "4:27: `input.limit_per_class.test`: expected a whole number from 0 to 1000000000, found `1000000001`",
        ),
        ("max_bad_fraction: .nan", "4:21: `input.max_bad_fraction`: expected a number from 0 to 1, found `NaN`"),
    ]);
}
