//! Classes and splits: by folder, by random draw, by table; some classes, a few pictures of each, no labels at all.

use crate::support::{self, Run, Workspace, set};

/// (path, label, split) of the pictures in the manifest that can be read.
fn rows(workspace: &Workspace, out: &str) -> Vec<(String, Option<String>, String)> {
    let all = manifest(workspace, out, ["path", "label", "split", "status"]).into_iter();
    let read = all.filter(|[.., status]| matches!(status.as_str(), "ok" | "listed"));
    read.map(|[path, label, split, _]| (path, Some(label).filter(|label| !label.is_empty()), split)).collect()
}

fn manifest<const N: usize>(workspace: &Workspace, out: &str, columns: [&str; N]) -> Vec<[String; N]> {
    support::rows(&workspace.path(out).join("manifest.parquet"), columns)
}

fn scan(workspace: &Workspace, out: &str, sets: &[&str]) -> Run {
    workspace.run(out, &[vec!["--until", "scan"], set(sets)].concat())
}

#[test]
fn by_folder_the_class_is_below_the_split() {
    let workspace = Workspace::with_fruits(3, 2);
    scan(&workspace, "out", &[]).ok();
    let rows = rows(&workspace, "out");
    assert_eq!(rows.len(), 15);
    assert!(rows.iter().all(|(path, label, split)| {
        let parts: Vec<&str> = path.split('/').collect();
        label.as_deref() == Some(parts[1]) && (split == "train") == (parts[0] == "Training")
    }));
    assert!(rows.is_sorted());
}

#[test]
fn by_lot_each_class_gives_its_share() {
    let workspace = Workspace::with_fruits(8, 0);
    scan(&workspace, "out", &["input.split={fraction: 0.25, seed: 7}"]).ok();
    let rows = rows(&workspace, "out");
    let tests: Vec<_> = rows.iter().filter(|(.., split)| split == "test").collect();
    assert_eq!((rows.len(), tests.len()), (24, 6), "a quarter of the one class `Training`");
    let root = format!("input.root={}", workspace.path("pictures/Training").display());
    scan(&workspace, "deep", &[&root, "input.split={fraction: 0.25, seed: 7}"]).ok();
    let rows = self::rows(&workspace, "deep");
    for class in ["Banana", "Lemon", "Strawberry"] {
        let of_class = rows.iter().filter(|(_, label, split)| label.as_deref() == Some(class) && split == "test");
        assert_eq!(of_class.count(), 2, "{class}");
    }
}

#[test]
fn by_table() {
    let workspace = Workspace::with_fruits(2, 1);
    let files = |folder: &str| -> Vec<String> {
        let names = support::files(&workspace.path(&format!("pictures/{folder}"))).into_iter();
        names.map(|name| format!("{folder}/{name}")).collect()
    };
    let (bananas, lemons) = (files("Training/Banana"), files("Training/Lemon"));
    let table = format!(
        "path,label,split\n{},yellow,train\n{},sour,train\n{},yellow,test\n\"missing, file.jpg\",sour,test\n",
        bananas[0], lemons[0], bananas[1]
    );
    workspace.write("labels.csv", table.as_bytes());
    let split = format!("input.split={{csv: {}}}", workspace.path("labels.csv").display());
    scan(&workspace, "out", &[&split]).ok();
    let rows = rows(&workspace, "out");
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(rows.contains(&(bananas[1].clone(), Some("yellow".into()), "test".into())));
    workspace.write("labels.csv", b"path,label,split\na.jpg,x,train\nb.jpg,x,tset\n");
    scan(&workspace, "out", &[&split]).ended(2, &["line 3: the split is `tset`"]);
    workspace.write("labels.csv", b"file,label\na.jpg,x\n");
    let run = scan(&workspace, "out", &[&split]);
    assert!(run.stderr.contains("has no column `path`"), "{}", run.stderr);
}

