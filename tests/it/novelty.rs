//! `known` and `distance`: whether a classifier recognises pictures of unknown classes.

use std::path::Path;

use featurize::io::columns::Columns;
use featurize::io::features::FeatureFile;
use featurize::learn::novelty::Novelty;
use featurize::table::FeatureMatrix;

use crate::predict::call;
use crate::support::Workspace;

/// The area under the ROC curve that separates unknown (1) from known (0) pictures by their distance.
fn area(known: &[f32], unknown: &[f32]) -> f64 {
    let above = |u: &f32| known.iter().map(|k| f64::midpoint(f64::from(u > k), f64::from(u >= k))).sum::<f64>();
    unknown.iter().map(above).sum::<f64>() / (known.len() * unknown.len()) as f64
}

/// The mean area over the classes of the run in `out`, leaving each class out of the train pictures in turn.
pub fn area_with_a_class_left_out(out: &Path) -> f64 {
    let (mut keys, mut rows) = (Vec::new(), FeatureMatrix::with_cols(1280));
    for part in std::fs::read_dir(out.join("features")).expect("features") {
        let (some, matrix) =
            FeatureFile::open(&part.expect("an entry").path()).and_then(|file| file.read()).expect("read");
        keys.extend(some);
        rows.append(&matrix);
    }
    let label = |row: &usize| keys[*row].label.clone().expect("a label");
    let mut classes: Vec<String> = (0..keys.len()).map(|row| label(&row)).collect();
    classes.sort();
    classes.dedup();
    let is_train = |row: &usize| keys[*row].split.as_deref() == Some("train");
    let areas = classes.iter().map(|left_out| {
        let (unknown, known): (Vec<usize>, Vec<usize>) = (0..keys.len()).partition(|row| label(row) == *left_out);
        let (train, test): (Vec<usize>, Vec<usize>) = known.into_iter().partition(is_train);
        let y = train.iter().map(|row| classes.iter().position(|class| *class == label(row)).expect("known")).collect();
        let groups: Vec<usize> = (0..train.len()).collect();
        let novelty = Novelty::fit(rows.select_rows(&train), y, classes.len(), &groups).expect("fitted").expect("rows");
        let of = |some: &[usize]| -> Vec<f32> {
            novelty.distances(&rows.select_rows(some)).expect("distances").iter().map(|one| one.value).collect()
        };
        area(&of(&test), &of(&unknown))
    });
    let areas: Vec<f64> = areas.collect();
    areas.iter().sum::<f64>() / areas.len() as f64
}

#[test]
fn pictures_of_no_class_are_unknown_wherever_predictions_are_told() {
    let workspace = Workspace::with_fruits(20, 4);
    workspace.run("out", &["--set", "input.classes=[Banana, Lemon]"]).ok();
    let dir = workspace.path("");
    let predict = |more: &[&str]| call("predict", &[&["out", "pictures/Test"], more].concat(), &dir);
    let lines = predict(&["--json"]).ok().json_lines();
    assert_eq!(lines.len(), 12);
    let stored =
        Columns::read(&workspace.path("out/predictions.parquet"), &["path", "known", "distance"]).expect("read");
    let (paths, known) = (stored.texts("path").expect("paths"), stored.flags("known").expect("known"));
    let distances = stored.reals("distance").expect("distances");
    let in_run = |path: &str| paths.iter().position(|one| one.as_deref() == path.strip_prefix("pictures/"));
    for line in &lines {
        let path = line["path"].as_str().expect("a path");
        let (is_known, distance) =
            (line["known"].as_bool().expect("a verdict"), line["distance"].as_f64().expect("far"));
        let distance = f64::from(distance as f32); // f32, as in the table
        match in_run(path) {
            Some(row) => assert_eq!((is_known, distance), (known[row], distances[row]), "{path}"),
            None => assert!(path.contains("Strawberry") && !is_known && distance > 2.0, "{line}"),
        }
    }
    // at most two of the run's pictures may be farther away than the limit
    assert!(known.iter().filter(|known| !**known).count() <= 2, "{known:?} {distances:?}");
    let csv = predict(&["--csv", "--top", "1"]).ok().stdout;
    assert!(csv.starts_with("path,rank,label,probability,known,distance\n"), "{csv}");
    assert_eq!(csv.lines().filter(|line| line.contains("Strawberry/") && line.contains(",false,")).count(), 4, "{csv}");
    let plain = predict(&[]).ok().stdout;
    assert_eq!(plain.lines().filter(|line| line.contains("Strawberry/") && line.ends_with("  unknown")).count(), 4);
    predict(&["--parquet", "new.parquet", "--reject-rate", "0.5"]).ok();
    let table = Columns::read(&workspace.path("new.parquet"), &["known", "distance"]).expect("read");
    let half = table.flags("known").expect("known").iter().filter(|known| **known).count();
    assert!((1..8).contains(&half) && table.reals("distance").expect("far").len() == 12, "{half} of 8 are known");
    let sure = predict(&["--json", "--min-confidence", "1"]).ok().json_lines();
    assert!(sure.iter().all(|line| line["known"] == false), "{sure:?}");
}

#[test]
fn a_rule_that_nothing_meets_is_an_error_before_any_picture_is_read() {
    let workspace = Workspace::with_fruits(6, 2);
    workspace.run("out", &["--set", "report=null"]).ok();
    let refused = |flags: &[&str], texts: &[&str]| {
        let run = call("predict", &[&["out", "pictures/Test"], flags].concat(), &workspace.path(""));
        assert_eq!(run.stdout, "");
        run.ended(2, texts);
    };
    refused(
        &["--reject-rate", "0.01"],
        &["no picture would be refused", "18 train pictures tell rates from 0.0526 on"],
    );
    refused(&["--reject-rate", "1"], &["above 0 and below 1"]);
    refused(&["--min-confidence", "1.5"], &["no prediction reaches another"]);
    // a classifier of an earlier version
    let path = workspace.path("out/classifier/classifier.json");
    let mut card = workspace.json("out/classifier/classifier.json");
    let fields = card.as_object_mut().expect("an object");
    ["novelty", "checksum", "blake3"].iter().for_each(|key| drop(fields.remove(*key)));
    fields["files"].as_object_mut().expect("files").remove("novelty.safetensors");
    std::fs::write(&path, card.to_string()).expect("written");
    std::fs::remove_dir_all(workspace.path("out/.store")).expect("removed");
    refused(&["--reject-rate", "0.1"], &["saved without them", "--force train"]);
    let lines = call("predict", &["out", "pictures/Test", "--json"], &workspace.path("")).ok().json_lines();
    assert!(lines.iter().all(|line| line["known"].is_null() && line["distance"].is_null()), "{lines:?}");
    let sure = ["out", "pictures/Test", "--csv", "--top", "1", "--min-confidence", "0.2"];
    let sure = call("predict", &sure, &workspace.path("")).ok().stdout;
    assert!(sure.lines().skip(1).all(|line| line.ends_with(",true,")), "{sure}");
}
