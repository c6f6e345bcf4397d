//! Tests of outputs that the user names: files behind links, pipes and devices, and refusals.

use super::*;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and the rest";

fn open(path: &Path, kind: FileKind, inputs: &Inputs) -> Result<Output, OutputError> {
    Output::new(path, kind, Rules::new(inputs, false))
}

fn put(path: &Path, kind: FileKind, bytes: &[u8]) -> Result<(), OutputError> {
    Ok(open(path, kind, &Inputs::default())?.write_bytes(bytes)?)
}

#[cfg(unix)]
#[test]
fn a_link_stays_and_its_target_is_replaced_with_its_rights() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    let dir = tempfile::tempdir().expect("folder");
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir(at("far")).expect("folder");
    std::fs::write(at("far/t.parquet"), b"old").expect("written");
    std::fs::set_permissions(at("far/t.parquet"), PermissionsExt::from_mode(0o640)).expect("mode");
    let old = std::fs::metadata(at("far/t.parquet")).expect("there").ino();
    symlink("far/t.parquet", at("one")).expect("link");
    symlink(at("one"), at("two.parquet")).expect("link");
    put(&at("two.parquet"), FileKind::Parquet, b"PAR1 new").expect("written");
    assert!(at("one").is_symlink() && at("two.parquet").is_symlink());
    assert_eq!(std::fs::read(at("far/t.parquet")).expect("read"), b"PAR1 new");
    let metadata = std::fs::metadata(at("far/t.parquet")).expect("there");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o640);
    assert_ne!(metadata.ino(), old, "renamed, not written over");
    symlink("far/none.csv", at("dangling.csv")).expect("link");
    put(&at("dangling.csv"), FileKind::Csv, b"a\n").expect("written");
    assert_eq!(std::fs::read(at("far/none.csv")).expect("read"), b"a\n");
    symlink("circle.csv", at("circle.csv")).expect("link");
    assert!(put(&at("circle.csv"), FileKind::Csv, b"a\n").is_err());
    assert_eq!(std::fs::read_dir(at("far")).expect("folder").count(), 2, "nothing is left over");
}

#[cfg(unix)]
#[test]
fn an_error_leaves_the_target_of_a_link_as_it_was() {
    let dir = tempfile::tempdir().expect("folder");
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("t.csv"), b"old").expect("written");
    std::os::unix::fs::symlink("t.csv", at("link.csv")).expect("link");
    let output = open(&at("link.csv"), FileKind::Csv, &Inputs::default()).expect("opened");
    let failed: Result<(), IoError> = output.write(|to| {
        to.write_all(b"half").map_err(IoError::write(Path::new("x")))?;
        Err(IoError::Table { path: "x".into(), reason: "stop".into() })
    });
    assert!(failed.is_err());
    assert_eq!(std::fs::read(at("t.csv")).expect("read"), b"old");
    assert_eq!(std::fs::read_dir(dir.path()).expect("folder").count(), 2);
}

#[test]
fn a_file_of_another_kind_is_refused_and_one_of_the_same_kind_is_not() {
    let dir = tempfile::tempdir().expect("folder");
    let refused = |name: &str, content: &[u8], kind: FileKind| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).expect("written");
        let refused = put(&path, kind, b"new").err().map(|error| error.to_string());
        let kept = std::fs::read(&path).expect("read") == content;
        assert_eq!(refused.is_some(), kept, "{name}");
        if let Some(text) = &refused {
            assert!(text.contains(name) && text.contains("--overwrite"), "{text}");
        }
        refused.is_some()
    };
    let jpeg: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF";
    for (name, content, kind) in [
        ("a.jpg", jpeg, FileKind::Parquet),
        ("b.parquet", jpeg, FileKind::Parquet),
        ("c.csv", b"PAR1....", FileKind::Csv),
        ("d.csv", PNG, FileKind::Csv),
        ("e.png", b"PAR1....", FileKind::Png),
        ("f.png", jpeg, FileKind::Png),
        ("g.yaml", b"PK\x03\x04", FileKind::Yaml),
        ("h.py", b"print(1)\n", FileKind::Parquet),
        ("i", b"some words", FileKind::Csv),
        ("j.svg", b"<html><body>", FileKind::Png),
        ("k.parquet", b"\x40\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\"", FileKind::Parquet),
        ("l.csv", b"#!/bin/sh\nrm x\n", FileKind::Csv),
    ] {
        assert!(refused(name, content, kind), "{name}");
    }
    for (name, content, kind) in [
        ("a1", b"PAR1....".as_slice(), FileKind::Parquet),
        ("b1.parquet", b"old", FileKind::Parquet),
        ("c1.csv", b"path,a\n", FileKind::Csv),
        ("d1.png", PNG, FileKind::Png),
        ("e1.jpg", b"", FileKind::Parquet),
        ("f1.YML", b"a: 1\n", FileKind::Yaml),
        ("g1", b"<?xml version=\"1.0\"?><svg>", FileKind::Svg),
    ] {
        assert!(!refused(name, content, kind), "{name}");
    }
}

