//! `config.json` of every family, in today's form and older ones, against what the reference makes of it
//! (`tests/oracle/golden_config.py`); and what is refused.
#![allow(clippy::unwrap_used)]

use std::fs;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use transformers_config::{
    AutoConfig, BaseConfig, BertConfig, ConfigError, Gemma3TextConfig, GenerationConfig, LayerType,
    LlamaConfig, MistralConfig, ModelConfig, Qwen2Config, Qwen3Config, REFERENCE_VERSION,
};

#[derive(Deserialize)]
struct Case {
    file: Value,
    saved: String,
}

fn golden(part: &str) -> Vec<Case> {
    let mut golden: Map<String, Value> =
        serde_json::from_str(include_str!("golden/configs.json")).unwrap();
    serde_json::from_value(golden.remove(part).unwrap()).unwrap()
}

/// The file that a family's own type is saved as.
fn saved_by_family(config: &AutoConfig) -> String {
    config.completed().unwrap().to_json_string()
}

#[test]
fn families_are_saved_as_the_reference_saves_them() {
    let cases = golden("configs");
    assert!(cases.len() >= 80);
    for Case { file, saved } in cases {
        let config = AutoConfig::from_value(file.clone()).unwrap();
        let text = saved_by_family(&config);
        assert_eq!(text, saved, "{file}");
        let again = AutoConfig::from_json_str(&text).unwrap();
        assert_eq!(saved_by_family(&again), saved, "read back: {file}");
    }
}

#[test]
fn a_text_model_is_found_within_its_wrapper() {
    for Case { file, saved } in golden("wrapped") {
        let config = AutoConfig::from_value(file).unwrap();
        let mut typed: Gemma3TextConfig = config.typed().unwrap();
        // The reference keeps the dtype of the whole outside.
        assert_eq!(typed.base.dtype.take().as_deref(), Some("bfloat16"));
        assert_eq!(config.dtype(), Some("bfloat16"));
        assert_eq!(
            AutoConfig::from_typed(&typed).unwrap().to_json_string(),
            saved
        );
    }
    let empty = AutoConfig::from_value(json!({"model_type": "gemma3"})).unwrap();
    assert_eq!(
        empty.typed::<Gemma3TextConfig>().unwrap().num_hidden_layers,
        26
    );
}

#[test]
fn generation_parameters_leave_the_config() {
    let cases = golden("generation");
    assert_eq!(cases.len(), 4);
    for Case { file, saved } in cases {
        let config = AutoConfig::from_value(file.clone()).unwrap();
        let generation = GenerationConfig::from_model_config(&config).unwrap();
        assert_eq!(generation.to_json_string().unwrap(), saved, "{file}");
    }
}

#[test]
fn the_tree_keeps_what_it_does_not_know() {
    let text = r#"{"model_type": "unheard_of", "torch_dtype": "torch.float16", "num_beams": 3, "limit": [0.0, Infinity],
        "layer_types": ["mamba", "attention"], "big": 1e30, "architectures": ["A"], "_name_or_path": "x"}"#;
    let config = AutoConfig::from_json_str(text).unwrap();
    assert_eq!(config.model_type(), "unheard_of");
    assert_eq!(config.architectures(), ["A"]);
    assert_eq!(config.dtype(), Some("float16"));
    assert_eq!(
        config.get("layer_types"),
        Some(&json!(["linear_attention", "full_attention"]))
    );
    let expect = format!(
        r#"{{
  "architectures": [
    "A"
  ],
  "big": 1e+30,
  "dtype": "float16",
  "layer_types": [
    "linear_attention",
    "full_attention"
  ],
  "limit": [
    0.0,
    {{
      "__float__": "Infinity"
    }}
  ],
  "model_type": "unheard_of",
  "num_beams": 3,
  "transformers_version": "{REFERENCE_VERSION}"
}}
"#
    );
    assert_eq!(config.to_json_string(), expect);
}

