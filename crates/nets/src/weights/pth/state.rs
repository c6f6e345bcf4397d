//! Finds the tensors among the objects of a pickle, and the elements of the storage that each of them covers.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::ErrorKind;
use std::sync::Arc;

use super::heap::{Heap, Node, Value};
use super::storage::{Packing, Storage, Strided, View};
use super::zip::shown;
use super::{Content, Fault, limit};
use crate::weights::tensors::{Element, SharedFile, unreadable};
use crate::weights::{Tensor, WeightError};

/// Most levels of nested dictionaries and lists: `checkpoint["model"]["state_dict"]["student"]` and one more.
const DEPTH: usize = 4;
/// Most levels of nested TorchScript modules: `visual.transformer.resblocks.0.attn.out_proj` are six.
const MODULES: usize = 16;
/// Most tensors, dictionaries and lists, and most values of any kind, that are visited in a file: a hundred times those
/// of a network with its optimiser and a long training history. A small file can refer to one object many times.
const MOST_TENSORS: usize = 200_000;
const MOST_VALUES: usize = 20_000_000;
/// Most dimensions of a tensor; no weight has as many.
const MAX_DIMS: usize = 16;
/// Most levels of nested parameters around a tensor.
const MAX_WRAPS: usize = 8;

/// An element type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dtype {
    name: &'static str,
    /// Bytes of an element.
    pub size: usize,
    element: Option<Element>,
}

/// A storage class, the name of its element type under `torch.`, its name in messages, the bytes of an element, and how
/// it is read.
type DtypeRow = (&'static str, &'static str, &'static str, usize, Option<Element>);

#[rustfmt::skip]
const DTYPES: [DtypeRow; 28] = [
    ("FloatStorage",         "float32",         "f32",             4,  Some(Element::F32)),
    ("HalfStorage",          "float16",         "f16",             2,  Some(Element::F16)),
    ("BFloat16Storage",      "bfloat16",        "bf16",            2,  Some(Element::BF16)),
    ("DoubleStorage",        "float64",         "f64",             8,  Some(Element::F64)),
    ("LongStorage",          "int64",           "i64",             8,  None),
    ("IntStorage",           "int32",           "i32",             4,  None),
    ("ShortStorage",         "int16",           "i16",             2,  None),
    ("CharStorage",          "int8",            "i8",              1,  None),
    ("ByteStorage",          "uint8",           "u8",              1,  None),
    ("BoolStorage",          "bool",            "bool",            1,  None),
    ("ComplexFloatStorage",  "complex64",       "complex64",       8,  None),
    ("ComplexDoubleStorage", "complex128",      "complex128",      16, None),
    ("QInt8Storage",         "qint8",           "qint8",           1,  None),
    ("QUInt8Storage",        "quint8",          "quint8",          1,  None),
    ("QInt32Storage",        "qint32",          "qint32",          4,  None),
    ("QUInt4x2Storage",      "quint4x2",        "quint4x2",        1,  None),
    ("QUInt2x4Storage",      "quint2x4",        "quint2x4",        1,  None),
    // bytes; the tensor names their type
    ("UntypedStorage",       "uint8",           "u8",              1,  None),
    ("",                     "uint16",          "u16",             2,  None),
    ("",                     "uint32",          "u32",             4,  None),
    ("",                     "uint64",          "u64",             8,  None),
    ("",                     "complex32",       "complex32",       4,  None),
    ("",                     "float8_e4m3fn",   "float8_e4m3fn",   1,  None),
    ("",                     "float8_e5m2",     "float8_e5m2",     1,  None),
    ("",                     "float8_e4m3fnuz", "float8_e4m3fnuz", 1,  None),
    ("",                     "float8_e5m2fnuz", "float8_e5m2fnuz", 1,  None),
    ("",                     "float8_e8m0fnu",  "float8_e8m0fnu",  1,  None),
    ("",                     "float4_e2m1fn_x2", "float4_e2m1fn_x2", 1, None),
];

fn dtype(fits: impl Fn(&DtypeRow) -> bool) -> Option<Dtype> {
    let &(_, _, name, size, element) = DTYPES.iter().find(|row| fits(row))?;
    Some(Dtype { name, size, element })
}

/// The storage that a persistent identifier names.
pub(super) struct Named<'a> {
    pub key: &'a str,
    pub dtype: Dtype,
    pub elements: u64,
    /// First element and number of elements, if it is a part of the storage with that key, as in PyTorch before 0.4.
    part: Option<(u64, u64)>,
}

