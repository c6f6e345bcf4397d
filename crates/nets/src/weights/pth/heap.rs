//! The objects of a pickle in one flat list with indices, so that cycles, sharing and depth cost nothing and no drop is
//! recursive. Texts are ranges of the pickle's bytes.

/// A small value, or the index of a node in the [`Heap`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// Text, bytes, and integers of more than eight bytes.
    Text(Span),
    Node(u32),
    /// A value that is not needed, such as a float.
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
    /// In the order of insertion; if a key occurs twice, the last value counts.
    Dict(Vec<(Value, Value)>),
    /// A class or a function by name.
    Global {
        module: Span,
        name: Span,
    },
    /// The identifier of an object outside the pickle: a storage.
    Persistent(Value),
    /// The result of a call of `function` with `args`, which is not executed.
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
        // fits: there are fewer nodes than instructions, fewer instructions than bytes, fewer bytes than 2^32
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

    /// The text of a value, if it is UTF-8.
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

    /// The dictionary of tensors and modules of a TorchScript module: its class is `__torch__.…`, and the state of the
    /// object has replaced its arguments.
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
