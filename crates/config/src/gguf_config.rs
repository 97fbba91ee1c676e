//! The metadata of a GGUF file as the `config.json` that the model had before it was converted.
//!
//! Keys: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. What a converter leaves out (gemma3's pattern of
//! layers and local rope base, for instance) is the family's default, as it is in llama.cpp.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::checks::{self, MAX_HEAD_DIM};
use crate::gguf::{GgufArray, GgufHeader, GgufValue};
use crate::rope::DEFAULT_THETA;
use crate::{ConfigError, Result};

const SUPPORTED: &[&str] = &["gemma3", "lfm2", "llama", "mamba", "qwen2", "qwen3"];

/// Divisors of the rope frequencies, one per pair of values.
const ROPE_DIVISORS: &str = "rope_freqs.weight";

/// The number of layers by which gemma3-27b is known, whose attention is scaled in another way.
const GEMMA3_27B_LAYERS: u64 = 62;

/// The tree of the `config.json`.
pub(crate) fn to_object(header: &GgufHeader) -> Result<Map<String, Value>> {
    let architecture = header
        .architecture()
        .ok_or_else(|| missing("general.architecture"))?;
    let source = Source {
        header,
        architecture,
    };
    let mut config = Map::new();
    match architecture {
        "llama" => source.llama(&mut config)?,
        "qwen2" => source.qwen(&mut config, "qwen2", "Qwen2ForCausalLM")?,
        "qwen3" => source.qwen(&mut config, "qwen3", "Qwen3ForCausalLM")?,
        "gemma3" => source.gemma3(&mut config)?,
        "mamba" => source.mamba(&mut config)?,
        "lfm2" => source.lfm2(&mut config)?,
        _ => return Err(source.unsupported(architecture)),
    }
    Ok(config)
}

/// Puts the divisors of the rope frequencies into `config`, if the file at `path` has them. A converter computes them
/// from the `llama3` parameters, which cannot be recovered; one divisor per frequency is what `longrope` does.
pub(crate) fn read_rope_divisors(
    path: &Path,
    header: &GgufHeader,
    config: &mut Map<String, Value>,
) -> Result<()> {
    const F32: u32 = 0;
    let Some(tensor) = header.tensor(ROPE_DIVISORS) else {
        return Ok(());
    };
    let invalid = |reason: &str| ConfigError::GgufInvalid {
        what: format!("tensor `{ROPE_DIVISORS}`"),
        reason: reason.into(),
    };
    let (&[count], F32) = (tensor.shape.as_slice(), tensor.ggml_type) else {
        return Err(invalid("it is not a list of f32"));
    };
    if count > MAX_HEAD_DIM / 2 {
        return Err(invalid("it is longer than half of any head"));
    }
    let start = header
        .data_offset
        .checked_add(tensor.offset)
        .ok_or_else(|| invalid("its offset overflows"))?;
    let mut bytes = vec![0; count * size_of::<f32>()];
    let mut file = File::open(path).map_err(ConfigError::reading)?;
    file.seek(SeekFrom::Start(start))
        .map_err(ConfigError::reading)?;
    file.read_exact(&mut bytes).map_err(ConfigError::reading)?;
    let (divisors, _) = bytes.as_chunks();
    let divisors: Vec<f32> = divisors
        .iter()
        .map(|&divisor| f32::from_le_bytes(divisor))
        .collect();
    set_rope_divisors(config, &divisors);
    Ok(())
}

/// Puts the divisors into `config` that `rope_freqs.weight` holds.
pub(crate) fn set_rope_divisors(config: &mut Map<String, Value>, divisors: &[f32]) {
    if let Some(rope) = config
        .get_mut("rope_parameters")
        .and_then(Value::as_object_mut)
    {
        rope.insert("rope_type".into(), "longrope".into());
        rope.insert("attention_factor".into(), json!(1.0));
        rope.insert("short_factor".into(), json!(divisors));
        rope.insert("long_factor".into(), json!(divisors));
    }
}

struct Source<'a> {
    header: &'a GgufHeader,
    architecture: &'a str,
}

