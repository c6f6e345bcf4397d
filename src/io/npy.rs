//! Writes an array in NumPy's NPY format (NEP 1, version 1.0), row by row. `np.load(path, mmap_mode="r")` reads it.

use std::io::Write;
use std::path::Path;

use half::f16;

use super::{Digest, IoError, atomic};
use crate::table::{Dtype, FeatureMatrix};

/// The length of the header is a multiple of this, so that the values are aligned in a mapped file.
const ALIGN: usize = 64;

/// Returns the header of a file.
fn header(rows: usize, width: usize, dtype: Dtype) -> Vec<u8> {
    let kind = match dtype {
        Dtype::F32 => "<f4",
        Dtype::F16 => "<f2",
    };
    let mut text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    const BEFORE: usize = 10;
    let padding = (BEFORE + text.len() + 1).next_multiple_of(ALIGN) - (BEFORE + text.len() + 1);
    text.push_str(&" ".repeat(padding));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_le_bytes()); // the text is short
    header.extend(text.into_bytes());
    header
}

/// Writes an array of `rows` × `width` values atomically; `fill` must pass exactly `rows` rows.
pub fn write<E: From<IoError>>(
    path: &Path,
    (rows, width): (usize, usize),
    dtype: Dtype,
    fill: impl FnOnce(&mut dyn FnMut(&FeatureMatrix) -> Result<(), IoError>) -> Result<(), E>,
) -> Result<Digest, E> {
    let wrong =
        || IoError::WriteTable { path: path.to_path_buf(), reason: "not as many rows as there should be".into() };
    atomic::write(path, |out| {
        let written = IoError::write(path);
        out.write_all(&header(rows, width, dtype)).map_err(&written)?;
        let mut left = rows;
        let mut bytes = Vec::new();
        fill(&mut |matrix| {
            left = left.checked_sub(matrix.rows()).filter(|_| matrix.cols() == width).ok_or_else(wrong)?;
            for row in matrix.iter_rows() {
                bytes.clear();
                match dtype {
                    Dtype::F32 => row.iter().for_each(|value| bytes.extend(value.to_le_bytes())),
                    Dtype::F16 => row.iter().for_each(|value| bytes.extend(f16::from_f32(*value).to_le_bytes())),
                }
                out.write_all(&bytes).map_err(&written)?;
            }
            Ok(())
        })?;
        if left == 0 { Ok(()) } else { Err(wrong().into()) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_numpy() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a.npy");
        let matrix = FeatureMatrix::from_vec(2, 3, vec![0.0, 1.0, -2.5, 3.0, 4.0, 65_504.0]).expect("2 × 3");
        let save = |dtype| write::<IoError>(&path, (2, 3), dtype, |put| put(&matrix));
        save(Dtype::F32).expect("written");
        // np.save writes these bytes for np.array([[0, 1, -2.5], [3, 4, 65504]], dtype="<f4").
        let mut expected =
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }".to_vec();
        expected.resize(127, b' ');
        expected.push(b'\n');
        let head = expected.clone();
        expected.extend([0.0f32, 1.0, -2.5, 3.0, 4.0, 65_504.0].iter().flat_map(|value| value.to_le_bytes()));
        assert_eq!(std::fs::read(&path).expect("read"), expected);
        save(Dtype::F16).expect("written");
        let bytes = std::fs::read(&path).expect("read");
        assert_eq!(bytes.len(), head.len() + 12);
        assert_eq!(&bytes[128..], [0, 0, 0, 0x3c, 0, 0xc1, 0, 0x42, 0, 0x44, 0xff, 0x7b]);
    }

    #[test]
    fn too_few_rows_leave_no_file() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("a.npy");
        for rows in [1, 3] {
            let matrix = FeatureMatrix::zeros(2, 3);
            assert!(write::<IoError>(&path, (rows, 3), Dtype::F32, |put| put(&matrix)).is_err());
            assert!(!path.exists());
        }
    }
}
