//! Writing GGUF, byte for byte as the Python package `gguf` does.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use transformers_config::gguf::{GgufArray, GgufValue};

use crate::{GgufType, LazyTensor, Result, WeightsError};

const VERSION: u32 = 3;
const DEFAULT_ALIGNMENT: usize = 32;

/// A tensor to write.
#[derive(Debug)]
pub struct GgufTensor {
    /// The values, of any floating-point type, under the name in the file: `blk.0.attn_q.weight`.
    pub tensor: LazyTensor,
    /// What they are written as.
    pub as_type: GgufType,
}

/// Writes a GGUF file of version 3 with `metadata`, which names `general.architecture` first by custom, and `tensors`, in
/// the given orders. Tensors are read, changed and encoded one at a time.
///
/// The file appears under its name only when it is whole.
///
/// # Errors
/// If a tensor's name is there twice, its rows are not whole blocks, it is not of a floating-point type or cannot be read,
/// or writing fails.
pub fn save_gguf(
    path: &Path,
    metadata: &[(String, GgufValue)],
    tensors: Vec<GgufTensor>,
) -> Result<()> {
    let alignment = alignment(path, metadata)?;
    let sizes = sizes(path, &tensors)?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let io = |source| WeightsError::io("writing", path, source);
    let temporary = tempfile::Builder::new()
        .prefix(".saving-")
        .tempdir_in(folder.unwrap_or(Path::new(".")))
        .map_err(io)?;
    let whole = temporary.path().join("whole.gguf");
    let mut output = Output {
        file: BufWriter::new(File::create(&whole).map_err(io)?),
        written: 0,
    };
    output
        .header(metadata, &tensors, &sizes, alignment)
        .map_err(io)?;
    for tensor in tensors {
        let (_, values) = tensor.tensor.into_tensor()?;
        let bytes = tensor.as_type.encode(&values)?;
        output
            .bytes(&bytes)
            .and_then(|()| output.pad(alignment))
            .map_err(io)?;
    }
    let file = output
        .file
        .into_inner()
        .map_err(|error| io(error.into_error()))?;
    if path.exists() {
        file.sync_all().map_err(io)?;
    }
    fs::rename(&whole, path).map_err(io)?;
    Ok(())
}

/// The sizes of the tensors in the file.
fn sizes(path: &Path, tensors: &[GgufTensor]) -> Result<Vec<usize>> {
    let mut names = HashSet::new();
    let size = |tensor: &GgufTensor| {
        let GgufTensor { tensor, as_type } = tensor;
        let row = tensor.shape().last().copied().unwrap_or(1);
        let refused = |reason: String| gguf_error(path, tensor.name(), reason);
        if !names.insert(tensor.name().to_owned()) {
            return Err(refused("it is to be saved twice".into()));
        }
        if !tensor.dtype().is_float() {
            return Err(refused(format!(
                "{} is not a floating-point type",
                tensor.dtype()
            )));
        }
        if !row.is_multiple_of(as_type.block_len()) {
            let reason = format!(
                "rows of {row} values are not whole blocks of {}",
                as_type.block_len()
            );
            return Err(refused(reason));
        }
        Ok(tensor.len() / as_type.block_len() * as_type.block_bytes())
    };
    tensors.iter().map(size).collect()
}

fn alignment(path: &Path, metadata: &[(String, GgufValue)]) -> Result<usize> {
    let stated = metadata.iter().find(|(key, _)| key == "general.alignment");
    let Some((key, value)) = stated else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let alignment = value.as_u64().and_then(|value| usize::try_from(value).ok());
    let alignment = alignment.filter(|alignment| alignment.is_power_of_two());
    alignment.ok_or_else(|| gguf_error(path, key, format!("{value:?} is not a power of two")))
}

struct Output<W> {
    file: W,
    written: usize,
}

impl<W: Write> Output<W> {
    fn header(
        &mut self,
        metadata: &[(String, GgufValue)],
        tensors: &[GgufTensor],
        sizes: &[usize],
        alignment: usize,
    ) -> io::Result<()> {
        self.bytes(b"GGUF")?;
        self.bytes(&VERSION.to_le_bytes())?;
        self.count(tensors.len())?;
        self.count(metadata.len())?;
        for (key, value) in metadata {
            self.text(key)?;
            self.value(value)?;
        }
        let mut offset = 0_usize;
        for (tensor, size) in tensors.iter().zip(sizes) {
            let shape = tensor.tensor.shape();
            self.text(tensor.tensor.name())?;
            self.bytes(&(shape.len() as u32).to_le_bytes())?;
            for &dimension in shape.iter().rev() {
                self.count(dimension)?;
            }
            self.bytes(&tensor.as_type.id().to_le_bytes())?;
            self.count(offset)?;
            offset += size.next_multiple_of(alignment);
        }
        self.pad(alignment)
    }

