//! GGUF headers built here: what is read from sound ones, and that damaged ones are refused.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Cursor;

use serde_json::{Value, json};
use transformers_config::gguf::{GgufArray, GgufHeader, GgufValue};
use transformers_config::{
    AutoConfig, ConfigError, FalconMambaConfig, Gemma3TextConfig, GenerationConfig, LayerType,
    Lfm2Config, LlamaConfig, MambaConfig, Qwen2Config, Qwen3Config, RopeType,
};

/// Writes what [`GgufHeader`] reads.
#[derive(Clone, Default)]
struct File {
    pairs: Vec<(String, u32, Vec<u8>)>,
    tensors: Vec<(String, Vec<u64>, u32, u64)>,
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn array(kind: u32, items: &[Vec<u8>]) -> Vec<u8> {
    [
        &kind.to_le_bytes()[..],
        &(items.len() as u64).to_le_bytes()[..],
        &items.concat(),
    ]
    .concat()
}

impl File {
    fn raw(mut self, key: &str, kind: u32, bytes: &[u8]) -> Self {
        self.pairs.push((key.into(), kind, bytes.into()));
        self
    }

    fn u32(self, key: &str, value: u32) -> Self {
        self.raw(key, 4, &value.to_le_bytes())
    }

    fn f32(self, key: &str, value: f32) -> Self {
        self.raw(key, 6, &value.to_le_bytes())
    }

    fn string(self, key: &str, value: &str) -> Self {
        self.raw(key, 8, &text(value))
    }

    /// `dimensions` in ggml's order.
    fn tensor(mut self, name: &str, dimensions: &[u64], offset: u64) -> Self {
        self.tensors
            .push((name.into(), dimensions.into(), 0, offset));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&b"GGUF"[..], &3_u32.to_le_bytes()].concat();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.pairs.len() as u64).to_le_bytes());
        for (key, kind, value) in &self.pairs {
            bytes.extend(text(key));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(value);
        }
        for (name, dimensions, kind, offset) in &self.tensors {
            bytes.extend(text(name));
            bytes.extend((dimensions.len() as u32).to_le_bytes());
            bytes.extend(
                dimensions
                    .iter()
                    .flat_map(|dimension| dimension.to_le_bytes()),
            );
            bytes.extend(kind.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
        }
        bytes
    }

    fn header(&self) -> GgufHeader {
        parse(&self.bytes()).unwrap()
    }

    /// The metadata that every decoder has.
    fn decoder(architecture: &str) -> Self {
        let key = |name: &str| format!("{architecture}.{name}");
        Self::default()
            .string("general.architecture", architecture)
            .u32(&key("block_count"), 2)
            .u32(&key("context_length"), 256)
            .u32(&key("embedding_length"), 32)
            .u32(&key("feed_forward_length"), 48)
            .u32(&key("attention.head_count"), 4)
            .u32(&key("attention.head_count_kv"), 2)
            .f32(&key("attention.layer_norm_rms_epsilon"), 1e-5)
            .u32("tokenizer.ggml.bos_token_id", 1)
            .u32("tokenizer.ggml.eos_token_id", 2)
            .raw(
                "tokenizer.ggml.tokens",
                9,
                &array(8, &[text("a"), text("b"), text("c")]),
            )
    }
}

fn parse(bytes: &[u8]) -> Result<GgufHeader, ConfigError> {
    GgufHeader::parse(Cursor::new(bytes), bytes.len() as u64)
}

