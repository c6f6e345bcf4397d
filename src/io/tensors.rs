//! Fitted models on disk: named tensors in the safetensors format.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::{Digest, IoError, atomic};

/// Values that are converted to or from bytes at a time, since a tensor may be too large for a second copy in memory.
const PIECE: usize = 1 << 16;
/// The length of the header is a multiple of this number of bytes.
const ALIGN: usize = 8;

/// A tensor to write.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Values<'a>,
}

impl<'a> Tensor<'a> {
    /// A tensor called `name`.
    pub fn new(name: impl Into<String>, shape: &[usize], values: Values<'a>) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), values }
    }
}

/// The values of a tensor, row-major.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl Values<'_> {
    fn dtype(self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::F64(_) => Dtype::F64,
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::F32(values) => size_of_val(values),
            Self::F64(values) => size_of_val(values),
        }
    }
}

/// The tensors of a file. f32 and f64 are kept apart, so that every value is read bit for bit.
#[derive(Debug, Default)]
pub struct Tensors {
    path: std::path::PathBuf,
    f32s: BTreeMap<String, Vec<f32>>,
    f64s: BTreeMap<String, Vec<f64>>,
    shapes: BTreeMap<String, Vec<usize>>,
}

/// Writes the same bytes as `safetensors::serialize`, without holding all of them in memory.
pub fn write(path: &Path, tensors: &[Tensor]) -> Result<Digest, IoError> {
    let wrong = |reason: String| IoError::WriteTable { path: path.to_path_buf(), reason };
    let mut tensors: Vec<&Tensor> = tensors.iter().collect();
    // f64 come before f32, so that every tensor is aligned
    tensors.sort_by(|a, b| b.values.dtype().cmp(&a.values.dtype()).then(a.name.cmp(&b.name)));
    let mut end = 0;
    let place = |tensor: &&Tensor| {
        let start = end;
        end += tensor.values.bytes();
        let (dtype, shape) = (tensor.values.dtype(), tensor.shape.clone());
        (tensor.name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    };
    let places = tensors.iter().map(place).collect();
    let header = Metadata::new(None, places).map_err(|error| wrong(error.to_string()))?;
    let mut header = serde_json::to_vec(&header).map_err(|error| wrong(error.to_string()))?;
    header.resize(header.len().next_multiple_of(ALIGN), b' ');
    atomic::write(path, |out| {
        let failed = IoError::write(path);
        out.write_all(&(header.len() as u64).to_le_bytes()).map_err(&failed)?;
        out.write_all(&header).map_err(&failed)?;
        let mut bytes = Vec::new();
        for tensor in tensors {
            match tensor.values {
                Values::F32(values) => put(out, values, &mut bytes, f32::to_le_bytes),
                Values::F64(values) => put(out, values, &mut bytes, f64::to_le_bytes),
            }
            .map_err(&failed)?;
        }
        Ok(())
    })
}

fn put<T: Copy, const N: usize>(
    out: &mut impl Write,
    values: &[T],
    bytes: &mut Vec<u8>,
    encode: fn(T) -> [u8; N],
) -> std::io::Result<()> {
    for values in values.chunks(PIECE) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|&value| encode(value)));
        out.write_all(bytes)?;
    }
    Ok(())
}

/// The next `count` values of a file.
fn take<T, const N: usize>(file: &mut File, count: usize, decode: fn([u8; N]) -> T) -> std::io::Result<Vec<T>> {
    let (mut values, mut bytes) = (Vec::with_capacity(count), vec![0; N * count.min(PIECE)]);
    while values.len() < count {
        let bytes = &mut bytes[..N * PIECE.min(count - values.len())];
        file.read_exact(bytes)?;
        values.extend(bytes.as_chunks().0.iter().map(|&bytes| decode(bytes)));
    }
    Ok(values)
}

impl Tensors {
    /// Reads every f32 and f64 tensor of a file.
    pub fn read(path: &Path) -> Result<Self, IoError> {
        let wrong = |reason: String| IoError::Table { path: path.to_path_buf(), reason };
        let mut file = File::open(path).map_err(IoError::read(path))?;
        let length = file.metadata().map_err(IoError::read(path))?.len();
        let header = header(&mut file, length).map_err(&wrong)?;
        let mut all = Tensors { path: path.to_path_buf(), ..Self::default() };
        // in the order of the file, where tensors follow one another without gaps
        for name in header.offset_keys() {
            let Some(TensorInfo { dtype, shape, .. }) = header.info(&name) else { continue };
            let count = shape.iter().product();
            match dtype {
                Dtype::F32 => {
                    let values = take(&mut file, count, f32::from_le_bytes).map_err(IoError::read(path))?;
                    all.f32s.insert(name.clone(), values);
                }
                Dtype::F64 => {
                    let values = take(&mut file, count, f64::from_le_bytes).map_err(IoError::read(path))?;
                    all.f64s.insert(name.clone(), values);
                }
                other => return Err(wrong(format!("tensor `{name}` is of type {other:?}"))),
            }
            all.shapes.insert(name, shape.clone());
        }
        Ok(all)
    }

