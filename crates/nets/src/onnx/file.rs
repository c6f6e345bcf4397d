//! An ONNX file, decoded: its nodes in one list, its constants by name. The values of weights stay in the file, or in
//! the files beside it that it names, until they are asked for.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use prost::bytes::Bytes;
use serde::de::DeserializeOwned;

use super::array::{Array, Data, MOST};
use super::node::{Node, inline};
use super::proto::{self, ModelProto, TensorProto, ValueInfoProto, dtype};
use super::shape;
use crate::weights::tensors::{Element, ReadAt, SharedFile};
use crate::weights::{Tensor, WeightError};

/// The largest file that protobuf allows.
const LARGEST: u64 = (1 << 31) - 1;
/// Bytes of a tensor that is read at once.
const SMALL: usize = 1 << 12;
/// Most values that are read at once of all tensors together.
const AT_ONCE: usize = 1 << 24;
/// The opsets whose operators are known.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=26;

/// A file.
#[derive(Debug)]
pub struct OnnxFile {
    pub(super) path: PathBuf,
    pub(super) nodes: Vec<Node>,
    pub(super) constants: BTreeMap<String, Array>,
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<String>,
    pub(super) opset: i64,
    metadata: BTreeMap<String, String>,
    /// The files beside it that hold its weights, sorted.
    beside: Vec<PathBuf>,
}

/// An input of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    pub name: String,
    /// Its sizes, where they are fixed.
    pub dims: Vec<Option<usize>>,
}

