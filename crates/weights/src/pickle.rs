//! A reader of pickles that knows tensors and nothing else.
//!
//! A pickle is a program for a stack machine, and Python's runs functions that the file names. This one has no functions:
//! it knows the few opcodes that `torch.save` writes, the few names that tensors need, and refuses every other. Values lie
//! in one list and refer to each other by position, so that no file makes this recurse.

use std::collections::HashMap;

use crate::DType;

/// The result of reading a pickle; the error says at which byte what is wrong.
pub(crate) type Result<T, E = String> = std::result::Result<T, E>;

/// Position of a value.
type Id = usize;

/// Shapes and keys are copied wherever they are referred to, so they must be short.
const MAX_DIMENSIONS: usize = 64;
const MAX_KEY_BYTES: usize = 255;

/// A pickle's values.
#[derive(Debug, Default)]
pub(crate) struct Values {
    values: Vec<Value>,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer that needs more than 64 bits, little endian.
    LongInt(Vec<u8>),
    Float,
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage),
    Tensor(Tensor),
}

/// The names that a pickle may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    OrderedDict,
    /// `torch.FloatStorage` and so on.
    TypedStorage(DType),
    UntypedStorage,
    /// `torch.float32` and so on.
    Dtype(DType),
    RebuildTensor,
    /// With the dtype apart from the storage.
    RebuildTensorV3,
    RebuildParameter,
}

/// Where the elements of a tensor are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) key: String,
    /// `None` if it is the tensor that has one.
    dtype: Option<DType>,
    /// Elements, of one byte where there is no type.
    pub(crate) len: u64,
    /// Elements of the stored whole before this part of it.
    view_start: u64,
}

/// A view of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub(crate) storage: Storage,
    pub(crate) dtype: DType,
    /// In elements.
    pub(crate) start: u64,
    pub(crate) shape: Vec<usize>,
    /// In elements.
    pub(crate) strides: Vec<usize>,
}

const STORAGES: [(&str, DType); 10] = [
    ("DoubleStorage", DType::F64),
    ("FloatStorage", DType::F32),
    ("HalfStorage", DType::F16),
    ("BFloat16Storage", DType::BF16),
    ("LongStorage", DType::I64),
    ("IntStorage", DType::I32),
    ("ShortStorage", DType::I16),
    ("CharStorage", DType::I8),
    ("ByteStorage", DType::U8),
    ("BoolStorage", DType::Bool),
];

impl Global {
    fn named(module: &str, name: &str) -> Result<Self> {
        let storage = || STORAGES.iter().find(|(storage, _)| *storage == name);
        match (module, name) {
            ("collections", "OrderedDict") => Ok(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Ok(Self::RebuildTensor),
            ("torch._utils", "_rebuild_tensor_v3") => Ok(Self::RebuildTensorV3),
            ("torch._utils", "_rebuild_parameter") => Ok(Self::RebuildParameter),
            ("torch.storage" | "torch", "UntypedStorage") => Ok(Self::UntypedStorage),
            ("torch", _) => storage()
                .map(|(_, dtype)| Self::TypedStorage(*dtype))
                .or_else(|| DType::from_name(name).map(Self::Dtype))
                .ok_or_else(|| refused(module, name)),
            _ => Err(refused(module, name)),
        }
    }
}

fn refused(module: &str, name: &str) -> String {
    let name = format!("{module}.{name}");
    let name: String = name.chars().take(200).collect();
    format!(
        "it names `{}`, and only tensors are read",
        name.escape_debug()
    )
}

impl Storage {
    /// Bytes of an element.
    pub(crate) fn element_size(&self) -> usize {
        self.dtype.map_or(1, DType::size)
    }
}

impl Values {
    /// All of them, in the order in which they were made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.values.iter()
    }

    pub(crate) fn get(&self, id: Id) -> &Value {
        &self.values[id]
    }

    fn text(&self, id: Id) -> Result<&str> {
        match self.get(id) {
            Value::Text(text) => Ok(text),
            other => Err(unexpected("a text", other)),
        }
    }

