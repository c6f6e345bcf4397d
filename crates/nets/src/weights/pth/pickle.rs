//! Reads Python's pickles as data: the instructions that `torch.save` writes build lists, dictionaries and named calls;
//! no call is executed.
//!
//! The instructions are those of Python's `pickletools` (protocols 2 to 5; the textual ones of protocols 0 and 1, which
//! torch does not write, are refused). No object is copied: memory is bounded by the number of instructions.

use std::collections::HashMap;
use std::io::Read;

use super::Fault;
use super::heap::{Heap, Node, Span, Value};

/// Most bytes of the pickles of a file; they are kept in memory for their texts.
pub(super) const MAX_BYTES: usize = 64 << 20;
/// The bytes that are read at a time.
const CHUNK: usize = 1 << 16;

/// Reads pickles that follow each other.
pub(super) struct Unpickler<'a> {
    source: &'a mut dyn Read,
    heap: Heap,
    /// The position of the next byte.
    at: usize,
    /// Most bytes to read.
    room: usize,
    /// The instructions that may still be executed.
    budget: u64,
    stack: Vec<Value>,
    /// The heights of the stack at its marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
}

impl<'a> Unpickler<'a> {
    /// A reader of the pickles in `source`, of no more than `room` bytes and `budget` instructions together.
    pub(super) fn new(source: &'a mut dyn Read, room: u64, budget: u64) -> Self {
        let room = usize::try_from(room).map_or(MAX_BYTES, |room| room.min(MAX_BYTES));
        let (heap, stack, marks, memo) = Default::default();
        Self { source, heap, at: 0, room, budget, stack, marks, memo }
    }

    /// The value of the next pickle.
    pub(super) fn load(&mut self) -> Result<Value, Fault> {
        self.stack.clear();
        self.marks.clear();
        self.memo.clear();
        loop {
            self.budget = self.budget.checked_sub(1).ok_or("its pickle has too many instructions for its size")?;
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            if let Some(value) = self.constant(opcode)? {
                self.stack.push(value);
            } else if !self.container(opcode)? && !self.call(opcode)? {
                let place = format!("at byte {} the instruction {opcode:#04x}", self.at - 1);
                return Err(format!("its pickle has {place}, which torch does not write").into());
            }
        }
    }

    /// The bytes of the pickles read so far.
    pub(super) fn position(&self) -> u64 {
        self.at as u64
    }

    /// The objects of the pickles read so far.
    pub(super) fn heap(&self) -> &Heap {
        &self.heap
    }

    pub(super) fn into_heap(self) -> Heap {
        self.heap
    }

