//! The text of every kind of error, with its place.

use std::path::Path;

use super::{ConfigError, load, parse};

mod ranges;

const FILE: &str = "pipelines/fruits.yaml";

/// The whole error of a YAML text.
fn error_of(text: &str, sets: &[&str]) -> String {
    let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
    match parse(text, Path::new(FILE), &sets) {
        Ok(_) => panic!("no error in\n{text}"),
        Err(error) => error.to_string(),
    }
}

/// The first line of the error, without the file: `LINE:COLUMN: message`.
fn line_of(text: &str) -> String {
    let error = error_of(text, &[]);
    let line = error.lines().next().unwrap();
    line.strip_prefix(FILE).unwrap().strip_prefix(':').unwrap().to_owned()
}

/// Each error of a text put below a pipeline that is right so far.
fn check(cases: &[(&str, &str)]) {
    for (below, expected) in cases {
        assert_eq!(line_of(&format!("version: 1\ninput: {{root: d}}\n{below}\n")), *expected, "{below}");
    }
}

/// Each error of a text put into `input`, whose keys begin on line 4.
fn check_input(cases: &[(&str, &str)]) {
    for (below, expected) in cases {
        assert_eq!(line_of(&format!("version: 1\ninput:\n  root: d\n  {below}\n")), *expected, "{below}");
    }
}

#[test]
fn an_error_shows_its_line() {
    let text = "version: 1\ninput:\n  root: ../data\n\n# the network\nextract:\n  features: avg\n  modle: resnet50\n";
    assert_eq!(
        error_of(text, &[]),
        "pipelines/fruits.yaml:8:3: unknown key `modle` in `extract`; did you mean `model`?
  |
8 |   modle: resnet50
  |   ^^^^^"
    );
    let text = "version: 1\r\ninput: {root: ä, label: földer}\r\n";
    assert_eq!(
        error_of(text, &[]),
        "pipelines/fruits.yaml:2:25: `input.label`: expected `folder`, `parent`, `none` or `{pattern: …}`, found `földer`; did you mean `folder`?
  |
2 | input: {root: ä, label: földer}
  |                         ^^^^^^"
    );
}