    /// Takes an f32 tensor.
    pub fn f32s(&mut self, name: &str) -> Result<Vec<f32>, IoError> {
        self.f32s.remove(name).ok_or_else(|| self.missing(name))
    }

    /// Takes an f64 tensor.
    pub fn f64s(&mut self, name: &str) -> Result<Vec<f64>, IoError> {
        self.f64s.remove(name).ok_or_else(|| self.missing(name))
    }

    /// Takes the value of an f64 tensor with a single value.
    pub fn f64(&mut self, name: &str) -> Result<f64, IoError> {
        let values = self.f64s(name)?;
        values.first().copied().ok_or_else(|| self.missing(name))
    }

    /// The shape of a tensor, if it exists.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.shapes.get(name).map(Vec::as_slice)
    }

    fn missing(&self, name: &str) -> IoError {
        IoError::Table { path: self.path.clone(), reason: format!("it has no tensor `{name}`") }
    }
}

/// Reads the header of a file of `length` bytes; an error if the tensors do not fill the rest of the file.
fn header(file: &mut File, length: u64) -> Result<Metadata, String> {
    let mut size = [0; ALIGN];
    let cut = || "it is cut off".to_string();
    file.read_exact(&mut size).map_err(|_| cut())?;
    let size = u64::from_le_bytes(size);
    let end = size.checked_add(ALIGN as u64).filter(|&end| end <= length).ok_or_else(cut)?;
    let mut header = vec![0; usize::try_from(size).map_err(|error| error.to_string())?];
    file.read_exact(&mut header).map_err(|_| cut())?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|error| format!("its header: {error}"))?;
    let found = length - end;
    match header.data_len() as u64 {
        expected if expected == found => Ok(header),
        expected => Err(format!("its tensors have {expected} bytes, and {found} are there")),
    }
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::TensorView;

    use super::*;

    fn bytes<const N: usize>(values: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
        values.flatten().collect()
    }

    #[test]
    fn the_file_is_that_of_the_library_and_comes_back_to_the_bit() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("t.safetensors");
        // more values than a piece, and not a multiple of it
        let x: Vec<f32> = (0..3 * 50_001).map(|i| (i as f32).sin()).collect();
        let (y, none): (Vec<f64>, [f64; 0]) = ((0..70_000).map(f64::from).collect(), []);
        let tensors = [
            Tensor::new("x", &[3, 50_001], Values::F32(&x)),
            Tensor::new("y", &[70_000], Values::F64(&y)),
            Tensor::new("b", &[0, 4], Values::F64(&none)),
            Tensor::new("a", &[1], Values::F32(&[f32::NAN])),
        ];
        write(&path, &tensors).expect("written");
        let data = [
            bytes(x.iter().map(|v| v.to_le_bytes())),
            bytes(y.iter().map(|v| v.to_le_bytes())),
            Vec::new(),
            bytes([f32::NAN].iter().map(|v| v.to_le_bytes())),
        ];
        let views = tensors.iter().zip(&data).map(|(tensor, data)| {
            let view = TensorView::new(tensor.values.dtype(), tensor.shape.clone(), data);
            (&tensor.name, view.expect("a view"))
        });
        assert!(std::fs::read(&path).expect("read") == safetensors::serialize(views, None).expect("serialized"));
        let mut back = Tensors::read(&path).expect("read");
        assert_eq!((back.shape("x"), back.shape("b")), (Some(&[3, 50_001][..]), Some(&[0, 4][..])));
        assert!(back.f32s("x").expect("x") == x && back.f64s("y").expect("y") == y);
        assert!(back.f64s("b").expect("b").is_empty() && back.f32s("a").expect("a")[0].is_nan());
        assert!(back.f32s("c").is_err());
    }

    #[test]
    fn a_file_that_does_not_hold_what_it_says_is_an_error() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("t.safetensors");
        write(&path, &[Tensor::new("x", &[2, 2], Values::F32(&[1.0, 2.0, 3.0, 4.0]))]).expect("written");
        let whole = std::fs::read(&path).expect("read");
        let told = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            Tensors::read(&path).expect_err("torn").to_string()
        };
        for cut in [0, 5, 8, 20, whole.len() - 1] {
            let told = told(&whole[..cut]);
            assert!(told.contains("t.safetensors") && told.contains("delete it and run again"), "{told}");
        }
        assert!(told(&[&whole[..], b"x"].concat()).contains("its tensors have 16 bytes, and 17 are there"));
        let mut far = whole.clone();
        far[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(told(&far).contains("cut off"));
        // a shape with more values than the file has
        for (from, to) in [("[2,2]", "[2,3]"), ("[2,2]", "[9,9]")] {
            let text = String::from_utf8_lossy(&whole[8..whole.len() - 16]).replace(from, to);
            assert!(told(&[&whole[..8], text.as_bytes(), &whole[whole.len() - 16..]].concat()).contains("header"));
        }
        assert!(write(&path, &[Tensor::new("x", &[3], Values::F32(&[1.0]))]).is_err());
    }
}
