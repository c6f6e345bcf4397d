//! Zips with a wrong directory.

use std::io::Write;

use ::zip::ZipWriter;
use ::zip::write::SimpleFileOptions;

use super::super::tests::{aside, bytes, listed};
use super::*;

/// Makes a zip with one member of a thousand bytes, `a.jpg`, lets `change` alter its bytes, and lists it.
fn changed(method: CompressionMethod, change: impl FnOnce(&mut Vec<u8>, usize)) -> Result<Vec<Met>, String> {
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.start_file("a.jpg", SimpleFileOptions::default().compression_method(method)).expect("started");
    zip.write_all(&[5; 1000]).expect("written");
    let mut bytes = zip.finish().expect("finished").into_inner();
    let entry = bytes.windows(4).rposition(|four| four == b"PK\x01\x02").expect("a directory");
    change(&mut bytes, entry);
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("a.zip");
    std::fs::write(&path, bytes).expect("written");
    let met = listed(&path)?;
    // read before the file is deleted
    Ok(met
        .into_iter()
        .map(|met| Met { label: met.content.as_ref().ok().map(|member| read(member).into()), ..met })
        .collect())
}

fn read(member: &Member) -> String {
    match bytes(member) {
        Ok(bytes) => format!("{} bytes", bytes.len()),
        Err(failure) => failure.to_string(),
    }
}

#[test]
fn members_are_read_or_named_by_their_fault() {
    let set = |at: usize, value: &'static [u8]| {
        move |bytes: &mut Vec<u8>, entry: usize| bytes[entry + at..entry + at + value.len()].copy_from_slice(value)
    };
    let told = |met: Result<Vec<Met>, String>| match met.expect("listed").remove(0) {
        Met { label: Some(read), .. } => read.to_string(),
        Met { content, .. } => content.expect_err("a reason").kind.word().to_string(),
    };
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        assert_eq!(told(changed(method, |_, _| {})), "1000 bytes");
        assert_eq!(told(changed(method, set(8, &[1, 0]))), "encrypted");
        assert_eq!(told(changed(method, set(10, &[12, 0]))), "compression");
        assert!(told(changed(method, set(16, &[1, 2, 3, 4]))).contains("its checksum"));
        assert!(told(changed(method, |bytes, _| bytes[0] = b'X')).contains("leads to no member"));
    }
    // wrong sizes of stored and of deflated members
    assert_eq!(told(changed(CompressionMethod::Stored, set(24, &[0, 2, 0, 0]))), "damaged");
    assert!(told(changed(CompressionMethod::Deflated, set(24, &[0, 2, 0, 0]))).contains("more bytes"));
    assert!(told(changed(CompressionMethod::Deflated, set(24, &[0, 8, 0, 0]))).contains("fewer bytes"));
    assert_eq!(told(changed(CompressionMethod::Deflated, set(24, &[0, 0, 0, 0x70]))), "damaged");
    assert!(changed(CompressionMethod::Stored, |bytes, _| bytes.truncate(900)).is_err());
}

#[test]
fn large_zips_and_programs_of_windows_are_read() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("a.zip");
    let mut zip = ZipWriter::new(File::create(&path).expect("created"));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
    for name in ["a\\b.jpg", "../c.jpg", "./a/d.jpg", "a/b.jpg"] {
        zip.start_file(name, options).expect("started");
        zip.write_all(name.as_bytes()).expect("written");
    }
    zip.finish().expect("finished");
    // a zip may follow other bytes
    let plain = std::fs::read(&path).expect("read");
    std::fs::write(&path, [&b"#!/bin/sh\n"[..], &plain].concat()).expect("written");
    let met = listed(&path).expect("listed");
    let found: Vec<(&str, String)> =
        met.iter().filter_map(|met| Some((met.path.as_str(), read(met.content.as_ref().ok()?)))).collect();
    assert_eq!(found, [("a/d.jpg", "9 bytes".to_string()), ("a/b.jpg", "7 bytes".to_string())]);
    assert_eq!(aside(&met), [("../c.jpg", "bad_name"), ("", "duplicate")]);
}
