//! Structured output: whatever the model, the text follows its grammar.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::Device;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use transformers_config::{AutoConfig, GenerationConfig};
use transformers_generation::{
    FinishReason, Generate, GenerateAs, GenerateError, GenerateOptions, Grammar, GrammarCompiler,
};
use transformers_modeling::AutoModelForCausalLM;
use transformers_tokenization::{AutoTokenizer, Tokenizer};

/// A tiny model of random weights, and a tokenizer that has every byte: only the grammar makes it write anything.
fn model() -> (AutoModelForCausalLM, Tokenizer) {
    let folder = "../crates/tokenization/tests/golden/byte_level";
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let tokenizer = AutoTokenizer::from_pretrained(folder.as_path()).unwrap();
    let eos = tokenizer.all_special_ids()[0];
    let config = json!({
        "model_type": "llama",
        "vocab_size": tokenizer.vocab_size(),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "initializer_range": 0.5,
        "eos_token_id": eos,
    });
    let config = AutoConfig::from_json_str(&config.to_string()).unwrap();
    let mut model = AutoModelForCausalLM::from_config(&config, &Device::flex()).unwrap();
    model.info_mut().generation_config.eos_token_id = Some(eos.into());
    (model, tokenizer)
}

fn config(seed: Option<u64>, beams: usize) -> GenerationConfig {
    GenerationConfig {
        max_new_tokens: Some(400),
        do_sample: Some(seed.is_some()),
        num_beams: Some(beams),
        ..GenerationConfig::default()
    }
}

/// Drafts of the model's own first layer, and of the text.
fn assisted(seed: Option<u64>, lookup: bool) -> GenerationConfig {
    GenerationConfig {
        prompt_lookup_num_tokens: lookup.then_some(4),
        assistant_early_exit: (!lookup).then_some(1),
        assistant_confidence_threshold: Some(0.0),
        ..config(seed, 1)
    }
}

/// What the model writes under `grammar`, in every mode; each text goes through `check`.
fn texts(grammar: &Grammar, check: impl Fn(&str) -> bool) {
    let (model, tokenizer) = model();
    let eos = model.info().generation_config.eos_token_ids();
    let grammars = GrammarCompiler::new(&tokenizer, eos).unwrap();
    let constraint = grammars.compile(grammar).unwrap();
    let prompt = tokenizer
        .encode("What is the capital of France?", false)
        .unwrap();
    for (seed, config) in [
        (None, config(None, 1)),
        (Some(1), config(Some(1), 1)),
        (Some(2), config(Some(2), 1)),
        (Some(3), config(Some(3), 1)),
        (None, config(None, 3)),
        (Some(1), config(Some(1), 3)),
        (None, assisted(None, true)),
        (None, assisted(None, false)),
        (Some(4), assisted(Some(4), false)),
    ] {
        let options = GenerateOptions {
            processors: vec![Box::new(constraint.clone())],
            seed,
            ..GenerateOptions::default()
        };
        let ours = model.generate_with(&prompt[..], &config, options);
        let ours = ours.unwrap();
        let text = tokenizer.decode(ours.new_tokens(0), true).unwrap();
        assert_eq!(
            ours.finish_reasons,
            [FinishReason::Eos],
            "{grammar:?}: {text}"
        );
        assert!(check(&text), "{grammar:?}: {text:?}");
    }
}

#[test]
fn a_regular_expression_holds() {
    texts(&Grammar::Regex("[a-c]{3}-[0-9]{2}".into()), |text| {
        let bytes = text.as_bytes();
        bytes.len() == 6
            && bytes[..3].iter().all(|b| (b'a'..=b'c').contains(b))
            && bytes[3] == b'-'
            && bytes[4..].iter().all(u8::is_ascii_digit)
    });
}

#[test]
fn one_of_the_choices_is_made() {
    let choices = ["(yes)", "no?", "per\"haps\\", "日本"].map(str::to_owned);
    let allowed = choices.to_vec();
    texts(&Grammar::Choices(choices.into()), |text| {
        allowed.iter().any(|choice| choice == text)
    });
}

#[test]
fn a_lark_grammar_holds() {
    let grammar = "start: NAME \"=\" NUMBER\nNAME: /[a-z]{2,4}/\nNUMBER: /[0-9]{1,3}/";
    texts(&Grammar::Lark(grammar.into()), |text| {
        let (name, number) = text.split_once('=').unwrap();
        (2..=4).contains(&name.len()) && number.parse::<u16>().is_ok()
    });
}

