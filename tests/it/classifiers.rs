//! The classifiers other than the perceptron, and the choice between several, as users run them.

use serde_json::Value;

use crate::predict::{ALL, agrees, predictions};
use crate::support::{Run, Workspace, files, set};

/// Compares the probabilities of `predict` for the test pictures with those of the run's own table, bit for bit.
fn predict_agrees(workspace: &Workspace, out: &str) {
    agrees(workspace, &workspace.path(out), &ALL);
}

#[test]
fn each_kind_is_trained_measured_saved_and_loaded_again() {
    let workspace = Workspace::with_fruits(6, 4);
    for (set, kind) in [("train={logistic: {}}", "logistic"), ("train={knn: {k: 3, weights: distance}}", "knn")] {
        workspace.run("out", &["--set", set]).ok();
        let metrics = workspace.json("out/metrics.json");
        assert_eq!(metrics["classifier"], kind);
        // with three classes and twelve test pictures, a random guess has ten of them right once in 1,800 times
        let right = (12.0 * metrics["test"]["accuracy"].as_f64().expect("scored")).round();
        assert!(right >= 10.0, "{kind}: {right} of 12");
        assert_eq!(workspace.json("out/classifier/classifier.json")["kind"], kind);
        let files =
            ["mlp", "logistic", "knn"].map(|kind| workspace.path(&format!("out/classifier/{kind}.safetensors")));
        assert_eq!(files.iter().filter(|file| file.exists()).count(), 1, "only what belongs to it");
        predict_agrees(&workspace, "out");
    }
}

#[test]
fn the_best_of_several_is_kept_and_every_score_told() {
    let workspace = Workspace::with_fruits(6, 4);
    // a perceptron with one neuron after one epoch cannot be the best
    let set = "train={candidates: [{mlp: {hidden: [1], max_iter: 1}}, {logistic: {}}, {knn: {k: 1}}], cv: 3}";
    workspace.run("out", &["--set", set]).ok();
    let metrics = workspace.json("out/metrics.json");
    let scored = metrics["cross_validation"].as_array().expect("a list");
    assert_eq!(scored.len(), 3);
    assert!(scored.iter().all(|one| one["folds"].as_array().is_some_and(|folds| folds.len() == 3)));
    let means: Vec<f64> = scored.iter().map(|one| one["mean"].as_f64().expect("a mean")).collect();
    assert!(means[0] < means[1], "{means:?}");
    assert_ne!(metrics["classifier"], "mlp");
    predict_agrees(&workspace, "out");
    let again = workspace.run("out", &["--set", set]).ok();
    assert_eq!(again.computed(), [""; 0], "nothing is computed twice");
}

