//! Unusual names and kinds of files: each is a row with its reason, and none of them stops or blocks the run.
#![cfg(unix)]

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Run, Workspace, featurize, rows};

/// Path, status and kind of every file in the manifest.
fn manifest(workspace: &Workspace, out: &str) -> Vec<[String; 3]> {
    rows(&workspace.path(out).join("manifest.parquet"), ["path", "status", "kind"])
}

fn row<'a>(rows: &'a [[String; 3]], path: &str) -> (&'a str, &'a str) {
    let found = rows.iter().find(|row| row[0] == path);
    let found = found.unwrap_or_else(|| panic!("{path:?} has no row in {rows:#?}"));
    (&found[1], &found[2])
}

const LEMON: &str = "pictures/Training/Lemon/0_0_100.jpg";

#[test]
fn any_name_is_kept_and_written_the_same_everywhere() {
    let workspace = Workspace::with_fruits(4, 2);
    let good = workspace.read(LEMON);
    let folder = workspace.path("pictures/Training/Lemon");
    let long = format!("{}.jpg", "x".repeat(251));
    let names: [(&[u8], &str); 15] = [
        ("caf\u{e9}.jpg".as_bytes(), "caf\u{e9}.jpg"),
        ("cafe\u{301}.jpg".as_bytes(), "cafe\u{301}.jpg"),
        (b"caf\xe9.jpg", "caf\\xe9.jpg"),
        (b"caf\\xe9.jpg", "caf\\x5cxe9.jpg"),
        (b"  two  spaces .jpg", "  two  spaces .jpg"),
        (b"a\nb\tc\r.jpg", "a\nb\tc\r.jpg"),
        (b"\x1b[31mred.jpg", "\u{1b}[31mred.jpg"),
        (b"'single' \"double\".jpg", "'single' \"double\".jpg"),
        (b"<script>alert(1)<!--.jpg", "<script>alert(1)<!--.jpg"),
        (b"-rf.jpg", "-rf.jpg"),
        (b"case.JPG", "case.JPG"),
        (b"case.jpg", "case.jpg"),
        (b"case.JPE", "case.JPE"),
        (b"without_extension", "without_extension"),
        (long.as_bytes(), &long),
    ];
    for (name, _) in names {
        std::fs::write(folder.join(OsStr::from_bytes(name)), &good).expect("written");
    }
    let run = workspace.run("out", &["--set", "input.hash=true"]).ok();
    assert!(!run.stderr.contains('\u{1b}'), "a name reached the terminal as it is");
    let met = manifest(&workspace, "out");
    for (_, shown) in names {
        assert_eq!(row(&met, &format!("Training/Lemon/{shown}")), ("ok", ""));
    }
    let report = workspace.text("out/report.html");
    assert!(!report.contains("<script>"), "a name became a part of the page");
    let predictions = rows(&workspace.path("out/predictions.parquet"), ["path"]);
    assert!(predictions.contains(&["Training/Lemon/caf\\xe9.jpg".to_string()]));
    // predict: the same names, on one line each in the plain form, quoted in CSV where necessary
    let predict = |form: &[&str]| {
        let mut command = featurize();
        command.arg("predict").arg(workspace.path("out")).arg(&folder).args(["--top", "1"]).args(form);
        Run::of(command.output().expect("started")).ok()
    };
    let json = predict(&["--json"]).json_lines();
    let paths: Vec<&str> = json.iter().filter_map(|line| line["path"].as_str()).collect();
    let plain = predict(&[]).stdout;
    assert_eq!(plain.lines().count(), paths.len());
    assert!(!plain.contains('\u{1b}'));
    let csv = predict(&["--csv"]).stdout;
    for (_, shown) in names {
        let path = format!("{}/{shown}", folder.display());
        assert!(paths.contains(&path.as_str()), "{path:?}");
        assert!(csv.contains(&path.replace('"', "\"\"")), "{path:?}");
    }
}

