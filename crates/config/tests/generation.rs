//! The generation configuration: reading, precedence, saving, and what is refused.
#![allow(clippy::unwrap_used)]

use std::fs;

use serde_json::{Value, json};
use transformers_config::{
    AutoConfig, ConfigError, EarlyStopping, GenerationConfig, Never, REFERENCE_VERSION,
    SeedingScheme, StopStrings, SynthIDTextWatermarkingConfig, TokenIds, Watermarking,
    WatermarkingConfig,
};
use transformers_hub::{HubOptions, ModelFiles};

fn read(file: Value) -> GenerationConfig {
    GenerationConfig::from_json_str(&file.to_string()).unwrap()
}

#[test]
fn fields_are_read_and_written_back() {
    let file = json!({"eos_token_id": [1, 2], "pad_token_id": 0, "bos_token_id": -1, "temperature": 1, "do_sample": true,
        "stop_strings": "END", "early_stopping": "never", "exponential_decay_length_penalty": [10, 1.5],
        "suppress_tokens": [-1, 5], "custom": {"a": 1}, "max_new_tokens": null, "transformers_version": "4.40.0",
        "_from_model_config": true});
    let config = read(file);
    assert_eq!(config.eos_token_ids(), [1, 2]);
    assert_eq!((config.pad_token_id, config.bos_token_id), (Some(0), None));
    assert_eq!(config.stop_strings.as_ref().unwrap().as_slice(), ["END"]);
    assert_eq!(
        config.early_stopping,
        Some(EarlyStopping::Never(Never::Never))
    );
    let written: Value = serde_json::from_str(&config.to_json_string().unwrap()).unwrap();
    let expect = json!({"eos_token_id": [1, 2], "pad_token_id": 0, "temperature": 1.0, "do_sample": true,
        "stop_strings": "END", "early_stopping": "never", "exponential_decay_length_penalty": [10, 1.5],
        "suppress_tokens": [-1, 5], "custom": {"a": 1}, "transformers_version": REFERENCE_VERSION});
    assert_eq!(written, expect);
    assert_eq!(read(written), config);
}

#[test]
fn the_call_wins_over_the_model_and_the_model_over_the_defaults() {
    let call = GenerationConfig {
        temperature: Some(0.5),
        do_sample: Some(true),
        stop_strings: Some(StopStrings::Many(vec!["a".into(), "b".into()])),
        ..GenerationConfig::default()
    };
    let model = read(
        json!({"temperature": 0.9, "top_p": 0.8, "eos_token_id": 7, "custom": 1,
        "cache_implementation": "hybrid"}),
    );
    let resolved = GenerationConfig::resolve(&call, &model).unwrap();
    assert_eq!(resolved.temperature, Some(0.5));
    assert_eq!(resolved.top_p, Some(0.8));
    assert_eq!(resolved.eos_token_id, Some(TokenIds::One(7)));
    assert_eq!(resolved.extra.get("custom"), Some(&json!(1)));
    assert_eq!(resolved.cache_implementation, None);
    // What neither says: top_k is 50 as soon as anything samples.
    assert_eq!(
        (resolved.top_k, resolved.max_length, resolved.max_new_tokens),
        (Some(50), Some(20), None)
    );
    assert_eq!(
        (resolved.num_beams, resolved.use_cache),
        (Some(1), Some(true))
    );
}

#[test]
fn the_file_wins_over_the_model_config() {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({"model_type": "llama", "temperature": 0.6, "eos_token_id": 3});
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let files = ModelFiles::resolve(folder.path(), &HubOptions::default()).unwrap();
    let config = AutoConfig::from_files(&files).unwrap();
    let load = || GenerationConfig::from_files(&files, &config);

    let from_config = load().unwrap();
    assert_eq!(
        (from_config.temperature, from_config.eos_token_ids()),
        (Some(0.6), &[3][..])
    );

    read(json!({"top_k": 5, "do_sample": true}))
        .save_pretrained(folder.path())
        .unwrap();
    let from_file = load().unwrap();
    assert_eq!(
        (
            from_file.top_k,
            from_file.temperature,
            from_file.eos_token_ids()
        ),
        (Some(5), None, &[][..])
    );

    fs::write(
        folder.path().join("generation_config.json"),
        "{\"top_k\": \"many\"}",
    )
    .unwrap();
    let error = load().unwrap_err();
    assert!(
        matches!(error.cause(), ConfigError::Invalid { key, .. } if key == "top_k"),
        "{error}"
    );
    assert!(
        error.to_string().contains("generation_config.json"),
        "{error}"
    );
}