/// Parses a persistent identifier: ("storage", class, key, device, elements), and in the legacy format optionally a
/// part of it: (key of the part, first element, elements). `None`: it is no storage but, for example, the source of a
/// class.
pub(super) fn persistent(heap: &Heap, identifier: Value) -> Result<Option<Named<'_>>, Fault> {
    let Some(&[kind, class, key, _, elements, ref rest @ ..]) = heap.sequence(identifier) else { return Ok(None) };
    if heap.text(kind) != Some("storage") {
        return Ok(None);
    }
    let class = heap.global(class).filter(|(module, _)| module.starts_with("torch"));
    let dtype = class.and_then(|(_, name)| dtype(|row| !name.is_empty() && row.0 == name));
    let dtype = dtype.ok_or("a storage of its pickle has a type that PyTorch does not know")?;
    let key = heap.text(key).ok_or("a storage of its pickle has no key")?;
    let elements = natural(elements).ok_or("a storage of its pickle has no length")?;
    let part = match rest.first().and_then(|&part| heap.sequence(part)) {
        Some(&[_, first, count]) => Some(natural(first).zip(natural(count)).ok_or("a part of a storage has no place")?),
        _ => None,
    };
    Ok(Some(Named { key, dtype, elements, part }))
}

fn natural(value: Value) -> Option<u64> {
    match value {
        Value::Int(value) => u64::try_from(value).ok(),
        _ => None,
    }
}

/// The tensors of all dictionaries, lists and TorchScript modules in the saved object, each under its path:
/// `state_dict.conv1.weight`.
pub(super) fn tensors(content: &Content, file: SharedFile) -> Result<BTreeMap<String, Tensor>, Fault> {
    let heap = &content.heap;
    let mut walk = Walk { heap, named: Vec::new(), tensors: MOST_TENSORS, values: MOST_VALUES };
    walk.value(content.top, "", if heap.module(content.top).is_some() { MODULES } else { DEPTH })?;
    if walk.named.is_empty() {
        return Err(no_state_dict(heap, content.top));
    }
    let file = Arc::new(file);
    let tensor = |(name, call): (String, Call<'_>)| {
        let tensor = call.tensor(content, &name, &file)?;
        Ok((name, tensor))
    };
    walk.named.into_iter().map(tensor).collect()
}

/// A walk through the dictionaries and lists of a file.
struct Walk<'a> {
    heap: &'a Heap,
    named: Vec<(String, Call<'a>)>,
    /// The tensors and containers, and the values, that may still be visited.
    tensors: usize,
    values: usize,
}

