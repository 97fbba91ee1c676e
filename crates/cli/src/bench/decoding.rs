//! What choosing a token costs beside computing its scores: whole generations, mode by mode.

use serde_json::json;
use transformers_config::GenerationConfig;
use transformers_generation::{Generate, GenerateOptions, Grammar, GrammarCompiler};
use transformers_modeling::PreTrainedModel;
use transformers_tokenization::Tokenizer;

use super::{Row, random_ids};
use crate::failure::Result;

/// Tokens of the prompts.
const PROMPT: usize = 128;
/// What the text that repeats itself is made of: a model that has learnt something goes on with it once more.
const PASSAGE: &str = "The lighthouse keeper wrote down the weather every evening before he climbed the stairs. On the \
first of March the wind came from the north, the sea was rough, and two fishing boats stayed in the harbour. On the second \
the fog was so thick that he rang the bell until midnight, and nobody slept in the village below.\n\n";
/// Tokens that prompt lookup drafts at most.
const DRAFT: usize = 10;

/// A way to generate.
struct Mode {
    name: &'static str,
    config: GenerationConfig,
    grammar: Option<Grammar>,
    prompt: Vec<u32>,
}

/// Rows of `new` tokens in every mode: greedy, sampled, with penalties, with a grammar, and with drafts of the text, on
/// one that repeats itself and on one that does not. The first token is not timed.
pub fn rows(
    model: &dyn PreTrainedModel,
    tokenizer: &Tokenizer,
    vocab: usize,
    new: usize,
    repetitions: usize,
) -> Result<Vec<Row>> {
    let modes = modes(vocab, new, tokenizer.encode(&PASSAGE.repeat(3)[..], false)?);
    let eos = model.info().generation_config.eos_token_ids();
    let mut rates = vec![Vec::new(); modes.len()];
    // The modes take turns, so that what else the machine does strikes all of them.
    for round in 0..=repetitions {
        for (mode, rates) in modes.iter().zip(&mut rates) {
            let mut options = GenerateOptions::default();
            if let Some(grammar) = &mode.grammar {
                let grammars = GrammarCompiler::new(tokenizer, eos)?;
                options
                    .processors
                    .push(Box::new(grammars.compile(grammar)?));
            }
            let generated = model.generate_with(&mode.prompt, &mode.config, options)?;
            // The first round fills caches.
            if round > 0 {
                rates.push(generated.timing.decode_rate());
            }
        }
    }
    let rows = modes.iter().zip(rates);
    let row = |(mode, rates): (&Mode, Vec<f64>)| {
        let mut row = Row::of_rates("n_gen", new, 0, rates);
        row.name = format!("{} {}", row.name, mode.name);
        row.fields["mode"] = json!(mode.name);
        row
    };
    Ok(rows.map(row).collect())
}

fn modes(vocab: usize, new: usize, repeating: Vec<u32>) -> Vec<Mode> {
    let random = random_ids(PROMPT, vocab);
    let greedy = GenerationConfig {
        max_new_tokens: Some(new),
        do_sample: Some(false),
        repetition_penalty: Some(1.0),
        // No token ends the text.
        eos_token_id: Some(Vec::new().into()),
        ..GenerationConfig::default()
    };
    let sampled = GenerationConfig {
        do_sample: Some(true),
        temperature: Some(0.7),
        top_k: Some(50),
        top_p: Some(0.9),
        ..greedy.clone()
    };
    let lookup = GenerationConfig {
        prompt_lookup_num_tokens: Some(DRAFT),
        ..greedy.clone()
    };
    let mode = |name, config: &GenerationConfig, prompt: &[u32]| Mode {
        name,
        config: config.clone(),
        grammar: None,
        prompt: prompt.to_vec(),
    };
    vec![
        mode("greedy", &greedy, &random),
        mode("sampled", &sampled, &random),
        mode(
            "top-p alone",
            &GenerationConfig {
                top_k: Some(0),
                ..sampled.clone()
            },
            &random,
        ),
        mode(
            "penalties",
            &GenerationConfig {
                repetition_penalty: Some(1.1),
                no_repeat_ngram_size: Some(4),
                ..sampled
            },
            &random,
        ),
        Mode {
            grammar: Some(long_json()),
            ..mode("grammar", &greedy, &random)
        },
        mode("prompt lookup", &lookup, &random),
        mode("repeating", &greedy, &repeating),
        mode("repeating, prompt lookup", &lookup, &repeating),
    ]
}

/// More than any row has.
fn long_json() -> Grammar {
    Grammar::JsonSchema(json!({
        "type": "array",
        "minItems": 1000,
        "items": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 40},
                "count": {"type": "integer", "minimum": 0, "maximum": 9999},
                "kind": {"enum": ["animal", "plant", "thing"]}
            },
            "required": ["name", "count", "kind"],
            "additionalProperties": false
        }
    }))
}