#[test]
fn every_type_of_value_is_read() {
    let file = File::default()
        .raw("u8", 0, &[200])
        .raw("i8", 1, &[0xff])
        .raw("u16", 2, &65535_u16.to_le_bytes())
        .raw("i16", 3, &(-2_i16).to_le_bytes())
        .u32("u32", 7)
        .raw("i32", 5, &(-7_i32).to_le_bytes())
        .f32("f32", 0.5)
        .raw("bool", 7, &[1])
        .string("string", "é")
        .raw("u64", 10, &u64::MAX.to_le_bytes())
        .raw("i64", 11, &i64::MIN.to_le_bytes())
        .raw("f64", 12, &0.25_f64.to_le_bytes())
        .raw("strings", 9, &array(8, &[text("x"), text("")]))
        .raw(
            "floats",
            9,
            &array(6, &[1_f32.to_le_bytes().into(), 2_f32.to_le_bytes().into()]),
        )
        .raw("ints", 9, &array(5, &[(-1_i32).to_le_bytes().into()]))
        .raw("bools", 9, &array(7, &[vec![0], vec![1]]))
        .raw(
            "nested",
            9,
            &array(9, &[array(0, &[vec![1], vec![2]]), array(0, &[])]),
        )
        .tensor("a.weight", &[3, 5], 0)
        .tensor("b", &[], 64);
    let header = file.header();
    let get = |key: &str| header.get(key).unwrap();
    assert_eq!(get("u8").as_u64(), Some(200));
    assert_eq!(get("i8").as_i64(), Some(-1));
    assert_eq!(get("i8").as_u64(), None);
    assert_eq!(get("u16").as_f64(), Some(65535.0));
    assert_eq!(get("i16"), &GgufValue::I16(-2));
    assert_eq!(get("u32").as_i64(), Some(7));
    assert_eq!(get("i32").as_f64(), Some(-7.0));
    assert_eq!(get("f32").as_f64(), Some(0.5));
    assert_eq!(get("f32").as_u64(), None);
    assert_eq!(get("bool").as_bool(), Some(true));
    assert_eq!(get("string").as_str(), Some("é"));
    assert_eq!(
        (get("u64").as_u64(), get("u64").as_i64()),
        (Some(u64::MAX), None)
    );
    assert_eq!(get("i64").as_i64(), Some(i64::MIN));
    assert_eq!(get("f64").as_f64(), Some(0.25));
    let array = |key: &str| get(key).as_array().unwrap();
    assert_eq!(array("strings").as_strings().unwrap(), ["x", ""]);
    assert_eq!(array("floats").to_f64s().unwrap(), [1.0, 2.0]);
    assert_eq!(array("floats").to_i64s(), None);
    assert_eq!(
        (
            array("ints").to_i64s().unwrap(),
            array("ints").to_f64s().unwrap()
        ),
        (vec![-1], vec![-1.0])
    );
    assert_eq!(array("bools").as_bools().unwrap(), [false, true]);
    assert_eq!(
        array("nested"),
        &GgufArray::Array(vec![GgufArray::U8(vec![1, 2]), GgufArray::U8(vec![])])
    );
    assert_eq!(array("nested").len(), 2);

    assert_eq!(header.version, 3);
    assert_eq!(header.tensor("a.weight").unwrap().shape, [5, 3]);
    assert_eq!(header.tensor("b").unwrap().offset, 64);
    let length = file.bytes().len() as u64;
    assert!(header.data_offset >= length && header.data_offset < length + 32);
    assert_eq!(header.data_offset % 32, 0);
}

#[test]
fn state_spaces_are_read() {
    let file = File::decoder("mamba")
        .u32("mamba.ssm.conv_kernel", 4)
        .u32("mamba.ssm.inner_size", 64)
        .u32("mamba.ssm.state_size", 16)
        .u32("mamba.ssm.time_step_rank", 3)
        .tensor("blk.0.ssm_conv1d.bias", &[64], 0);
    let config = AutoConfig::from_gguf(&file.header()).unwrap();
    let config: MambaConfig = config.typed().unwrap();
    assert_eq!(
        (
            config.intermediate_size(),
            config.time_step_rank(),
            config.use_bias
        ),
        (64, 3, false)
    );
    assert_eq!(
        (config.vocab_size, config.hidden_size, config.conv_kernel),
        (3, 32, 4)
    );
    assert!(config.use_conv_bias && config.tie_word_embeddings);
    assert!((config.layer_norm_epsilon - 1e-5).abs() < 1e-9);

    let normed = file.raw("mamba.ssm.dt_b_c_rms", 7, &[1]);
    let config = AutoConfig::from_gguf(&normed.header()).unwrap();
    assert_eq!(config.model_type(), "falcon_mamba");
    let config: FalconMambaConfig = config.typed().unwrap();
    assert!((config.mixer_rms_eps - 1e-5).abs() < 1e-9);
}