#[test]
fn tables_as_programs_write_them() {
    let workspace = Workspace::with_fruits(2, 1);
    let folder = workspace.path("pictures/Training/Banana");
    let names = support::files(&folder);
    let (a, b) = (format!("Training/Banana/{}", names[0]), format!("Training/Banana/{}", names[1]));
    let split = format!("input.split={{csv: {}}}", workspace.path("labels.csv").display());
    let absolute = folder.join(&names[1]).display().to_string();
    let row =
        |path: &str, label: Option<&str>, split: &str| (path.to_string(), label.map(String::from), split.to_string());
    let both = [row(&a, Some("x, \"y\""), "train"), row(&b, Some("z"), "test")];
    let good = [
        ("of a spreadsheet", format!("\u{feff}Path,Label,Split\r\n{a},\"x, \"\"y\"\"\",train\r\n{b},z,test\r\n")),
        ("other columns and order", format!("id,split,label,path\n1,train,\"x, \"\"y\"\"\",./{a}\n2,test,z,{b}\n")),
        ("absolute, no last line end", format!("path,label,split\n{a},\"x, \"\"y\"\"\",train\n{absolute},z,test")),
        ("blanks, an empty line", format!("path , label, split\n {a} ,\"x, \"\"y\"\"\", train\n\n{b}, z ,test\n")),
        ("semicolons", format!("sep=;\r\npath;label;split\r\n{a};\"x, \"\"y\"\"\";train\r\n{b};z;test\r\n")),
        ("tabs, backslashes", format!("path\tlabel\tsplit\n{}\tx, \"y\"\ttrain\n{b}\tz\ttest\n", a.replace('/', "\\"))),
        (
            "no endings",
            format!("path,label,split\n{},\"x, \"\"y\"\"\",train\n{b},z,test\n", a.trim_end_matches(".jpg")),
        ),
    ];
    for (number, (what, table)) in good.iter().enumerate() {
        workspace.write("labels.csv", table.as_bytes());
        let out = format!("out{number}");
        scan(&workspace, &out, &[&split]).ok();
        let mut found = rows(&workspace, &out);
        found.sort();
        let mut both = both.to_vec();
        both.sort();
        assert_eq!(found, both, "{what}");
    }
    // without labels and splits every picture is train
    workspace.write("labels.csv", format!("path\n{a}\n{b}\n").as_bytes());
    scan(&workspace, "plain", &[&split]).ok();
    assert!(rows(&workspace, "plain").iter().all(|(_, label, split)| label.is_none() && split == "train"));
    let bad = [
        (format!("path,label\n{a},x\n./{a},x\n"), "line 3: "),
        (format!("path,label\n{b},x\n{absolute},x\n"), "named a second time"),
        (format!("path,label\n{a},x,y\n"), "labels.csv"),
        ("path,label\n../a.jpg,x\n".to_string(), "outside"),
        (format!("path,label\n{a},x\n,x\n"), "the path is empty"),
        (String::new(), "line 1: its first line is empty; it is to name the columns"),
        (format!("id,breed\n{a},x\n"), "its header is `id,breed`; name the columns"),
        (format!("path,label\n{a},x\n{b},\"{}\n", "y".repeat(1 << 20)), "line 3: it is longer than 1048576 bytes"),
        (format!("path,label\n{a},{}\n", "y".repeat(4097)), "line 2: the label has 4097 bytes"),
        ("path,label\n".to_string(), "labels.csv has no line below its header"),
        ("PK\u{3}\u{4}\0\0".to_string(), "save the table as CSV in UTF-8"),
        (format!("path,split\n{a},Trains\n"), "the split is `Trains`"),
    ];
    for (table, text) in bad {
        workspace.write("labels.csv", table.as_bytes());
        scan(&workspace, "bad", &[&split]).ended(2, &[text]);
    }
}

