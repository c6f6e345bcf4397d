//! `output.atlas`: the table for Embedding Atlas. `tests/python/embedding_atlas.py` opens it with that package.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Int64Type};
use featurize::io::columns::Columns;
use featurize::io::features::FeatureFile;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::support::Workspace;

fn atlas(workspace: &Workspace) -> RecordBatch {
    let file = std::fs::File::open(workspace.path("out/atlas.parquet")).expect("written");
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("a table");
    let metadata = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
    assert!(metadata.iter().any(|entry| entry.key.starts_with("featurize.")), "{metadata:?}");
    let mut batches = builder.build().expect("read");
    let first = batches.next().expect("a batch").expect("sound");
    assert!(batches.next().is_none());
    first
}

#[test]
fn the_atlas_has_places_predictions_neighbours_and_thumbnails() {
    let workspace = Workspace::with_fruits(9, 3);
    workspace.write("pictures/Training/Lemon/0_5_broken.jpg", b"\xff\xd8 no picture");
    workspace.run("out", &["--set", "output.atlas=true"]).ok();
    let table = atlas(&workspace);
    let (keys, components) =
        FeatureFile::open(&workspace.path("out/reduced.parquet")).expect("open").read().expect("read");
    assert_eq!((table.num_rows(), keys.len()), (36, 36));
    let names: Vec<&str> = table.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["path", "label", "split", "predicted", "confidence", "x", "y", "neighbors", "image"]);
    let text = |name: &str, row: usize| table[name].as_string::<i32>().value(row).to_string();
    let number = |name: &str, row: usize| table[name].as_primitive::<Float32Type>().value(row);
    let columns = Columns::read(&workspace.path("out/predictions.parquet"), &["path", "predicted", "confidence"]);
    let columns = columns.expect("read");
    let said: BTreeMap<Option<String>, (Option<String>, f64)> = columns
        .texts("path")
        .expect("text")
        .into_iter()
        .zip(columns.texts("predicted").expect("text").into_iter().zip(columns.reals("confidence").expect("numbers")))
        .collect();
    let near = table["neighbors"].as_struct();
    let image = table["image"].as_struct();
    for (row, key) in keys.iter().enumerate() {
        assert_eq!(text("path", row), key.path);
        assert_eq!((Some(text("label", row)), Some(text("split", row))), (key.label.clone(), key.split.clone()));
        assert_eq!([number("x", row), number("y", row)], components.row(row)[..2]);
        let (predicted, confidence) = &said[&Some(key.path.clone())];
        assert_eq!(
            (Some(text("predicted", row)), f64::from(number("confidence", row))),
            (predicted.clone(), *confidence)
        );
        let cosine = |other: usize| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
            let (a, b) = (components.row(row), components.row(other));
            dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
        };
        let mut expected: Vec<f64> = (0..keys.len()).filter(|&other| other != row).map(cosine).collect();
        expected.sort_by(|a, b| b.total_cmp(a));
        let ids = near.column(0).as_list::<i32>().value(row);
        let distances = near.column(1).as_list::<i32>().value(row);
        let ids: Vec<i64> = ids.as_primitive::<Int64Type>().values().to_vec();
        let distances: Vec<f32> = distances.as_primitive::<Float32Type>().values().to_vec();
        assert_eq!((ids.len(), distances.len()), (15, 15));
        for ((&id, &distance), expected) in ids.iter().zip(&distances).zip(&expected) {
            assert!((cosine(id as usize) - expected).abs() < 1e-5 && id as usize != row);
            assert!((f64::from(distance) - (1.0 - expected).max(0.0)).abs() < 1e-5);
        }
        assert!(image.column(0).as_binary::<i32>().value(row).starts_with(&[0xff, 0xd8, 0xff]), "a JPEG");
        assert_eq!(image.column(1).as_string::<i32>().value(row), key.path);
    }
    assert!(workspace.run("out", &["--set", "output.atlas=true"]).ok().computed().is_empty());
    // without a classifier there are no predictions
    let plain = workspace.run("out", &["--set", "output.atlas=true", "--set", "train=null"]).ok();
    assert!(plain.computed().contains(&"atlas".to_string()) && !plain.computed().contains(&"extract".to_string()));
    let table = atlas(&workspace);
    assert_eq!(table["predicted"].null_count(), 36);
    workspace.run("out", &[]).ok();
    assert!(!workspace.path("out/atlas.parquet").exists(), "it is not asked for any more");
    for reduce in ["null", "{scale: standard}", "{pca: {components: 1}}", "{svd: {components: 1}}"] {
        let set = format!("reduce={reduce}");
        workspace
            .run("refused", &["--set", "output.atlas=true", "--set", &set])
            .ended(2, &["`output.atlas` draws the first two components"]);
    }
}