#[test]
fn things_that_are_no_files_are_rows_and_nothing_waits() {
    let workspace = Workspace::with_fruits(4, 2);
    let at = |name: &str| workspace.path(&format!("pictures/Training/Lemon/{name}"));
    assert!(Command::new("mkfifo").arg(at("fifo.jpg")).status().expect("mkfifo").success());
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.jpg")).expect("bound");
    std::fs::create_dir_all(at("folder.jpg")).expect("folder");
    workspace.write("pictures/Training/Lemon/folder.jpg/inside.jpg", &workspace.read(LEMON));
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).expect("link");
    link("/dev/zero", "zero.jpg");
    link("nowhere", "dangling.jpg");
    link("itself.jpg", "itself.jpg");
    link("..", "up");
    std::fs::File::create(at("sparse.jpg")).and_then(|file| file.set_len(5 << 30)).expect("a sparse file");
    std::fs::File::create(at("zeros.jpg")).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    let run = workspace.run("out", &["--set", "input.max_bad_fraction=0.5", "--until", "extract"]).ok();
    let rows = manifest(&workspace, "out");
    let row = |name: &str| row(&rows, &format!("Training/Lemon/{name}"));
    assert_eq!(row("fifo.jpg"), ("failed", "not_a_file"));
    assert_eq!(row("socket.jpg"), ("failed", "not_a_file"));
    assert_eq!(row("zero.jpg"), ("failed", "not_a_file"));
    assert_eq!(row("folder.jpg/inside.jpg"), ("ok", ""));
    assert_eq!(row("dangling.jpg"), ("failed", "dangling_link"));
    assert_eq!(row("itself.jpg"), ("failed", "link_loop"));
    assert_eq!(row("up"), ("skipped", "folder_link"));
    assert_eq!(row("sparse.jpg"), ("failed", "too_large"));
    assert_eq!(row("zeros.jpg"), ("failed", "not_an_image"));
    let done = run.event("summary");
    assert_eq!(done["extract"]["failed_by_kind"]["not_a_file"], 3);
    assert_eq!(done["extract"]["failed_by_kind"]["too_large"], 1);
    assert!(done["peak_memory_mb"].as_u64().is_none_or(|memory| memory < 900), "{done}");
    // links are followed into folders if asked for, but not in a circle
    let sets = ["--set", "input.max_bad_fraction=0.5", "--set", "input.follow_links=true", "--until", "extract"];
    workspace.run("followed", &sets).ok();
    let rows = manifest(&workspace, "followed");
    assert_eq!(self::row(&rows, "Training/Lemon/up"), ("failed", "link_loop"));
}

#[test]
fn commands_have_the_kinds_of_the_manifest() {
    let workspace = Workspace::with_fruits(4, 2);
    let link = workspace.path("pictures/Training/Lemon/loop.jpg");
    std::os::unix::fs::symlink("loop.jpg", link).expect("a link");
    std::os::unix::fs::symlink("nowhere", workspace.path("pictures/Training/Lemon/none.jpg")).expect("a link");
    let fifo = workspace.path("pictures/Training/Lemon/fifo.jpg");
    assert!(Command::new("mkfifo").arg(fifo).status().expect("mkfifo").success());
    workspace.write("none.tar", b"");
    workspace.run("out", &["--until", "extract", "--set", "input.max_bad_fraction=0.5"]).ok();
    let rows = manifest(&workspace, "out");
    let told = |path: &str| {
        let run = featurize().current_dir(workspace.path("")).args(["classify", path, "--json"]).output();
        let said = String::from_utf8(run.expect("started").stdout).expect("text");
        let lines = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
        let kind = |error: &str| error.split(": ").next().map(String::from);
        let all = lines.filter_map(|line| Some([line["path"].as_str()?.to_string(), kind(line["error"].as_str()?)?]));
        all.collect::<Vec<_>>()
    };
    for (name, kind) in [("loop.jpg", "link_loop"), ("none.jpg", "dangling_link"), ("fifo.jpg", "not_a_file")] {
        let path = format!("Training/Lemon/{name}");
        assert_eq!(row(&rows, &path), ("failed", kind));
        let alone = format!("pictures/{path}");
        assert_eq!(told(&alone), [[alone.clone(), kind.to_string()]]);
        assert!(told("pictures/Training").contains(&[alone, kind.to_string()]), "{name} in its folder");
    }
    assert_eq!(told("none.tar"), [["none.tar", "empty"]]);
    assert_eq!(told("none.tar/a.jpg"), [["none.tar/a.jpg", "empty"]]);
}

#[test]
fn a_folder_deeper_than_a_path_may_be_is_a_row() {
    let workspace = Workspace::with_fruits(4, 2);
    // two halves of a long path; one is moved into the other
    let half = ["d".repeat(200).as_str(); 15].join("/");
    let (upper, lower) = (workspace.path(&format!("pictures/Training/Lemon/{half}")), workspace.path("lower"));
    std::fs::create_dir_all(&upper).expect("folders");
    std::fs::create_dir_all(lower.join(&half)).expect("folders");
    std::fs::write(lower.join(&half).join("a.jpg"), b"").expect("a file");
    std::fs::rename(&lower, upper.join("lower")).expect("moved");
    let run = workspace.run("out", &["--until", "extract"]).ok();
    assert!(run.stderr.contains("the folder cannot be read: File name too long"), "{}", run.stderr);
    let rows = manifest(&workspace, "out");
    let failed: Vec<_> = rows.iter().filter(|row| row[1] == "failed").collect();
    assert!(failed.len() == 1 && failed[0][2] == "unreadable" && failed[0][0].len() > 3000, "{failed:?}");
}