#[test]
fn impossible_values_are_refused_by_key() {
    fn check(key: &str, change: impl FnOnce(&mut GenerationConfig)) {
        let mut config = GenerationConfig::default();
        change(&mut config);
        match config.validate() {
            Err(ConfigError::Invalid { key: found, .. }) => assert_eq!(found, key),
            other => panic!("{key}: {other:?}"),
        }
        assert!(
            GenerationConfig::resolve(&config, &GenerationConfig::default()).is_err(),
            "{key}"
        );
        assert!(
            GenerationConfig::resolve(&GenerationConfig::default(), &config).is_err(),
            "{key}"
        );
    }
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1] {
        check("temperature", |config| config.temperature = Some(bad));
        check("top_p", |config| config.top_p = Some(bad));
        check("min_p", |config| config.min_p = Some(bad));
        check("typical_p", |config| config.typical_p = Some(bad));
        check("repetition_penalty", |config| {
            config.repetition_penalty = Some(bad)
        });
        check("encoder_repetition_penalty", |config| {
            config.encoder_repetition_penalty = Some(bad)
        });
        check("epsilon_cutoff", |config| config.epsilon_cutoff = Some(bad));
        check("eta_cutoff", |config| config.eta_cutoff = Some(bad));
        check("max_time", |config| config.max_time = Some(bad));
    }
    for bad in [f64::NAN, f64::INFINITY] {
        check("length_penalty", |config| config.length_penalty = Some(bad));
        check("guidance_scale", |config| config.guidance_scale = Some(bad));
    }
    check("top_p", |config| config.top_p = Some(1.01));
    check("min_p", |config| config.min_p = Some(1.01));
    check("top_h", |config| config.top_h = Some(0.0));
    check("repetition_penalty", |config| {
        config.repetition_penalty = Some(0.0)
    });
    check("assistant_ensemble_weight", |config| {
        config.assistant_ensemble_weight = Some(1.0)
    });
    check("max_new_tokens", |config| config.max_new_tokens = Some(0));
    check("num_beams", |config| config.num_beams = Some(0));
    check("num_return_sequences", |config| {
        config.num_return_sequences = Some(0)
    });
    check("num_return_sequences", |config| {
        config.num_return_sequences = Some(2)
    });
    check("num_return_sequences", |config| {
        config.num_return_sequences = Some(3);
        config.num_beams = Some(2);
    });
    check("temperature", |config| {
        config.temperature = Some(0.0);
        config.do_sample = Some(true);
    });
    check("cache_implementation", |config| {
        config.cache_implementation = Some("paper".into())
    });
    check("forced_eos_token_id", |config| {
        config.forced_eos_token_id = Some(TokenIds::Many(vec![1, 2]));
        config.suppress_tokens = Some(vec![2, 1]);
    });
    check("forced_bos_token_id", |config| {
        config.forced_bos_token_id = Some(1);
        config.suppress_tokens = Some(vec![1]);
    });
    check("prompt_lookup_num_tokens", |config| {
        config.prompt_lookup_num_tokens = Some(0)
    });
    check("assistant_confidence_threshold", |config| {
        config.assistant_confidence_threshold = Some(1.5)
    });
    for (key, change) in [
        ("greenlist_ratio", json!({"greenlist_ratio": 1.0})),
        ("context_width", json!({"context_width": 0})),
        ("ngram_len", json!({"ngram_len": 1, "keys": [1]})),
        ("keys", json!({"ngram_len": 2, "keys": []})),
        (
            "sampling_table_size",
            json!({"ngram_len": 2, "keys": [1], "sampling_table_size": 16_777_217}),
        ),
    ] {
        let change = serde_json::from_value(change).unwrap();
        check(&format!("watermarking_config.{key}"), |config| {
            config.watermarking_config = Some(change)
        });
    }
    check("streamer", |config| {
        drop(config.extra.insert("streamer".into(), json!(null)))
    });
}

