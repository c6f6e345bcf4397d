//! The objects of a pickle: in one flat list, by number, so that cycles, sharing and depth cost nothing and nothing is
//! dropped recursively. Texts are ranges of the pickle's own bytes.

/// A value: small ones themselves, others by their number in the [`Heap`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// Text, bytes, and integers of more than eight bytes.
    Text(Span),
    Node(u32),
    /// Something of no interest, such as a float.
    Opaque,
}

/// A range of the pickle's bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub start: u32,
    pub end: u32,
}

/// A value of several parts.
#[derive(Debug)]
pub(super) enum Node {
    /// Sets are lists here.
    List(Vec<Value>),
    Tuple(Vec<Value>),
    /// In the order of insertion; a key may stand twice, and then the last one counts.
    Dict(Vec<(Value, Value)>),
    /// A class or a function by name.
    Global {
        module: Span,
        name: Span,
    },
    /// Something outside the pickle, by its identifier: a storage.
    Persistent(Value),
    /// The value that `function` would give for `args`.
    Call {
        function: Value,
        args: Value,
    },
}

/// The objects of one or more pickles that follow each other.
#[derive(Debug, Default)]
pub(super) struct Heap {
    /// The bytes of the pickles, and perhaps some after them.
    pub bytes: Vec<u8>,
    pub nodes: Vec<Node>,
}

impl Heap {
    pub(super) fn add(&mut self, node: Node) -> Value {
        // fewer nodes than instructions, fewer instructions than bytes, fewer bytes than 2^32
        let index = self.nodes.len() as u32;
        self.nodes.push(node);
        Value::Node(index)
    }

    pub(super) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(index) => self.nodes.get(index as usize),
            _ => None,
        }
    }

    pub(super) fn bytes_of(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// A text, when the value is one and is UTF-8.
    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match value {
            Value::Text(span) => std::str::from_utf8(self.bytes_of(span)).ok(),
            _ => None,
        }
    }

    /// The members of a tuple or list.
    pub(super) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::List(items) | Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The tensors and modules in a module of TorchScript, by name: its classes are `__torch__.…`, and the state of an
    /// object stands in the place of its arguments.
    pub(super) fn module(&self, value: Value) -> Option<Value> {
        let Node::Call { function, args } = *self.node(value)? else { return None };
        let (class, _) = self.global(function)?;
        (class.split('.').next() == Some("__torch__")).then_some(args)
    }

    /// Module and name of a class or function.
    pub(super) fn global(&self, value: Value) -> Option<(&str, &str)> {
        match self.node(value)? {
            Node::Global { module, name } => Some((self.text(Value::Text(*module))?, self.text(Value::Text(*name))?)),
            _ => None,
        }
    }
}
