//! The files that `predict` and `classify` write: the table, annotated copies, contact sheets.

use std::io::Write;
use std::process::Stdio;

use featurize::image::{DecodeOptions, RgbImage, decode};
use featurize::io::columns::Columns;
use serde_json::Value;

use crate::support::{Run, Workspace, featurize, files};

fn image(workspace: &Workspace, name: &str) -> RgbImage {
    decode(&workspace.read(name), &DecodeOptions::default()).unwrap_or_else(|error| panic!("{name}: {}", error.detail))
}

/// Columns and metadata of a table.
fn schema(workspace: &Workspace, file: &str) -> Value {
    let mut shown = workspace.call(&["show", file, "--json"]).ok().json_lines().remove(0);
    serde_json::json!({"columns": shown["columns"].take(), "metadata": shown["metadata"].take()})
}

#[test]
fn the_table_is_the_runs_own_for_other_pictures() {
    let workspace = Workspace::after_run(5, 3);
    workspace.write("pictures/Test/broken.jpg", b"no picture");
    let run = workspace.call(&["predict", "out", "pictures/Test", "--parquet", "to/new.parquet"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
    assert!(run.stderr.contains("pictures/Test/broken.jpg: not_an_image"), "{run:?}");
    assert_eq!(schema(&workspace, "to/new.parquet"), schema(&workspace, "out/predictions.parquet"));
    let names = ["path", "label", "split", "predicted", "p_Banana", "p_Lemon", "p_Strawberry", "confidence"];
    let read = |file: &str| Columns::read(&workspace.path(file), &names).expect("read");
    let (new, old) = (read("to/new.parquet"), read("out/predictions.parquet"));
    let bits = |table: &Columns, name| table.reals(name).expect(name).into_iter().map(f64::to_bits).collect::<Vec<_>>();
    let rows = old.texts("path").expect("paths").into_iter().enumerate();
    let rows: Vec<(usize, String)> =
        rows.filter_map(|(i, path)| Some((i, path?))).filter(|(_, path)| path.starts_with("Test/")).collect();
    let paths: Vec<_> = rows.iter().map(|(_, path)| Some(format!("pictures/{path}"))).collect();
    assert_eq!((new.texts("path").expect("paths"), paths.len()), (paths, 9));
    for name in &names[4..] {
        let old = bits(&old, name);
        assert_eq!(bits(&new, name), rows.iter().map(|(i, _)| old[*i]).collect::<Vec<_>>(), "{name}");
    }
    let predicted = old.texts("predicted").expect("classes");
    assert_eq!(
        new.texts("predicted").expect("classes"),
        rows.iter().map(|(i, _)| predicted[*i].clone()).collect::<Vec<_>>()
    );
    for name in ["label", "split"] {
        assert!(new.texts(name).expect(name).iter().all(Option::is_none), "nobody said it: {name}");
    }
    workspace.call(&["predict", "out", "pictures/Test", "--parquet", "x.parquet", "--json"]).ended(2, &[]);
}

#[test]
fn copies_are_the_pictures_with_the_label_drawn_in() {
    let workspace = Workspace::after_run(5, 1);
    let lemon = workspace.read("pictures/Test/Lemon/0_0_100.jpg");
    ["a/it.jpg", "b/it.jpg", "b/picture"].iter().for_each(|name| workspace.write(&format!("new/{name}"), &lemon));
    workspace.write("new/b/bad.png", b"no picture");
    let list = ["new/a/it.jpg", "new/b/it.jpg", "new/b/picture", "new/b/bad.png"].join("\n");
    let mut command = featurize();
    command.current_dir(workspace.path("")).args(["predict", "out", "-", "--annotate", "copies", "--top", "1"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    child.stdin.take().expect("piped").write_all(list.as_bytes()).expect("written");
    let run = Run::of(child.wait_with_output().expect("ended"));
    assert_eq!((run.code, run.stdout.lines().count()), (Some(1), 3), "{run:?}");
    assert_eq!(files(&workspace.path("copies")), ["a/it.jpg", "b/it.jpg", "b/picture.png"]);
    assert!(workspace.read("copies/a/it.jpg").starts_with(&[0xff, 0xd8]));
    let (copy, picture) = (image(&workspace, "copies/b/picture.png"), image(&workspace, "new/b/picture"));
    let factor = 256usize.div_ceil(picture.width.max(picture.height));
    assert_eq!((copy.width, copy.height), (picture.width * factor, picture.height * factor));
    let white =
        |image: &RgbImage, y: usize| image.row(y).chunks(3).filter(|pixel| pixel.iter().all(|&l| l > 200)).count();
    let dark =
        |image: &RgbImage, y: usize| image.row(y).chunks(3).filter(|pixel| pixel.iter().all(|&l| l < 90)).count();
    // the band is dark with light letters
    assert!(dark(&copy, copy.height - 1) == copy.width, "{} of {}", dark(&copy, copy.height - 1), copy.width);
    assert!((copy.height - 24..copy.height).map(|y| white(&copy, y)).sum::<usize>() > 100);
    // copies of the same pictures would be labelled twice
    workspace.call(&["predict", "out", "copies", "--annotate", "copies"]).ended(2, &["name another folder"]);
    workspace.call(&["predict", "out", "new", "--annotate", "sheet.jpg"]).ended(2, &[".png or .svg"]);
}

#[test]
fn a_sheet_has_every_picture_with_its_label() {
    let workspace = Workspace::after_run(5, 1);
    let run =
        workspace.call(&["predict", "out", "pictures/Test", "--annotate", "sheet.svg", "--json", "--top", "1"]).ok();
    let svg = workspace.text("sheet.svg");
    for line in run.json_lines() {
        let (label, p) = (line["top"][0]["label"].as_str().expect("a label"), line["top"][0]["probability"].as_f64());
        let p = p.expect("a number") as f32;
        assert!(svg.contains(&format!(">Predicted: {label} {p:.2}</text>")), "{line}: {svg}");
    }
    workspace.call(&["classify", "pictures/Test", "--annotate", "sheet.png", "--plot", "plot.png"]).ok();
    let (sheet, plot) = (image(&workspace, "sheet.png"), image(&workspace, "plot.png"));
    assert!(sheet.width == plot.width && sheet.height < plot.height, "no bars: {} {}", sheet.height, plot.height);
}

/// Writes a picture as `plain.jpg`, and with an EXIF orientation that rotates it to the right as `turned.jpg`.
pub fn turned_and_plain(workspace: &Workspace) {
    let bytes = workspace.read("pictures/Test/Lemon/0_0_100.jpg");
    // an EXIF block with orientation 6 after the start of the JPEG
    let tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let mut exif = vec![0xff, 0xe1];
    exif.extend(u16::try_from(tiff.len() + 8).expect("short").to_be_bytes());
    exif.extend(b"Exif\0\0");
    exif.extend(tiff);
    workspace.write("turned.jpg", &[&bytes[..2], &exif, &bytes[2..]].concat());
    workspace.write("plain.jpg", &bytes);
}

/// A sheet shows the pixels that the network gets: with `exif: ignore` a picture is not rotated.
#[test]
fn pictures_are_drawn_as_the_run_reads_them() {
    let workspace = Workspace::with_fruits(5, 1);
    turned_and_plain(&workspace);
    for (exif, same) in [("ignore", true), ("apply", false)] {
        workspace.run(exif, &["--set", &format!("image.exif={exif}")]).ok();
        for name in ["turned", "plain"] {
            workspace.call(&["predict", exif, &format!("{name}.jpg"), "--annotate", &format!("{exif}-{name}")]).ok();
        }
        let [turned, plain] = ["turned", "plain"].map(|name| image(&workspace, &format!("{exif}-{name}/{name}.jpg")));
        let upper = |image: &RgbImage| image.data[..image.data.len() / 2].to_vec();
        assert_eq!(upper(&turned) == upper(&plain), same, "{exif}");
    }
}