#[test]
fn auto_keeps_the_simplest_within_one_error_of_the_least_log_loss() {
    let workspace = Workspace::with_fruits(6, 4);
    let small = ["--set", "extract.layer=blocks.1.0", "--set", "extract.recipe.size=64", "--set", "reduce=null"];
    let run = |train: &str| {
        workspace.run("out", &[&small[..], &["--set", &format!("train={train}")]].concat()).ok();
        workspace.json("out/metrics.json")
    };
    for (train, count) in [("auto", 12), ("{auto: {fits: 13}, cv: 3}", 4), ("{auto: {}, cv: 2, calibrate: none}", 12)] {
        let metrics = run(train);
        let scored = metrics["cross_validation"].as_array().expect("a list");
        assert_eq!(scored.len(), count, "{train}");
        let number = |one: &Value, key: &str| one[key].as_f64().expect("a number");
        let (mut least, mut limit) = (f64::INFINITY, f64::INFINITY);
        for one in scored {
            let losses: Vec<f64> = serde_json::from_value(one["log_losses"].clone()).expect("numbers");
            assert_eq!(one["folds"].as_array().map(Vec::len), Some(losses.len()));
            let mean = losses.iter().sum::<f64>() / losses.len() as f64;
            assert!((mean - number(one, "log_loss")).abs() < 1e-12);
            if mean < least {
                (least, limit) = (mean, mean + number(one, "log_loss_error"));
            }
        }
        let first = scored.iter().position(|one| number(one, "log_loss") <= limit);
        let kept: Vec<usize> = (0..count).filter(|&i| scored[i]["kept"] == true).collect();
        assert_eq!(kept, [first.expect("one")], "{train}");
        predict_agrees(&workspace, "out");
        let shown = workspace.call(&["show", "out"]).ok().stdout;
        assert!(shown.contains("  compared ") && shown.matches("(kept)").count() == 1, "{shown}");
        let report = workspace.text("out/report.html");
        assert!(report.contains("one standard error of the least was kept"), "{train}");
    }
    let again = workspace.run("out", &[&small[..], &["--set", "train={auto: {}, cv: 2, calibrate: none}"]].concat());
    assert!(again.ok().computed().is_empty());
    for (train, code, expected) in [
        ("{auto: {}, knn: {k: 1}}", 2, "`train.auto` chooses the classifier, and `train.knn` is one"),
        ("{auto: {}, candidates: [{knn: {}}]}", 2, "and `train.candidates[0].knn` is one"),
        ("{auto: {fits: 9}}", 2, "9 fits are too few to compare two classifiers in 5 folds; write 10 or more"),
        ("{auto: {fit: 9}}", 2, "did you mean `fits`?"),
        ("automatic", 2, "`auto`, or a list of classifiers"),
        ("{auto: {}, cv: 7}", 1, "7 folds are asked for, and the largest class has 6 train pictures"),
    ] {
        workspace.run("wrong", &["--set", &format!("train={train}")]).ended(code, &[expected]);
        assert!(!workspace.path("wrong/features").exists());
    }
}

#[test]
fn auto_leaves_out_candidates_for_which_there_are_too_few_pictures() {
    let cut = ["--set", "extract.layer=blocks.1.0", "--set", "extract.recipe.size=64", "--set", "reduce=null"];
    // (pictures of each of the three classes, the YAML, folds, whether every fold leaves enough pictures for five
    // neighbours)
    for (each, train, folds, near) in [
        (2, "auto", 2, false),
        (3, "{auto: {}, cv: 2}", 2, false),
        (3, "auto", 3, true),
        (4, "auto", 4, true),
        // the first digits of the file names make two groups
        (6, "{auto: {}, group_by: '/([0-9])_'}", 2, true),
    ] {
        let workspace = Workspace::with_fruits(each, 4);
        let ran = workspace.run("out", &[&cut[..], &["--set", &format!("train={train}")]].concat()).ok();
        let why = "5 neighbours are asked for, and there are";
        assert_eq!(ran.stderr.contains(&format!("knn (k 5): left out: {why}")), !near, "{}", ran.stderr);
        let shown = workspace.call(&["show", "out"]).ok().stdout;
        assert_eq!(shown.contains(&format!("left out: knn (k 5): {why}")), !near, "{shown}");
        assert_eq!(workspace.text("out/report.html").contains(&format!("left out: {why}")), !near);
        let metrics = workspace.json("out/metrics.json");
        let scored = metrics["cross_validation"].as_array().expect("a list");
        let names: Vec<&str> = scored.iter().map(|one| one["classifier"].as_str().expect("a name")).collect();
        assert_eq!(names.iter().filter(|name| name.starts_with("knn")).count(), usize::from(near), "{each}: {names:?}");
        assert_eq!(names.len(), 11 + usize::from(near), "{each}: {names:?}");
        let left_out = metrics["left_out"].as_array().expect("a list");
        assert_eq!(left_out.len(), usize::from(!near), "{each}: {left_out:?}");
        assert!(left_out.iter().all(|one| one["classifier"] == "knn (k 5)"), "{left_out:?}");
        assert!(scored.iter().all(|one| one["folds"].as_array().map(Vec::len) == Some(folds)), "{each}: {scored:?}");
        assert_eq!(scored.iter().filter(|one| one["kept"] == true).count(), 1);
        predict_agrees(&workspace, "out");
    }
    // if the user names `knn`, too few pictures are an error before the extraction
    let failed = Workspace::with_fruits(1, 4).run("out", &["--set", "train={knn: {}}"]);
    failed.ended(1, &["5 neighbours are asked for, and there are 3 train pictures"]);
}

