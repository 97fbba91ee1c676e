//! Grammars with a vocabulary of 49,152 tokens: what one costs at a step, and how long hostile ones take until they are
//! compiled or refused, which is to be less than a tenth of a second.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;

use divan::Bencher;
use serde_json::{Map, Value, json};
use transformers_generation::{Grammar, GrammarCompiler, LogitsProcessor, Step};
use transformers_tokenization::{PlainTokenizer, PlainVocabulary, Tokenizer};

fn main() {
    divan::main();
}

const VOCAB: usize = 49_152;
/// As long as a grammar may be.
const LEN: usize = 32_000;

/// The end, every ASCII character, and words of two to six letters, half of them after a space.
fn tokenizer() -> Tokenizer {
    let characters = (0..128u8).map(|byte| char::from(byte).to_string());
    let mut words: Vec<String> = std::iter::once("<eos>".to_owned())
        .chain(characters)
        .collect();
    for number in 0.. {
        if words.len() == VOCAB {
            break;
        }
        let mut rest = number * 7919 + 1;
        let mut word = if number % 2 == 0 { " " } else { "" }.to_owned();
        for _ in 0..2 + number % 5 {
            word.push(char::from(b'a' + (rest % 26) as u8));
            rest /= 26;
        }
        words.push(word);
    }
    let ids = words.into_iter().zip(0..).collect::<HashMap<String, u32>>();
    let letters = |text: &str| text.chars().map(String::from).collect();
    PlainTokenizer::new(PlainVocabulary::new(ids, letters))
        .special_token("eos_token", "<eos>")
        .build()
        .unwrap()
}

fn compiler() -> GrammarCompiler {
    GrammarCompiler::new(&tokenizer(), &[0]).unwrap()
}

/// What a service is asked for.
fn usual() -> Grammar {
    Grammar::JsonSchema(json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}},
            "count": {"type": "integer", "minimum": 0, "maximum": 999},
            "kind": {"enum": ["animal", "plant", "thing"]}
        },
        "required": ["name", "tags", "count", "kind"],
        "additionalProperties": false
    }))
}

#[divan::bench]
fn compile(bencher: Bencher<'_, '_>) {
    let (compiler, grammar) = (compiler(), usual());
    bencher.bench_local(|| compiler.compile(&grammar).unwrap());
}

/// The sixteen steps after the beginning.
#[divan::bench]
fn sixteen_steps(bencher: Bencher<'_, '_>) {
    let constraint = compiler().compile(&usual()).unwrap();
    bencher
        .with_inputs(|| constraint.clone())
        .bench_local_values(|mut constraint| {
            let mut ids = Vec::new();
            for step in 0..16usize {
                let mut scores: Vec<f32> = (0..VOCAB)
                    .map(|id| ((id * 7919 + step * 104_729) % 1009) as f32)
                    .collect();
                let context = Step {
                    ids: &ids,
                    prompt_len: 0,
                    prompt: 0,
                };
                constraint.process(&context, &mut scores);
                let best = (1..VOCAB).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
                ids.push(best.unwrap_or_default() as u32);
            }
            ids
        });
}

/// As many parts as fit.
fn parts(each: usize, part: impl Fn(usize) -> String, between: &str) -> String {
    let parts: Vec<String> = (0..LEN / each).map(part).collect();
    parts.join(between)
}

fn object(entries: impl Iterator<Item = (String, Value)>) -> Value {
    Value::Object(entries.collect::<Map<_, _>>())
}

/// Four texts each, of which every one is to be followed.
fn all_of_any_of(count: usize) -> Value {
    let pattern = |i: usize, j: usize| format!("^[a-z]{{{},{}}}$", i + 1, 30 + j);
    let any = |i: usize| {
        let option = |j: usize| {
            json!({"type": "object", "properties": {
            format!("p{i}{j}"): {"type": "string", "pattern": pattern(i, j)}}})
        };
        json!({"anyOf": (0..4).map(option).collect::<Vec<_>>()})
    };
    json!({"allOf": (0..count).map(any).collect::<Vec<_>>()})
}

