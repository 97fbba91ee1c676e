//! Weights, configuration and tokenizer as one GGUF file.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use transformers_config::gguf::GgufValue;
use transformers_config::{AutoConfig, GenerationConfig, GgufConfig};
use transformers_hub::ModelFiles;
use transformers_tokenization::{AutoTokenizer, Tokenizer};
use transformers_weights::conversion_mapping::gguf::GgufMapping;
use transformers_weights::{GgufTensor, GgufType, HeadCounts, HostTensor, LazyTensor, save_gguf};

use super::tensors::Tensors;
use crate::failure::Result;
use crate::output::{print, size};

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// Buffers that old checkpoints hold and models compute.
const BUFFER: &str = "rotary_emb.inv_freq";

/// Writes the file at `path`.
pub fn write(
    path: &Path,
    quantize: Option<GgufType>,
    files: &ModelFiles,
    config: &AutoConfig,
    tensors: Tensors,
) -> Result {
    let gguf = config.to_gguf()?;
    for key in &gguf.lost {
        log::warn!(
            "a GGUF file of this architecture has no place for `{key}`: texts longer than the attention's window give \
             other results than the original model"
        );
    }
    let names = names(config, &tensors)?;
    let rows = rows(&tensors, &names)?;
    let tokenizer = AutoTokenizer::from_files(files)?;
    let writer = Writer {
        gguf: &gguf,
        tensors: &tensors,
        quantize,
    };
    let written = writer.tensors(&names)?;
    let mut metadata = writer.about(path);
    metadata.extend(gguf.metadata[1..].iter().cloned());
    metadata.extend(tokenizer.to_gguf(gguf.architecture, rows)?);
    let generation = GenerationConfig::from_files(files, config)?;
    metadata.extend(end_of_turn(&tokenizer, &generation));

    let report = report(path, &written, quantize);
    tensors.start(&names.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>())?;
    save_gguf(path, &metadata, written)?;
    tensors.finish();
    print(report)?;
    Ok(ExitCode::SUCCESS)
}

/// Tensors as the checkpoint calls them, and with the prefix that models without a head lack.
fn names(config: &AutoConfig, tensors: &Tensors) -> Result<Vec<(String, String)>> {
    let checkpoint = &tensors.checkpoint;
    let headless = !checkpoint.contains(EMBEDDING);
    let full = |key: &str| match headless && key != HEAD {
        true => format!("model.{key}"),
        false => key.to_owned(),
    };
    let is_twin = |key: &str| -> Result<bool> {
        let tied = key == HEAD && config.tie_word_embeddings() && checkpoint.contains(EMBEDDING);
        Ok(tied && checkpoint.tensor(HEAD)? == checkpoint.tensor(EMBEDDING)?)
    };
    let mut names = Vec::new();
    for key in checkpoint.names() {
        if !key.ends_with(BUFFER) && !is_twin(key)? {
            names.push((key.to_owned(), full(key)));
        }
    }
    Ok(names)
}

/// The rows of the embedding, each of which needs a token.
fn rows(tensors: &Tensors, names: &[(String, String)]) -> Result<usize> {
    let embedding = names.iter().find(|(_, name)| name == EMBEDDING);
    let (key, _) = embedding.ok_or_else(|| format!("the checkpoint has no `{EMBEDDING}`"))?;
    let rows = tensors.checkpoint.shape(key)?.first().copied();
    Ok(rows.unwrap_or_default())
}

struct Writer<'a> {
    gguf: &'a GgufConfig,
    tensors: &'a Tensors,
    quantize: Option<GgufType>,
}

