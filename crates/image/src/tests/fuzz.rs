//! Decodes random changes of files of every format: each must give a picture or an error within a bound of time.
//!
//! `cargo test` decodes 4000 changed files, always the same ones. To run it longer:
//!
//!     FUZZ_SECONDS=3600 cargo test -p featurize-image --release fuzz -- --ignored --nocapture
//!
//! `FUZZ_FORMAT=avif` takes only files of this format, and `FUZZ_FIRST=N` begins with the change number N.
//!
//! A file that breaks the rules is written to the folder for temporary files, and the error names it.

use super::*;
use crate::format::detect_format;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};

/// The most pixels that a changed file may give. No file of the corpus has more.
const MAX_PIXELS: u64 = 1 << 20;
/// The longest time for one file; it is far more than any of them takes on a busy machine.
const LONGEST: Duration = Duration::from_secs(20);
/// The most memory in MB, including the corpus.
const MOST_MB: u64 = 400;

/// Returns every golden file, but only some of the many JPEGs.
fn corpus() -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = rows::<File>("image_files.json").iter().map(|row| golden(&row.file)).collect();
    let (grid, all) = (rows::<Case>("image_grid.json"), golden("image_grid.bin"));
    files.extend(grid.iter().step_by(17).map(|case| all[case.bytes[0]..case.bytes[1]].to_vec()));
    let (decoding, all) = (rows::<DecodingCase>("image_decoding.json"), golden("image_decoding.bin"));
    files.extend(decoding.iter().step_by(5).map(|case| all[case.bytes[0]..case.bytes[1]].to_vec()));
    let (odd, all) = (rows::<Case>("image_odd.json"), golden("image_odd.bin"));
    files.extend(odd.iter().step_by(3).map(|case| all[case.bytes[0]..case.bytes[1]].to_vec()));
    if cfg!(feature = "avif") {
        #[derive(Deserialize)]
        struct AvifCase {
            bytes: [usize; 2],
        }
        let (cases, all) = (rows::<AvifCase>("image_avif.json"), golden("image_avif.bin"));
        files.extend(cases.iter().step_by(3).map(|case| all[case.bytes[0]..case.bytes[1]].to_vec()));
    }
    files
}

/// Makes one random change: it flips a bit, sets a byte, writes a number at the end of its range, removes or repeats a
/// piece, inserts a piece of another file, or cuts the file.
fn change(bytes: &mut Vec<u8>, other: &[u8], rng: &mut ChaCha8Rng) {
    if bytes.is_empty() {
        return;
    }
    // Headers are short and matter most, so half of the changes are in the first 200 bytes.
    let reach = if rng.random_bool(0.5) { bytes.len() } else { bytes.len().min(200) };
    let at = rng.random_range(0..reach);
    let until = (at + rng.random_range(1..40)).min(bytes.len());
    match rng.random_range(0..9) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = rng.random(),
        2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][rng.random_range(0..6)],
        3 | 4 => {
            let value = [0u32, 1, 2, 0x7fff, 0x8000, 0xffff, 0x0001_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
            let value = value[rng.random_range(0..value.len())];
            let value = if rng.random_bool(0.5) { value.to_le_bytes() } else { value.to_be_bytes() };
            bytes[at..].iter_mut().zip(value).for_each(|(byte, new)| *byte = new);
        }
        5 => drop(bytes.drain(at..until)),
        6 => {
            let piece = bytes[at..until].to_vec();
            bytes.splice(at..at, piece);
        }
        7 if !other.is_empty() => {
            let from = rng.random_range(0..other.len());
            let piece = &other[from..(from + until - at).min(other.len())];
            bytes.splice(at..until, piece.iter().copied());
        }
        _ => bytes.truncate(at),
    }
}

/// Corrects the checksums of a changed PNG, so that the decoder does not refuse it at once.
fn believed(bytes: &mut [u8]) {
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return;
    }
    let mut at = 8;
    while let Some(length) = bytes.get(at..at + 4).and_then(|l| l.first_chunk::<4>()) {
        let end = at + 8 + u32::from_be_bytes(*length) as usize;
        if end + 4 > bytes.len() {
            return;
        }
        let sum = crc(&bytes[at + 4..end]);
        bytes[end..end + 4].copy_from_slice(&sum.to_be_bytes());
        at = end + 4;
    }
}

