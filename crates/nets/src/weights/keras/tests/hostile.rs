//! Damaged and malicious files: an error that names the file, or tensors; never a panic, never more memory or time than
//! a sound file takes.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// The smallest file of each kind: symbol tables, version 2 headers with compressed chunks, groups by class, a stored
/// and a deflated zip.
const VICTIMS: [&str; 5] =
    ["named_old.h5", "named_f64be.h5", "branches_bf16.weights.h5", "named.keras", "named_packed.keras"];

/// Damaged files made of each.
const CASES: usize = 120;

/// Opens a file and reads all its tensors.
fn read_all(path: &Path) -> Result<usize, WeightError> {
    let tensors = index(path)?.match_to(&branches(), &[], None)?.0;
    let mut read = 0;
    for tensor in tensors.values() {
        read += tensor.values()?.len();
    }
    Ok(read)
}

/// `bytes` with random damage.
fn spoil(bytes: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match rng.random_range(0..10) {
        0 => bytes.truncate(rng.random_range(0..bytes.len())),
        1 => {
            let at = rng.random_range(0..bytes.len());
            let end = (at + rng.random_range(1..64)).min(bytes.len());
            bytes[at..end].fill(rng.random());
        }
        2 => {
            // offsets and sizes are words of eight bytes
            let word = rng.random_range(0..bytes.len() / 8) * 8;
            let other = rng.random_range(0..bytes.len() / 8) * 8;
            bytes.copy_within(other..other + 8, word);
        }
        3 => {
            let word = rng.random_range(0..bytes.len() / 8) * 8;
            let value = [0, 1, u64::MAX, u64::MAX >> 1, 1 << 31, 1 << 40, bytes.len() as u64][rng.random_range(0..7)];
            bytes[word..word + 8].copy_from_slice(&value.to_le_bytes());
        }
        _ => {
            for _ in 0..rng.random_range(1..8) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] ^= 1 << rng.random_range(0..8);
            }
        }
    }
    bytes
}

#[test]
fn a_spoiled_file_is_an_error_or_tensors() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spoiled");
    let mut refused = 0;
    for name in VICTIMS {
        let sound = golden(name);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for case in 0..CASES {
            let bytes = spoil(&sound, &mut rng);
            fs::write(&path, &bytes).expect("written");
            let begun = Instant::now();
            let outcome = std::panic::catch_unwind(|| read_all(&path));
            let took = begun.elapsed();
            match outcome {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    refused += 1;
                    let text = error.to_string();
                    assert!(text.contains("spoiled") || matches!(error, WeightError::Dtype { .. }), "{name}: {text}");
                }
                Err(_) => panic!("{name}: panicked at case {case}"),
            }
            assert!(took < Duration::from_secs(20), "{name}: case {case} took {took:?}");
        }
    }
    assert!(refused > CASES, "only {refused} were refused");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cut");
    for name in ["named_old.h5", "named_f64be.h5", "named_packed.keras"] {
        let sound = golden(name);
        for part in 0..40 {
            fs::write(&path, &sound[..sound.len() * part / 40]).expect("written");
            let error = read_all(&path).expect_err("cut").to_string();
            assert!(error.contains("cut"), "{error}");
        }
    }
}
