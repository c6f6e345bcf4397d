//! The format of PyTorch before 1.6, still written with `_use_new_zipfile_serialization=False`: pickles of a magic
//! number, the protocol, the machine, the object and the keys of its storages, and then each storage: its number of
//! elements (i64) and their bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

use super::heap::{Heap, Node, Value};
use super::pickle::Unpickler;
use super::state::persistent;
use super::storage::{Packing, Storage};
use super::zip::shown;
use super::{Content, Fault, instructions};

/// 0x1950a86a20f9469cfc6c, little endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The only version of the format.
const PROTOCOL: i64 = 1001;

/// Whether a file starts with the pickle of the magic number.
pub(super) fn is_torch(mut start: &[u8]) -> bool {
    let mut unpickler = Unpickler::new(&mut start, 64, 8);
    matches!(unpickler.load(), Ok(value) if is_magic(unpickler.heap(), value))
}

fn is_magic(heap: &Heap, value: Value) -> bool {
    matches!(value, Value::Text(span) if heap.bytes_of(span) == MAGIC)
}

/// Reads the pickles and finds the storages.
pub(super) fn read(file: &mut File) -> Result<Content, Fault> {
    let length = file.metadata()?.len();
    let mut source = &mut *file;
    let mut unpickler = Unpickler::new(&mut source, length, instructions(length));
    let magic = unpickler.load()?;
    let protocol = unpickler.load()?;
    if !is_magic(unpickler.heap(), magic) || protocol != Value::Int(PROTOCOL) {
        return Err(format!("it is not of PyTorch's protocol {PROTOCOL}").into());
    }
    let machine = unpickler.load()?;
    if let Some(Node::Dict(machine)) = unpickler.heap().node(machine) {
        let big = |&(key, value): &(Value, Value)| {
            unpickler.heap().text(key) == Some("little_endian") && value == Value::Bool(false)
        };
        if machine.iter().any(big) {
            return Err("it was written by a big-endian machine, and only little endian is read".into());
        }
    }
    let top = unpickler.load()?;
    let keys = unpickler.load()?;
    let start = unpickler.position();
    let heap = unpickler.into_heap();
    let storages = storages(&heap, keys, start, length, file)?;
    Ok(Content { heap, top, storages })
}

/// Walks over the storages, which start at byte `at` in the order of `keys`.
fn storages(
    heap: &Heap,
    keys: Value,
    mut at: u64,
    end: u64,
    file: &mut File,
) -> Result<BTreeMap<String, Storage>, Fault> {
    let mut sizes = BTreeMap::new();
    for node in &heap.nodes {
        if let Node::Persistent(identifier) = node
            && let Some(storage) = persistent(heap, *identifier)?
        {
            sizes.insert(storage.key, (storage.dtype.size as u64, storage.elements));
        }
    }
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(at))?;
    let mut storages = BTreeMap::new();
    for &key in heap.sequence(keys).ok_or("it does not list its storages")? {
        let key = heap.text(key).ok_or("a key of its storages is not text")?;
        let name = shown(key);
        let cut = || format!("it is cut off before the end of storage `{name}`");
        let &(size, elements) = sizes.get(key).ok_or_else(|| format!("nothing is said of its storage `{name}`"))?;
        let data = at.checked_add(8).filter(|&data| data <= end).ok_or_else(cut)?;
        let mut count = [0; 8];
        reader.read_exact(&mut count)?;
        let count = u64::from_le_bytes(count);
        if count != elements {
            return Err(format!("its storage `{name}` has {count} elements where {elements} are announced").into());
        }
        let length = count.checked_mul(size).ok_or_else(cut)?;
        at = data.checked_add(length).filter(|&at| at <= end).ok_or_else(cut)?;
        reader.seek_relative(i64::try_from(length).map_err(|_| cut())?)?;
        storages.insert(key.to_string(), Storage { start: data, length, packing: Packing::Stored });
    }
    Ok(storages)
}