    /// The value of an instruction that only pushes one.
    fn constant(&mut self, opcode: u8) -> Result<Option<Value>, Fault> {
        Ok(Some(match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.array()?))),
            b'K' => Value::Int(i64::from(self.byte()?)),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.array()?))),
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                self.span(8)?;
                Value::Opaque
            }
            // str, bytes and bytearray with a length of one, four or eight bytes
            b'U' | b'C' | 0x8c => self.counted(1)?,
            b'T' | b'B' | b'X' => self.counted(4)?,
            0x8d | 0x8e | 0x96 => self.counted(8)?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.heap.add(Node::Global { module, name })
            }
            b']' | 0x8f => self.heap.add(Node::List(Vec::new())),
            b'}' => self.heap.add(Node::Dict(Vec::new())),
            b')' => self.heap.add(Node::Tuple(Vec::new())),
            b'h' => {
                let index = u32::from(self.byte()?);
                self.recall(index)?
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)?
            }
            _ => return Ok(None),
        }))
    }

    /// Executes an instruction that moves values or builds containers; false for other instructions.
    fn container(&mut self, opcode: u8) -> Result<bool, Fault> {
        match opcode {
            // the protocol, and the length of a frame
            0x80 => _ = self.byte()?,
            0x95 => _ = self.span(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => _ = self.pop()?,
            b'1' => _ = self.pop_to_mark()?,
            b'2' => self.stack.push(self.top()?),
            b'q' => {
                let index = u32::from(self.byte()?);
                self.memo.insert(index, self.top()?);
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.memo.insert(index, self.top()?);
            }
            0x94 => {
                let index = u32::try_from(self.memo.len()).map_err(|_| "its pickle remembers too much")?;
                self.memo.insert(index, self.top()?);
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_to_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let (item, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, item])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.insert(&items)?;
            }
            b'l' => self.gather(Node::List)?,
            b't' | 0x91 => self.gather(Node::Tuple)?,
            b'd' => self.gather(|items| Node::Dict(items.as_chunks().0.iter().map(|&[k, v]| (k, v)).collect()))?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Executes an instruction that in Python calls a function; false for other instructions.
    fn call(&mut self, opcode: u8) -> Result<bool, Fault> {
        let value = match opcode {
            // the state of an object
            b'b' => {
                let (state, object) = (self.pop()?, self.top()?);
                if self.heap.module(object).is_some()
                    && let Some(Node::Call { args, .. }) = self.top_node()?
                {
                    *args = state;
                }
                return Ok(true);
            }
            b'Q' => {
                let identifier = self.pop()?;
                self.heap.add(Node::Persistent(identifier))
            }
            b'R' | 0x81 => {
                let (args, function) = (self.pop()?, self.pop()?);
                self.result(function, args)
            }
            // the same with keyword arguments
            0x92 => {
                let (_, args, function) = (self.pop()?, self.pop()?, self.pop()?);
                self.result(function, args)
            }
            b'o' => {
                let items = self.pop_to_mark()?;
                let (&function, args) = items.split_first().ok_or("its pickle makes an object of no class")?;
                let args = self.heap.add(Node::Tuple(args.to_vec()));
                self.result(function, args)
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Value::Text(name), Value::Text(module)) => self.heap.add(Node::Global { module, name }),
                _ => return Err("its pickle names a class by something other than text".into()),
            },
            _ => return Ok(false),
        };
        self.stack.push(value);
        Ok(true)
    }

    /// The value of a call: torch writes dictionaries and sizes as calls.
    fn result(&mut self, function: Value, args: Value) -> Value {
        let known = match (self.heap.global(function), self.heap.sequence(args)) {
            (Some(("collections", "OrderedDict")), Some([])) => Some(Node::Dict(Vec::new())),
            // Python 2 gives the items at once
            (Some(("collections", "OrderedDict")), Some(&[items])) => self.pairs(items).map(Node::Dict),
            (Some(("torch", "Size")), Some(&[sizes])) => return sizes,
            _ => None,
        };
        self.heap.add(known.unwrap_or(Node::Call { function, args }))
    }

    fn pairs(&self, items: Value) -> Option<Vec<(Value, Value)>> {
        let pair = |&item: &Value| match self.heap.sequence(item) {
            Some(&[key, value]) => Some((key, value)),
            _ => None,
        };
        self.heap.sequence(items)?.iter().map(pair).collect()
    }

    fn gather(&mut self, node: impl FnOnce(Vec<Value>) -> Node) -> Result<(), Fault> {
        let items = self.pop_to_mark()?;
        let value = self.heap.add(node(items));
        self.stack.push(value);
        Ok(())
    }

    fn tuple(&mut self, count: usize) -> Result<(), Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= floor);
        self.marks.push(start.ok_or(UNDERFLOW)?);
        self.gather(Node::Tuple)
    }

    /// Appends to the list on top of the stack; the items of class instances are not needed.
    fn append(&mut self, items: &[Value]) -> Result<(), Fault> {
        if let Some(Node::List(list)) = self.top_node()? {
            list.extend_from_slice(items);
        }
        Ok(())
    }

    /// Inserts alternating keys and values into the dictionary on top of the stack.
    fn insert(&mut self, items: &[Value]) -> Result<(), Fault> {
        let (pairs, []) = items.as_chunks() else { return Err("its pickle has a key without a value".into()) };
        if let Some(Node::Dict(dict)) = self.top_node()? {
            dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
        }
        Ok(())
    }

    fn top_node(&mut self) -> Result<Option<&mut Node>, Fault> {
        Ok(match self.top()? {
            Value::Node(index) => self.heap.nodes.get_mut(index as usize),
            _ => None,
        })
    }

    fn top(&self) -> Result<Value, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        Ok(*self.stack.get(floor..).and_then(<[Value]>::last).ok_or(UNDERFLOW)?)
    }

    fn pop(&mut self) -> Result<Value, Fault> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, Fault> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len()).ok_or(UNDERFLOW)?;
        Ok(self.stack.split_off(mark))
    }

    fn recall(&self, index: u32) -> Result<Value, Fault> {
        self.memo
            .get(&index)
            .copied()
            .ok_or_else(|| format!("its pickle recalls object {index}, which it never made").into())
    }

    /// An integer that follows its length, an integer of `width` bytes.
    fn long(&mut self, width: usize) -> Result<Value, Fault> {
        let span = self.counted_span(width)?;
        let digits = self.heap.bytes_of(span);
        // sign extension of two's complement
        let negative = digits.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        let Some(low) = wide.get_mut(..digits.len()) else { return Ok(Value::Text(span)) };
        low.copy_from_slice(digits);
        Ok(Value::Int(i64::from_le_bytes(wide)))
    }

    fn counted(&mut self, width: usize) -> Result<Value, Fault> {
        self.counted_span(width).map(Value::Text)
    }

    fn counted_span(&mut self, width: usize) -> Result<Span, Fault> {
        let length = self.span(width)?;
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.heap.bytes_of(length));
        self.span(usize::try_from(u64::from_le_bytes(wide)).unwrap_or(usize::MAX))
    }

    /// The bytes up to the end of the line.
    fn line(&mut self) -> Result<Span, Fault> {
        let start = self.at;
        while self.byte()? != b'\n' {}
        Ok(Span { start: start as u32, end: self.at as u32 - 1 })
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let span = self.span(N)?;
        let mut array = [0; N];
        array.copy_from_slice(self.heap.bytes_of(span));
        Ok(array)
    }

    /// The next `length` bytes.
    fn span(&mut self, length: usize) -> Result<Span, Fault> {
        let start = self.at;
        const LONG: &str = "its pickle is longer than 64 MiB: it holds more than tensors, arrays of numpy perhaps; in \
                            PyTorch, save the `state_dict()` alone, or `{name: torch.from_numpy(array)}`";
        let cut = |bytes: usize| match bytes {
            MAX_BYTES.. => LONG.to_string(),
            _ => format!("its pickle goes on after byte {bytes}, where it ends; is the file whole?"),
        };
        let end = start.checked_add(length).filter(|&end| end <= self.room).ok_or_else(|| cut(self.room))?;
        if end > self.heap.bytes.len() {
            let missing = (end - self.heap.bytes.len()).max(CHUNK).min(self.room - self.heap.bytes.len());
            (&mut *self.source).take(missing as u64).read_to_end(&mut self.heap.bytes)?;
        }
        if end > self.heap.bytes.len() {
            return Err(cut(self.heap.bytes.len()).into());
        }
        self.at = end;
        Ok(Span { start: start as u32, end: end as u32 })
    }
}

const UNDERFLOW: &str = "its pickle takes a value that it never pushed";
