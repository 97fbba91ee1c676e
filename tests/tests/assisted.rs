//! Drafts change how long a generation takes, never what it gives.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use transformers_config::{GenerationConfig, TokenIds};
use transformers_generation::{Generate, GenerateError, GenerateOptions};
use transformers_modeling::{AutoModelForCausalLM, AutoModelForSeq2SeqLM};
use transformers_tokenization::AutoTokenizer;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(name)
}

const PROMPT: [u32; 9] = [20, 31, 44, 12, 57, 20, 31, 44, 12];

fn config(do_sample: bool) -> GenerationConfig {
    GenerationConfig {
        max_new_tokens: Some(24),
        do_sample: Some(do_sample),
        eos_token_id: Some(TokenIds::Many(Vec::new())),
        repetition_penalty: Some(1.2),
        ..GenerationConfig::default()
    }
}

fn lookup(config: &GenerationConfig) -> GenerationConfig {
    GenerationConfig {
        prompt_lookup_num_tokens: Some(4),
        ..config.clone()
    }
}

#[test]
fn prompt_lookup_changes_no_token() {
    // phi3_longrope changes its rotation on the way
    for name in [
        "llama",
        "mistral",
        "gemma3_text",
        "qwen2_sliding",
        "phi3_longrope",
    ] {
        let model = AutoModelForCausalLM::from_pretrained(case(name)).unwrap();
        for do_sample in [false, true] {
            let plain = model.generate(&PROMPT[..], &config(do_sample)).unwrap();
            let config = lookup(&config(do_sample));
            let assisted = model.generate(&PROMPT[..], &config).unwrap();
            assert_eq!(plain.sequences, assisted.sequences, "{name} {do_sample}");
            assert_eq!(plain.new_lens, assisted.new_lens);
        }
    }
}

#[test]
fn an_encoder_decoder_is_assisted_too() {
    let model = AutoModelForSeq2SeqLM::from_pretrained(case("t5")).unwrap();
    let plain = model.generate(&PROMPT[..], &config(false)).unwrap();
    let assisted = model
        .generate(&PROMPT[..], &lookup(&config(false)))
        .unwrap();
    assert_eq!(plain.sequences, assisted.sequences);
    let options = GenerateOptions {
        assistant: Some(&*model),
        ..GenerateOptions::default()
    };
    let assisted = model.generate_with(&PROMPT[..], &config(false), options);
    assert_eq!(plain.sequences, assisted.unwrap().sequences);
}

#[test]
fn an_assistant_changes_no_token() {
    for (model, name) in [
        ("llama", "llama"),
        ("llama", "llama_no_gqa"),
        ("llama", "mistral"),
        ("phi3_longrope", "phi3_longrope"),
    ] {
        let model = AutoModelForCausalLM::from_pretrained(case(model)).unwrap();
        let assistant = AutoModelForCausalLM::from_pretrained(case(name)).unwrap();
        for schedule in ["constant", "heuristic"] {
            for do_sample in [false, true] {
                let config = GenerationConfig {
                    num_assistant_tokens: Some(3),
                    num_assistant_tokens_schedule: Some(schedule.into()),
                    assistant_confidence_threshold: Some(0.0),
                    ..config(do_sample)
                };
                let plain = model.generate(&PROMPT[..], &config).unwrap();
                let options = GenerateOptions {
                    assistant: Some(&*assistant),
                    ..GenerateOptions::default()
                };
                let assisted = model.generate_with(&PROMPT[..], &config, options);
                let assisted = assisted.unwrap();
                assert_eq!(plain.sequences, assisted.sequences, "{name} {do_sample}");
            }
        }
    }
}

#[test]
fn an_assistant_may_have_another_tokenizer() {
    let chat = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/transformers/tests/tiny");
    let model = AutoModelForCausalLM::from_pretrained(chat.as_path()).unwrap();
    let tokenizer = AutoTokenizer::from_pretrained(chat.as_path()).unwrap();
    let ids = tokenizer
        .encode("What is the capital of France?", false)
        .unwrap();
    let plain = model.generate(&ids[..], &config(false)).unwrap();
    let options = GenerateOptions {
        tokenizer: Some(&tokenizer),
        assistant: Some(&*model),
        assistant_tokenizer: Some(&tokenizer),
        ..GenerateOptions::default()
    };
    let assisted = model.generate_with(&ids[..], &config(false), options);
    assert_eq!(plain.sequences, assisted.unwrap().sequences);
}

#[test]
fn prompts_in_pieces_change_no_token() {
    for name in ["llama", "mistral", "gemma3_text", "phi3_longrope"] {
        let model = AutoModelForCausalLM::from_pretrained(case(name)).unwrap();
        let prompt = PROMPT.repeat(3);
        let plain = model.generate(&prompt, &config(false)).unwrap();
        for size in [1, 2, 4, 8, 100] {
            let config = GenerationConfig {
                prefill_chunk_size: Some(size),
                ..config(false)
            };
            let pieces = model.generate(&prompt, &config).unwrap();
            assert_eq!(plain.sequences, pieces.sequences, "{name} {size}");
        }
    }
}

#[test]
fn several_rows_are_refused() {
    let model = AutoModelForCausalLM::from_pretrained(case("llama")).unwrap();
    let config = GenerationConfig {
        num_return_sequences: Some(2),
        ..lookup(&config(true))
    };
    let refused = model.generate(&PROMPT[..], &config);
    assert!(matches!(
        refused,
        Err(GenerateError::AssistantNeedsOneSequence { count: 2 })
    ));
}
