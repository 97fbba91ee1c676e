//! `transformers inspect`: what a checkpoint holds and what it takes, from headers alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use transformers_config::AutoConfig;
use transformers_weights::{Checkpoint, DType, StoredTensor, fold_names};

use crate::failure::Result;
use crate::output::{print, size};
use crate::source::SourceArguments;

/// Show a checkpoint's tensors, and the memory that the model takes on each kind of device.
///
/// Only headers are read. Of a hub id the weights are downloaded, because their headers are in them.
#[derive(Debug, Args)]
#[command(after_help = "\
Memory is that of the weights; on the CPU, weights that are used as they lie in the file are mapped and
count as well. Keys and values of the context come on top, per token.

Examples:
  transformers inspect ./model
  transformers inspect model.Q4_K.gguf --all
  transformers inspect ./model --json | jq .memory")]
pub struct Arguments {
    /// A folder, a hub id (`org/name`, `org/name@revision`), a `.gguf` file, or `org/name:file.gguf`
    #[arg(value_name = "MODEL")]
    model: String,

    /// One line for each tensor, instead of one for all layers
    #[arg(long)]
    all: bool,

    /// As JSON, with every tensor
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    source: SourceArguments,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result {
    let files = arguments.source.files(&arguments.model)?;
    let config = AutoConfig::from_files(&files).ok();
    let checkpoint = Checkpoint::open(&files, &arguments.source.open())?;
    let inspected = Inspected {
        model: &arguments.model,
        tensors: tensors(&checkpoint)?,
        cache: config.as_ref().and_then(cache_per_token),
        config,
    };
    match arguments.json {
        true => print(format_args!("{:#}\n", inspected.json()))?,
        false => print(inspected.text(arguments.all))?,
    }
    Ok(ExitCode::SUCCESS)
}

struct Tensor {
    name: String,
    shape: Vec<usize>,
    stored: StoredTensor,
    /// What it is read as; `None` for types that are not read.
    dtype: Option<DType>,
    /// In blocks that the CPU multiplies with as they are.
    blocks: bool,
}

fn tensors(checkpoint: &Checkpoint) -> Result<Vec<Tensor>> {
    let tensor = |name: &str| {
        Ok(Tensor {
            name: name.to_owned(),
            shape: checkpoint.shape(name)?.to_vec(),
            stored: checkpoint.stored(name)?,
            dtype: checkpoint.dtype(name).ok(),
            blocks: checkpoint.has_blocks(name),
        })
    };
    checkpoint.names().map(tensor).collect()
}

impl Tensor {
    fn elements(&self) -> u64 {
        self.shape.iter().map(|&size| size as u64).product()
    }

    fn is_matrix(&self) -> bool {
        self.shape.len() >= 2
    }

    /// The bytes that it takes on the CPU: matrices stay as they are or as asked for, all else is in f32.
    fn on_cpu(&self, asked: Option<DType>) -> u64 {
        let half = matches!(self.stored.dtype.as_str(), "F16" | "BF16");
        match asked {
            None if self.is_matrix() && (self.blocks || half) => self.stored.bytes as u64,
            Some(DType::F16 | DType::BF16) if self.is_matrix() => 2 * self.elements(),
            _ => 4 * self.elements(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "dtype": self.stored.dtype,
            "shape": self.shape,
            "bytes": self.stored.bytes,
            "file": self.stored.file,
        })
    }
}

/// Bytes of keys and values for each token of a context, in f32.
fn cache_per_token(config: &AutoConfig) -> Option<u64> {
    let writes = |class: &String| class.ends_with("ForCausalLM");
    if !config.architectures().iter().any(writes) {
        return None;
    }
    let number = |key: &str| config.get(key).and_then(Value::as_u64);
    let heads = number("num_attention_heads")?;
    let head_dim = number("head_dim").or_else(|| number("hidden_size")?.checked_div(heads))?;
    let pairs = number("num_hidden_layers")? * number("num_key_value_heads").unwrap_or(heads);
    Some(2 * 4 * pairs * head_dim)
}

/// A device and a dtype, and the bytes of the weights there.
type Memory = (&'static str, &'static str, u64);

struct Inspected<'a> {
    model: &'a str,
    config: Option<AutoConfig>,
    tensors: Vec<Tensor>,
    cache: Option<u64>,
}