#[test]
fn words_for_splits_are_those_of_folders() {
    let workspace = Workspace::with_fruits(4, 0);
    let folder = std::fs::read_dir(workspace.path("pictures/Training/Lemon")).expect("folder");
    let mut names: Vec<String> =
        folder.map(|one| one.expect("entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    let split = format!("input.split={{csv: {}}}", workspace.path("labels.csv").display());
    let of = |out: &str, words: [&str; 4]| {
        let lines = names.iter().zip(words).map(|(name, word)| format!("Training/Lemon/{name},{word}\n"));
        workspace.write("labels.csv", format!("path,split\n{}", lines.collect::<String>()).as_bytes());
        scan(&workspace, out, &[&split]).ok();
        let found = rows(&workspace, out).into_iter().map(|(_, _, split)| split).collect::<Vec<_>>();
        let kinds = manifest(&workspace, out, ["kind"]).into_iter().map(|[kind]| kind);
        (found, kinds.filter(|kind| !kind.is_empty()).collect::<Vec<_>>())
    };
    let (found, aside) = of("one", ["Train", "TRAINING", "TEST", "Testing"]);
    assert_eq!((found, aside.len()), (["train", "train", "test", "test"].map(String::from).to_vec(), 0));
    // the validation split is the test split if there is no other
    let (found, _) = of("two", ["train", "Train", "val", "Validation"]);
    assert_eq!(found, ["train", "train", "test", "test"]);
    let (found, aside) = of("three", ["train", "val", "train", "Test"]);
    assert_eq!(found, ["train", "train", "test"]);
    assert_eq!(aside, ["split"]);
    // commands read every picture of a table, whatever its split
    let table = String::from_utf8(workspace.read("labels.csv")).expect("text");
    workspace.write("all.csv", table.replace("Training/", "pictures/Training/").as_bytes());
    workspace.call(&["embed", "all.csv", "-o", "features.csv", "--quiet"]).ok();
    assert_eq!(workspace.text("features.csv").lines().count(), 1 + names.len());
}

#[test]
fn columns_of_a_table_have_the_names_that_the_yaml_gives() {
    let workspace = Workspace::with_fruits(4, 0);
    let mut table = "\u{feff}id;fold;breed;label\r\n".to_string();
    let mut wanted = Vec::new();
    for class in ["Banana", "Lemon"] {
        let names = support::files(&workspace.path(&format!("pictures/Training/{class}")));
        for (i, name) in names.iter().enumerate() {
            let split = if i == 3 { "test" } else { "train" };
            // the same names exist in three folders
            table += &format!("Training\\{class}\\{};{split};{class}!;no\r\n", name.trim_end_matches(".jpg"));
            wanted.push((format!("Training/{class}/{name}"), Some(format!("{class}!")), split.to_string()));
        }
    }
    let utf16: Vec<u8> = table.encode_utf16().flat_map(u16::to_le_bytes).collect();
    workspace.write("breeds.csv", &utf16);
    let csv = workspace.path("breeds.csv").display().to_string();
    let split = format!("input.split={{csv: '{csv}', path: ID, label: breed, split: fold}}");
    scan(&workspace, "out", &[&split]).ok();
    assert_eq!(rows(&workspace, "out"), wanted);
    scan(&workspace, "bad", &[&format!("input.split={{csv: '{csv}', path: id, label: bread}}")])
        .ended(2, &["has no column `bread`", "did you mean `breed`?"]);
    // paths relative to the table's folder, and names in any folder
    workspace.write("ids.csv", format!("path,label\npictures/{},x\n", wanted[0].0).as_bytes());
    let split = format!("input.split={{csv: '{}'}}", workspace.path("ids.csv").display());
    scan(&workspace, "own", &[&split]).ok();
    assert_eq!(rows(&workspace, "own"), [(wanted[0].0.clone(), Some("x".into()), "train".into())]);
    workspace.write("pictures/deep/er/only.v1.jpg", &workspace.read(&format!("pictures/{}", wanted[0].0)));
    workspace.write("ids.csv", b"path,label\nonly.v1,x\n");
    scan(&workspace, "own", &[&split]).ok();
    assert_eq!(rows(&workspace, "own"), [("deep/er/only.v1.jpg".into(), Some("x".into()), "train".into())]);
    // a name that is in several folders is ambiguous
    let name = rows(&workspace, "out")[0].0.rsplit('/').next().expect("a name").to_string();
    workspace.write("ids.csv", format!("path,label\n{name},x\n").as_bytes());
    scan(&workspace, "bad", &[&split]).ended(2, &["line 2: `", "` may be Training/Banana/"]);
}

#[test]
fn the_class_stands_in_the_path() {
    let workspace = Workspace::with_fruits(4, 0);
    for class in ["Banana", "Lemon"] {
        let folder = format!("pictures/Training/{class}");
        for (i, name) in support::files(&workspace.path(&folder)).iter().enumerate() {
            let bytes = workspace.read(&format!("{folder}/{name}"));
            workspace.write(&format!("flat/{}.{i}.jpg", class.to_lowercase()), &bytes);
        }
    }
    workspace.write("flat/other.jpg", &workspace.read("flat/lemon.0.jpg"));
    let root = format!("input.root={}", workspace.path("flat").display());
    for label in [r"{pattern: '(banana|lemon)\.\d+'}", r"(banana|lemon)\.\d+"] {
        let sets = [&root, "input.split={fraction: 0.25}", &format!("input.label={label}")];
        scan(&workspace, "out", &sets).ok();
        let rows = rows(&workspace, "out");
        assert_eq!(rows.len(), 8, "{rows:?}");
        assert!(rows.iter().all(|(path, class, _)| class.as_deref() == path.split('.').next()), "{rows:?}");
        assert_eq!(rows.iter().filter(|(.., split)| split == "test").count(), 2);
    }
    let all = manifest(&workspace, "out", ["path", "kind", "error"]);
    let [_, kind, error] = all.iter().find(|[path, ..]| path == "other.jpg").expect("a row");
    assert!(kind == "no_class" && error.contains("`input.label` finds no class"), "{kind}: {error}");
    scan(&workspace, "bad", &[&root, "input.split=null", "input.label={pattern: 'kiwi'}"])
        .ended(2, &["`kiwi` finds a class in no path; the first path is banana.0.jpg"]);
}

#[test]
fn folders_of_file_managers_are_no_classes() {
    let workspace = Workspace::with_fruits(4, 0);
    let picture = workspace.read("pictures/Training/Lemon/0_0_100.jpg");
    let litter =
        ["@eaDir", "#recycle", "@Recycle", "$RECYCLE.BIN", "lost+found", "System Volume Information", "__MACOSX"];
    for folder in litter {
        workspace.write(&format!("pictures/Training/{folder}/cat/thumb.jpg"), &picture);
        workspace.write(&format!("pictures/Training/Lemon/{folder}/thumb.jpg"), &picture);
    }
    workspace.write("pictures/Training/.Trash-1000/a.jpg", &picture);
    let root = format!("input.root={}", workspace.path("pictures/Training").display());
    scan(&workspace, "out", &[&root, "input.split=null"]).ok();
    let rows = rows(&workspace, "out");
    assert_eq!(rows.len(), 12, "{rows:?}");
    let all = manifest(&workspace, "out", ["path", "status", "kind"]);
    for folder in litter {
        for path in [format!("{folder}/"), format!("Lemon/{folder}/")] {
            let row = [&path, "skipped", "file_manager"].map(String::from);
            assert!(all.contains(&row), "{row:?} in {all:?}");
        }
    }
    assert!(all.contains(&[".Trash-1000/", "skipped", "hidden"].map(String::from)));
}

#[cfg(unix)]
#[test]
fn a_class_folder_that_cannot_be_read_is_told_and_not_forgotten() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::with_fruits(2, 0);
    let mode = |path: &str, mode: u32| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(workspace.path(path), permissions).expect("mode");
    };
    mode("", 0o777);
    mode("pictures/Training/Lemon", 0);
    // root may read everything, so the test runs as another user
    let root = std::fs::read_dir(workspace.path("pictures/Training/Lemon")).is_ok();
    let other = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    if root && !std::process::Command::new("setpriv").args(other).arg("true").status().is_ok_and(|s| s.success()) {
        return;
    }
    let scan = |out: &str, sets: &[&str]| {
        let root_set = format!("input.root={}", workspace.path("pictures/Training").display());
        let sets = [root_set.as_str(), "input.split=null"]
            .into_iter()
            .chain(sets.iter().copied())
            .flat_map(|set| ["--set", set])
            .map(String::from);
        let command = workspace.command(out, &["--until", "scan"]);
        let mut whole = std::process::Command::new(if root { "setpriv" } else { "env" });
        whole.args(if root { &other[..] } else { &[] }).arg(command.get_program()).args(command.get_args()).args(sets);
        Run::of(whole.output().expect("started"))
    };
    let run = scan("out", &[]).ok();
    assert!(run.stderr.contains("Lemon/: the folder cannot be read: Permission denied"), "{}", run.stderr);
    assert!(run.stderr.contains("\"level\":\"warning\""), "{}", run.stderr);
    mode("pictures/Training/Strawberry", 0);
    scan("one", &[]).ended(2, &["Lemon/ (and 1 more): the folder cannot be read", "only the class `Banana` is left"]);
    scan("one", &["input.classes=[Banana]"]).ok();
    ["pictures/Training/Lemon", "pictures/Training/Strawberry"].iter().for_each(|folder| mode(folder, 0o755));
}