impl Walk<'_> {
    /// Visits `value` at `path` (which ends in a dot, except at the top) and up to `depth` levels below it.
    fn value(&mut self, value: Value, path: &str, depth: usize) -> Result<(), Fault> {
        let heap = self.heap;
        match heap.node(heap.module(value).unwrap_or(value)) {
            Some(Node::Dict(pairs)) => {
                for &(key, value) in pairs {
                    // integer keys, such as an optimiser's parameter numbers, name no weights
                    if let Some(key) = heap.text(key) {
                        self.member(value, path, &key, depth)?;
                    }
                }
            }
            Some(Node::List(items) | Node::Tuple(items)) => {
                for (index, &value) in items.iter().enumerate() {
                    self.member(value, path, &index, depth)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn member(&mut self, value: Value, path: &str, key: &dyn Display, depth: usize) -> Result<(), Fault> {
        const MANY: &str = "its dictionaries hold more values than those of any network";
        self.values = self.values.checked_sub(1).ok_or(MANY)?;
        let Value::Node(_) = value else { return Ok(()) };
        self.tensors = self.tensors.checked_sub(1).ok_or(MANY)?;
        let inner = self.heap.module(value).unwrap_or(value);
        if let Some(call) = rebuilt(self.heap, value) {
            self.named.push((format!("{path}{key}"), call));
        } else if let (Some(Node::Dict(_) | Node::List(_) | Node::Tuple(_)), Some(depth)) =
            (self.heap.node(inner), depth.checked_sub(1))
        {
            self.value(value, &format!("{path}{key}."), depth)?;
        }
        Ok(())
    }
}

/// The reason why the saved object has no tensors.
fn no_state_dict(heap: &Heap, top: Value) -> Fault {
    let inner = match heap.node(top) {
        Some(Node::Dict(pairs)) => pairs.iter().map(|&(_, value)| value).collect(),
        _ => Vec::new(),
    };
    if rebuilt(heap, top).is_some() {
        return "it holds a single tensor, not a state dict with names".into();
    }
    for value in [top].into_iter().chain(inner) {
        let Some(Node::Call { function, .. }) = heap.node(value) else { continue };
        match heap.global(*function) {
            Some((module, "_reconstruct")) if module.starts_with("numpy") => {
                return "it holds arrays of numpy, not tensors; in PyTorch, save `{name: torch.from_numpy(array)}` \
                        instead"
                    .into();
            }
            // options of a training are not taken for a model
            Some((module, _))
                if ["argparse", "builtins", "collections", "datetime", "pathlib", "torch._utils"].contains(&module) => {
            }
            class => {
                let class =
                    class.map_or("Python".to_string(), |(module, name)| format!("`{}.{}`", shown(module), shown(name)));
                let advice = "no code of a file is run; load it in PyTorch and save `model.state_dict()` instead";
                return format!("it holds a whole {class} object, not its weights: {advice}").into();
            }
        }
    }
    format!("it holds no dictionary of tensors, neither by itself nor {DEPTH} levels down").into()
}

/// A call that rebuilds a tensor from a storage.
struct Call<'a> {
    /// Storage, first element, shape, strides.
    args: [Value; 4],
    /// The name of the element type, if the storage has none.
    dtype: Option<&'a str>,
}

/// The call that rebuilds `value`, if it is a tensor or a parameter.
fn rebuilt(heap: &Heap, mut value: Value) -> Option<Call<'_>> {
    for _ in 0..MAX_WRAPS {
        let Some(&Node::Call { function, args }) = heap.node(value) else { return None };
        let args = heap.sequence(args)?;
        let (function, args) = match (heap.global(function)?, args) {
            // a tensor with attributes: the function, the class, its arguments, the attributes
            (("torch._tensor", "_rebuild_from_type_v2"), &[function, _, inner, ..]) => {
                (heap.global(function)?, heap.sequence(inner)?)
            }
            (global, args) => (global, args),
        };
        match (function, args) {
            (("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"), &[data, ..]) => value = data,
            (("torch.nn.parameter", "Parameter" | "Buffer"), &[data, ..]) => value = data,
            (("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2"), &[storage, first, shape, strides, ..]) => {
                return Some(Call { args: [storage, first, shape, strides], dtype: None });
            }
            (("torch._utils", "_rebuild_tensor_v3"), &[storage, first, shape, strides, _, _, dtype, ..]) => {
                let dtype = Some(heap.global(dtype).map_or("", |(_, name)| name));
                return Some(Call { args: [storage, first, shape, strides], dtype });
            }
            _ => return None,
        }
    }
    None
}

impl Call<'_> {
    /// The tensor, checked against its storage.
    fn tensor(&self, content: &Content, name: &str, file: &Arc<SharedFile>) -> Result<Tensor, Fault> {
        let about = |fault: Fault| match fault {
            Fault::Unsound(reason) => Fault::Unsound(format!("tensor `{}`: {reason}", shown(name))),
            fault => fault,
        };
        let (dtype, shape, view) = self.view(content, file.length()).map_err(about)?;
        let Some(view) = view else { return Ok(unreadable(name, dtype.name, shape)) };
        let (file, name, packed) = (Arc::clone(file), name.to_string(), view.storage.packing != Packing::Stored);
        let read = move || view.read(&file).map_err(|error| if packed { broken(error, &name) } else { error });
        Ok(Tensor::later(shape, read))
    }

    /// The type, the shape and, for floats, the elements of the file that the tensor covers. `length`: bytes of the
    /// file.
    fn view(&self, content: &Content, length: u64) -> Result<(Dtype, Vec<usize>, Option<View>), Fault> {
        let heap = &content.heap;
        let [storage, first, shape, strides] = self.args;
        let Some(&Node::Persistent(identifier)) = heap.node(storage) else { return Err("it has no storage".into()) };
        let named = persistent(heap, identifier)?.ok_or("it has no storage")?;
        let dtype = match self.dtype {
            None => named.dtype,
            Some(name) => dtype(|row| row.1 == name).ok_or("its type is unknown")?,
        };
        let shape = sizes(heap, shape).ok_or("its shape is not a list of up to 16 numbers")?;
        let strides = sizes(heap, strides).filter(|strides| strides.len() == shape.len());
        let strides = strides.ok_or("its strides do not fit its shape")?;
        let (start, elements) = named.part.unwrap_or((0, named.elements));
        let bytes = named.elements.checked_mul(named.dtype.size as u64);
        let ends = start.checked_add(elements).filter(|&end| end <= named.elements);
        let key = shown(named.key);
        let stored =
            content.storages.get(named.key).ok_or_else(|| format!("its storage `{key}` is not in the file"))?;
        if ends.is_none() || bytes.is_none_or(|bytes| bytes > stored.length) {
            return Err(format!("its storage `{key}` has {} bytes, fewer than announced", stored.length).into());
        }
        // in elements of the tensor's type
        let scale = |elements: u64| elements * named.dtype.size as u64 / dtype.size as u64;
        let extent = Extent::new(shape, strides)?;
        let within = natural(first).and_then(|first| Some((first, first.checked_add(extent.span as u64)?)));
        let Some((first, _)) = within.filter(|&(_, end)| end <= scale(elements)) else {
            return Err(format!("its elements lie outside of its storage `{key}`").into());
        };
        let view = |element| extent.view(*stored, element, scale(start) + first, length);
        let view = dtype.element.map(view).transpose()?;
        Ok((dtype, extent.shape, view))
    }
}