impl Source<'_> {
    fn llama(&self, config: &mut Map<String, Value>) -> Result<()> {
        if self.optional_u64("expert_count")?.unwrap_or(0) > 0 {
            return Err(self.unsupported("llama with experts (mixtral)"));
        }
        self.decoder(config, "llama", "LlamaForCausalLM")?;
        let rotating = match self.optional_u64("attention.key_length")? {
            Some(length) => Some(length),
            None => self.optional_u64("rope.dimension_count")?,
        };
        if let Some(head_dim) = rotating {
            config.insert("head_dim".into(), head_dim.into());
        }
        config.insert(
            "attention_bias".into(),
            self.has_tensor("blk.0.attn_q.bias").into(),
        );
        config.insert(
            "mlp_bias".into(),
            self.has_tensor("blk.0.ffn_gate.bias").into(),
        );
        config.insert("rope_parameters".into(), self.rope(DEFAULT_THETA)?);
        Ok(())
    }

    fn qwen(&self, config: &mut Map<String, Value>, model_type: &str, class: &str) -> Result<()> {
        self.decoder(config, model_type, class)?;
        if let Some(head_dim) = self.optional_u64("attention.key_length")? {
            config.insert("head_dim".into(), head_dim.into());
        }
        config.insert("rope_parameters".into(), self.rope(DEFAULT_THETA)?);
        Ok(())
    }

    fn gemma3(&self, config: &mut Map<String, Value>) -> Result<()> {
        self.decoder(config, "gemma3_text", "Gemma3ForCausalLM")?;
        let head_dim = self.u64("attention.key_length")?;
        let (hidden_size, heads) = (
            self.u64("embedding_length")?,
            self.count("attention.head_count")?,
        );
        let scalar = match self.u64("block_count")? {
            GEMMA3_27B_LAYERS => hidden_size.checked_div(heads).unwrap_or(0),
            _ => head_dim,
        };
        config.insert("head_dim".into(), head_dim.into());
        config.insert("query_pre_attn_scalar".into(), scalar.into());
        config.insert(
            "sliding_window".into(),
            self.u64("attention.sliding_window")?.into(),
        );
        let local = self
            .optional_f64("rope.freq_base_swa")?
            .unwrap_or(DEFAULT_THETA);
        let rope = json!({
            "full_attention": self.rope(1_000_000.0)?,
            "sliding_attention": {"rope_type": "default", "rope_theta": local},
        });
        config.insert("rope_parameters".into(), rope);
        if let Some(cap) = self.optional_f64("final_logit_softcapping")? {
            config.insert("final_logit_softcapping".into(), cap.into());
        }
        Ok(())
    }

    /// Falcon Mamba's files say that time steps and states are normed.
    fn mamba(&self, config: &mut Map<String, Value>) -> Result<()> {
        let eps = self.f64("attention.layer_norm_rms_epsilon")?;
        let key = self.key("ssm.dt_b_c_rms");
        match self.header.get(&key).is_some_and(is_true) {
            true => {
                self.text_model(config, "falcon_mamba", "FalconMambaForCausalLM")?;
                config.insert("mixer_rms_eps".into(), eps.into());
            }
            false => self.text_model(config, "mamba", "MambaForCausalLM")?,
        }
        config.insert("layer_norm_epsilon".into(), eps.into());
        for (key, name) in [
            ("ssm.conv_kernel", "conv_kernel"),
            ("ssm.inner_size", "intermediate_size"),
            ("ssm.state_size", "state_size"),
            ("ssm.time_step_rank", "time_step_rank"),
        ] {
            config.insert(name.into(), self.u64(key)?.into());
        }
        for (tensor, name) in [
            ("blk.0.ssm_in.bias", "use_bias"),
            ("blk.0.ssm_conv1d.bias", "use_conv_bias"),
        ] {
            config.insert(name.into(), self.has_tensor(tensor).into());
        }
        Ok(())
    }

    /// The layers of attention are those that have key heads.
    fn lfm2(&self, config: &mut Map<String, Value>) -> Result<()> {
        self.text_model(config, "lfm2", "Lfm2ForCausalLM")?;
        let heads = self.per_layer("attention.head_count_kv")?;
        let attends = |heads: &u64| match heads {
            0 => "conv",
            _ => "full_attention",
        };
        let kinds: Vec<_> = heads.iter().map(attends).collect();
        config.extend([
            ("layer_types".to_owned(), json!(kinds)),
            (
                "num_key_value_heads".to_owned(),
                heads.iter().max().copied().into(),
            ),
            (
                "num_attention_heads".to_owned(),
                self.count("attention.head_count")?.into(),
            ),
            (
                "max_position_embeddings".to_owned(),
                self.u64("context_length")?.into(),
            ),
            (
                "intermediate_size".to_owned(),
                self.count("feed_forward_length")?.into(),
            ),
            ("block_auto_adjust_ff_dim".to_owned(), false.into()),
            (
                "norm_eps".to_owned(),
                self.f64("attention.layer_norm_rms_epsilon")?.into(),
            ),
            (
                "conv_L_cache".to_owned(),
                self.u64("shortconv.l_cache")?.into(),
            ),
            ("rope_parameters".to_owned(), self.rope(1_000_000.0)?),
        ]);
        Ok(())
    }

    /// What all decoders with attention in every layer have.
    fn decoder(
        &self,
        config: &mut Map<String, Value>,
        model_type: &str,
        class: &str,
    ) -> Result<()> {
        self.text_model(config, model_type, class)?;
        let heads = self.count("attention.head_count")?;
        let key_value_heads = match self.header.get(&self.key("attention.head_count_kv")) {
            Some(_) => self.count("attention.head_count_kv")?,
            None => heads,
        };
        config.extend([
            (
                "max_position_embeddings".to_owned(),
                self.u64("context_length")?.into(),
            ),
            (
                "intermediate_size".to_owned(),
                self.count("feed_forward_length")?.into(),
            ),
            ("num_attention_heads".to_owned(), heads.into()),
            ("num_key_value_heads".to_owned(), key_value_heads.into()),
            (
                "rms_norm_eps".to_owned(),
                self.f64("attention.layer_norm_rms_epsilon")?.into(),
            ),
        ]);
        Ok(())
    }

    /// What all decoders have.
    fn text_model(
        &self,
        config: &mut Map<String, Value>,
        model_type: &str,
        class: &str,
    ) -> Result<()> {
        let tied = !self.has_tensor("output.weight");
        config.extend([
            ("model_type".to_owned(), model_type.into()),
            ("architectures".to_owned(), json!([class])),
            (
                "num_hidden_layers".to_owned(),
                self.u64("block_count")?.into(),
            ),
            (
                "hidden_size".to_owned(),
                self.u64("embedding_length")?.into(),
            ),
            ("vocab_size".to_owned(), self.vocab_size()?.into()),
            ("tie_word_embeddings".to_owned(), tied.into()),
            ("bos_token_id".to_owned(), self.token("bos_token_id").into()),
            ("eos_token_id".to_owned(), self.end_tokens()),
            (
                "pad_token_id".to_owned(),
                self.token("padding_token_id").into(),
            ),
        ]);
        Ok(())
    }

    fn rope(&self, default_theta: f64) -> Result<Value> {
        let theta = self
            .optional_f64("rope.freq_base")?
            .unwrap_or(default_theta);
        let mut rope = Map::from_iter([("rope_theta".to_owned(), json!(theta))]);
        let key = self.key("rope.scaling.type");
        let scaling = match self.header.get(&key) {
            Some(value) => value
                .as_str()
                .ok_or_else(|| unexpected(&key, value, "a name"))?,
            // Before there were types, there was one number for linear scaling.
            None if self
                .optional_f64("rope.scale_linear")?
                .is_some_and(|factor| factor != 1.0) =>
            {
                "linear"
            }
            None => "none",
        };
        let rope_type = match scaling {
            "none" => "default",
            "linear" => {
                let factor = match self.optional_f64("rope.scaling.factor")? {
                    Some(factor) => factor,
                    None => self.f64("rope.scale_linear")?,
                };
                rope.insert("factor".into(), json!(factor));
                "linear"
            }
            "yarn" => {
                self.yarn(&mut rope)?;
                "yarn"
            }
            _ => {
                let reason = format!(
                    "\"{scaling}\" is not supported for this architecture (none, linear and yarn are)"
                );
                return Err(ConfigError::invalid(key, reason));
            }
        };
        rope.insert("rope_type".into(), rope_type.into());
        Ok(rope.into())
    }

    fn yarn(&self, rope: &mut Map<String, Value>) -> Result<()> {
        let factor = self.f64("rope.scaling.factor")?;
        rope.insert("factor".into(), json!(factor));
        if let Some(length) = self.optional_u64("rope.scaling.original_context_length")? {
            rope.insert("original_max_position_embeddings".into(), length.into());
        }
        // ggml multiplies yarn's own factor by this one.
        if let Some(attention) = self.optional_f64("rope.scaling.attn_factor")? {
            rope.insert(
                "attention_factor".into(),
                json!(attention * (1.0 + 0.1 * factor.max(1.0).ln())),
            );
        }
        for (key, name) in [
            ("rope.scaling.yarn_beta_fast", "beta_fast"),
            ("rope.scaling.yarn_beta_slow", "beta_slow"),
        ] {
            if let Some(value) = self.optional_f64(key)? {
                rope.insert(name.into(), json!(value));
            }
        }
        Ok(())
    }

    /// The rows of the embedding, which a padded vocabulary exceeds; without the tensor, what the metadata says.
    fn vocab_size(&self) -> Result<u64> {
        if let Some(&[rows, _]) = self
            .header
            .tensor("token_embd.weight")
            .map(|tensor| tensor.shape.as_slice())
        {
            return Ok(rows as u64);
        }
        if let Some(size) = self.optional_u64("vocab_size")? {
            return Ok(size);
        }
        let key = "tokenizer.ggml.tokens";
        let tokens = self.header.get(key).and_then(GgufValue::as_array);
        tokens
            .map(|tokens| tokens.len() as u64)
            .ok_or_else(|| missing(key))
    }

    /// The end of a text, and the end of a chat's turn where that is another token.
    fn end_tokens(&self) -> Value {
        match (self.token("eos_token_id"), self.token("eot_token_id")) {
            (Some(text), Some(turn)) if text != turn => json!([text, turn]),
            (text, turn) => text.or(turn).into(),
        }
    }

    fn token(&self, name: &str) -> Option<u64> {
        self.header.get(&format!("tokenizer.ggml.{name}"))?.as_u64()
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.header.tensor(name).is_some()
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn u64(&self, name: &str) -> Result<u64> {
        self.optional_u64(name)?
            .ok_or_else(|| missing(&self.key(name)))
    }

    fn optional_u64(&self, name: &str) -> Result<Option<u64>> {
        let key = self.key(name);
        let number = |value: &GgufValue| {
            value
                .as_u64()
                .ok_or_else(|| unexpected(&key, value, "a count"))
        };
        self.header.get(&key).map(number).transpose()
    }

    fn f64(&self, name: &str) -> Result<f64> {
        self.optional_f64(name)?
            .ok_or_else(|| missing(&self.key(name)))
    }

    fn optional_f64(&self, name: &str) -> Result<Option<f64>> {
        let key = self.key(name);
        let number = |value: &GgufValue| {
            value
                .as_f64()
                .ok_or_else(|| unexpected(&key, value, "a number"))
        };
        self.header.get(&key).map(number).transpose()
    }

    /// A number for each layer, given so or as one for all.
    fn per_layer(&self, name: &str) -> Result<Vec<u64>> {
        let key = self.key(name);
        let value = self.header.get(&key).ok_or_else(|| missing(&key))?;
        let layers = self.u64("block_count")?;
        let Some(array) = value.as_array() else {
            checks::layers(usize::try_from(layers).unwrap_or(usize::MAX))?;
            return Ok(vec![self.u64(name)?; layers as usize]);
        };
        let counts = array.to_i64s().unwrap_or_default().into_iter();
        let counts: Vec<u64> = counts
            .map_while(|count| u64::try_from(count).ok())
            .collect();
        match counts.len() as u64 == layers {
            true => Ok(counts),
            false => Err(unexpected(&key, value, "a count for each layer")),
        }
    }

    /// A number that may be given for each layer, if it is the same for all.
    fn count(&self, name: &str) -> Result<u64> {
        let key = self.key(name);
        let value = self.header.get(&key).ok_or_else(|| missing(&key))?;
        let Some(array) = value.as_array() else {
            return self.u64(name);
        };
        match array.to_i64s().as_deref() {
            Some([first, rest @ ..]) if *first >= 0 && rest.iter().all(|other| other == first) => {
                Ok(first.unsigned_abs())
            }
            _ => Err(ConfigError::invalid(
                key,
                "it differs between layers, which this architecture does not support",
            )),
        }
    }

    fn unsupported(&self, architecture: &str) -> ConfigError {
        ConfigError::GgufArchitecture {
            architecture: architecture.into(),
            supported: SUPPORTED.join(", "),
        }
    }
}

fn is_true(value: &GgufValue) -> bool {
    matches!(value, GgufValue::Bool(true))
}

fn missing(key: &str) -> ConfigError {
    ConfigError::invalid(
        key,
        "it is missing in the metadata; convert the model again with a current tool",
    )
}

fn unexpected(key: &str, value: &GgufValue, expected: &str) -> ConfigError {
    let found = match value.as_array().map(GgufArray::len) {
        Some(length) => format!("an array of {length}"),
        None => format!("{value:?}"),
    };
    ConfigError::invalid(key, format!("expected {expected}, found {found}"))
}
