//! Damaged and malicious files: always an error, never a panic, and never more memory than in proportion to the file.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const FIXTURES: [&str; 7] = [
    "pth_types.pth",
    "pth_types_legacy.pth",
    "pth_types_deflated.pth",
    "pth_checkpoint.pth",
    "pth_checkpoint_legacy.pth",
    "pth_module.pth",
    "pth_script.pt",
];

/// Reads all tensors of a file, and checks that their sizes match their shapes and the limit.
fn exhaust(path: &Path, length: usize) -> Result<(), WeightError> {
    let _ = is_pth(path)?;
    for (name, tensor) in read(path)? {
        let Ok(values) = tensor.values() else { continue };
        assert_eq!(values.len(), tensor.shape().iter().product::<usize>(), "{name}");
        assert!(values.len() as u64 * 4 <= limit(length as u64), "{name}");
    }
    Ok(())
}

/// Damages `bytes` in a random way: truncation, flipped bits, spliced or repeated pieces.
fn damage(bytes: &mut Vec<u8>, other: &[u8], rng: &mut ChaCha8Rng) {
    let mut below = |end: usize| rng.random_range(0..end.max(1));
    let at = below(bytes.len());
    match below(6) {
        0 => bytes.truncate(at),
        1 => bytes[at] ^= 1 << below(8),
        2 => bytes[at] = below(256) as u8,
        3 => {
            let from = below(other.len());
            let count = below(64).min(other.len() - from);
            let end = (at + below(64)).min(bytes.len());
            bytes.splice(at..end, other[from..from + count].iter().copied());
        }
        4 => {
            let end = (at + [1, 2, 4, 8][below(4)]).min(bytes.len());
            bytes[at..end].fill([0, 0x7f, 0x80, 0xff][below(4)]);
        }
        _ => {
            let count = below(64).min(bytes.len() - at);
            let piece = bytes[at..at + count].to_vec();
            let to = below(bytes.len());
            bytes.splice(to..to, piece);
        }
    }
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    let files: Vec<Vec<u8>> = FIXTURES.iter().map(|name| std::fs::read(golden(name)).expect("golden file")).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let target = tempfile::tempdir().expect("a temporary folder");
    let path = target.path().join("x.pth");
    let (mut sound, mut refused) = (0, 0);
    for (index, file) in files.iter().enumerate() {
        for round in 0..200 {
            let mut bytes = file.clone();
            for _ in 0..=round % 4 {
                if !bytes.is_empty() {
                    damage(&mut bytes, &files[(index + round) % files.len()], &mut rng);
                }
            }
            std::fs::write(&path, &bytes).expect("written");
            match exhaust(&path, bytes.len()) {
                Ok(()) => sound += 1,
                Err(WeightError::Format { .. } | WeightError::Read { .. }) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
    }
    // damaged values are not detected, damaged structure is
    assert!(sound > 50 && refused > 500, "{sound} sound, {refused} refused");
}

#[test]
fn files_cut_off_anywhere_are_refused() {
    let target = tempfile::tempdir().expect("a temporary folder");
    let path = target.path().join("x.pth");
    for name in ["pth_types.pth", "pth_types_legacy.pth", "pth_types_deflated.pth"] {
        let bytes = std::fs::read(golden(name)).expect("golden file");
        for end in (0..bytes.len()).step_by(13).chain(bytes.len() - 8..bytes.len()) {
            std::fs::write(&path, &bytes[..end]).expect("written");
            assert!(matches!(read(&path), Err(WeightError::Format { .. })), "{name} cut at {end}");
        }
    }
    let cut = |name: &str, end: usize| {
        std::fs::write(&path, &std::fs::read(golden(name)).expect("golden file")[..end]).expect("written");
        assert!(is_pth(&path).expect("there"), "a file that is cut off is still known");
        reason(&path)
    };
    assert!(cut("pth_types.pth", 4000).contains("is the file whole?"));
    assert!(cut("pth_types_legacy.pth", 1000).contains("its pickle goes on after byte 1000, where it ends"));
    assert!(cut("pth_types_legacy.pth", 3660).contains("it is cut off before the end of storage"));
}

/// The reason why a file with this object and these storages of six values is refused.
fn refused(object: &[u8], storages: &[&str]) -> String {
    let storages: Vec<(&str, &[f32])> = storages.iter().map(|&key| (key, &[0.0; 6][..])).collect();
    reason(on_disk(&legacy(object, &storages)).path())
}

#[test]
fn tensors_must_lie_in_their_storage() {
    let dict_of = |key, elements, part: &[u8], first, shape: &[i64], strides: &[i64]| {
        dict(&[("w", tensor(key, elements, part, first, shape, strides))])
    };
    let cases: [(&str, Vec<u8>); 12] = [
        ("lie outside of its storage `a`", dict_of("a", 6, b"", 0, &[7], &[1])),
        ("lie outside of its storage `a`", dict_of("a", 6, b"", 1, &[2, 3], &[3, 1])),
        ("lie outside of its storage `a`", dict_of("a", 6, b"", 0, &[3], &[3])),
        ("lie outside of its storage `a`", dict_of("a", 6, b"", i64::MAX, &[1], &[1])),
        ("lie outside of its storage `a`", dict_of("a", 6, b"", -1, &[1], &[1])),
        ("lie outside of its storage `a`", dict_of("a", 6, b"", 0, &[i64::MAX], &[1])),
        ("shape is beyond all measure", dict_of("a", 6, b"", 0, &[1 << 40, 1 << 40], &[0, 0])),
        ("shape is beyond all measure", dict_of("a", 6, b"", 0, &[1 << 40, 2], &[1 << 40, 1])),
        ("its shape is not a list", dict_of("a", 6, b"", 0, &[-1], &[1])),
        ("its shape is not a list", dict_of("a", 6, b"", 0, &[1; 17], &[1; 17])),
        ("its strides do not fit its shape", dict_of("a", 6, b"", 0, &[2, 3], &[1])),
        (
            "fewer than announced",
            dict_of("a", 6, &[&b"("[..], &text("b"), &int(4), &int(3), b"t"].concat(), 0, &[3], &[1]),
        ),
    ];
    for (reason, object) in cases {
        let found = refused(&object, &["a"]);
        assert!(found.starts_with("tensor `w`: ") && found.contains(reason), "{found}");
    }
    assert!(refused(&dict_of("a", 7, b"", 0, &[7], &[1]), &["a"]).contains("has 6 elements where 7 are announced"));
    assert!(refused(&dict_of("b", 6, b"", 0, &[6], &[1]), &["a"]).contains("nothing is said of its storage `a`"));
    let both = dict(&[("v", tensor("a", 6, b"", 0, &[6], &[1])), ("w", tensor("b", 6, b"", 0, &[6], &[1]))]);
    assert!(refused(&both, &["a"]).contains("tensor `w`: its storage `b` is not in the file"));
    // an expanded tensor takes no bytes in the file; its values are limited to 64 MiB
    let fits = on_disk(&legacy(&dict_of("a", 6, b"", 0, &[1 << 12, 1 << 10], &[0, 0]), &[("a", &[0.5; 6])]));
    assert_eq!(read(fits.path()).expect("read")["w"].values().expect("w"), vec![0.5; 1 << 22]);
    assert!(refused(&dict_of("a", 6, b"", 0, &[1 << 14, 1 << 12], &[0, 0]), &["a"]).contains("too many for a file of"));
    // the stride of a dimension of size 1 may be any number
    let odd = on_disk(&legacy(
        &dict_of("a", 6, b"", 1, &[2, 1, 2], &[1, i64::MAX, 3]),
        &[("a", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])],
    ));
    assert_eq!(read(odd.path()).expect("read")["w"].values().expect("w"), [1.0, 4.0, 2.0, 5.0]);
}

#[test]
fn pickles_that_are_none_are_refused() {
    let cases: [(&str, &[u8]); 13] = [
        ("the instruction 0x69", b"i"),
        ("the instruction 0x97", b"\x97"),
        ("takes a value that it never pushed", b"0"),
        ("takes a value that it never pushed", b"e"),
        ("takes a value that it never pushed", b"N(0"),
        ("takes a value that it never pushed", b"(N\x86"),
        ("takes a value that it never pushed", b"N((\x85tt"),
        ("takes a value that it never pushed", b"."),
        ("recalls object 9", b"h\x09"),
        ("a key without a value", b"}(Nu"),
        ("an object of no class", b"(o"),
        ("by something other than text", b"NN\x93"),
        ("it holds no dictionary of tensors", b"]q\x00h\x00a"),
    ];
    for (reason, object) in cases {
        let found = refused(object, &[]);
        assert!(found.contains(reason), "{reason}: {found}");
    }
    // a length beyond the end of the file is an error, before memory is allocated for it
    for object in [&b"X\xff\xff\xff\xff"[..], b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", b"\x8b\0\0\0\x7f"] {
        let found = refused(object, &[]);
        assert!(found.contains("goes on after byte"), "{found}");
    }
}

#[test]
fn depth_cycles_and_sharing_cost_nothing() {
    // deeply nested lists, a tuple that has the last one twice, a dictionary that contains itself
    let deep = [&vec![b']'; 200_000][..], &vec![b'a'; 199_999]].concat();
    assert!(refused(&deep, &[]).contains("no dictionary of tensors"));
    let doubled = [&b")"[..], &b"2\x86".repeat(100_000)].concat();
    assert!(refused(&doubled, &[]).contains("no dictionary of tensors"));
    let cycle = [&b"}q\x00"[..], &text("state_dict"), b"h\x00s"].concat();
    assert!(refused(&cycle, &[]).contains("no dictionary of tensors"));
    let wraps =
        [&text("w")[..], &b"ctorch._utils\n_rebuild_parameter\n".repeat(1000), b"N", &b"\x85R".repeat(1000)].concat();
    assert!(refused(&[&b"}"[..], &wraps, b"s"].concat(), &[]).contains("no dictionary of tensors"));
    let endless = vec![b'N'; instructions(0) as usize + 100_000];
    assert!(refused(&endless, &[]).contains("too many instructions for its size"));
}

/// The zip `name` with its entries passed through `change`, which may drop them, and deflated if it says so.
fn repacked(name: &str, change: impl Fn(&str, Vec<u8>) -> Option<(Vec<u8>, bool)>) -> NamedTempFile {
    let mut source = ::zip::ZipArchive::new(File::open(golden(name)).expect("golden file")).expect("a zip");
    let mut target = NamedTempFile::new().expect("a temporary file");
    let mut writer = ::zip::ZipWriter::new(target.as_file_mut());
    for index in 0..source.len() {
        let mut entry = source.by_index(index).expect("an entry");
        let name = entry.name().expect("text").into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("read");
        let Some((bytes, deflated)) = change(&name, bytes) else { continue };
        let method = if deflated { ::zip::CompressionMethod::Deflated } else { ::zip::CompressionMethod::Stored };
        let options = ::zip::write::SimpleFileOptions::default()
            .compression_method(method)
            .compression_level(deflated.then_some(1));
        writer.start_file(name, options).expect("started");
        writer.write_all(&bytes).expect("written");
    }
    writer.finish().expect("written");
    target
}

#[test]
fn zips_must_have_what_the_pickle_names() {
    let missing = repacked("pth_types.pth", |name, bytes| (!name.ends_with("data/0")).then_some((bytes, false)));
    assert_eq!(reason(missing.path()), "tensor `f32`: its storage `0` is not in the file");
    let short = repacked("pth_types.pth", |name, bytes| {
        Some((if name.ends_with("data/0") { bytes[1..].to_vec() } else { bytes }, false))
    });
    assert_eq!(reason(short.path()), "tensor `f32`: its storage `0` has 23 bytes, fewer than announced");
    let big = repacked("pth_types.pth", |name, bytes| {
        Some((if name.ends_with("byteorder") { b"big".to_vec() } else { bytes }, false))
    });
    assert_eq!(reason(big.path()), "its byte order is `big`, and only little endian is read");
}

#[test]
fn packed_storages_do_not_swell() {
    // 70 MB of zeros, compressed to less than 1 MB
    let bomb = |part: &'static str| {
        repacked("pth_types.pth", move |name, bytes| {
            Some((if name.ends_with(part) { vec![0; 70_000_000] } else { bytes }, name.ends_with(part)))
        })
    };
    assert!(reason(bomb("data/0").path()).contains("tensor `f32`: it unpacks to 6 values, too many for a file of"));
    assert!(reason(bomb("data.pkl").path()).contains("its data.pkl unpacks to 70000000 bytes, too much for its size"));
    // damaged compressed bytes are detected when the tensor is read
    let sound = repacked("pth_types.pth", |_, bytes| Some((bytes, true)));
    let mut bytes = std::fs::read(sound.path()).expect("read");
    let mut zip = ::zip::ZipArchive::new(File::open(sound.path()).expect("there")).expect("a zip");
    let start = zip.by_name("pth_types/data/0").expect("there").data_start().expect("known") as usize;
    bytes[start..start + 4].fill(0xff);
    let set = read(on_disk(&bytes).path()).map(|set| set["f32"].clone());
    assert!(
        set.is_ok_and(|tensor| tensor.values().is_err()),
        "the file of the tensor is gone, or its bytes are damaged"
    );
}

#[test]
fn zips_whose_entries_share_bytes_are_refused() {
    let bytes = std::fs::read(golden("pth_types.pth")).expect("golden file");
    let entry = |name: &[u8]| {
        // in the zip directory a name is 46 bytes after the start of its entry, and 4 after the offset of the local
        // header
        let at = bytes.windows(name.len()).rposition(|window| window == name).expect("listed");
        at - 4
    };
    let (from, to) = (entry(b"pth_types/data/2"), entry(b"pth_types/data/3"));
    let mut shared = bytes.clone();
    shared.copy_within(from..from + 4, to);
    assert_eq!(reason(on_disk(&shared).path()), "entries of its zip overlap each other or its end");
    // a directory offset that is wrong
    let end = bytes.len() - 22;
    for offset in [0u32, 100, bytes.len() as u32, u32::MAX] {
        let mut moved = bytes.clone();
        moved[end + 16..end + 20].copy_from_slice(&offset.to_le_bytes());
        let _ = exhaust(on_disk(&moved).path(), moved.len());
    }
}