fn hostile(name: &str) -> Grammar {
    let long = json!({"type": "string", "maxLength": 1000});
    match name {
        "letters" => Grammar::Regex("x".repeat(LEN)),
        "repetitions" => Grammar::Regex("((a{1,1000}){1,1000}){1,1000}".into()),
        "states" => Grammar::Regex("(.|\\n)*a(.|\\n){400}".into()),
        "more states" => {
            let part = |i: usize| format!("[a-z]*{}[a-z]{{{}}}", (b'a' + i as u8) as char, 20 + i);
            let parts: Vec<String> = (0..20).map(part).collect();
            Grammar::Regex(format!("({})*", parts.join("|")))
        }
        "classes" => Grammar::Regex(parts(26, |_| "[\\p{L}\\p{N}\\p{S}]{1,500}".into(), "")),
        "words" => Grammar::Regex(parts(7, |i| format!("w{i}"), "|")),
        "any case" => Grammar::Regex(format!("(?i){}", parts(9, |_| "(\\w|ß)*k".into(), ""))),
        "choices" => Grammar::Choices((0..LEN / 12).map(|i| format!("choice {i}")).collect()),
        "rules" => Grammar::Lark(format!(
            "start: r0\n{}",
            parts(12, |i| format!("r{i}: \"a\"\n"), "")
        )),
        "chain" => {
            let count = LEN / 20;
            let rule = |i: usize| format!("r{i}: r{} r{}\n", i + 1, i + 1);
            let chain: String = (0..count).map(rule).collect();
            Grammar::Lark(format!("start: r0\nr{count}: \"a\"\n{chain}"))
        }
        "ambiguous" => {
            Grammar::Lark("start: e\ne: e e e e | /a+/ | /[ab]+/ | /[a-c]+/ | \"\"\n".into())
        }
        "terminals" => {
            let count = LEN / 34;
            let names: Vec<String> = (0..count).map(|i| format!("T{i}")).collect();
            let rule = |i: usize| format!("T{i}: /[a-z]*{i}[a-z]*/\n");
            let rules: String = (0..count).map(rule).collect();
            Grammar::Lark(format!("start: {}\n{rules}", names.join(" | ")))
        }
        "repeated rules" => Grammar::Lark("start: a{0,100000}\na: b{0,100000}\nb: \"x\"\n".into()),
        "properties" => Grammar::JsonSchema(json!({"type": "object",
            "properties": object((0..LEN / 44).map(|i| (format!("k{i}"), long.clone())))})),
        "all of 4" => Grammar::JsonSchema(all_of_any_of(4)),
        "all of 5" => Grammar::JsonSchema(all_of_any_of(5)),
        "all of 12" => Grammar::JsonSchema(all_of_any_of(12)),
        "enum" => Grammar::JsonSchema(json!({
            "enum": (0..LEN / 16).map(|i| format!("value {i}")).collect::<Vec<_>>()})),
        "one of" => {
            let option = |i: usize| {
                json!({"type": "object", "required": ["k"],
                "properties": {"k": {"const": format!("{i}")}}})
            };
            Grammar::JsonSchema(json!({"oneOf": (0..LEN / 80).map(option).collect::<Vec<_>>()}))
        }
        "multiple" => Grammar::JsonSchema(json!({"type": "integer", "multipleOf": 9973})),
        _ => Grammar::JsonSchema(json!({"type": "array", "minItems": 1_000_000,
            "items": {"type": "string", "minLength": 1_000_000}})),
    }
}

#[divan::bench(sample_count = 3, sample_size = 1, args = [
    "letters", "repetitions", "states", "more states", "classes", "words", "any case", "choices", "rules", "chain",
    "ambiguous", "terminals", "repeated rules", "properties", "all of 4", "all of 5", "all of 12", "enum", "one of",
    "multiple", "lengths"
])]
fn compile_hostile(bencher: Bencher<'_, '_>, name: &str) {
    let (compiler, grammar) = (compiler(), hostile(name));
    bencher.bench_local(|| compiler.compile(&grammar).is_ok());
}