#[test]
fn layers_without_key_heads_are_convolutions() {
    let heads = |counts: &[i32]| {
        let counts: Vec<_> = counts.iter().map(|n| n.to_le_bytes().to_vec()).collect();
        let mut file = File::decoder("lfm2").u32("lfm2.shortconv.l_cache", 3);
        file.pairs
            .retain(|(key, ..)| key != "lfm2.attention.head_count_kv");
        file.raw("lfm2.attention.head_count_kv", 9, &array(5, &counts))
    };
    let config = AutoConfig::from_gguf(&heads(&[0, 2]).header()).unwrap();
    let config: Lfm2Config = config.typed().unwrap();
    assert_eq!(
        config.layer_types(),
        [LayerType::Conv, LayerType::FullAttention]
    );
    assert_eq!((config.num_key_value_heads, config.conv_l_cache), (2, 3));
    assert_eq!(config.feed_forward_size(), 48);
    for wrong in [&[0, 2, 2][..], &[-1, 2]] {
        let error = AutoConfig::from_gguf(&heads(wrong).header()).unwrap_err();
        assert!(error.to_string().contains("head_count_kv"), "{error}");
    }
    // One number is that of every layer.
    let config = AutoConfig::from_gguf(
        &File::decoder("lfm2")
            .u32("lfm2.shortconv.l_cache", 3)
            .header(),
    );
    let config: Lfm2Config = config.unwrap().typed().unwrap();
    assert_eq!(config.layer_types(), [LayerType::FullAttention; 2]);
}

#[test]
fn every_cut_is_noticed() {
    let bytes = File::decoder("llama")
        .raw("floats", 9, &array(6, &[1_f32.to_le_bytes().into()]))
        .tensor("token_embd.weight", &[32, 3], 0)
        .bytes();
    for length in 0..bytes.len() {
        let error = parse(&bytes[..length]).unwrap_err();
        assert!(
            matches!(error, ConfigError::GgufTruncated { .. }),
            "{length}: {error}"
        );
        // The same where the length of the file is not what it was said to be.
        assert!(
            GgufHeader::parse(Cursor::new(&bytes[..length]), u64::MAX).is_err(),
            "{length}"
        );
    }
    parse(&bytes).unwrap();
}

#[test]
fn no_changed_byte_makes_it_panic() {
    let bytes = File::decoder("llama")
        .tensor("token_embd.weight", &[32, 3], 0)
        .bytes();
    for index in 0..bytes.len() {
        for value in [0x00, 0x01, 0x09, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[index] = value;
            // What comes of it does not matter, only that something does.
            let _ = parse(&changed)
                .and_then(|header| AutoConfig::from_gguf(&header)?.typed::<LlamaConfig>());
        }
    }
}