#[test]
fn a_class_with_one_picture_cannot_be_compared_on() {
    let workspace = Workspace::with_fruits(6, 4);
    let folder = workspace.path("pictures/Training/Lemon");
    files(&folder)[1..].iter().for_each(|name| std::fs::remove_file(folder.join(name)).expect("removed"));
    let stopped = "train={mlp: {early_stopping: true, validation_fraction: 0.3}}";
    for (train, expected) in [
        ("train=auto", "`train: auto` needs two train pictures of each class, and `Lemon` has one"),
        (stopped, "`early_stopping` needs at least 2 pictures of each class, and `Lemon` has 1"),
        ("train={knn: {k: 1}, calibrate: temperature}", "needs 5 train pictures of each class, and `Lemon` has fewer"),
    ] {
        workspace.run("out", &["--set", train]).ended(1, &[expected]);
    }
    assert!(!workspace.path("out/features").exists());
}

#[test]
fn calibrated_probabilities_are_told_saved_and_predicted_and_the_classes_stay() {
    let workspace = Workspace::with_fruits(6, 4);
    // pictures with wrong labels are misclassified in their folds
    for name in ["0_0_100.jpg", "0_1_100.jpg"] {
        let picture = workspace.read(&format!("pictures/Test/Strawberry/{name}"));
        workspace.write(&format!("pictures/Training/Lemon/wrong_{name}"), &picture);
    }
    let few = "reduce={pca: {components: 2}}";
    for train in ["mlp: {hidden: [4], max_iter: 40, seed: 3}", "logistic: {c: 10}", "knn: {k: 4}"] {
        let run = |out: &str, calibrate: &str| {
            let train = format!("train={{{train}{calibrate}}}");
            let sets = ["--set", few, "--set", "extract.layer=blocks.1.0", "--set", &train];
            let sets = [&sets[..], &["--set", "extract.recipe.size=64"]].concat();
            workspace.run(out, &sets).ok();
            workspace.json(&format!("{out}/metrics.json"))
        };
        let (plain, fitted) = (run("plain", ", calibrate: none"), run("out", ""));
        assert!(plain["calibration"].is_null());
        let calibration = &fitted["calibration"];
        let number = |value: &Value| value.as_f64().expect("a number");
        assert!(number(&calibration["temperature"]) > 0.0 && calibration["folds"] == 5, "{calibration}");
        assert!(number(&calibration["after"]["log_loss"]) < number(&calibration["before"]["log_loss"]), "{train}");
        for score in ["log_loss", "calibration_error"] {
            assert_eq!(calibration["test_before"][score], plain["test"][score], "{train}: {score}");
            assert_ne!(fitted["test"][score], plain["test"][score], "{train}: {score}");
        }
        assert_eq!(fitted["test"]["accuracy"], plain["test"]["accuracy"]);
        assert_eq!(fitted["test"]["confusion_matrix"], plain["test"]["confusion_matrix"]);
        assert_eq!(fitted["cross_validation"].as_array().map(Vec::len), Some(0), "nothing was compared");
        let card = workspace.json("out/classifier/classifier.json");
        assert_eq!(card["temperature"], calibration["temperature"]);
        predict_agrees(&workspace, "out");
        let report = workspace.text("out/report.html");
        assert!(report.contains("calibrated by a temperature of"), "{train}");
    }
    let cv = workspace.run("out", &["--set", "train={logistic: {}, cv: 3, calibrate: temperature}"]).ok();
    assert!(cv.computed().contains(&"train".to_string()));
    assert_eq!(workspace.json("out/metrics.json")["cross_validation"][0]["folds"].as_array().map(Vec::len), Some(3));
}