impl Writer<'_> {
    fn tensors(&self, names: &[(String, String)]) -> Result<Vec<GgufTensor>> {
        let heads = HeadCounts {
            query: self.count("attention.head_count"),
            key_value: self.count("attention.head_count_kv"),
        };
        let mut parameters = Vec::new();
        for (key, name) in names {
            parameters.push(self.tensors.tensor(key)?.renamed(name));
        }
        let mut tensors = GgufMapping::file_tensors(self.gguf.architecture, heads, parameters)?;
        if let Some(divisors) = &self.gguf.rope_divisors {
            let values = HostTensor::from_vec(divisors.clone(), vec![divisors.len()])?;
            tensors.insert(
                0,
                LazyTensor::from(("rope_freqs.weight".to_owned(), values)),
            );
        }
        let typed = |tensor| GgufTensor {
            as_type: self.type_of(&tensor),
            tensor,
        };
        Ok(tensors.into_iter().map(typed).collect())
    }

    /// Matrices in the type asked for, all else in f32; norms of heads and routers too, as llama.cpp has them.
    fn type_of(&self, tensor: &LazyTensor) -> GgufType {
        let exact = ["_norm.", ".ffn_gate_inp"];
        match tensor.shape() {
            [_, .., cols] if !exact.iter().any(|part| tensor.name().contains(part)) => self
                .quantize
                .unwrap_or(GgufType::of_dtype(tensor.dtype()))
                .for_rows_of(*cols),
            _ => GgufType::F32,
        }
    }

    fn count(&self, name: &str) -> usize {
        let key = format!("{}.{name}", self.gguf.architecture);
        let value = self.gguf.metadata.iter().find(|(other, _)| *other == key);
        let value = value.and_then(|(_, value)| value.as_u64());
        value.map_or(0, |value| value as usize)
    }

    /// The keys that every file has.
    fn about(&self, path: &Path) -> Vec<(String, GgufValue)> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let dtype = self.tensors.dtype.or(self.tensors.checkpoint.dtype_hint());
        let kind = self.quantize.or(dtype.map(GgufType::of_dtype));
        let text = |text: &str| GgufValue::String(text.to_owned());
        [
            ("architecture", text(self.gguf.architecture)),
            ("type", text("model")),
            ("name", text(&name)),
            ("quantization_version", GgufValue::U32(2)),
            (
                "file_type",
                GgufValue::U32(kind.unwrap_or(GgufType::F32).file_type()),
            ),
        ]
        .map(|(key, value)| (format!("general.{key}"), value))
        .into()
    }
}

/// The token that ends a turn, where it is another than the one that ends a text.
fn end_of_turn(
    tokenizer: &Tokenizer,
    generation: &GenerationConfig,
) -> Option<(String, GgufValue)> {
    let mut ends = generation.eos_token_ids().iter().copied();
    let other = ends.find(|id| Some(*id) != tokenizer.eos_token_id())?;
    let key = "tokenizer.ggml.eot_token_id".to_owned();
    Some((key, GgufValue::U32(other)))
}

/// How many tensors have which type, and why not the one asked for.
fn report(path: &Path, tensors: &[GgufTensor], asked: Option<GgufType>) -> String {
    let mut kinds: BTreeMap<(&str, bool), (usize, u64)> = BTreeMap::new();
    for GgufTensor { tensor, as_type } in tensors {
        let elements: usize = tensor.shape().iter().product();
        let bytes = elements / as_type.block_len() * as_type.block_bytes();
        let fell_back = *as_type != GgufType::F32 && asked.is_some_and(|asked| asked != *as_type);
        let (count, total) = kinds.entry((as_type.name(), fell_back)).or_default();
        *count += 1;
        *total += bytes as u64;
    }
    let total = kinds.values().map(|(_, bytes)| bytes).sum();
    let mut report = format!(
        "{}: {} tensors, {}\n",
        path.display(),
        tensors.len(),
        size(total)
    );
    for ((kind, fell_back), (count, bytes)) in kinds {
        let why = match asked {
            Some(asked) if fell_back => format!("  (rows are not whole blocks of {asked})"),
            _ => String::new(),
        };
        let line = format!("  {kind:<5} {count:>5} tensors {:>10}{why}\n", size(bytes));
        report.push_str(&line);
    }
    report
}
