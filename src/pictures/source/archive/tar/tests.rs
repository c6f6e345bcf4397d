//! Invalid headers, and decompression bombs.

use std::io::Write;

use super::super::Reading;
use super::super::tests::{aside, bytes, listed};
use super::*;

/// A header with its checksum.
fn header(name: &[u8], size: &[u8], kind: u8) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[..name.len()].copy_from_slice(name);
    block[124..124 + size.len()].copy_from_slice(size);
    block[148..156].fill(b' ');
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A member with its contents.
fn member(name: &str, contents: &[u8], kind: u8) -> Vec<u8> {
    let mut all = header(name.as_bytes(), format!("{:011o}\0", contents.len()).as_bytes(), kind);
    all.extend_from_slice(contents);
    all.resize(all.len().next_multiple_of(BLOCK), 0);
    all
}

fn written(name: &str, parts: &[Vec<u8>]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join(name);
    std::fs::write(&path, parts.concat()).expect("written");
    (dir, path)
}

fn paths(met: &[Met]) -> Vec<&str> {
    met.iter().filter(|met| met.content.is_ok()).map(|met| met.path.as_str()).collect()
}

#[test]
fn numbers_are_octal_or_binary() {
    assert_eq!(number(b"00000001750\0"), Some(1000));
    assert_eq!(number(b"  1750 \0"), Some(1000));
    assert_eq!(number(&[0; 12]), Some(0));
    assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]), Some((2 << 32) + 1));
    assert_eq!(number(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    assert_eq!(number(b"9"), None);
    assert_eq!(number(&[0xff; 12]), None);
}

#[test]
fn a_pax_header_gives_name_and_size() {
    let mut extended = Extended::default();
    extended.pax(b"19 path=a=b/c d.jpg\n12 size=100\n21 mtime=1.0000000000\n");
    assert_eq!((extended.name.as_deref(), extended.bytes), (None, None), "a wrong length ends it");
    extended.pax(b"20 path=a=b/c d.jpg\n12 size=100\n7 x=\xff\xfe\n9999 path=b\n");
    assert_eq!((extended.name.as_deref(), extended.bytes), (Some(&b"a=b/c d.jpg"[..]), Some(100)));
    for wrong in [&b"0 a=b\n"[..], b" ", b"x", b"1 ", b"2 \n", b"18446744073709551615 path=b\n"] {
        Extended::default().pax(wrong);
    }
}

#[test]
fn one_archive_behind_another_is_read_too() {
    let end = vec![0; 2 * BLOCK];
    let (_dir, path) =
        written("a.tar", &[member("a.jpg", b"1", b'0'), end.clone(), member("b.jpg", b"22", b'0'), end.clone()]);
    assert_eq!(paths(&listed(&path).expect("listed")), ["a.jpg", "b.jpg"]);
    let (_dir, path) = written("a.tar", &[member("a.jpg", b"1", b'0'), end, vec![7; 700]]);
    let met = listed(&path).expect("listed");
    assert_eq!((paths(&met), aside(&met)), (vec!["a.jpg"], vec![]));
}

#[test]
fn faults_are_told_and_what_comes_before_them_is_taken() {
    let end = vec![0; 2 * BLOCK];
    let huge = |size: &[u8]| header(b"huge.jpg", size, b'0');
    for (name, parts, kinds) in [
        ("no end", vec![], vec![("", "damaged")]),
        ("noise", vec![vec![7; BLOCK]], vec![("", "damaged")]),
        ("half a header", vec![vec![0; 100]], vec![("", "damaged")]),
        ("a size over the end", vec![huge(b"77777777777\0")], vec![("huge.jpg", "truncated"), ("", "damaged")]),
        (
            "the largest size",
            vec![huge(&[0x80, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255])],
            vec![("huge.jpg", "truncated"), ("", "damaged")],
        ),
        ("a long name without end", vec![header(b"x", b"00003777777\0", b'L')], vec![("", "damaged")]),
        ("a long name of too many bytes", vec![header(b"x", b"77777777777\0", b'L')], vec![("", "damaged")]),
        ("a device", vec![header(b"d.jpg", b"00000000000\0", b'3'), end.clone()], vec![("d.jpg", "not_a_file")]),
        ("a link with a size", vec![header(b"l.jpg", b"00000007777\0", b'2'), end.clone()], vec![("l.jpg", "link")]),
        ("another volume", vec![member("m.jpg", b"x", b'M'), end.clone()], vec![("m.jpg", "damaged")]),
        ("an unknown kind of header", vec![member("g", b"x", b'g'), end.clone()], vec![]),
    ] {
        let all: Vec<Vec<u8>> = [member("a.jpg", b"1", b'0')].into_iter().chain(parts).collect();
        let (_dir, path) = written("a.tar", &all);
        let met = listed(&path).expect(name);
        assert_eq!((paths(&met), aside(&met)), (vec!["a.jpg"], kinds), "{name}");
        // the same archive as a stream
        let mut packed = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
        packed.write_all(&all.concat()).expect("packed");
        let (_dir, path) = written("a.tar.zst", &[packed.finish().expect("packed")]);
        let streamed = listed(&path).expect(name);
        assert_eq!((paths(&streamed), aside(&streamed)), (paths(&met), aside(&met)), "{name}, compressed");
    }
}

#[test]
fn bombs_go_off_nowhere() {
    let gz = |write: &dyn Fn(&mut dyn Write)| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        write(&mut packed);
        packed.finish().expect("packed")
    };
    // two hundred thousand members in a file of one megabyte
    let many = gz(&|packed| {
        let header = header(b"a.jpg", b"0\0", b'0');
        (0..200_000).for_each(|_| packed.write_all(&header).expect("packed"));
    });
    let (_dir, path) = written("many.tar.gz", &[many]);
    assert!(listed(&path).is_err_and(|text| text.contains("too many for its size")));
    // a member of 300 MB of zeros, followed by another one
    let zeros = vec![0; 1 << 20];
    let large = |name: &[u8]| {
        gz(&|packed| {
            packed.write_all(&header(name, b"02300000000\0", b'0')).expect("packed");
            (0..304).for_each(|_| packed.write_all(&zeros).expect("packed"));
            packed.write_all(&member("a.jpg", b"1", b'0')).expect("packed");
            packed.write_all(&[0; 1024]).expect("packed");
        })
    };
    let (_dir, path) = written("large.tar.gz", &[large(b"zeros.bin")]);
    let met = listed(&path).expect("listed");
    let picture = met.iter().find_map(|met| met.content.clone().ok()).expect("a picture");
    assert_eq!(bytes(&picture).expect("read"), b"1");
    // A large member that is called a picture: its bytes are skipped on the way to the next member, and not held.
    let (_dir, path) = written("picture.tar.gz", &[large(b"zeros.jpg")]);
    let met = listed(&path).expect("listed");
    let picture = met.last().and_then(|met| met.content.clone().ok()).expect("a picture");
    let Reading::Ordered(window) = &picture.archive.reading else { panic!("a stream is read in order") };
    let mut sequence = window.source().open(&picture.archive, 0).expect("opened");
    assert_eq!(sequence.next(1 << 20), Ok(None));
    assert_eq!(sequence.next(1 << 20), Ok(Some(b"1".to_vec())));
    // a member that claims to be larger than any picture
    let (_dir, path) = written(
        "claim.tar.gz",
        &[gz(&|packed| {
            packed.write_all(&header(b"a.jpg", &[0x80, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0], b'0')).expect("packed");
        })],
    );
    assert_eq!(aside(&listed(&path).expect("listed")), [("a.jpg", "truncated"), ("", "damaged")]);
}

#[test]
fn other_compressions_are_named() {
    let (_dir, path) = written("a.tar", &[b"BZh91AY&SY".to_vec()]);
    assert!(listed(&path).is_err_and(|text| text.contains("only gzip and zstd")));
    // a compressed archive with the extension of a plain one
    let mut packed = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
    packed.write_all(&[member("a.jpg", b"1", b'0'), vec![0; 1024]].concat()).expect("packed");
    let (_dir, path) = written("a.tar", &[packed.finish().expect("packed")]);
    assert_eq!(paths(&listed(&path).expect("listed")), ["a.jpg"]);
}