fn sizes(heap: &Heap, value: Value) -> Option<Vec<usize>> {
    let sizes = heap.sequence(value).filter(|sizes| sizes.len() <= MAX_DIMS)?;
    sizes.iter().map(|&size| natural(size).and_then(|size| usize::try_from(size).ok())).collect()
}

/// The error of a compressed tensor that could not be read: its bytes may be damaged.
fn broken(error: WeightError, name: &str) -> WeightError {
    match error {
        WeightError::Read { path, error }
            if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::UnexpectedEof) =>
        {
            let reason = format!("tensor `{}`: its packed bytes are damaged ({error})", shown(name));
            WeightError::Format { place: path.display().to_string(), reason }
        }
        error => error,
    }
}

/// The shape of a tensor, and the elements of the storage that it covers.
struct Extent {
    shape: Vec<usize>,
    strides: Vec<usize>,
    /// Values.
    count: usize,
    /// Elements of the storage from the first to the last, inclusive.
    span: usize,
    /// Whether the elements are contiguous in row-major order.
    ordered: bool,
}

impl Extent {
    fn new(shape: Vec<usize>, mut strides: Vec<usize>) -> Result<Self, Fault> {
        if shape.contains(&0) {
            return Ok(Self { shape, strides, count: 0, span: 0, ordered: true });
        }
        let (mut count, mut last, mut ordered) = (1usize, 0usize, true);
        for (&size, stride) in shape.iter().zip(&mut strides).rev() {
            if size == 1 {
                // the stride of a dimension of size 1 is not used, and PyTorch may write any number
                *stride = 0;
                continue;
            }
            ordered &= *stride == count;
            let reach = (size - 1).checked_mul(*stride).and_then(|reach| last.checked_add(reach));
            (count, last) = count.checked_mul(size).zip(reach).ok_or("its shape is beyond all measure")?;
        }
        let span = last.checked_add(1).ok_or("its strides are beyond all measure")?;
        Ok(Self { shape, strides, count, span, ordered })
    }

    fn view(&self, storage: Storage, element: Element, first: u64, length: u64) -> Result<View, Fault> {
        // an expanded tensor has more values than elements, and a compressed storage more bytes than the file
        let strided = (!self.ordered).then(|| Strided {
            shape: self.shape.clone(),
            strides: self.strides.clone(),
            span: self.span,
        });
        let values = (self.count as u64).saturating_add(if self.ordered { 0 } else { self.span as u64 });
        let large = values.saturating_mul(4) > limit(length);
        if (large && !self.ordered) || (storage.packing != Packing::Stored && (large || storage.length > limit(length)))
        {
            return Err(format!("it unpacks to {} values, too many for a file of {length} bytes", self.count).into());
        }
        Ok(View { storage, element, first, count: self.count, strided })
    }
}