#[test]
fn whole_files() {
    for (text, expected) in [
        ("", "1:1: the pipeline is empty; it begins with `version: 1` and needs `input`"),
        ("# nothing\n", "2:1: the pipeline is empty; it begins with `version: 1` and needs `input`"),
        ("- a\n", "1:1: expected keys and values (`version: 1`, `input: …`) at the top level, found a list"),
        ("hello\n", "1:1: expected keys and values (`version: 1`, `input: …`) at the top level, found a single text"),
        ("input: {root: d}\n", "1:1: missing key `version`; begin the pipeline with `version: 1`"),
        ("version:\ninput: {root: d}\n", "1:1: missing key `version`; begin the pipeline with `version: 1`"),
        ("version: 2\ninput: {root: d}\n", "1:10: this featurize reads version 1, found version 2"),
        ("version: one\ninput: {root: d}\n", "1:10: `version`: expected a whole number, 0 or more, found `one`"),
        (
            "version: '1'\ninput: {root: d}\n",
            "1:10: `version`: expected a whole number, 0 or more, found the text \"1\"; write it without quotes",
        ),
        ("version: 1\n", "1:1: missing key `input`; write `input: {root: FOLDER}` with the folder of the pictures"),
        (
            "version: 1\ninput:\n  label: none\n",
            "2:1: missing key `root` in `input`; write `root: FOLDER` with the folder of the pictures",
        ),
    ] {
        assert_eq!(line_of(text), expected, "{text:?}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing.yaml");
    let error = load(&missing, &[]).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
    assert!(error.to_string().starts_with(&format!("{}: cannot read the pipeline: ", missing.display())), "{error}");
    assert!(matches!(load(dir.path(), &[]).unwrap_err(), ConfigError::Read { .. }));
    let latin = dir.path().join("latin.yaml");
    std::fs::write(&latin, b"version: 1\nname: f\xfcr\n").unwrap();
    let error = load(&latin, &[]).unwrap_err();
    assert_eq!(error.to_string(), format!("{}:2: not UTF-8 text; save the pipeline as UTF-8", latin.display()));
}

#[test]
fn not_yaml() {
    let indentation = "check the indentation, and put quotes around a text that holds `: `";
    let colon = format!("not valid YAML: mapping values are not allowed in this context; {indentation}");
    for (text, expected) in [
        ("version: 1\ninput:\n\troot: d\n", "3:1: a tab in the indentation; YAML is indented by spaces"),
        ("version: 1\ninput:\n  root: [a, b\n", "3:9: not valid YAML: unclosed bracket '['"),
        ("version: 1\nname: 'x\n", "2:7: not valid YAML: unclosed quote"),
        ("version: 1\ninput:\n  root: d\n   label: x\n", &format!("4:9: {colon}")),
        ("version: 1\nname: a: b\n", &format!("2:8: {colon}")),
        ("version: 1\nversion: 1\n", "2:1: `version` is written twice; the first is on line 1"),
        (
            "version: 1\n---\na: 1\n",
            "3:1: a second YAML document begins here; a pipeline is one document: remove the `---`",
        ),
        ("a: {b: *.jpg}\n", "1:8: no anchor of this name above; put quotes around a text that begins with `*`"),
        ("a: @b\n", "1:4: not valid YAML: unexpected character: `@'; put quotes around a text that begins with a sign"),
        ("a: !b c\n", "1:7: not valid YAML: unsupported tag `!b`"),
        ("? [a]\n: 1\n", "1:3: a key has to be a single word"),
        (": 1\n", "1:1: a key is missing before this `:`"),
    ] {
        assert_eq!(line_of(text), expected, "{text:?}");
    }
    // deeper than the stack should go
    assert!(line_of(&"[".repeat(5000)).contains("not valid YAML"));
}

#[test]
fn unknown_keys() {
    check(&[
        ("modle: x", "3:1: unknown key `modle` at the top level; did you mean `model` under `extract`?"),
        ("extrakt: {}", "3:1: unknown key `extrakt` at the top level; did you mean `extract`?"),
        ("model: x", "3:1: unknown key `model` at the top level; `model` belongs under `extract`"),
        (
            "seed: 3",
            "3:1: unknown key `seed` at the top level; `seed` belongs under `input.split`, `extract` or `train.mlp`",
        ),
        ("train: {hidden: [1]}", "3:9: unknown key `hidden` in `train`; `hidden` belongs under `train.mlp`"),
        (
            "reduce: {components: 3}",
            "3:10: unknown key `components` in `reduce`; `components` belongs under `reduce.pca` or `reduce.svd`",
        ),
        ("report: {version: 1}", "3:10: unknown key `version` in `report`; `version` belongs at the top level"),
        ("report: {sample: 3}", "3:10: unknown key `sample` in `report`; did you mean `samples`?"),
        ("extract: {batch-size: 3}", "3:11: unknown key `batch-size` in `extract`; did you mean `batch_size`?"),
        ("output: {directory: x}", "3:10: unknown key `directory` in `output`; did you mean `dir`?"),
        (
            "output: {to: x}",
            "3:10: unknown key `to` in `output`; the keys there are `dir`, `layout`, `dtype` and `npy`",
        ),
        ("extract: {recipe: {resiz: 3}}", "3:20: unknown key `resiz` in `extract.recipe`; did you mean `resize`?"),
        // a key without a value is no key left out when there is no such key
        ("extract: {modle: }", "3:11: unknown key `modle` in `extract`; did you mean `model`?"),
    ]);
    check_input(&[
        ("limit_per_class: {trian: 1}", "4:21: unknown key `trian` in `input.limit_per_class`; did you mean `train`?"),
        ("split: {tests: a}", "4:11: unknown key `tests` in `input.split`; did you mean `test`?"),
    ]);
}

#[test]
fn how_files_become_pixels() {
    check(&[
        ("image: {exif: on}", "3:15: `image.exif`: expected `apply` or `ignore`, found `on`"),
        ("image: {truncated: zero}", "3:20: `image.truncated`: expected `fail` or `pad`, found `zero`"),
        (
            "image: {max_pixels: 0}",
            "3:21: `image.max_pixels`: expected a whole number from 1 to 10000000000, found `0`",
        ),
        (
            "image: {background: red}",
            "3:21: `image.background`: expected `white`, `black` or three levels from 0 to 255, `[red, green, blue]`, found `red`",
        ),
        (
            "image: {background: [0, 256, 0]}",
            "3:21: `image.background`: expected `white`, `black` or three levels from 0 to 255, `[red, green, blue]`, found a list of 3",
        ),
        (
            "image: {background: [0, 5]}",
            "3:21: `image.background`: expected `white`, `black` or three levels from 0 to 255, `[red, green, blue]`, found a list of 2",
        ),
        ("image: {exf: apply}", "3:9: unknown key `exf` in `image`; did you mean `exif`?"),
        ("extract: {exif: apply}", "3:11: unknown key `exif` in `extract`; `exif` belongs under `image`"),
    ]);
}

#[test]
fn wrong_types_and_words() {
    check(&[
        ("extract: {seed: -1}", "3:17: `extract.seed`: expected a whole number, 0 or more, found `-1`"),
        ("extract: {seed: 1.5}", "3:17: `extract.seed`: expected a whole number, 0 or more, found `1.5`"),
        ("extract: {model: [a]}", "3:18: `extract.model`: expected a text, found a list of 1"),
        ("extract: {weights: {a: 1}}", "3:20: `extract.weights`: expected a text, found keys and values"),
        (
            "extract: {precision: f16}",
            "3:22: `extract.precision`: expected `f32` or `bf16`, found `f16`; did you mean `bf16`?",
        ),
        (
            "extract: {features: [avg]}",
            "3:21: `extract.features`: expected `avg`, `max`, `flatten` or `map`, found a list of 1",
        ),
        (
            "extract: resnet50",
            "3:10: `extract`: expected keys and values (`model`, `weights`, `weights_key`, `seed`, `features`, `layer`, `layers`, `source`, \
           `channels`, `precision`, `recipe`, `shard_rows` or `batch_size`), found `resnet50`",
        ),
        (
            "report:\n  samples:3",
            "4:3: `report`: expected keys and values (`title`, `samples`, `quality` or `figures`), a space after each colon, found `samples:3`",
        ),
        (
            "report: []",
            "3:9: `report`: expected keys and values (`title`, `samples`, `quality` or `figures`), found an empty list",
        ),
        (
            "train: {mlp: {activation: realu}}",
            "3:27: `train.mlp.activation`: expected `identity`, `logistic`, `tanh` or `relu`, found `realu`; did you mean `relu`?",
        ),
        (
            "train: {mlp: {learning_rate: 0.01}}",
            "3:30: `train.mlp.learning_rate`: expected `constant`, `invscaling` or `adaptive`, found `0.01`; the number goes into \
             `learning_rate_init`",
        ),
        (
            "train: {mlp: {solver: rmsprop}}",
            "3:23: `train.mlp.solver`: expected `adam`, `sgd` or `lbfgs`, found `rmsprop`",
        ),
        (
            "train: {mlp: {alpha: '1'}}",
            "3:22: `train.mlp.alpha`: expected a number, found the text \"1\"; write it without quotes",
        ),
        ("train: {mlp: {shuffle: 1}}", "3:24: `train.mlp.shuffle`: expected true or false, found `1`"),
        (
            "train: {mlp: {hidden: [9, x]}}",
            "3:27: `train.mlp.hidden[1]`: expected a whole number, 0 or more, found `x`",
        ),
        (
            "train: {mlp: {hidden: [9], hidden_layer_sizes: [8]}}",
            "3:28: `train.mlp.hidden` is written twice, once under its other name",
        ),
        (
            "runtime: {device: gpu}",
            "3:19: `runtime.device`: expected `auto`, `cpu`, `cuda`, `cuda:N` or `metal`, found `gpu`; write `auto` to use a GPU \
             where there is one",
        ),
        (
            "runtime: {device: cuda1}",
            "3:19: `runtime.device`: expected `auto`, `cpu`, `cuda`, `cuda:N` or `metal`, found `cuda1`; did you mean `cuda`?",
        ),
        (
            "runtime: {threads: 0}",
            "3:20: `runtime.threads`: expected a whole number of at least 1, or `auto`, found `0`",
        ),
    ]);
    check_input(&[
        (
            "limit_per_class: -1",
            "4:20: `input.limit_per_class`: expected a whole number of at least 1, or `{train: …, test: …}`, found `-1`",
        ),
        (
            "limit_per_class: {train: x}",
            "4:28: `input.limit_per_class.train`: expected a whole number, 0 or more, found `x`",
        ),
    ]);
}

#[test]
fn a_replayed_value_points_at_the_text_to_change() {
    let text = "version: 1\nx-base: &base\n  seed: -1\ninput: {root: d}\nextract:\n  <<: *base\n  model: vgg16\n";
    assert_eq!(line_of(text), "3:9: `extract.seed`: expected a whole number, 0 or more, found `-1`");
    let text = "version: 1\nname: &n fruits\ninput: {root: d}\nextract:\n  seed: *n\n";
    assert_eq!(line_of(text), "5:9: `extract.seed`: expected a whole number, 0 or more, found `fruits`");
}

#[test]
fn sets_are_named_as_the_place() {
    let text = "version: 1\ninput: {root: d, classes: [a, b]}\n";
    for (set, expected) in [
        ("x", "expected `key.path=value`, such as `reduce.pca.components=8`"),
        ("=3", "`` is no key; write keys with dots between, such as `reduce.pca.components`"),
        ("name=", "nothing after the `=`; write `null` to remove the key, `\"\"` for an empty text"),
        ("name=[1", "not valid YAML: unclosed bracket '['"),
        ("reduce.pac.components=8", "unknown key `pac` in `reduce`; did you mean `pca`?"),
        ("extract.seed=x", "`extract.seed`: expected a whole number, 0 or more, found `x`"),
        ("input.root.x=3", "`input.root` is a single value and has no keys; set it whole: `input.root=…`"),
        ("input.classes.a=3", "`input.classes` is a list; set the whole of it: `input.classes=[…]`"),
        ("input.classes=[a, a]", "`input.classes` has `a` twice"),
    ] {
        assert_eq!(error_of(text, &[set]), format!("--set {set}: {expected}"));
    }
}

#[test]
fn later_checks_point_into_the_file() {
    let text = "version: 1\ninput: {root: d}\nextract:\n  model: resnet5\n";
    let pipeline = parse(text, Path::new(FILE), &["report.samples=3".to_owned()]).unwrap();
    assert_eq!(
        pipeline.error_at("extract.model", "no such model").to_string(),
        "pipelines/fruits.yaml:4:10: no such model\n  |\n4 |   model: resnet5\n  |          ^^^^^^^"
    );
    // not written: the section around it
    assert_eq!(
        pipeline.error_at("extract.layer", "no").to_string(),
        "pipelines/fruits.yaml:3:1: no\n  |\n3 | extract:\n  | ^^^^^^^"
    );
    assert_eq!(pipeline.error_at("report.samples", "no").to_string(), "--set report.samples=3: no");
    assert_eq!(pipeline.error_at("runtime.device", "no").to_string(), "pipelines/fruits.yaml: no");
}