#[test]
fn the_tree_of_a_known_family_is_in_todays_form() {
    let config =
        AutoConfig::from_value(json!({"model_type": "llama", "rope_theta": 5.0, "top_p": 0.5}))
            .unwrap();
    let expect = json!({"model_type": "llama", "rope_parameters": {"rope_theta": 5.0, "rope_type": "default"},
        "transformers_version": REFERENCE_VERSION});
    assert_eq!(
        serde_json::from_str::<Value>(&config.to_json_string()).unwrap(),
        expect
    );
}

#[test]
fn folders_are_read_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = json!({"model_type": "llama", "hidden_size": 64, "temperature": 0.5, "eos_token_id": [1, 2]});
    fs::write(folder.path().join("config.json"), file.to_string()).unwrap();
    let config = AutoConfig::from_pretrained(folder.path()).unwrap();
    assert_eq!(config.typed::<LlamaConfig>().unwrap().head_dim(), 2);

    let out = folder.path().join("new/deep");
    config.save_pretrained(&out).unwrap();
    assert_eq!(
        fs::read_to_string(out.join("config.json")).unwrap(),
        config.to_json_string()
    );
    assert_eq!(
        fs::read_dir(&out).unwrap().count(),
        1,
        "a temporary file was left"
    );
}

#[test]
fn what_is_not_a_configuration_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = || AutoConfig::from_pretrained(folder.path()).unwrap_err();

    let error = open();
    assert!(matches!(error, ConfigError::NoConfig { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&folder.path().display().to_string()),
        "{error}"
    );

    let path = folder.path().join("config.json");
    let check = |content: &[u8], expected: fn(&ConfigError) -> bool| {
        fs::write(&path, content).unwrap();
        let error = open();
        assert!(expected(error.cause()), "{error}");
        assert!(error.to_string().contains("config.json"), "{error}");
    };
    check(b"", |error| matches!(error, ConfigError::Json { .. }));
    check(b"{\"model_type\": \"llama\"", |error| {
        matches!(error, ConfigError::Json { .. })
    });
    check(b"\xff\xfe", |error| matches!(error, ConfigError::Io { .. }));
    check(b"[]", |error| {
        matches!(error, ConfigError::NotAnObject { found: "an array" })
    });
    check(b"{}", |error| matches!(error, ConfigError::NoModelType));
    check(b"{\"model_type\": null}", |error| {
        matches!(error, ConfigError::NoModelType)
    });
    check(b"{\"model_type\": \"\"}", |error| {
        matches!(error, ConfigError::Invalid { .. })
    });
    check(b"{\"model_type\": 3}", |error| {
        matches!(error, ConfigError::Invalid { .. })
    });
    check(b"{\"model_type\": \"x\", \"architectures\": 3}", |error| {
        matches!(error, ConfigError::Invalid { .. })
    });
    check(
        b"{\"model_type\": \"llama\", \"rope_scaling\": 3}",
        |error| matches!(error, ConfigError::Invalid { .. }),
    );

    let config = AutoConfig::from_value(json!({"model_type": "bert"})).unwrap();
    assert!(matches!(
        config.typed::<LlamaConfig>(),
        Err(ConfigError::WrongModelType { .. })
    ));
}

/// The key that the error of `C` names for `changes` to its defaults.
fn refused_key<C: ModelConfig>(changes: &Value) -> String {
    let mut file = json!({"model_type": C::MODEL_TYPE});
    for (key, value) in changes.as_object().unwrap() {
        file[key] = value.clone();
    }
    match AutoConfig::from_value(file).and_then(|config| config.typed::<C>()) {
        Err(ConfigError::Invalid { key, .. }) => key,
        other => panic!("{changes}: {other:?}"),
    }
}