impl Inspected<'_> {
    fn elements(&self) -> u64 {
        self.tensors.iter().map(Tensor::elements).sum()
    }

    fn stored(&self) -> u64 {
        self.tensors
            .iter()
            .map(|tensor| tensor.stored.bytes as u64)
            .sum()
    }

    /// The files and their sizes.
    fn files(&self) -> BTreeMap<PathBuf, u64> {
        let files: BTreeSet<_> = self
            .tensors
            .iter()
            .filter_map(|tensor| tensor.stored.file.clone())
            .collect();
        let with_size = |file: PathBuf| {
            let bytes = fs::metadata(&file).map_or(0, |data| data.len());
            (file, bytes)
        };
        files.into_iter().map(with_size).collect()
    }

    fn memory(&self) -> Vec<Memory> {
        let on_cpu = |dtype| self.tensors.iter().map(|tensor| tensor.on_cpu(dtype)).sum();
        let first = self
            .tensors
            .iter()
            .filter_map(|tensor| tensor.dtype)
            .find(|dtype| dtype.is_float());
        let elements = self.elements();
        let auto = first.map_or(4, |dtype| dtype.size().min(4) as u64);
        vec![
            ("cpu", "auto", on_cpu(None)),
            ("cpu", "float32", on_cpu(Some(DType::F32))),
            ("cpu", "bfloat16", on_cpu(Some(DType::BF16))),
            ("cpu", "float16", on_cpu(Some(DType::F16))),
            ("gpu", "auto", auto * elements),
            ("gpu", "float32", 4 * elements),
            ("gpu", "bfloat16", 2 * elements),
            ("gpu", "float16", 2 * elements),
        ]
    }

    fn json(&self) -> Value {
        let mut memory = json!({});
        for (device, dtype, bytes) in self.memory() {
            memory[device][dtype] = bytes.into();
        }
        let file = |(path, bytes): (PathBuf, u64)| json!({"path": path, "bytes": bytes});
        json!({
            "model": self.model,
            "model_type": self.config.as_ref().map(AutoConfig::model_type),
            "architectures": self.config.as_ref().map(AutoConfig::architectures),
            "files": self.files().into_iter().map(file).collect::<Vec<_>>(),
            "parameters": self.elements(),
            "bytes": self.stored(),
            "memory": memory,
            "cache_bytes_per_token": self.cache,
            "tensors": self.tensors.iter().map(Tensor::json).collect::<Vec<_>>(),
        })
    }

    fn text(&self, all: bool) -> String {
        let mut text = String::new();
        if let Some(config) = &self.config {
            let classes = config.architectures().join(", ");
            text.push_str(&format!(
                "{:<11} {} {classes}\n",
                "model",
                config.model_type()
            ));
        }
        for (path, bytes) in self.files() {
            text.push_str(&format!(
                "{:<11} {} ({})\n",
                "file",
                path.display(),
                size(bytes)
            ));
        }
        text.push_str(&format!(
            "{:<11} {} in {} tensors, {}\n\n",
            "parameters",
            self.elements(),
            self.tensors.len(),
            size(self.stored())
        ));
        text.push_str(&self.table(all));
        text.push_str("\nmemory      auto       float32    bfloat16   float16\n");
        for row in self.memory().chunks(4) {
            let sizes: String = row
                .iter()
                .map(|(.., bytes)| format!(" {:<10}", size(*bytes)))
                .collect();
            text.push_str(&format!("{:<11}{}\n", row[0].0, sizes.trim_end()));
        }
        if let Some(bytes) = self.cache {
            text.push_str(&format!("cache       {} per token\n", size(bytes)));
        }
        text
    }

    fn table(&self, all: bool) -> String {
        let details = |tensor: &Tensor| {
            let StoredTensor { dtype, bytes, .. } = &tensor.stored;
            (dtype.clone(), tensor.shape.clone(), *bytes)
        };
        let entries = self
            .tensors
            .iter()
            .map(|tensor| (tensor.name.as_str(), details(tensor)));
        let rows: Vec<_> = match all {
            true => entries
                .map(|(name, details)| (name.to_owned(), details, 1))
                .collect(),
            false => fold_names(entries)
                .into_iter()
                .map(|line| (line.name, line.details, line.count))
                .collect(),
        };
        let width = rows
            .iter()
            .map(|(name, ..)| name.chars().count())
            .max()
            .unwrap_or(0);
        let mut table = String::new();
        for (name, (dtype, shape, bytes), count) in rows {
            let total = size((bytes * count) as u64);
            let shape = format!("{shape:?}");
            table.push_str(&format!(
                "{name:<width$}  {dtype:<5} {shape:<16} {total:>10}\n"
            ));
        }
        table
    }
}