impl OnnxFile {
    /// Reads a file, except for the values of its weights.
    pub fn open(path: &Path) -> Result<Self, WeightError> {
        let unsound = |reason: String| WeightError::Format { place: path.display().to_string(), reason };
        let file = Arc::new(SharedFile::open(path)?);
        let length = file.length();
        if length > LARGEST {
            return Err(unsound(format!("it has {length} bytes; an ONNX file has 2 GB at most")));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        file.at(0, |file| file.take(LARGEST).read_to_end(&mut bytes))?;
        Self::decode(path, bytes.into(), file).map_err(unsound)
    }

    fn decode(path: &Path, bytes: Bytes, file: Arc<SharedFile>) -> Result<Self, String> {
        let model = ModelProto::decode(bytes.clone());
        let model = model.map_err(|error| format!("it is not ONNX, or damaged: {error}"))?;
        let graph = model.graph.ok_or("it is not ONNX: it has no graph")?;
        let opset = model.opset_import.iter().find(|set| ["", "ai.onnx"].contains(&set.domain.as_str()));
        let opset = opset.map_or(1, |set| set.version);
        if !OPSETS.contains(&opset) {
            let (first, last) = (OPSETS.start(), OPSETS.end());
            return Err(format!("it has opset {opset}; {first} to {last} are read, export it with another"));
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        let mut reader = Reader { whole: bytes, file, folder, beside: BTreeMap::new(), left: AT_ONCE };
        let mut constants = BTreeMap::new();
        for tensor in &graph.initializer {
            constants.insert(tensor.name.clone(), reader.array(tensor)?);
        }
        let nodes = inline(graph.node, &model.functions, &mut |tensor| reader.array(tensor))?;
        let inputs = graph.input.iter().filter(|input| !constants.contains_key(&input.name));
        let inputs = inputs.map(Input::of).collect::<Result<_, _>>()?;
        let outputs = graph.output.into_iter().map(|output| output.name).collect();
        let beside = reader.beside.into_keys().map(|name| reader.folder.join(name)).collect();
        let (path, metadata) = (path.to_path_buf(), proto::map(&model.metadata_props));
        Ok(Self { path, nodes, constants, inputs, outputs, opset, metadata, beside })
    }

    /// The files beside it that hold its weights.
    pub fn beside(&self) -> &[PathBuf] {
        &self.beside
    }

    /// The notes in the metadata of the file, by key.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The note called `key` in its metadata, which is JSON; none where the file has no such note.
    ///
    /// # Errors
    ///
    /// [`WeightError::Format`] where the note is damaged.
    pub fn note<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, WeightError> {
        let read = |text: &String| {
            serde_json::from_str(text).map_err(|error| {
                let reason = format!("its note `{key}` is damaged: {error}; export it anew, or take the note out");
                WeightError::Format { place: self.path.display().to_string(), reason }
            })
        };
        self.metadata.get(key).map(read).transpose()
    }
}

impl Input {
    fn of(info: &ValueInfoProto) -> Result<Self, String> {
        let tensor = info.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
        let dims =
            tensor.and_then(|tensor| tensor.shape.as_ref()).map(|shape| shape.dim.as_slice()).unwrap_or_default();
        let size = |size: i64| usize::try_from(size).ok().filter(|&size| size > 0);
        // exporters write 0 or −1 for a size that is not fixed
        let dims = dims.iter().map(|dim| dim.dim_value.and_then(size)).collect();
        Ok(Self { name: info.name.clone(), dims })
    }
}

/// Makes arrays of tensors.
struct Reader {
    whole: Bytes,
    file: Arc<SharedFile>,
    folder: PathBuf,
    beside: BTreeMap<PathBuf, Arc<SharedFile>>,
    /// Values that may still be read at once.
    left: usize,
}

/// How elements are stored.
#[derive(Clone, Copy)]
enum Stored {
    Float(Element),
    /// Integers of so many bytes.
    Int(usize),
}

impl Reader {
    fn array(&mut self, tensor: &TensorProto) -> Result<Array, String> {
        let wrong = |reason: String| format!("tensor `{}`: {reason}", tensor.name);
        let dims = shape::sizes(&tensor.dims).map_err(wrong)?;
        let count = shape::count(&dims)?;
        let stored = match tensor.data_type {
            dtype::FLOAT => Stored::Float(Element::F32),
            dtype::DOUBLE => Stored::Float(Element::F64),
            dtype::FLOAT16 => Stored::Float(Element::F16),
            dtype::BFLOAT16 => Stored::Float(Element::BF16),
            dtype::INT64 => Stored::Int(8),
            dtype::INT32 => Stored::Int(4),
            dtype::INT8 | dtype::UINT8 | dtype::BOOL => Stored::Int(1),
            other => return Ok(Array { dims, data: Data::Unread(format!("number {other} of ONNX")) }),
        };
        let size = match stored {
            Stored::Float(element) => element.size(),
            Stored::Int(size) if count <= MOST && self.spend(count) => size,
            Stored::Int(_) => return Ok(Array { dims, data: Data::Unread("integer, and as many,".to_string()) }),
        };
        let expected = count * size;
        let place = if tensor.data_location == 1 {
            Some(self.external(tensor, expected).map_err(wrong)?)
        } else if !tensor.raw_data.is_empty() {
            if tensor.raw_data.len() != expected {
                return Err(wrong(format!("{} bytes are not {dims:?} values", tensor.raw_data.len())));
            }
            // the bytes were not copied: where they lie in memory says where in the file
            let offset = tensor.raw_data.as_ptr() as usize - self.whole.as_ptr() as usize;
            Some((Arc::clone(&self.file), offset as u64))
        } else {
            None
        };
        let data = match (stored, place) {
            (Stored::Float(element), Some((file, offset))) => {
                let read = move || file.at(offset, |file| element.read(file, count));
                if expected <= SMALL && self.spend(count) {
                    Data::Floats(Tensor::ready(dims.clone(), read().map_err(|error| error.to_string())?))
                } else {
                    Data::Floats(Tensor::later(dims.clone(), read))
                }
            }
            (Stored::Int(size), Some((file, offset))) => {
                let read = |file: &mut ReadAt<'_>| {
                    let mut bytes = vec![0; expected];
                    file.read_exact(&mut bytes).map(|()| bytes)
                };
                let bytes = file.at(offset, read).map_err(|error| error.to_string())?;
                let signed = tensor.data_type == dtype::INT8;
                Data::Ints(bytes.chunks_exact(size).map(|bytes| integer(bytes, signed)).collect())
            }
            (stored, None) => typed(tensor, stored, &dims, count).map_err(wrong)?,
        };
        Ok(Array { dims, data })
    }

    /// Whether so many values more may be read at once.
    fn spend(&mut self, count: usize) -> bool {
        let left = self.left.checked_sub(count);
        self.left = left.unwrap_or(self.left);
        left.is_some()
    }

    /// The file of a tensor and the place in it.
    fn external(&mut self, tensor: &TensorProto, expected: usize) -> Result<(Arc<SharedFile>, u64), String> {
        let entries = proto::map(&tensor.external_data);
        let name = PathBuf::from(entries.get("location").map(String::as_str).unwrap_or_default());
        let inside = name.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || name.as_os_str().is_empty() {
            return Err(format!("its values lie in `{}`, which is not in the folder of the file", name.display()));
        }
        let number = |key: &str, default: u64| {
            entries.get(key).map_or(Ok(default), |text| text.parse().map_err(|_| format!("its {key} is `{text}`")))
        };
        let (offset, length) = (number("offset", 0)?, number("length", expected as u64)?);
        let file = match self.beside.get(&name) {
            Some(file) => Arc::clone(file),
            None => {
                let path = self.folder.join(&name);
                let missing = |error| format!("its values lie in a file beside this one: {error}");
                let file = Arc::new(SharedFile::open(&path).map_err(missing)?);
                self.beside.insert(name.clone(), Arc::clone(&file));
                file
            }
        };
        let end = offset.checked_add(length).filter(|&end| end <= file.length());
        if end.is_none() || length != expected as u64 {
            let (name, bytes) = (name.display(), file.length());
            return Err(format!("its {expected} bytes do not lie at byte {offset} of {name}, which has {bytes}"));
        }
        Ok((file, offset))
    }
}

fn integer(bytes: &[u8], signed: bool) -> i64 {
    match *bytes {
        [byte] if signed => i64::from(byte.cast_signed()),
        [byte] => i64::from(byte),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

/// The values of a tensor that has them as numbers of the message.
fn typed(tensor: &TensorProto, stored: Stored, dims: &[usize], count: usize) -> Result<Data, String> {
    let halves = || tensor.int32_data.iter().flat_map(|&bits| (bits as u16).to_le_bytes()).collect::<Vec<u8>>();
    let floats = |values: Vec<f32>| (values.len(), Data::Floats(Tensor::ready(dims.to_vec(), values)));
    let (found, data) = match stored {
        Stored::Float(Element::F32) => floats(tensor.float_data.clone()),
        Stored::Float(Element::F64) => floats(tensor.double_data.iter().map(|&value| value as f32).collect()),
        Stored::Float(element) => {
            let bytes = halves();
            let values = element.read(&mut bytes.as_slice(), bytes.len() / 2).map_err(|error| error.to_string())?;
            floats(values)
        }
        Stored::Int(8) => (tensor.int64_data.len(), Data::Ints(tensor.int64_data.clone())),
        Stored::Int(_) => {
            let values = tensor.int32_data.iter().map(|&value| i64::from(value)).collect();
            (tensor.int32_data.len(), Data::Ints(values))
        }
    };
    if found == count { Ok(data) } else { Err(format!("{found} values are not {dims:?}")) }
}