#[test]
fn possible_values_are_not_refused() {
    for file in [
        json!({"temperature": 0.0}),
        json!({"temperature": 0, "do_sample": false}),
        json!({"top_k": 0, "top_p": 0.0, "min_p": 1.0}),
        json!({"num_return_sequences": 2, "do_sample": true}),
        json!({"num_return_sequences": 2, "num_beams": 2}),
        json!({"forced_eos_token_id": [1, 2], "suppress_tokens": [1]}),
        json!({"length_penalty": -1.5}),
        json!({"cache_implementation": "static"}),
    ] {
        read(file);
    }
    GenerationConfig::defaults().validate().unwrap();
}

#[test]
fn wrong_types_are_refused_by_key() {
    for (file, expected) in [
        (json!({"eos_token_id": "</s>"}), "eos_token_id"),
        (json!({"do_sample": 1}), "do_sample"),
        (json!({"early_stopping": "later"}), "early_stopping"),
        (json!({"stop_strings": [1]}), "stop_strings"),
        (json!({"max_new_tokens": -3}), "max_new_tokens"),
        (json!({"bad_words_ids": [[1], 2]}), "bad_words_ids[1]"),
        (
            json!({"watermarking_config": {"seeding_scheme": "righthash"}}),
            "watermarking_config",
        ),
        (
            json!({"watermarking_config": {"greenlist": 1}}),
            "watermarking_config",
        ),
    ] {
        match GenerationConfig::from_json_str(&file.to_string()) {
            Err(ConfigError::Invalid { key, .. }) => assert_eq!(key, expected),
            other => panic!("{file}: {other:?}"),
        }
    }
    assert!(matches!(
        GenerationConfig::from_json_str("[]"),
        Err(ConfigError::NotAnObject { .. })
    ));
    let config = AutoConfig::from_value(json!({"model_type": "x", "max_length": "long"})).unwrap();
    assert!(GenerationConfig::from_model_config(&config).is_err());
}

#[test]
fn fields_without_effect_are_listed() {
    let greedy =
        read(json!({"temperature": 0.6, "top_p": 0.9, "top_k": 50, "length_penalty": 2.0}));
    assert_eq!(
        greedy.without_effect(),
        ["temperature", "top_p", "length_penalty"]
    );
    let sampled =
        read(json!({"do_sample": true, "temperature": 0.6, "min_p": 0.1, "early_stopping": true}));
    assert_eq!(sampled.without_effect(), ["early_stopping"]);
    assert_eq!(
        GenerationConfig::defaults().without_effect(),
        Vec::<&str>::new()
    );
}

#[test]
fn watermarks_are_read_by_their_fields() {
    let file = json!({"watermarking_config": {"bias": 2.5, "seeding_scheme": "selfhash"}});
    let expect = WatermarkingConfig {
        bias: 2.5,
        seeding_scheme: SeedingScheme::SelfHash,
        ..WatermarkingConfig::default()
    };
    let config = read(file);
    assert_eq!(
        config.watermarking_config,
        Some(Watermarking::GreenList(expect))
    );
    assert_eq!(
        read(serde_json::from_str(&config.to_json_string().unwrap()).unwrap()),
        config
    );
    let file = json!({"watermarking_config": {"ngram_len": 5, "keys": [654, 400]}});
    let expect = SynthIDTextWatermarkingConfig::new(5, vec![654, 400]);
    let config = read(file);
    assert_eq!(
        config.watermarking_config,
        Some(Watermarking::SynthIDText(expect))
    );
    assert_eq!(
        read(serde_json::from_str(&config.to_json_string().unwrap()).unwrap()),
        config
    );
}

#[test]
fn what_has_no_effect_is_not_published() {
    let folder = tempfile::tempdir().unwrap();
    for file in [
        json!({"temperature": 0.6}),
        json!({"length_penalty": 2.0}),
        json!({"use_cache": false, "cache_implementation": "static"}),
        json!({"output_scores": true}),
    ] {
        let config = read(file);
        let error = config.save_pretrained(folder.path()).unwrap_err();
        assert!(matches!(error, ConfigError::Invalid { .. }), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    // as it was published
    let published = read(json!({"temperature": 0.6}));
    published.save_unchanged(folder.path()).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn nothing_invalid_is_saved() {
    let folder = tempfile::tempdir().unwrap();
    let config = GenerationConfig {
        temperature: Some(f64::NAN),
        ..GenerationConfig::default()
    };
    assert!(config.save_pretrained(folder.path()).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