    fn value(&mut self, value: &GgufValue) -> io::Result<()> {
        self.bytes(&value_type(value).to_le_bytes())?;
        match value {
            GgufValue::U8(value) => self.bytes(&value.to_le_bytes()),
            GgufValue::I8(value) => self.bytes(&value.to_le_bytes()),
            GgufValue::U16(value) => self.bytes(&value.to_le_bytes()),
            GgufValue::I16(value) => self.bytes(&value.to_le_bytes()),
            GgufValue::U32(value) => self.bytes(&value.to_le_bytes()),
            GgufValue::I32(value) => self.bytes(&value.to_le_bytes()),
            GgufValue::U64(value) => self.bytes(&value.to_le_bytes()),
            GgufValue::I64(value) => self.bytes(&value.to_le_bytes()),
            GgufValue::F32(value) => self.bytes(&value.to_le_bytes()),
            GgufValue::F64(value) => self.bytes(&value.to_le_bytes()),
            GgufValue::Bool(value) => self.bytes(&[u8::from(*value)]),
            GgufValue::String(text) => self.text(text),
            GgufValue::Array(array) => self.array(array),
        }
    }

    fn array(&mut self, array: &GgufArray) -> io::Result<()> {
        macro_rules! numbers {
            ($kind:literal, $values:expr) => {{
                self.array_start($kind, $values.len())?;
                $values
                    .iter()
                    .try_for_each(|value| self.bytes(&value.to_le_bytes()))
            }};
        }
        match array {
            GgufArray::U8(values) => numbers!(0, values),
            GgufArray::I8(values) => numbers!(1, values),
            GgufArray::U16(values) => numbers!(2, values),
            GgufArray::I16(values) => numbers!(3, values),
            GgufArray::U32(values) => numbers!(4, values),
            GgufArray::I32(values) => numbers!(5, values),
            GgufArray::F32(values) => numbers!(6, values),
            GgufArray::U64(values) => numbers!(10, values),
            GgufArray::I64(values) => numbers!(11, values),
            GgufArray::F64(values) => numbers!(12, values),
            GgufArray::Bool(values) => {
                self.array_start(7, values.len())?;
                values
                    .iter()
                    .try_for_each(|value| self.bytes(&[u8::from(*value)]))
            }
            GgufArray::String(texts) => {
                self.array_start(8, texts.len())?;
                texts.iter().try_for_each(|text| self.text(text))
            }
            GgufArray::Array(arrays) => {
                self.array_start(9, arrays.len())?;
                arrays.iter().try_for_each(|array| self.array(array))
            }
        }
    }

    fn array_start(&mut self, kind: u32, len: usize) -> io::Result<()> {
        self.bytes(&kind.to_le_bytes())?;
        self.count(len)
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.count(text.len())?;
        self.bytes(text.as_bytes())
    }

    fn count(&mut self, count: usize) -> io::Result<()> {
        self.bytes(&(count as u64).to_le_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        self.file.write_all(bytes)
    }

    fn pad(&mut self, alignment: usize) -> io::Result<()> {
        let missing = self.written.next_multiple_of(alignment) - self.written;
        self.bytes(&vec![0; missing])
    }
}

fn value_type(value: &GgufValue) -> u32 {
    match value {
        GgufValue::U8(_) => 0,
        GgufValue::I8(_) => 1,
        GgufValue::U16(_) => 2,
        GgufValue::I16(_) => 3,
        GgufValue::U32(_) => 4,
        GgufValue::I32(_) => 5,
        GgufValue::F32(_) => 6,
        GgufValue::Bool(_) => 7,
        GgufValue::String(_) => 8,
        GgufValue::Array(_) => 9,
        GgufValue::U64(_) => 10,
        GgufValue::I64(_) => 11,
        GgufValue::F64(_) => 12,
    }
}

fn gguf_error(path: &Path, what: &str, reason: String) -> WeightsError {
    WeightsError::Unwritable {
        path: path.to_owned(),
        what: what.to_owned(),
        reason,
    }
}