#[test]
fn a_json_schema_holds() {
    let schema = json!({
        "type": "object",
        "properties": {
            "city": {"enum": ["Paris", "Rome"]},
            "population": {"type": "integer", "minimum": 0, "maximum": 99},
            "rivers": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2}
        },
        "required": ["city", "population", "rivers"],
        "additionalProperties": false
    });
    texts(&Grammar::JsonSchema(schema), |text| {
        let value: Value = serde_json::from_str(text).unwrap();
        let population = value["population"].as_u64().unwrap();
        let rivers = value["rivers"].as_array().unwrap();
        ["Paris", "Rome"].contains(&value["city"].as_str().unwrap())
            && population < 100
            && rivers.iter().all(Value::is_boolean)
    });
}

#[derive(Debug, Deserialize, JsonSchema)]
#[allow(dead_code)]
struct Answer {
    city: City,
    capital: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
enum City {
    Paris,
    Rome,
}

#[test]
fn an_answer_is_a_rust_value() {
    let (model, tokenizer) = model();
    let prompt = tokenizer
        .encode("What is the capital of France?", false)
        .unwrap();
    let answer: Answer = model
        .generate_as(&prompt[..], &config(None, 1), &tokenizer)
        .unwrap();
    assert!(matches!(answer.city, City::Paris | City::Rome));
    let short = GenerationConfig {
        max_new_tokens: Some(3),
        ..config(None, 1)
    };
    let refused = model.generate_as::<Answer>(&prompt[..], &short, &tokenizer);
    assert!(matches!(refused, Err(GenerateError::Incomplete)));
}

#[test]
fn a_wrong_or_hostile_grammar_is_refused() {
    let (model, tokenizer) = model();
    let eos = model.info().generation_config.eos_token_ids();
    let grammars = GrammarCompiler::new(&tokenizer, eos).unwrap();
    let wide = "x".repeat(2 << 20);
    let mut deep = json!({"type": "string"});
    for _ in 0..100 {
        deep = json!({"type": "array", "items": deep});
    }
    let mut accepted: Vec<String> = Vec::new();
    for grammar in [
        Grammar::Regex("(".into()),
        Grammar::Regex("(".repeat(100_000)),
        Grammar::Regex("(?=a)b".into()),
        Grammar::Regex(wide.clone()),
        Grammar::Choices(Vec::new()),
        Grammar::Choices(vec![wide]),
        Grammar::Lark("start: missing".into()),
        Grammar::Lark("start: start".into()),
        Grammar::Lark("no grammar".into()),
        Grammar::JsonSchema(json!({"type": "none"})),
        Grammar::JsonSchema(json!(false)),
        Grammar::JsonSchema(json!({"$ref": "https://example.com/schema.json"})),
        Grammar::JsonSchema(deep),
        Grammar::JsonSchema(json!({"type": "integer", "multipleOf": 999_983})),
        Grammar::JsonSchema(json!({"allOf": [{"type": "integer", "multipleOf": 997},
            {"type": "integer", "multipleOf": 991}]})),
        Grammar::Lark("start: %json {\"type\": \"integer\", \"multipleOf\": 999983}".into()),
        Grammar::Choices((0..10_000).map(|i| format!("choice {i}")).collect()),
    ] {
        let short: String = format!("{grammar:?}").chars().take(80).collect();
        let refused = grammars.compile(&grammar);
        if !matches!(refused, Err(GenerateError::Grammar(_))) {
            accepted.push(short);
        }
    }
    assert!(accepted.is_empty(), "{accepted:?}");
    // Rules that lead to one another: compiled or refused, but not the end of the process.
    let mut chain = "start: r0\nr1500: \"a\"\n".to_owned();
    for rule in 0..1500 {
        let next = rule + 1;
        chain.push_str(&format!("r{rule}: r{next} r{next}\n"));
    }
    let _ = grammars.compile(&Grammar::Lark(chain));
    let small = json!({"type": "number", "multipleOf": 0.05});
    grammars.compile(&Grammar::JsonSchema(small)).unwrap();
    let refused = GrammarCompiler::new(&tokenizer, &[]);
    assert!(matches!(refused, Err(GenerateError::GrammarNeedsEos)));
}