/// Decodes one changed file; its number determines all changes.
fn attempt(corpus: &[Vec<u8>], number: u64) -> Option<DecodeErrorKind> {
    let mut rng = ChaCha8Rng::seed_from_u64(number);
    let mut bytes = corpus[rng.random_range(0..corpus.len())].clone();
    let other = &corpus[rng.random_range(0..corpus.len())];
    for _ in 0..rng.random_range(1..6) {
        change(&mut bytes, other, &mut rng);
    }
    if rng.random_bool(0.9) {
        believed(&mut bytes);
    }
    let truncated = if rng.random_bool(0.5) { Truncated::Pad } else { Truncated::Fail };
    let options = DecodeOptions { truncated, max_pixels: MAX_PIXELS, ..DecodeOptions::default() };
    let start = Instant::now();
    let result = decode(&bytes, &options);
    let (kind, took) = (result.as_ref().err().map(|e| e.kind), start.elapsed());
    let whole = result.as_ref().map_or(true, |image| {
        image.data.len() == image.width * image.height * 3 && image.data.len() as u64 <= MAX_PIXELS * 3
    });
    if kind == Some(DecodeErrorKind::Panicked) || took > LONGEST || !whole {
        let path = std::env::temp_dir().join(format!("featurize_fuzz_{number}"));
        std::fs::write(&path, &bytes).expect("written");
        panic!("file {number}, kept as {}: {:?} after {took:?}", path.display(), result.err());
    }
    kind
}

#[test]
fn changed_files_of_every_format_give_a_picture_or_an_error() {
    let corpus = corpus();
    let pictures = (0..4000).filter(|&number| attempt(&corpus, number).is_none()).count();
    // Many changes make the file invalid, and many leave a picture.
    assert!((400..3600).contains(&pictures), "{pictures} of 4000 gave pictures");
}

#[test]
fn a_palette_that_is_cut_is_an_error() {
    // Fuzzing for an hour found this case in one of 22 million files.
    let mut bytes = golden("image_palette.png");
    let at = bytes.windows(4).position(|w| w == b"PLTE").expect("a palette");
    let length = u32::from_be_bytes(bytes[at - 4..at].try_into().expect("four bytes")) as usize;
    bytes.splice(at - 4..at + 4 + length, [0, 0, 0, 4, b'P', b'L', b'T', b'E', 7, 7, 7, 7]);
    believed(&mut bytes);
    let error = decode(&bytes, &DecodeOptions::default()).expect_err("no palette");
    assert!(error.kind == DecodeErrorKind::Corrupt && error.detail.contains("a palette of 4 bytes"), "{error}");
}

/// Returns the most memory that this process has held, in MB; 0 where the system does not report it.
fn peak_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).map_or(0, |kb| kb / 1024)
}

#[test]
#[ignore = "as long as FUZZ_SECONDS says"]
fn for_as_long_as_wanted() {
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let first = std::env::var("FUZZ_FIRST").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let (mut corpus, start) = (corpus(), Instant::now());
    if let Ok(format) = std::env::var("FUZZ_FORMAT") {
        let wanted = |bytes: &[u8]| detect_format(bytes).is_ok_and(|f| f.extensions_str().contains(&format.as_str()));
        corpus.retain(|bytes| wanted(bytes));
        assert!(!corpus.is_empty(), "no file of the format {format}");
    }
    // The AVIF decoder is kept between files, and no file may change the pixels of the next one.
    let witness = corpus.iter().find_map(|bytes| Some((bytes.clone(), decode(bytes, &DecodeOptions::default()).ok()?)));
    let (witness, expected) = witness.expect("a file that is a picture");
    let (mut number, mut pictures, mut longest) = (first, 0u64, Duration::ZERO);
    while start.elapsed() < Duration::from_secs(seconds) {
        let before = Instant::now();
        pictures += u64::from(attempt(&corpus, number).is_none());
        longest = longest.max(before.elapsed());
        if number.is_multiple_of(8) {
            let again = decode(&witness, &DecodeOptions { max_pixels: MAX_PIXELS, ..DecodeOptions::default() });
            assert!(again.is_ok_and(|again| again == expected), "another picture after file {number}");
        }
        let held = peak_mb();
        assert!(held < MOST_MB, "file {number} made it {held} MB");
        number += 1;
    }
    let held = peak_mb();
    println!("{} files, {pictures} pictures, at most {longest:?} each, {held} MB", number - first);
}