#[test]
fn folds_that_cannot_be_made_are_errors_that_say_why() {
    let workspace = Workspace::with_fruits(4, 2);
    for (train, expected) in [
        ("{knn: {}, cv: 9}", "9 folds are asked for, and the largest class has 4 train pictures"),
        ("{knn: {k: 1}, cv: 2, group_by: 'no such'}", "`train.group_by` matches nothing in Training/Banana/"),
        ("{knn: {k: 1}, cv: 2, group_by: 'Training'}", "makes 1 group(s)"),
        (r"{knn: {k: 1}, cv: 2, group_by: 'Training/(\w+)'}", "without one of the 2 folds only `"),
        ("{knn: {k: 100}}", "100 neighbours are asked for, and there are 12 train pictures"),
    ] {
        workspace.run("out", &["--set", &format!("train={train}")]).ended(1, &[expected]);
    }
}

#[test]
fn what_the_listing_tells_fails_before_the_extraction() {
    let workspace = Workspace::with_fruits(4, 2);
    let lemons = "input.split={train: 'Training/Lemon/*', test: 'Test/**'}";
    let apart = "input.split={train: 'Training/{Lemon,Banana}/*', test: 'Test/Strawberry/*'}";
    for (code, sets, expected) in [
        (1, &["input.classes=[Lemon]"][..], "every train picture is of class `Lemon`"),
        (1, &[lemons, "input.label=parent"], "every train picture is of class `Lemon`"),
        (2, &["input.split={train: 'nothing/**', test: 'Test/**'}"], "no picture is in the train split"),
        (1, &[apart, "input.label=parent"], "no class of the test split has a train picture"),
        (1, &["train={knn: {k: 13}}"], "13 neighbours are asked for, and there are 12 train pictures"),
        (1, &["train={knn: {k: 10}, cv: 4}"], "10 neighbours are asked for, and there are 9 train pictures"),
        (1, &["train={knn: {k: 1}, cv: 5}"], "5 folds are asked for, and the largest class has 4 train pictures"),
        (1, &["train={mlp: {early_stopping: true}}"], "early_stopping needs a validation split of 3 or more"),
        (
            1,
            &["train={knn: {k: 1}, calibrate: temperature}"],
            "needs 5 train pictures of each class, and `Banana` has fewer",
        ),
        (1, &["select=null", "reduce={pca: {components: mle}}"], "needs at least as many pictures as features"),
        (
            1,
            &["input.limit_per_class={train: 1}", "select={top_k: 5, score: f_classif}"],
            "it compares two classes or more, one of them with two pictures or more",
        ),
        (1, &[lemons, "input.label=parent", "input.limit_per_class={train: 1}", "train=null"], "at least 2 pictures"),
    ] {
        workspace.run("out", &set(sets)).ended(code, &[expected]);
        assert!(!workspace.path("out/features").exists(), "{sets:?}: the extraction began");
        let plan = [vec!["plan", "pipeline.yaml", "--out", "planned"], set(sets)].concat();
        let plan = workspace.call(&plan).ok();
        assert!(plan.stdout.contains(expected), "{sets:?}: {}", plan.stdout);
    }
    // the features alone need no second class; a class that is only in the test split gives a warning
    workspace.run("out", &["--set", "input.classes=[Lemon]", "--until", "extract"]).ok();
    let more = "input.split={train: 'Training/{Lemon,Banana}/*', test: 'Test/**'}";
    let run = workspace.run("more", &["--set", more, "--set", "input.label=parent"]).ok();
    assert!(run.stderr.contains("the train split has no picture of Strawberry; they cannot be predicted"));
}

#[test]
fn the_nearest_neighbour_of_a_train_picture_is_another() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("out", &["--set", "train={knn: {k: 12, weights: uniform}}"]).ok();
    // of twelve pictures, four per class, eleven others vote: three of its own class and four of each other class
    let metrics = workspace.json("out/metrics.json");
    assert_eq!(metrics["train"]["accuracy"], 0.0);
    workspace.run("out", &["--set", "train={knn: {k: 1, weights: uniform}}"]).ok();
    let table = predictions(&workspace.path("out"), &ALL);
    let train = table.iter().filter(|(path, _)| path.contains("Training"));
    let own = train.filter(|(path, p)| p.iter().any(|(class, p)| path.contains(class) && *p == 1f32.to_bits()));
    assert_eq!(own.count(), 12, "predictions.parquet says what `predict` says, with the picture itself in the table");
}