#[test]
fn what_may_not_be_read_is_a_row() {
    use std::os::unix::fs::PermissionsExt;
    let workspace = Workspace::with_fruits(4, 2);
    workspace.write("pictures/Training/Lemon/closed.jpg", &workspace.read(LEMON));
    workspace.write("pictures/Training/Lemon/closed/a.jpg", &workspace.read(LEMON));
    let close = |name: &str, mode: u32| {
        let path = workspace.path(&format!("pictures/Training/Lemon/{name}"));
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("closed");
    };
    close("closed.jpg", 0);
    close("closed", 0);
    let open_to_all = std::fs::read(workspace.path("pictures/Training/Lemon/closed.jpg")).is_ok();
    let run = workspace.run("out", &["--until", "extract"]);
    close("closed", 0o755);
    if open_to_all {
        return; // root may read everything
    }
    run.ok();
    let rows = manifest(&workspace, "out");
    assert_eq!(row(&rows, "Training/Lemon/closed.jpg"), ("failed", "unreadable"));
    assert_eq!(row(&rows, "Training/Lemon/closed/"), ("failed", "unreadable"));
}

#[test]
fn a_failed_run_names_ten_and_leaves_the_whole_list() {
    let workspace = Workspace::with_fruits(2, 1);
    for i in 0..14 {
        workspace.write(&format!("pictures/Training/Lemon/bad_{i:02}\n.jpg"), b"");
    }
    let run = workspace.run("out", &[]);
    assert_eq!(run.code, Some(1));
    assert_eq!(run.stderr.matches(": empty: ").count(), 10, "{}", run.stderr);
    assert!(run.error().contains("bad_09\\n.jpg: empty") && run.stderr.contains("… and 4 more"), "{}", run.stderr);
    assert!(run.stderr.contains("manifest.parquet"), "{}", run.stderr);
    let rows = manifest(&workspace, "out");
    assert_eq!(rows.iter().filter(|row| row[1] == "failed" && row[2] == "empty").count(), 14);
}

#[test]
fn a_full_disk_ends_clearly_and_the_run_goes_on_when_there_is_room() {
    let workspace = Workspace::with_fruits(8, 2);
    let mount = workspace.path("full");
    std::fs::create_dir(&mount).expect("folder");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=700k", "tmpfs"]).arg(&mount).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return; // only root may mount, and not on every system
    }
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            Command::new("umount").arg(self.0).status().ok();
        }
    }
    let _mounted = Mounted(&mount);
    workspace.run("full/out", &["--until", "extract"]).ended(1, &["cannot write", "No space left"]);
    Command::new("mount").args(["-o", "remount,size=20m"]).arg(&mount).status().expect("mount");
    let run = workspace.run("full/out", &["--until", "extract"]).ok();
    assert!(run.extracted() < 30, "shards that were written are kept: {}", run.stderr);
    workspace.run("whole", &["--until", "extract"]).ok();
    assert!(workspace.results("full/out") == workspace.results("whole"));
}

#[test]
fn what_changes_between_scan_and_decode_is_a_row_and_nothing_waits() {
    use std::io::{BufRead, BufReader, Read};
    let workspace = Workspace::with_fruits(4, 2);
    let at = |name: &str| workspace.path(&format!("pictures/Training/Lemon/{name}"));
    let good = workspace.read(LEMON);
    for name in ["zz_fifo.jpg", "zz_gone.jpg", "zz_longer.jpg", "zz_shorter.jpg"] {
        std::fs::write(at(name), &good).expect("written");
    }
    // the first picture keeps the only thread busy for a second, while the next four are changed
    let large = featurize::image::RgbImage::from_fn(3000, 2000, |x, y| [x as u8, y as u8, (x * y) as u8]);
    std::fs::write(at("a_000.png"), featurize::image::png(&large).expect("a PNG")).expect("written");
    for number in 1..24 {
        std::fs::hard_link(at("a_000.png"), at(&format!("a_{number:03}.png"))).expect("linked");
    }
    let sets = ["--set", "runtime.threads=1", "--set", "input.max_bad_fraction=0.5", "--until", "extract"];
    let mut child = workspace.command("out", &sets).spawn().expect("started");
    let mut said = BufReader::new(child.stderr.take().expect("standard error"));
    let mut line = String::new();
    // the last line of the scan
    while !(line.contains("\"scan\"") && line.contains("images")) {
        line.clear();
        assert!(said.read_line(&mut line).expect("text") > 0, "the scan did not end");
    }
    std::fs::remove_file(at("zz_gone.jpg")).expect("removed");
    std::fs::remove_file(at("zz_fifo.jpg")).expect("removed");
    assert!(Command::new("mkfifo").arg(at("zz_fifo.jpg")).status().expect("mkfifo").success());
    std::fs::write(at("zz_longer.jpg"), [&good[..], b"more"].concat()).expect("written");
    std::fs::write(at("zz_shorter.jpg"), &good[..good.len() / 2]).expect("written");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    assert!(child.wait().expect("ended").success(), "{rest}");
    let rows = manifest(&workspace, "out");
    let row = |name: &str| row(&rows, &format!("Training/Lemon/{name}"));
    assert_eq!(row("zz_gone.jpg"), ("failed", "vanished"));
    assert_eq!(row("zz_fifo.jpg"), ("failed", "not_a_file"));
    assert_eq!(row("zz_longer.jpg"), ("failed", "changed"));
    assert_eq!(row("zz_shorter.jpg"), ("failed", "changed"));
    assert_eq!(row("a_023.png"), ("ok", ""));
}
