//! safetensors → f32 tensors. Half precision is widened: what is computed is f32 whatever is stored.

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::{Tensor, WeightError, WeightSet};

/// Reads every floating-point tensor of a safetensors file held in memory; `place` names it in messages. Integer tensors (counters) are kept
/// as their value in f32 so that a strict check can name them.
pub fn read(bytes: &[u8], place: &str) -> Result<WeightSet, WeightError> {
    let wrong = |error: safetensors::SafeTensorError| WeightError::Format {
        place: place.to_string(),
        reason: error.to_string(),
    };
    let file = SafeTensors::deserialize(bytes).map_err(wrong)?;
    let mut set = WeightSet::default();
    for (name, view) in file.iter() {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F16 => data.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::BF16 => data.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            Dtype::F64 => data
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32)
                .collect(),
            Dtype::I64 if name.ends_with("num_batches_tracked") => Vec::new(),
            other => return Err(WeightError::Dtype { name: name.to_string(), dtype: format!("{other:?}") }),
        };
        set.tensors.insert(name.to_string(), Tensor { shape: view.shape().to_vec(), values });
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    fn file(dtype: Dtype, data: &[u8]) -> Vec<u8> {
        let view = TensorView::new(dtype, vec![2], data).expect("two values");
        safetensors::serialize([("x", view)], None).expect("serialised")
    }

    #[test]
    fn every_float_type_becomes_f32() {
        let expected = [0.5f32, -2.0];
        let f16s: Vec<u8> = expected.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
        let bf16s: Vec<u8> = expected.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect();
        let f32s: Vec<u8> = expected.iter().flat_map(|x| x.to_le_bytes()).collect();
        let f64s: Vec<u8> = expected.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect();
        for (dtype, data) in [(Dtype::F16, f16s), (Dtype::BF16, bf16s), (Dtype::F32, f32s), (Dtype::F64, f64s)] {
            let set = read(&file(dtype, &data), "test").expect("read");
            assert_eq!(set.tensors["x"].values, expected, "{dtype:?}");
        }
    }

    #[test]
    fn integers_and_broken_files_are_refused() {
        let bytes = file(Dtype::I32, &[0; 8]);
        assert!(matches!(read(&bytes, "t"), Err(WeightError::Dtype { .. })));
        for end in 0..bytes.len() {
            assert!(matches!(read(&bytes[..end], "t"), Err(WeightError::Format { .. })), "cut at {end}");
        }
    }
}