#[test]
fn weights_of_classes_that_are_not_there_are_errors_before_the_extraction() {
    let workspace = Workspace::with_fruits(4, 2);
    for (train, key) in [
        ("{mlp: {class_weight: {Bananna: 2}}}", "train.mlp.class_weight"),
        (
            "{knn: {k: 1}, candidates: [{logistic: {class_weight: {Bananna: 2}}}]}",
            "train.candidates[0].logistic.class_weight",
        ),
        ("[{knn: {k: 1}}, {logistic: {class_weight: {Bananna: 2}}}]", "train[1].logistic.class_weight"),
    ] {
        let expected = format!(
            "`{key}`: there is no class `Bananna`; did you mean `Banana`? the classes are Banana, Lemon, Strawberry"
        );
        workspace.run("out", &["--set", &format!("train={train}")]).ended(2, &[&expected]);
        assert!(!workspace.path("out/features").join("part-00000.parquet").exists());
    }
    // a class that outweighs the others by far is always predicted
    let heavy = "train={mlp: {class_weight: {Lemon: 1000000000}, dropout: 0.2, label_smoothing: 0.1, max_iter: 30}}";
    workspace.run("out", &["--set", heavy]).ok();
    let confusion = workspace.json("out/metrics.json")["test"]["confusion_matrix"].clone();
    let rows = confusion.as_array().expect("a matrix");
    assert!(rows.iter().all(|row| row[1] == 2 && row[0] == 0 && row[2] == 0), "{confusion}");
}

#[test]
fn training_goes_on_from_an_earlier_run_where_its_columns_and_classes_are_the_same() {
    let workspace = Workspace::with_fruits(4, 1);
    let run = |out: &str, train: &str, more: &[&str]| {
        let train = format!("train={train}");
        workspace.run(out, &[&["--set", train.as_str()], more].concat())
    };
    let losses = |out: &str| -> Vec<f64> {
        let curve = workspace.json(&format!("{out}/metrics.json"))["loss_curve"].clone();
        curve.as_array().expect("a list").iter().map(|loss| loss.as_f64().expect("a number")).collect()
    };
    let folder = |out: &str| workspace.path(out).to_str().expect("text").to_string();
    let on =
        |out: &str, more: &str| format!("{{mlp: {{hidden: [16], max_iter: 20, warm_start: '{}'{more}}}}}", folder(out));
    run("first", "{mlp: {hidden: [16], max_iter: 20, seed: 1}}", &[]).ok();
    run("second", &on("first", ""), &[]).ok();
    let (first, second) = (losses("first"), losses("second"));
    assert!(first[0] - first[19] > 0.1, "it learns something: {first:?}");
    // full-batch training: the loss before the first step is the loss after the last step of the earlier run
    assert!(second[0] < first[19] && second[0] > first[19] - 0.1 * (first[0] - first[19]), "{first:?} {second:?}");
    assert!(second[19] < second[0]);
    assert_eq!(run("second", &on("first", ""), &[]).ok().computed(), [""; 0], "nothing has changed");
    // another classifier in the same folder is another starting point
    run("first", "{mlp: {hidden: [16], max_iter: 20, seed: 2}}", &[]).ok();
    assert_eq!(run("second", &on("first", ""), &[]).ok().computed(), ["train", "evaluate", "report"]);
    assert_ne!(losses("second"), second);

    run("neighbours", "{knn: {k: 1}}", &[]).ok();
    run("scaled", "{mlp: {hidden: [16], max_iter: 2}}", &["--set", "reduce={scale: standard}"]).ok();
    let two = ["--set", "input.classes=[Banana, Lemon]"];
    for (train, more, code, expected) in [
        (on("first", ", activation: tanh"), &[][..], 1, "its activation is relu, this run's tanh"),
        (
            on("first", "").replace("[16]", "[16, 4]"),
            &[],
            1,
            "6 columns and hidden layers of [16], this run 6 and [16, 4]",
        ),
        (
            on("first", ""),
            &two,
            2,
            "knows the classes Banana, Lemon, Strawberry, of which `Strawberry` is not among Banana, Lemon",
        ),
        (
            on("first", ""),
            &["--set", "extract.layer=blocks.6.0"],
            2,
            "was made with layer \"bn2\", this run with \"blocks.6.0\"",
        ),
        (on("first", ""), &["--set", "input.limit_per_class=3"], 1, "columns kept, this run with"),
        (
            on("first", ""),
            &["--set", "input.limit_per_class=3", "--set", "select=null"],
            1,
            "columns kept, this run with 1280",
        ),
        (on("scaled", ""), &[], 1, "the reduction \"scale.safetensors\", this run with \"pca.safetensors\""),
        (on("neighbours", ""), &[], 2, "is \"knn\", and an mlp is to start from it"),
        (on("nowhere", ""), &[], 2, "give the folder of a run"),
        (on("third", ""), &[], 2, "a run cannot start from itself"),
    ] {
        let run = run("third", &train, more);
        assert_eq!(run.code, Some(code), "{train} {more:?}: {}", run.stderr);
        let said = run.error();
        assert!(said.contains("`train.mlp.warm_start`") && said.contains(expected), "{train} {more:?}: {said}");
    }
}