#[test]
fn lies_are_refused() {
    fn check(file: File, expected: &str) {
        let error = parse(&file.bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let huge = u64::MAX.to_le_bytes();
    check(File::default().raw("long", 8, &huge), "`long`");
    for kind in 0..=12_u32 {
        check(
            File::default().raw("many", 9, &[&kind.to_le_bytes()[..], &huge].concat()),
            "`many`",
        );
    }
    let mut deep = array(0, &[]);
    for _ in 0..10_000 {
        deep = array(9, &[deep]);
    }
    check(File::default().raw("deep", 9, &deep), "nested too deeply");
    check(
        File::default().raw("kind", 13, &[0; 8]),
        "unknown value type 13",
    );
    check(
        File::default().raw("kinds", 9, &array(99, &[])),
        "unknown value type 99",
    );
    check(
        File::default().raw("bool", 7, &[2]),
        "neither true nor false",
    );
    check(
        File::default().raw("utf8", 8, &[&1_u64.to_le_bytes()[..], b"\xff"].concat()),
        "not valid UTF-8",
    );
    check(
        File::default().u32("twice", 1).u32("twice", 1),
        "key `twice`: it is there twice",
    );
    check(File::default().u32("", 1), "0 bytes long");
    check(
        File::default().u32("general.alignment", 0),
        "not a power of two",
    );
    check(
        File::default().u32("general.alignment", 24),
        "not a power of two",
    );
    check(
        File::default()
            .raw("general.alignment", 10, &(1_u64 << 63).to_le_bytes())
            .tensor("x", &[1], 8),
        "alignment",
    );
    check(
        File::default().tensor("x", &[1], 16),
        "not a multiple of the alignment 32",
    );
    check(
        File::default().tensor("x", &[1], 0).tensor("x", &[1], 32),
        "tensor `x`: it is there twice",
    );
    check(File::default().tensor("x", &[1; 5], 0), "5 dimensions");
    check(
        File::default().tensor("x", &[1 << 32, 1 << 32], 0),
        "overflows",
    );

    let sound = File::default().u32("x", 1).bytes();
    let with = |range: std::ops::Range<usize>, bytes: &[u8]| {
        let mut changed = sound.clone();
        changed[range].copy_from_slice(bytes);
        parse(&changed).unwrap_err()
    };
    assert!(matches!(with(0..4, b"GGML"), ConfigError::GgufMagic { .. }));
    assert!(matches!(
        with(4..8, &1_u32.to_le_bytes()),
        ConfigError::GgufVersion { version: 1, .. }
    ));
    assert!(
        with(4..8, &3_u32.to_be_bytes())
            .to_string()
            .contains("big-endian")
    );
    assert!(matches!(
        with(8..16, &huge),
        ConfigError::GgufTruncated { .. }
    ));
    assert!(matches!(
        with(16..24, &huge),
        ConfigError::GgufTruncated { .. }
    ));
}

#[test]
fn errors_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let error = GgufHeader::open(&path).unwrap_err();
    assert!(matches!(error.cause(), ConfigError::Io { .. }), "{error}");
    fs::write(&path, "GGUF").unwrap();
    let error = GgufHeader::open(&path).unwrap_err();
    assert!(error.to_string().contains("model.gguf"), "{error}");
}

#[test]
fn llama_is_configured_from_its_metadata() {
    let file = File::decoder("llama")
        .u32("llama.rope.dimension_count", 8)
        .f32("llama.rope.freq_base", 100_000.0)
        .u32("llama.vocab_size", 5)
        .u32("tokenizer.ggml.padding_token_id", 2)
        .tensor("token_embd.weight", &[32, 6], 0);
    let config = AutoConfig::from_gguf(&file.header()).unwrap();
    let llama: LlamaConfig = config.typed().unwrap();
    let mut expected: LlamaConfig = AutoConfig::from_value(json!({
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 6,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 256,
        "rope_theta": 100_000.0,
        "tie_word_embeddings": true,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }))
    .unwrap()
    .typed()
    .unwrap();
    expected.rms_norm_eps = f64::from(1e-5_f32);
    assert_eq!(llama, expected);
    let generation = GenerationConfig::from_model_config(&config).unwrap();
    assert_eq!(
        (generation.eos_token_ids(), generation.pad_token_id),
        (&[2][..], Some(2))
    );
}

#[test]
fn tensors_tell_what_metadata_do_not() {
    let config = |file: File| {
        AutoConfig::from_gguf(&file.header())
            .unwrap()
            .typed::<LlamaConfig>()
            .unwrap()
    };
    let plain = config(File::decoder("llama"));
    assert_eq!(
        (
            plain.vocab_size,
            plain.tie_word_embeddings,
            plain.head_dim()
        ),
        (3, true, 8)
    );
    assert!(!plain.attention_bias && !plain.mlp_bias);
    let full = config(
        File::decoder("llama")
            .u32("llama.attention.key_length", 16)
            .u32("tokenizer.ggml.eot_token_id", 7)
            .tensor("output.weight", &[32, 3], 0)
            .tensor("blk.0.attn_q.bias", &[64], 32)
            .tensor("blk.0.ffn_gate.bias", &[48], 64),
    );
    assert_eq!((full.tie_word_embeddings, full.head_dim()), (false, 16));
    assert!(full.attention_bias && full.mlp_bias);
    assert_eq!(full.eos_token_id.unwrap().as_slice(), [2, 7]);
}

#[test]
fn rope_scaling_is_read() {
    let rope = |file: File| {
        let llama: LlamaConfig = AutoConfig::from_gguf(&file.header())
            .unwrap()
            .typed()
            .unwrap();
        llama
            .rope_parameters
            .for_layer(LayerType::FullAttention)
            .unwrap()
            .clone()
    };
    let file = || File::decoder("llama");
    assert_eq!(rope(file()).rope_theta, 10_000.0);
    assert_eq!(
        rope(file().string("llama.rope.scaling.type", "none")).rope_type,
        RopeType::Default
    );
    let linear = rope(
        file()
            .string("llama.rope.scaling.type", "linear")
            .f32("llama.rope.scaling.factor", 4.0),
    );
    assert_eq!(
        (linear.rope_type, linear.factor),
        (RopeType::Linear, Some(4.0))
    );
    let former = rope(file().f32("llama.rope.scale_linear", 2.0));
    assert_eq!(
        (former.rope_type, former.factor),
        (RopeType::Linear, Some(2.0))
    );
    let yarn = rope(
        file()
            .string("llama.rope.scaling.type", "yarn")
            .f32("llama.rope.scaling.factor", 4.0)
            .u32("llama.rope.scaling.original_context_length", 64)
            .f32("llama.rope.scaling.yarn_beta_fast", 16.0),
    );
    assert_eq!(
        (yarn.rope_type, yarn.factor, yarn.beta_fast),
        (RopeType::Yarn, Some(4.0), Some(16.0))
    );
    assert_eq!(yarn.original_max_position_embeddings, Some(64));
}

#[test]
fn divisors_of_the_frequencies_are_read_from_their_tensor() {
    let divisors = [1.0_f32, 2.0, 4.0, 8.0];
    let file = File::decoder("llama").tensor("rope_freqs.weight", &[4], 0);
    let header = file.header();
    let mut bytes = file.bytes();
    bytes.resize(usize::try_from(header.data_offset).unwrap(), 0);
    bytes.extend(divisors.iter().flat_map(|divisor| divisor.to_le_bytes()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    fs::write(&path, &bytes).unwrap();

    let config = AutoConfig::from_pretrained(path.as_path()).unwrap();
    let llama: LlamaConfig = config.typed().unwrap();
    let rope = llama
        .rope_parameters
        .for_layer(LayerType::FullAttention)
        .unwrap();
    let found = rope.frequencies(8, 256, 1000).unwrap();
    let plain = LlamaConfig::default().rope_parameters;
    let plain = plain
        .for_layer(LayerType::FullAttention)
        .unwrap()
        .frequencies(8, 256, 0)
        .unwrap();
    assert_eq!(found.attention_factor, 1.0);
    for ((found, plain), divisor) in found.inv_freq.into_iter().zip(plain.inv_freq).zip(divisors) {
        assert!(
            (found - plain / divisor).abs() <= 1e-6 * plain,
            "{found} instead of {}",
            plain / divisor
        );
    }

    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let error = AutoConfig::from_gguf_file(&path).unwrap_err();
    assert!(error.to_string().contains("model.gguf"), "{error}");
}

#[test]
fn qwen_and_gemma_are_configured_from_their_metadata() {
    let qwen2: Qwen2Config = AutoConfig::from_gguf(&File::decoder("qwen2").header())
        .unwrap()
        .typed()
        .unwrap();
    assert_eq!(
        (
            qwen2.head_dim(),
            qwen2.num_key_value_heads(),
            qwen2.sliding_window()
        ),
        (8, 2, None)
    );

    let file = File::decoder("qwen3")
        .u32("qwen3.attention.key_length", 16)
        .f32("qwen3.rope.freq_base", 1e6);
    let qwen3: Qwen3Config = AutoConfig::from_gguf(&file.header())
        .unwrap()
        .typed()
        .unwrap();
    assert_eq!((qwen3.head_dim, qwen3.bos_token_id), (16, Some(1)));

    let gemma = || {
        File::decoder("gemma3")
            .u32("gemma3.attention.key_length", 16)
            .u32("gemma3.attention.sliding_window", 64)
    };
    let scaled = gemma()
        .string("gemma3.rope.scaling.type", "linear")
        .f32("gemma3.rope.scaling.factor", 8.0);
    let config: Gemma3TextConfig = AutoConfig::from_gguf(&scaled.header())
        .unwrap()
        .typed()
        .unwrap();
    assert_eq!(
        (
            config.head_dim,
            config.query_pre_attn_scalar,
            config.sliding_window()
        ),
        (16, 16, Some(64))
    );
    let rope = |layer_type| {
        let rope = config.rope_parameters.for_layer(layer_type).unwrap();
        (rope.rope_type, rope.rope_theta)
    };
    assert_eq!(rope(LayerType::FullAttention), (RopeType::Linear, 1e6));
    assert_eq!(rope(LayerType::SlidingAttention), (RopeType::Default, 1e4));

    let mut large = gemma();
    large.pairs.retain(|(key, ..)| key != "gemma3.block_count");
    let large = large.u32("gemma3.block_count", 62);
    let config: Gemma3TextConfig = AutoConfig::from_gguf(&large.header())
        .unwrap()
        .typed()
        .unwrap();
    assert_eq!(config.query_pre_attn_scalar, 8);
}

#[test]
fn metadata_without_a_model_are_refused() {
    let check = |file: File, expected: &str| {
        let error = AutoConfig::from_gguf(&file.header())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(File::default(), "general.architecture");
    check(
        File::decoder("rwkv9"),
        "bloom, deepseek2, ernie4_5, ernie4_5-moe, falcon, gemma2, gemma3, glm4moe, gpt-oss",
    );
    check(
        File::decoder("llama").u32("llama.expert_count", 8),
        "mixtral",
    );
    check(
        File::decoder("llama").string("llama.rope.scaling.type", "spiral"),
        "spiral",
    );
    check(
        File::decoder("llama").string("llama.rope.freq_base", "many"),
        "llama.rope.freq_base",
    );
    check(File::decoder("gemma3"), "gemma3.attention.key_length");
    for key in [
        "llama.block_count",
        "llama.context_length",
        "llama.embedding_length",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
        "tokenizer.ggml.tokens",
    ] {
        let mut file = File::decoder("llama");
        file.pairs.retain(|(found, ..)| found != key);
        check(file, key);
    }
    let heads = |counts: &[u32]| {
        let counts: Vec<_> = counts
            .iter()
            .map(|count| count.to_le_bytes().into())
            .collect();
        let mut file = File::decoder("llama");
        file.pairs
            .retain(|(key, ..)| key != "llama.attention.head_count_kv");
        file.raw("llama.attention.head_count_kv", 9, &array(4, &counts))
    };
    check(heads(&[2, 4]), "llama.attention.head_count_kv");
    let same = AutoConfig::from_gguf(&heads(&[2, 2]).header()).unwrap();
    assert_eq!(same.get("num_key_value_heads"), Some(&Value::from(2)));
}

/// What is written of a configuration, as a file has it.
fn written(config: &Value) -> (GgufHeader, Option<Vec<f32>>, Vec<String>) {
    let gguf = AutoConfig::from_value(config.clone())
        .unwrap()
        .to_gguf()
        .unwrap();
    let header = GgufHeader {
        version: 3,
        metadata: gguf.metadata.into_iter().collect(),
        tensors: Vec::new(),
        data_offset: 0,
    };
    (header, gguf.rope_divisors, gguf.lost)
}

#[test]
fn a_configuration_is_written_and_read_back() {
    let sizes = json!({
        "vocab_size": 300, "hidden_size": 96, "intermediate_size": 160, "num_hidden_layers": 7,
        "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "tie_word_embeddings": true, "initializer_range": 0.5, "unknown": "x",
    });
    let with = |more: Value| {
        let mut config = sizes.clone();
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        config
    };
    let number = |header: &GgufHeader, key: &str| header.get(key).and_then(GgufValue::as_f64);

    let llama = with(json!({"model_type": "llama", "rope_theta": 5e5}));
    let (header, divisors, lost) = written(&llama);
    assert_eq!(header.architecture(), Some("llama"));
    for (key, value) in [
        ("vocab_size", 300.0),
        ("context_length", 512.0),
        ("embedding_length", 96.0),
        ("block_count", 7.0),
        ("feed_forward_length", 160.0),
        ("attention.head_count", 6.0),
        ("attention.head_count_kv", 2.0),
        ("attention.key_length", 32.0),
        ("rope.dimension_count", 32.0),
        ("rope.freq_base", 5e5),
        ("attention.layer_norm_rms_epsilon", f64::from(1e-5_f32)),
    ] {
        assert_eq!(
            number(&header, &format!("llama.{key}")),
            Some(value),
            "{key}"
        );
    }
    assert!(divisors.is_none() && lost.is_empty());

    let llama3 = json!({
        "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
    });
    let llama3 = with(json!({"model_type": "llama", "rope_parameters": llama3}));
    let (_, divisors, _) = written(&llama3);
    let divisors = divisors.unwrap();
    assert_eq!((divisors.len(), divisors[0], divisors[15]), (16, 1.0, 8.0));

    let yarn = json!({
        "rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 128,
        "attention_factor": 1.25, "beta_fast": 30.0,
    });
    for (model_type, architecture) in [("qwen2", "qwen2"), ("qwen3", "qwen3"), ("mistral", "llama")]
    {
        let config = with(json!({
            "model_type": model_type, "rope_parameters": yarn, "sliding_window": null
        }));
        let (header, _, lost) = written(&config);
        assert_eq!(header.architecture(), Some(architecture));
        let rope = |key: &str| number(&header, &format!("{architecture}.rope.scaling.{key}"));
        assert_eq!(
            (rope("factor"), rope("yarn_beta_fast")),
            (Some(4.0), Some(30.0))
        );
        assert!(lost.is_empty(), "{lost:?}");
    }
    let (_, _, lost) = written(&with(
        json!({"model_type": "mistral", "sliding_window": 64}),
    ));
    assert_eq!(lost, ["sliding_window"]);

    let gemma = with(json!({
        "model_type": "gemma3_text", "query_pre_attn_scalar": 32, "sliding_window": 64,
        "rope_local_base_freq": 5e3, "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    }));
    let (header, _, lost) = written(&gemma);
    assert_eq!(number(&header, "gemma3.rope.freq_base_swa"), Some(5e3));
    assert_eq!(number(&header, "gemma3.rope.scaling.factor"), Some(8.0));
    assert!(lost.is_empty(), "{lost:?}");
    let read: Gemma3TextConfig = AutoConfig::from_gguf(&header).unwrap().typed().unwrap();
    assert_eq!((read.sliding_window, read.head_dim), (Some(64), 32));
}

#[test]
fn what_a_file_cannot_say_is_refused() {
    let check = |config: Value, expected: &str| {
        let error = AutoConfig::from_value(config)
            .unwrap()
            .to_gguf()
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(json!({"model_type": "bert"}), "gemma3_text, llama");
    check(
        json!({"model_type": "llama", "hidden_act": "gelu"}),
        "`hidden_act`: \"gelu\"",
    );
    check(
        json!({"model_type": "gemma3_text", "query_pre_attn_scalar": 100}),
        "`query_pre_attn_scalar`: 100",
    );
    check(
        json!({"model_type": "gemma3_text", "attn_logit_softcapping": 50.0}),
        "`attn_logit_softcapping`",
    );
    let rope = |rope: Value| json!({"model_type": "llama", "rope_parameters": rope});
    check(
        rope(json!({"rope_type": "dynamic", "factor": 2.0})),
        "`rope_parameters`",
    );
    check(
        rope(json!({"rope_type": "yarn", "factor": 4.0, "mscale": 0.7, "mscale_all_dim": 0.5})),
        "`rope_parameters`",
    );
}
