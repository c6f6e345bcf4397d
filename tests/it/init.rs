//! `init`: common layouts of data sets, and the split and classes of the pipeline that it writes.

use std::collections::BTreeSet;

use crate::support::{Workspace, project, rows};

/// Makes a folder of pictures, `count` at every path, in which `{i}` is the number.
fn lay(workspace: &Workspace, folder: &str, paths: &[(&str, usize)]) {
    let picture = std::fs::read(project().join("data/fruits/Training/Banana/0_0_100.jpg")).expect("shipped");
    for (path, count) in paths {
        (0..*count)
            .for_each(|i| workspace.write(&format!("{folder}/{}", path.replace("{i}", &i.to_string())), &picture));
    }
}

/// The output of `init`, its pipeline, and class and split of each picture in a run of this pipeline.
struct Made {
    said: String,
    yaml: String,
    rows: Vec<[String; 2]>,
}

impl Made {
    fn of(workspace: &Workspace, folder: &str) -> Self {
        let said = workspace.call(&["init", folder, "-o", "p.yaml", "--force"]).ok().stdout;
        // a folder can have the run of only one pipeline
        std::fs::remove_dir_all(workspace.path("out")).ok();
        workspace.call(&["run", "p.yaml", "--out", "out", "--until", "scan", "--force", "scan"]).ok();
        let rows = rows(&workspace.path("out/manifest.parquet"), ["label", "split", "status"]).into_iter();
        let listed = rows.filter(|[.., status]| status == "listed");
        let rows = listed.map(|[label, split, _]| [label, split]).collect();
        Self { said, yaml: workspace.text("p.yaml"), rows }
    }