#[test]
fn impossible_sizes_are_refused_by_key() {
    fn check<C: ModelConfig>(cases: &[(Value, &str)]) {
        for (changes, key) in cases {
            assert_eq!(
                refused_key::<C>(changes),
                *key,
                "{}: {changes}",
                C::MODEL_TYPE
            );
        }
    }
    fn check_decoder<C: ModelConfig>() {
        check::<C>(&[
            (json!({"num_hidden_layers": 0}), "num_hidden_layers"),
            (
                json!({"num_hidden_layers": 1_000_000_000_000_u64}),
                "num_hidden_layers",
            ),
            (json!({"num_hidden_layers": -1}), "num_hidden_layers"),
            (json!({"num_hidden_layers": 2.5}), "num_hidden_layers"),
            (json!({"vocab_size": 0}), "vocab_size"),
            (json!({"vocab_size": u64::MAX}), "vocab_size"),
            (json!({"hidden_size": 0}), "hidden_size"),
            (json!({"hidden_size": "64"}), "hidden_size"),
            (json!({"intermediate_size": null}), "intermediate_size"),
            (
                json!({"max_position_embeddings": 0}),
                "max_position_embeddings",
            ),
            (json!({"num_attention_heads": 0}), "num_attention_heads"),
            (json!({"num_key_value_heads": 0}), "num_key_value_heads"),
            (json!({"num_key_value_heads": 3}), "num_key_value_heads"),
            (json!({"head_dim": 0}), "head_dim"),
            (json!({"head_dim": 7}), "head_dim"),
            (json!({"head_dim": 1_u64 << 40}), "head_dim"),
            (json!({"rms_norm_eps": -1.0}), "rms_norm_eps"),
            (json!({"eos_token_id": "</s>"}), "eos_token_id"),
            (json!({"pad_token_id": 1_u64 << 40}), "pad_token_id"),
            (json!({"tie_word_embeddings": 1}), "tie_word_embeddings"),
        ]);
    }
    check_decoder::<LlamaConfig>();
    check_decoder::<MistralConfig>();
    check_decoder::<Qwen2Config>();
    check_decoder::<Qwen3Config>();
    check_decoder::<Gemma3TextConfig>();

    let uneven = json!({"hidden_size": 100, "num_attention_heads": 32, "num_key_value_heads": 32});
    check::<LlamaConfig>(&[
        (uneven.clone(), "num_attention_heads"),
        (
            json!({"hidden_size": 100, "head_dim": 8}),
            "num_attention_heads",
        ),
        (
            json!({"rope_scaling": {"type": "linear"}}),
            "rope_parameters.factor",
        ),
        (
            json!({"rope_parameters": {"rope_type": "spiral"}}),
            "rope_parameters",
        ),
        (json!({"rope_theta": 0}), "rope_parameters.rope_theta"),
        (
            json!({"partial_rotary_factor": 0.5}),
            "rope_parameters.partial_rotary_factor",
        ),
        (json!({"rope_parameters": 3}), "rope_parameters"),
    ]);
    check::<MistralConfig>(&[
        (uneven.clone(), "num_attention_heads"),
        (json!({"sliding_window": 0}), "sliding_window"),
    ]);
    check::<Qwen2Config>(&[
        (uneven.clone(), "num_attention_heads"),
        (
            json!({"use_sliding_window": true, "sliding_window": 0}),
            "sliding_window",
        ),
        (json!({"layer_types": ["full_attention"]}), "layer_types"),
        (
            json!({"num_hidden_layers": 1, "layer_types": ["half_attention"]}),
            "layer_types[0]",
        ),
        (
            json!({"rope_parameters": {"full_attention": {"rope_type": "yarn", "factor": 0.0}}}),
            "rope_parameters.full_attention.factor",
        ),
    ]);
    check::<Qwen3Config>(&[(json!({"layer_types": []}), "layer_types")]);
    check::<Gemma3TextConfig>(&[
        (uneven.clone(), "num_attention_heads"),
        (json!({"sliding_window": null}), "sliding_window"),
        (
            json!({"sliding_window_pattern": 0}),
            "sliding_window_pattern",
        ),
        (json!({"query_pre_attn_scalar": 0}), "query_pre_attn_scalar"),
        (
            json!({"final_logit_softcapping": 0.0}),
            "final_logit_softcapping",
        ),
    ]);
    check::<BertConfig>(&[
        (uneven, "num_attention_heads"),
        (json!({"num_attention_heads": 0}), "num_attention_heads"),
        (json!({"type_vocab_size": 0}), "type_vocab_size"),
        (json!({"layer_norm_eps": -1.0}), "layer_norm_eps"),
        (json!({"dtype": 3}), "config"),
    ]);
}

