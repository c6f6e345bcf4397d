//! Files are those that were written: a flipped bit is found where the file is read.

use std::path::{Path, PathBuf};

use crate::support::{Run, Workspace, featurize};

/// The pictures of a workspace, sorted.
fn pictures(workspace: &Workspace) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![workspace.path("pictures")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Flips a bit of a file, at that share of its length.
fn flip(path: &Path, share: f64) {
    let mut bytes = std::fs::read(path).expect("read");
    let at = ((bytes.len() - 1) as f64 * share) as usize;
    bytes[at] ^= 16;
    std::fs::write(path, bytes).expect("written");
}

#[test]
fn a_flipped_bit_is_found_where_the_file_is_read_and_the_file_is_made_anew() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("out", &[]).ok();
    let whole = workspace.results("out");
    let cases = [
        ("classifier/columns.parquet", "reduce"),
        ("reduced.parquet", "train"),
        ("classifier/mlp.safetensors", "evaluate"),
        ("classifier/classifier.json", "evaluate"),
        ("predictions.parquet", "report"),
        ("metrics.json", "report"),
        ("manifest.parquet", "report"),
        (".store/extract.json", "report"),
        (".store/select.json", "report"),
        (".store/train.json", "report"),
    ];
    for (i, (file, reader)) in cases.into_iter().enumerate() {
        for share in [0.0, 0.15 + 0.05 * i as f64, 1.0] {
            flip(&workspace.path("out").join(file), share);
            let run = workspace.run("out", &["--force", reader]).ok();
            if !file.starts_with(".store") {
                let name = Path::new(file).file_name().expect("a name").to_string_lossy().into_owned();
                assert!(run.stderr.contains(&name) && run.stderr.contains("is damaged"), "{file}: {}", run.stderr);
            }
            assert!(workspace.results("out") == whole, "{file} at {share}");
        }
    }
}

#[test]
fn a_classifier_that_was_copied_away_knows_its_files() {
    let workspace = Workspace::with_fruits(4, 2);
    workspace.run("out", &[]).ok();
    let picture = pictures(&workspace)[0].clone();
    let predict = || {
        let mut command = featurize();
        command.arg("predict").arg(workspace.path("copy")).arg(&picture).arg("--csv");
        Run::of(command.output().expect("started"))
    };
    for file in ["classifier.json", "columns.parquet", "pca.safetensors", "mlp.safetensors"] {
        for share in [0.0, 0.3, 0.7, 1.0] {
            for name in ["classifier.json", "columns.parquet", "pca.safetensors", "mlp.safetensors"] {
                let name = format!("classifier/{name}");
                workspace.write(&format!("copy/{name}"), &workspace.read(&format!("out/{name}")));
            }
            let whole = predict().ok().stdout;
            flip(&workspace.path("copy/classifier").join(file), share);
            let run = predict();
            // of a flipped seal the card itself is whole
            if run.code == Some(0) {
                assert_eq!((file, &run.stdout), ("classifier.json", &whole), "at {share}");
            } else {
                assert!(run.code == Some(1) && run.stderr.contains(file), "{file} at {share}: {}", run.stderr);
            }
        }
    }
}