    fn classes(&self) -> Vec<&str> {
        self.rows.iter().map(|[label, _]| label.as_str()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The numbers of train and test pictures.
    fn counts(&self) -> [usize; 2] {
        ["train", "test"].map(|split| self.rows.iter().filter(|row| row[1] == split).count())
    }

    /// Whether both the output and a comment of the pipeline have the text.
    fn says(&self, text: &str) -> bool {
        let comments: Vec<&str> = self.yaml.lines().filter(|line| line.starts_with('#')).collect();
        self.said.contains(text) && comments.iter().any(|line| line.contains(text))
    }
}

#[test]
fn splits_are_found_by_their_usual_words() {
    for (train, test) in [
        ("train", "test"),
        ("Train", "TEST"),
        ("Training_Set", "Test_Set"),
        ("training_set/training_set", "test_set/test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("train/images", "test/images"),
        ("train", "val"),
        ("train", "valid"),
        ("train", "validation"),
        ("train", "dev"),
        ("train", "eval"),
        ("training", "testing"),
        ("train", "holdout"),
        ("train", "hold-out"),
        ("train", "test1"),
        ("TrainImages", "TestImages"),
        ("a/train", "a/test"),
    ] {
        let workspace = Workspace::new();
        let at = |split: &str, class: &str| format!("{split}/{class}/{{i}}.jpg");
        let paths = [(at(train, "a"), 5), (at(train, "b"), 5), (at(test, "a"), 2), (at(test, "b"), 2)];
        lay(&workspace, "in", &paths.each_ref().map(|(path, n)| (path.as_str(), *n)));
        let made = Made::of(&workspace, "in");
        assert_eq!((made.classes(), made.counts()), (vec!["a", "b"], [10, 4]), "{train}, {test}: {}", made.yaml);
    }
}

#[test]
fn a_third_split_and_pictures_without_class_are_told_of() {
    let workspace = Workspace::new();
    let labelled = |split: &str, n| [(format!("{split}/a/{{i}}.jpg"), n), (format!("{split}/b/{{i}}.jpg"), n)];
    let lay_all = |folder: &str, splits: &[(&str, usize)], flat: &[(&str, usize)]| {
        for (split, n) in splits {
            let paths = labelled(split, *n);
            lay(&workspace, folder, &paths.each_ref().map(|(path, n)| (path.as_str(), *n)));
        }
        lay(&workspace, folder, flat);
    };
    lay_all("three", &[("train", 5), ("valid", 3), ("test", 2)], &[]);
    let made = Made::of(&workspace, "three");
    assert_eq!((made.classes(), made.counts()), (vec!["a", "b"], [10, 4]));
    assert!(made.says("validation: valid (6 pictures) is not used"), "{}", made.said);
    assert!(made.says("take no part: in neither split"), "{}", made.said);
    // the advice works
    let more = "input.split.train='{train,valid}/**'";
    let run = workspace.call(&["run", "p.yaml", "--out", "more", "--until", "scan", "--set", more]).ok();
    assert!(run.stderr.contains("16 train, 4 test, 2 classes"), "{}", run.stderr);
    // a test folder without classes cannot be scored, so a random part of train is the test split
    lay_all("flat", &[("train", 8)], &[("test/{i}.jpg", 4)]);
    let made = Made::of(&workspace, "flat");
    assert_eq!((made.classes(), made.counts()), (vec!["a", "b"], [12, 4]));
    assert!(made.says("test: 4 pictures without a class"), "{}", made.said);
    assert!(made.yaml.contains("fraction: 0.25"), "{}", made.yaml);
    // a validation split with classes becomes the test split
    lay_all("kaggle", &[("train", 5), ("val", 2)], &[("test/{i}.jpg", 4)]);
    let made = Made::of(&workspace, "kaggle");
    assert_eq!((made.classes(), made.counts()), (vec!["a", "b"], [10, 4]));
    assert!(made.says("test: 4 pictures without a class") && made.says("val is the test"), "{}", made.said);
    // a test folder without subfolders beside class folders is not a class
    lay(&workspace, "beside", &[("a/{i}.jpg", 4), ("b/{i}.jpg", 4), ("test/{i}.jpg", 3)]);
    let made = Made::of(&workspace, "beside");
    assert_eq!((made.classes(), made.counts()), (vec!["a", "b"], [6, 2]));
    assert!(made.says("test: 3 pictures without a class"), "{}", made.said);
    // if all folders have the same layout, they are classes, and the output says so
    lay(&workspace, "alike", &[("train/{i}.jpg", 4), ("pen/{i}.jpg", 4), ("test/{i}.jpg", 4)]);
    let made = Made::of(&workspace, "alike");
    assert_eq!(made.classes(), ["pen", "test", "train"]);
    assert!(made.says("look at this: test, train: named like a split and taken for a class"), "{}", made.said);
    lay(&workspace, "only", &[("train/{i}.jpg", 4), ("test/{i}.jpg", 2)]);
    assert_eq!(Made::of(&workspace, "only").counts(), [4, 2]);
}

#[test]
fn classes_are_found_in_names_of_files() {
    let workspace = Workspace::new();
    lay(&workspace, "dvc", &[("train/cat.{i}.jpg", 8), ("train/dog.{i}.jpg", 8), ("test1/{i}.jpg", 4)]);
    for folder in ["dvc", "dvc/train"] {
        let made = Made::of(&workspace, folder);
        assert_eq!((made.classes(), made.counts()), (vec!["cat", "dog"], [12, 4]), "{folder}: {}", made.yaml);
        assert!(made.says("the names tell these classes: cat, dog"), "{}", made.said);
        assert_eq!(made.says("test1: 4 pictures without a class"), folder == "dvc", "{}", made.said);
    }
    lay(&workspace, "both", &[("train/cat.{i}.jpg", 6), ("train/dog.{i}.jpg", 6)]);
    lay(&workspace, "both", &[("test/cat.{i}.jpg", 2), ("test/dog.{i}.jpg", 2)]);
    let made = Made::of(&workspace, "both");
    assert_eq!((made.classes(), made.counts()), (vec!["cat", "dog"], [12, 4]));
    lay(&workspace, "pets", &[("images/Maine_Coon_1{i}.jpg", 4), ("images/american_bulldog_{i}.jpg", 4)]);
    assert_eq!(Made::of(&workspace, "pets").classes(), ["Maine_Coon", "american_bulldog"]);
    lay(&workspace, "heap", &[("cat.{i}.jpg", 12), ("dog.{i}.jpg", 12), ("mouse.jpg", 1)]);
    let made = Made::of(&workspace, "heap");
    assert!(made.classes() == ["cat", "dog"] && made.says("1 picture without a class in the name"), "{}", made.said);
    let printed = workspace.call(&["init", "heap", "-o", "-"]).ok().stdout;
    assert!(printed.contains("#   featurize run FILE\n"), "{printed}");
    lay(&workspace, "camera", &[("IMG_{i}.jpg", 4), ("DSC_{i}.jpg", 4)]);
    let made = Made::of(&workspace, "camera");
    assert_eq!((made.classes(), made.counts()), (vec![""], [8, 0]));
}

#[test]
fn tables_are_found_by_the_usual_names_of_their_columns() {
    let tables: [(&str, &str, &str, &str, char); 7] = [
        ("train/id{i}.jpg", "labels.csv", "id,breed", "id{i}", ','),
        ("{i}.jpg", "metadata.csv", "file_name,label", "{i}.jpg", ','),
        ("images/{i}.jpg", "train.csv", "filename;class", "{i}.jpg", ';'),
        ("part_1/ISIC_{i}.jpg", "HAM10000_metadata.csv", "age,image_id,dx,sex", "80,ISIC_{i}", ','),
        ("images/img{i}.jpg", "train.tsv", "Image\tCategory", "img{i}.jpg", '\t'),
        ("images/img{i}.jpg", "t.csv", "path,label", "images\\img{i}.jpg", ','),
        ("pictures/img{i}.jpg", "t.csv", "Image Name,kind of thing", "img{i}", ','),
    ];
    for (pictures, name, header, line, separator) in tables {
        let workspace = Workspace::new();
        lay(&workspace, "in", &[(pictures, 12), ("part_2/other.jpg", 1)]);
        let mut table = format!("{header}\n");
        for i in 0..12 {
            let more = if header.ends_with("sex") { ",male" } else { "" };
            let class = if i % 2 == 0 { "x" } else { "y" };
            table += &format!(
                "{}{separator}{class}{more}\n",
                line.replace("{i}", &i.to_string()).replace(',', &separator.to_string())
            );
        }
        workspace.write(&format!("in/{name}"), table.as_bytes());
        let made = Made::of(&workspace, "in");
        assert_eq!((made.classes(), made.counts()), (vec!["x", "y"], [8, 4]), "{name}: {}", made.yaml);
        assert!(made.says(name), "{}", made.said);
        assert!(made.says("1 picture takes no part: not in "), "{}", made.said);
    }
}

#[test]
fn the_pipeline_begins_with_its_schema() {
    let workspace = Workspace::new();
    lay(&workspace, "in", &[("a/{i}.jpg", 2), ("b/{i}.jpg", 2)]);
    let yaml = Made::of(&workspace, "in").yaml;
    assert!(yaml.starts_with("# yaml-language-server: $schema=featurize.schema.json\n"), "{yaml}");
}
