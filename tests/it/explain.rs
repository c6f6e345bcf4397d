//! `predict --explain`: heat maps of where a classifier looked.

use featurize::exec::Device;
use featurize::image::{DecodeOptions, Filter, RgbImage, decode, resize};
use featurize::pictures::Predictor;
use featurize::pictures::predictor::Method;
use featurize::store::RunDir;

use crate::predict::{ALL, call};
use crate::support::{Run, Workspace, files, project, set};

/// A shipped lemon in one corner of an empty picture.
fn in_corner(bottom: bool, right: bool) -> RgbImage {
    let bytes = std::fs::read(project().join("data/fruits/Test/Lemon/0_0_100.jpg")).expect("shipped");
    let fruit = resize(&decode(&bytes, &DecodeOptions::default()).expect("a picture"), 150, 150, Filter::Bicubic);
    let [top, left] = [bottom, right].map(|far| if far { 230 } else { 20 });
    RgbImage::from_fn(400, 400, |x, y| {
        let inside = (left..left + 150).contains(&x) && (top..top + 150).contains(&y);
        std::array::from_fn(|c| if inside { fruit.row(y - top)[3 * (x - left) + c] } else { 255 })
    })
}

fn opened(workspace: &Workspace, out: &str) -> Predictor {
    Predictor::of_run(&RunDir::new(workspace.path(out)), None, &Device::cpu()).expect("a run")
}

fn lemon() -> usize {
    ALL.iter().position(|class| *class == "Lemon").expect("a class")
}

#[test]
fn the_corner_with_the_fruit_is_the_hottest() {
    let workspace = Workspace::with_fruits(10, 2);
    let cases = [
        ("mlp", "{mlp: {hidden: [16], max_iter: 60, seed: 1}}", "extract.features=avg", Method::Activation),
        ("logistic", "{logistic: {}}", "extract.features=avg", Method::Activation),
        ("knn", "{knn: {k: 3}}", "extract.features=avg", Method::Occlusion),
        ("largest", "{logistic: {}}", "extract.features=max", Method::Occlusion),
    ];
    for (out, train, features, method) in cases {
        let train = format!("train={train}");
        let sets = [&train[..], "report=null", "extract.recipe.size=160", features];
        workspace.run(out, &set(&sets)).ok();
        let predictor = opened(&workspace, out);
        assert_eq!(predictor.method(), Some(method), "{out}");
        for (bottom, right) in [(false, false), (false, true), (true, false), (true, true)] {
            let found = predictor.explain(&in_corner(bottom, right), lemon()).expect("explained");
            let (seen, heat) = found.expect("the classifier of a run");
            assert_eq!((seen.height, seen.width), (160, 160));
            let (row, col) = heat.hottest().expect("a place");
            let found = (2 * row + 1 > heat.rows, 2 * col + 1 > heat.cols);
            assert_eq!(found, (bottom, right), "{out}: {row}, {col} of {:?}", heat.values);
        }
    }
}

#[test]
fn the_shares_of_a_linear_chain_add_up_to_its_score() {
    let workspace = Workspace::with_fruits(6, 2);
    let sets =
        ["train={logistic: {}, calibrate: none}", "reduce={scale: standard, pca: {components: 5, whiten: true}}"];
    let sets = [&sets[..], &["extract.recipe.size=96", "report=null"]].concat();
    workspace.run("out", &set(&sets)).ok();
    let predictor = opened(&workspace, "out");
    // the log odds minus the sums of the heat maps are the same constant for every picture
    let of = |picture: &RgbImage| {
        let p = predictor.of_picture(picture).expect("probabilities");
        let sum = |class| -> f64 {
            let (_, heat) = predictor.explain(picture, class).expect("explained").expect("a run");
            heat.values.iter().map(|&value| f64::from(value)).sum()
        };
        (f64::from(p[0]).ln() - f64::from(p[1]).ln()) - (sum(0) - sum(1))
    };
    let constants: Vec<f64> = [(false, false), (true, true)].map(|(b, r)| of(&in_corner(b, r))).to_vec();
    let plain = of(&RgbImage::filled(200, 200, [200, 180, 40]));
    assert!(constants.iter().all(|one| (one - plain).abs() < 1e-3), "{constants:?} {plain}");
}

#[test]
fn heat_maps_are_written_for_every_picture() {
    let workspace = Workspace::with_fruits(6, 4);
    workspace.run("out", &["--set", "extract.recipe.size=64"]).ok();
    let run = |more: &[&str]| call("predict", &[&["out", "pictures/Test"], more].concat(), &workspace.path(""));
    let plain = run(&[]).ok().stdout;
    assert_eq!(run(&["--explain", "heat", "--quiet"]).ok().stdout, plain);
    let names = |folder: &str| files(&workspace.path(folder));
    assert_eq!(names("heat/Lemon"), names("pictures/Test/Lemon"));
    let bytes = workspace.read("heat/Lemon/0_0_100.jpg");
    let drawn = decode(&bytes, &DecodeOptions::default()).expect("a picture");
    assert!(drawn.width >= 64 && drawn.height >= 64, "{} × {}", drawn.width, drawn.height);
    let refused = |run: Run, text: &str| run.ended(2, &[text]);
    refused(run(&["--explain", "both", "--annotate", "both"]), "give each a folder of its own");
    refused(run(&["--explain", "pictures/Test"]), "name another folder");
    refused(run(&["--explain", "x", "--labels", "folder"]), "cannot be used with");
    // the report has heat maps of mistakes, too; here, of a banana among the lemons
    workspace.write("pictures/Test/Lemon/wrong.jpg", &workspace.read("pictures/Test/Banana/0_0_100.jpg"));
    let sets = ["train={logistic: {}}", "reduce={pca: {components: 2}}", "extract.layer=blocks.1.0"];
    let sets = [&sets[..], &["extract.recipe.size=64", "report.samples=48"]].concat();
    workspace.run("bad", &set(&sets)).ok();
    let page = workspace.text("bad/report.html");
    let wrong = page.matches("✗ truth:").count();
    assert!(wrong > 0 && page.matches("where the classifier looked").count() == wrong, "{wrong} mistakes");
    assert!(page.contains("Nearest in train:") && page.contains("Accuracy against coverage"));
}