#[cfg(unix)]
#[test]
fn a_table_that_is_no_file_is_refused_at_once() {
    let workspace = Workspace::with_fruits(1, 1);
    let fifo = workspace.path("labels.csv");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    for table in [fifo.as_path(), "/dev/zero".as_ref(), workspace.path("pictures").as_path()] {
        scan(&workspace, "out", &[&format!("input.split={{csv: {}}}", table.display())])
            .ended(2, &["it is no regular file"]);
    }
}

#[test]
fn some_classes_and_a_few_pictures_of_each() {
    let workspace = Workspace::with_fruits(4, 3);
    scan(&workspace, "out", &["input.classes=[Lemon, Banana]", "input.limit_per_class={train: 2, test: 1}"]).ok();
    let rows = rows(&workspace, "out");
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().all(|(_, label, _)| label.as_deref() != Some("Strawberry")));
    scan(&workspace, "out", &["input.classes=[Lemmon]"]).ended(2, &["did you mean `Lemon`?"]);
}

#[test]
fn without_labels_the_run_ends_after_reduce() {
    let workspace = Workspace::with_fruits(4, 0);
    for name in support::files(&workspace.path("pictures/Training/Banana")) {
        workspace.write(&format!("flat/{name}"), &workspace.read(&format!("pictures/Training/Banana/{name}")));
    }
    let root = format!("input.root={}", workspace.path("flat").display());
    let run = workspace.run("out", &["--set", &root, "--set", "input.split=null"]).ok();
    assert_eq!(run.computed(), ["extract", "select", "reduce", "compare", "report"]);
    assert!(run.stderr.contains("no labels"), "{}", run.stderr);
    assert!(workspace.path("out/reduced.parquet").is_file());
    assert!(!workspace.path("out/predictions.parquet").exists());
}

#[test]
fn an_empty_and_an_absent_folder_are_told_with_their_place() {
    let workspace = Workspace::with_fruits(1, 1);
    std::fs::create_dir(workspace.path("empty")).expect("folder");
    let root = format!("input.root={}", workspace.path("empty").display());
    scan(&workspace, "out", &[&root]).ended(2, &["the folder is empty"]);
    workspace.write("pipeline.yaml", b"version: 1\ninput:\n  root: not here\n");
    scan(&workspace, "out", &[]).ended(2, &["pipeline.yaml:3:9", "there is no folder"]);
}