    pub(crate) fn int(&self, id: Id) -> Result<u64> {
        match self.get(id) {
            Value::Int(int) => u64::try_from(*int).map_err(|_| format!("{int} is negative")),
            other => Err(unexpected("a number", other)),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>> {
        let ids = match self.get(id) {
            Value::Tuple(ids) | Value::List(ids) => ids,
            other => return Err(unexpected("a tuple of sizes", other)),
        };
        if ids.len() > MAX_DIMENSIONS {
            return Err(format!("a tensor has {} dimensions", ids.len()));
        }
        let size =
            |&id: &Id| usize::try_from(self.int(id)?).map_err(|_| "a size is too large".to_owned());
        ids.iter().map(size).collect()
    }

    fn tuple(&self, id: Id) -> Result<&[Id]> {
        match self.get(id) {
            Value::Tuple(ids) => Ok(ids),
            other => Err(unexpected("a tuple", other)),
        }
    }

    /// A dictionary's value for a text.
    pub(crate) fn entry(&self, dict: Id, key: &str) -> Option<&Value> {
        let Value::Dict(pairs) = self.get(dict) else {
            return None;
        };
        let pair = pairs
            .iter()
            .rev()
            .find(|(name, _)| self.text(*name) == Ok(key));
        pair.map(|(_, value)| self.get(*value))
    }

    /// The tensors of a dictionary by name, or those of the dictionary in it that is called `state_dict` or `model`.
    pub(crate) fn tensors(&self, root: Id) -> Result<Vec<(&str, &Tensor)>> {
        let direct = self.own_tensors(root)?;
        if !direct.is_empty() {
            return Ok(direct);
        }
        let Value::Dict(pairs) = self.get(root) else {
            return Ok(direct);
        };
        for (name, value) in pairs {
            if matches!(self.text(*name), Ok("state_dict" | "model")) {
                return self.own_tensors(*value);
            }
        }
        Ok(direct)
    }

    fn own_tensors(&self, dict: Id) -> Result<Vec<(&str, &Tensor)>> {
        let Value::Dict(pairs) = self.get(dict) else {
            return Err(unexpected("a dictionary of tensors", self.get(dict)));
        };
        let mut tensors = Vec::new();
        for (name, value) in pairs {
            if let Value::Tensor(tensor) = self.get(*value) {
                tensors.push((self.text(*name)?, tensor));
            }
        }
        Ok(tensors)
    }

    /// What `persistent_load` of torch makes of a tuple.
    fn storage(&self, id: Id) -> Result<Storage> {
        let parts = self.tuple(id)?;
        let [kind, class, key, _location, len, ..] = parts else {
            return Err("a reference to a storage has too few parts".into());
        };
        if self.text(*kind)? != "storage" {
            return Err("it refers to something else than a storage".into());
        }
        let dtype = match self.get(*class) {
            Value::Global(Global::TypedStorage(dtype)) => Some(*dtype),
            Value::Global(Global::UntypedStorage) => None,
            other => return Err(unexpected("a storage class", other)),
        };
        let key = self.text(*key)?;
        if key.len() > MAX_KEY_BYTES {
            return Err(format!("the name of a storage has {} bytes", key.len()));
        }
        let (mut len, mut view_start) = (self.int(*len)?, 0);
        if let Some(view) = parts.get(5)
            && let Value::Tuple(view) = self.get(*view)
        {
            let [_key, start, view_len] = view.as_slice() else {
                return Err("a view of a storage has not three parts".into());
            };
            view_start = self.int(*start)?;
            len = self.int(*view_len)?;
        }
        Ok(Storage {
            key: key.to_owned(),
            dtype,
            len,
            view_start,
        })
    }

    /// A call of one of the known functions.
    fn call(&mut self, function: Id, arguments: Id) -> Result<Value> {
        let Value::Global(function) = self.get(function) else {
            return Err(unexpected("a function", self.get(function)));
        };
        let function = *function;
        if let (Global::OrderedDict, &[pairs]) = (function, self.tuple(arguments)?) {
            return self.pairs(pairs);
        }
        let arguments = self.tuple(arguments)?;
        match (function, arguments) {
            (Global::OrderedDict, []) => Ok(Value::Dict(Vec::new())),
            (Global::RebuildTensor, [storage, start, shape, strides, ..]) => {
                self.tensor([*storage, *start, *shape, *strides], None)
            }
            (Global::RebuildTensorV3, [storage, start, shape, strides, _, _, dtype, ..]) => {
                match self.get(*dtype) {
                    Value::Global(Global::Dtype(dtype)) => {
                        self.tensor([*storage, *start, *shape, *strides], Some(*dtype))
                    }
                    other => Err(unexpected("a dtype", other)),
                }
            }
            (Global::RebuildParameter, [data, ..]) => match self.get(*data) {
                Value::Tensor(tensor) => Ok(Value::Tensor(tensor.clone())),
                other => Err(unexpected("a tensor", other)),
            },
            (function, _) => Err(format!(
                "{function:?} is called with {} arguments",
                arguments.len()
            )),
        }
    }

    /// Takes the list, so that it cannot be copied over and over.
    fn pairs(&mut self, id: Id) -> Result<Value> {
        let Value::List(pairs) = &mut self.values[id] else {
            return Err(unexpected("a list of pairs", self.get(id)));
        };
        let pairs = std::mem::take(pairs);
        let pair = |&id: &Id| match self.get(id) {
            Value::List(pair) | Value::Tuple(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            other => Err(unexpected("a pair", other)),
        };
        Ok(Value::Dict(pairs.iter().map(pair).collect::<Result<_>>()?))
    }

    fn tensor(
        &self,
        [storage, start, shape, strides]: [Id; 4],
        dtype: Option<DType>,
    ) -> Result<Value> {
        let Value::Storage(storage) = self.get(storage) else {
            return Err(unexpected("a storage", self.get(storage)));
        };
        let dtype = dtype.or(storage.dtype).ok_or("a tensor has no dtype")?;
        let start = self.int(start)?.checked_add(storage.view_start);
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err(format!(
                "a tensor has shape {shape:?} and strides {strides:?}"
            ));
        }
        Ok(Value::Tensor(Tensor {
            storage: storage.clone(),
            dtype,
            start: start.ok_or("a tensor starts too far away")?,
            shape,
            strides,
        }))
    }
}

fn unexpected(expected: &str, found: &Value) -> String {
    let found = match found {
        Value::None => "None",
        Value::Bool(_) => "a boolean",
        Value::Int(_) | Value::LongInt(_) | Value::Float => "a number",
        Value::Text(_) => "a text",
        Value::Tuple(_) => "a tuple",
        Value::List(_) => "a list",
        Value::Dict(_) => "a dictionary",
        Value::Global(_) => "a class or function",
        Value::Storage(_) => "a storage",
        Value::Tensor(_) => "a tensor",
    };
    format!("{expected} is expected, and {found} is there")
}

/// Reads the pickle at the start of `bytes`. Gives its values, which of them it is, and how long the pickle is.
pub(crate) fn read(bytes: &[u8]) -> Result<(Values, Id, usize)> {
    let mut machine = Machine {
        bytes,
        at: 0,
        values: Values::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    loop {
        let at = machine.at;
        let done = machine
            .step()
            .map_err(|reason| format!("at byte {at}: {reason}"))?;
        if let Some(root) = done {
            return Ok((machine.values, root, machine.at));
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Values,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// One opcode; the last one gives the pickle's value.
    fn step(&mut self) -> Result<Option<Id>> {
        let opcode = self.array::<1>()?[0];
        match opcode {
            b'.' => return self.pop().map(Some),
            // PROTO
            0x80 => {
                self.array::<1>()?;
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'J' => {
                let int = i32::from_le_bytes(self.array()?);
                self.push(Value::Int(int.into()));
            }
            b'K' => {
                let int = self.array::<1>()?[0];
                self.push(Value::Int(int.into()));
            }
            b'M' => {
                let int = u16::from_le_bytes(self.array()?);
                self.push(Value::Int(int.into()));
            }
            // LONG1
            0x8a => self.long()?,
            b'G' => {
                self.array::<8>()?;
                self.push(Value::Float);
            }
            b'X' => {
                let len = u32::from_le_bytes(self.array()?);
                self.text(len as usize)?;
            }
            b'U' => {
                let len = self.array::<1>()?[0];
                self.text(len.into())?;
            }
            b'c' => self.global()?,
            b'(' => self.marks.push(self.stack.len()),
            b')' => self.push(Value::Tuple(Vec::new())),
            b']' => self.push(Value::List(Vec::new())),
            b'}' => self.push(Value::Dict(Vec::new())),
            b't' => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items));
            }
            0x85..=0x87 => self.short_tuple(usize::from(opcode - 0x84))?,
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.insert(&items)?;
            }
            b'q' => {
                let index = self.array::<1>()?[0];
                self.remember(index.into())?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.remember(index)?;
            }
            b'h' => {
                let index = self.array::<1>()?[0];
                self.recall(index.into())?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.values.storage(id)?;
                self.push(Value::Storage(storage));
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let value = self.values.call(function, arguments)?;
                self.push(value);
            }
            b'b' => {
                // What a dictionary has beside its entries says nothing of tensors.
                self.pop()?;
                let dict = self.top()?;
                if !matches!(self.values.get(dict), Value::Dict(_)) {
                    return Err(unexpected("a dictionary", self.values.get(dict)));
                }
            }
            _ => return Err(format!("opcode {opcode:#04x} is not one that tensors need")),
        }
        Ok(None)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let taken = rest
            .get(..len)
            .ok_or_else(|| format!("{len} bytes are announced, but {} follow", rest.len()))?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        Ok(*bytes.first_chunk().expect("as many as were taken"))
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let end = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or("a name does not end")?;
        let line = self.take(end)?;
        self.at += 1;
        std::str::from_utf8(line).map_err(|_| "a name is not UTF-8".to_owned())
    }

    fn global(&mut self) -> Result<()> {
        let (module, name) = (self.line()?, self.line()?);
        let global = Global::named(module, name)?;
        self.push(Value::Global(global));
        Ok(())
    }

    fn text(&mut self, len: usize) -> Result<()> {
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| "a text is not UTF-8")?;
        self.push(Value::Text(text.to_owned()));
        Ok(())
    }

    fn long(&mut self) -> Result<()> {
        let len = self.array::<1>()?[0];
        let bytes = self.take(len.into())?;
        let negative = bytes.last().is_some_and(|byte| *byte >= 0x80);
        self.push(if bytes.len() > size_of::<i64>() {
            Value::LongInt(bytes.to_owned())
        } else {
            let mut padded = [if negative { 0xFF } else { 0 }; size_of::<i64>()];
            padded[..bytes.len()].copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(padded))
        });
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.values.len());
        self.values.values.push(value);
    }

    fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let above = self.stack.len() > floor;
        above
            .then(|| self.stack.pop())
            .flatten()
            .ok_or_else(|| "the stack is empty".to_owned())
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self.marks.pop().ok_or("there is no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn top(&mut self) -> Result<Id> {
        let top = self.pop()?;
        self.stack.push(top);
        Ok(top)
    }

    fn short_tuple(&mut self, len: usize) -> Result<()> {
        let mut items = (0..len).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        self.push(Value::Tuple(items));
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Result<()> {
        let list = self.top()?;
        match &mut self.values.values[list] {
            Value::List(list) => list.extend(items),
            other => return Err(unexpected("a list", other)),
        }
        Ok(())
    }

    fn insert(&mut self, items: &[Id]) -> Result<()> {
        let dict = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("a key has no value".into());
        }
        match &mut self.values.values[dict] {
            Value::Dict(dict) => dict.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            other => return Err(unexpected("a dictionary", other)),
        }
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<()> {
        let id = self
            .memo
            .get(&index)
            .copied()
            .ok_or_else(|| format!("nothing was kept as {index}"))?;
        self.stack.push(id);
        Ok(())
    }
}