#[test]
fn a_train_table_on_disk_gives_the_results_of_one_in_memory() {
    let workspace = Workspace::with_fruits(6, 2);
    let folder = |name: &str| files(&workspace.path(name));
    let stopped = "train={mlp: {hidden: [16], max_iter: 60, seed: 1, batch_size: 5, early_stopping: true, \
                   validation_fraction: 0.3}}";
    for (i, more) in [
        &["--set", "reduce=null"][..], // selected columns, from many shards with test rows
        &["--set", "train.mlp.solver=sgd", "--set", "train.mlp.learning_rate_init=0.05"],
        &["--set", "reduce=null", "--set", "select=null", "--set", stopped],
        &["--set", "train.mlp.solver=lbfgs"],
        &["--set", "reduce={scale: standard}", "--set", "train={logistic: {}}"],
        &["--set", "reduce=null", "--set", "train={mlp: {hidden: [16], max_iter: 60, seed: 1}, cv: 3}"],
    ]
    .into_iter()
    .enumerate()
    {
        let run = |out: &str, way: &str| {
            let kind = if more.iter().any(|set| set.contains("logistic")) { "logistic" } else { "mlp" };
            let set = format!("train.{kind}.in_memory={way}");
            workspace.run(out, &[more, &["--set", set.as_str()]].concat()).ok()
        };
        let [memory, disk] = ["memory", "disk"].map(|way| format!("{way}-{i}"));
        let told = |run: &Run| run.stderr.contains("is copied to disk, and its rows are read batch by batch");
        assert_eq!([run(&memory, "auto"), run(&disk, "false")].map(|run| told(&run)), [false, true]);
        assert!(workspace.results(&memory) == workspace.results(&disk), "{more:?}");
        assert_eq!(folder(&memory), folder(&disk), "the rows are gone");
        assert_eq!(run(&memory, "false").computed(), [""; 0], "where they lie changes nothing");
        let metrics = workspace.json(&format!("{disk}/metrics.json"));
        let losses = metrics["loss_curve"].as_array().expect("a list");
        let [first, last] = [losses.first(), losses.last()].map(|loss| loss.and_then(Value::as_f64).expect("a loss"));
        assert!(last < first, "{first} {last}");
        // with three classes and six test pictures, a random guess has five of them right once in 56 times
        assert!(
            metrics["test"]["accuracy"].as_f64().expect("scored") > 0.8,
            "{more:?}: {}",
            metrics["test"]["accuracy"]
        );
    }
}