#[test]
fn an_input_is_refused_under_every_name() {
    let dir = tempfile::tempdir().expect("folder");
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("run/features")).expect("folders");
    for name in ["in.png", "other.png", "run/features/part.parquet"] {
        std::fs::write(at(name), if name.ends_with("png") { PNG } else { b"PAR1" }).expect("written");
    }
    let mut inputs = Inputs::of_pictures([at("in.png")].into_iter());
    inputs.folders.push(at("run"));
    let refusal = |path: &Path, kind: FileKind| open(path, kind, &inputs).err();
    assert!(matches!(refusal(&at("in.png"), FileKind::Png), Some(OutputError::Input { .. })));
    assert!(matches!(refusal(&at("run/../in.png"), FileKind::Png), Some(OutputError::Input { .. })));
    let part = at("run/features/part.parquet");
    assert!(matches!(refusal(&part, FileKind::Parquet), Some(OutputError::Input { .. })));
    assert!(refusal(&at("run/new.parquet"), FileKind::Parquet).is_none());
    // `--plot *.png` takes the first picture as the name of its output, so the command does not read it.
    assert!(matches!(refusal(&at("other.png"), FileKind::Png), Some(OutputError::Picture { .. })));
    std::fs::write(at("drawn.png"), [PNG, SIGNATURE].concat()).expect("written");
    assert!(refusal(&at("drawn.png"), FileKind::Png).is_none());
    std::fs::write(at("run/plot.png"), PNG).expect("written");
    assert!(open(&at("run/plot.png"), FileKind::Png, &Inputs::of_pictures([at("in.png")].into_iter())).is_ok());
    #[cfg(unix)]
    {
        std::fs::hard_link(at("in.png"), at("hard.png")).expect("link");
        std::os::unix::fs::symlink("in.png", at("soft.png")).expect("link");
        for name in ["hard.png", "soft.png"] {
            assert!(matches!(refusal(&at(name), FileKind::Png), Some(OutputError::Input { .. })), "{name}");
        }
    }
    let rules = Rules::new(&inputs, true);
    let output = Output::new(&at("in.png"), FileKind::Png, rules).expect("meant");
    output.write_bytes(b"new").expect("written");
    assert_eq!(std::fs::read(at("in.png")).expect("read"), b"new");
}

#[test]
fn folders_and_read_only_files_are_refused() {
    let dir = tempfile::tempdir().expect("folder");
    assert!(matches!(put(dir.path(), FileKind::Csv, b""), Err(OutputError::Folder { .. })));
    let path = dir.path().join("a.csv");
    std::fs::write(&path, b"mine").expect("written");
    let mut rights = std::fs::metadata(&path).expect("there").permissions();
    rights.set_readonly(true);
    std::fs::set_permissions(&path, rights).expect("set");
    assert!(matches!(put(&path, FileKind::Csv, b""), Err(OutputError::ReadOnly { .. })));
}

/// A writer that fails after a number of bytes.
struct Failing(usize, ErrorKind);

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = bytes.len().min(self.0);
        self.0 -= n;
        if n == 0 { Err(self.1.into()) } else { Ok(n) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_device_is_an_error_and_a_closed_pipe_is_none() {
    let send = |to: Failing, bytes: usize| -> Result<(), IoError> {
        let path = Path::new("pipe");
        stream(path, to, |to| to.write_all(&vec![0; bytes]).map_err(IoError::write(path)))
    };
    for bytes in [10, 3 << 20] {
        // Ten bytes stay in the buffer until the end, so the last flush fails.
        let error = send(Failing(5, ErrorKind::StorageFull), bytes).expect_err("full").to_string();
        assert!(error.contains("cannot write pipe"), "{error}");
        assert!(send(Failing(5, ErrorKind::BrokenPipe), bytes).is_ok());
        assert!(send(Failing(bytes, ErrorKind::StorageFull), bytes).is_ok());
    }
}