#[test]
fn a_wrapped_error_names_the_wrapped_key() {
    let file = json!({"model_type": "gemma3", "text_config": {"hidden_size": 0}});
    match AutoConfig::from_value(file)
        .unwrap()
        .typed::<Gemma3TextConfig>()
    {
        Err(ConfigError::Invalid { key, .. }) => assert_eq!(key, "text_config.hidden_size"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_struct_literal_works_like_a_file() {
    let qwen = Qwen2Config {
        num_hidden_layers: 3,
        use_sliding_window: true,
        max_window_layers: 1,
        ..Qwen2Config::default()
    };
    qwen.validate().unwrap();
    use LayerType::{FullAttention, SlidingAttention};
    assert_eq!(
        qwen.layer_types(),
        [FullAttention, SlidingAttention, SlidingAttention]
    );
    assert_eq!((qwen.head_dim(), qwen.num_key_value_heads()), (128, 32));
    assert_eq!(Qwen2Config::default().sliding_window(), None);

    let gemma = Gemma3TextConfig::default();
    gemma.validate().unwrap();
    assert_eq!(
        gemma.layer_types()[4..7],
        [SlidingAttention, FullAttention, SlidingAttention]
    );
    assert_eq!(
        gemma
            .rope_parameters
            .for_layer(FullAttention)
            .unwrap()
            .rope_theta,
        1e6
    );
    let both_ways = Gemma3TextConfig {
        use_bidirectional_attention: Some(true),
        ..gemma
    };
    assert_eq!(both_ways.sliding_window(), Some(2049));

    let mistral = MistralConfig::default();
    assert_eq!(mistral.layer_types()[0], SlidingAttention);
    let unlimited = MistralConfig {
        sliding_window: None,
        ..mistral
    };
    assert_eq!(unlimited.layer_types()[0], FullAttention);
}

#[test]
fn missing_tokens_may_be_written_as_minus_one() {
    let file = json!({"model_type": "llama", "pad_token_id": -1, "eos_token_id": [2, -1]});
    let config: LlamaConfig = AutoConfig::from_value(file).unwrap().typed().unwrap();
    assert_eq!(config.pad_token_id, None);
    assert_eq!(config.eos_token_id.unwrap().as_slice(), [2]);
}

#[test]
fn facts_are_read_off_the_tree() {
    let config = |file: Value| AutoConfig::from_value(file).unwrap();
    let quantized = |settings: Value| {
        let config = config(json!({"model_type": "x", "quantization_config": settings}));
        config.quantization_method().map(str::to_owned)
    };
    assert_eq!(quantized(json!(null)), None);
    assert_eq!(
        quantized(json!({"quant_method": "gptq", "bits": 4})).as_deref(),
        Some("gptq")
    );
    assert_eq!(
        quantized(json!({"load_in_8bit": true})).as_deref(),
        Some("bitsandbytes")
    );
    assert_eq!(quantized(json!({})).as_deref(), Some("unknown"));
    let compressed = config(json!({"model_type": "x", "compression_config": {}}));
    assert_eq!(compressed.quantization_method(), Some("compressed-tensors"));
    let inside =
        json!({"model_type": "x", "text_config": {"quantization_config": {"quant_method": "fp8"}}});
    assert_eq!(config(inside).quantization_method(), Some("fp8"));

    assert!(
        config(json!({"model_type": "x", "auto_map": {"AutoConfig": "a.B"}})).has_remote_code()
    );
    assert!(!config(json!({"model_type": "x", "auto_map": {}})).has_remote_code());

    let tied = |file: Value| config(file).tie_word_embeddings();
    assert!(!tied(json!({"model_type": "llama"})));
    assert!(tied(
        json!({"model_type": "llama", "tie_word_embeddings": true})
    ));
    assert!(tied(json!({"model_type": "gemma3_text"})));
    assert!(tied(json!({"model_type": "gemma3"})));
    // which of the two counts depends on the class of the whole
    let wrapped = |model_type: &str, whole: Option<bool>, text: Option<bool>| {
        let mut tree = json!({"model_type": model_type, "text_config": {"model_type": "llama"}});
        if let Some(tie) = whole {
            tree["tie_word_embeddings"] = json!(tie);
        }
        if let Some(tie) = text {
            tree["text_config"]["tie_word_embeddings"] = json!(tie);
        }
        tied(tree)
    };
    assert!(wrapped("gemma3", None, Some(false)) && !wrapped("gemma3", Some(false), Some(true)));
    assert!(!wrapped("llava_next", None, Some(true)) && wrapped("llava_next", Some(true), None));
    assert!(wrapped("llava", Some(false), Some(true)) && !wrapped("llava", None, None));
    assert!(wrapped("perception_lm", None, Some(true)));
    assert!(!wrapped("perception_lm", Some(false), Some(true)));
    assert!(!wrapped("blip-2", Some(true), Some(false)) && wrapped("blip-2", None, Some(true)));
    assert!(!wrapped("voxtral", Some(true), Some(true)));
    assert!(wrapped("x", None, Some(true)) && !wrapped("x", Some(false), Some(true)));
    // of another family, the text model's default
    let inside = json!({"model_type": "llava", "text_config": {"model_type": "gemma"}});
    assert!(tied(inside));
    assert!(!tied(
        json!({"model_type": "lfm2_vl", "tie_embedding": false, "text_config": {}})
    ));

    assert_eq!(config(json!({"model_type": "x"})).dtype(), None);
    assert_eq!(
        config(json!({"model_type": "x", "torch_dtype": "half", "dtype": "bfloat16"})).dtype(),
        Some("bfloat16")
    );
    assert_eq!(
        config(json!({"model_type": "x", "dtype": {"": "float16", "v": "float32"}})).dtype(),
        Some("float16")
    );
    assert_eq!(
        config(json!({"model_type": "x", "text_config": {"torch_dtype": "float16"}})).dtype(),
        Some("float16")
    );

    let labels = json!({"model_type": "bert", "id2label": {"0": "a", "1": "b", "2": "c"}});
    let labels: BertConfig = config(labels).typed().unwrap();
    assert_eq!(
        (labels.base.num_labels(), labels.base.label(2)),
        (3, "c".to_owned())
    );
    assert_eq!(
        (
            BaseConfig::default().num_labels(),
            BaseConfig::default().label(1)
        ),
        (2, "LABEL_1".to_owned())
    );
}

#[test]
fn a_family_from_elsewhere_has_the_same_way() {
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Foreign {
        width: usize,
        num_beams: usize,
        #[serde(flatten)]
        base: BaseConfig,
    }
    impl ModelConfig for Foreign {
        const MODEL_TYPE: &'static str = "foreign";

        fn standardize(raw: &mut Map<String, Value>) -> transformers_config::Result<()> {
            if let Some(width) = raw.remove("n_embd") {
                raw.insert("width".into(), width);
            }
            Ok(())
        }
    }
    let file =
        json!({"model_type": "foreign", "n_embd": 5, "num_beams": 2, "top_k": 4, "other": "x"});
    let config: Foreign = AutoConfig::from_value(file).unwrap().typed().unwrap();
    assert_eq!((config.width, config.num_beams), (5, 2));
    let expect = json!({"model_type": "foreign", "width": 5, "num_beams": 2, "other": "x",
        "transformers_version": REFERENCE_VERSION});
    let text = AutoConfig::from_typed(&config).unwrap().to_json_string();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expect);
}

#[test]
fn dtypes_have_several_names() {
    use transformers_config::{DTYPES, parse_dtype};
    for (name, expected) in [
        ("bf16", "bfloat16"),
        ("torch.float16", "float16"),
        ("float", "float32"),
        ("f64", "float64"),
    ] {
        assert_eq!(parse_dtype(name).unwrap(), expected);
    }
    for name in DTYPES {
        assert_eq!(parse_dtype(name).unwrap(), name);
    }
    let error = parse_dtype("int3").unwrap_err().to_string();
    assert!(
        error.contains("int3") && error.contains("bfloat16"),
        "{error}"
    );
}
