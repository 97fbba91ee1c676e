//! `generate` beyond single greedy prompts, which conformance covers.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use transformers_config::{GenerationConfig, StopStrings};
use transformers_generation::{
    CancelToken, FinishReason, Generate, GenerateOptions, Prompt, TextStreamer,
};
use transformers_modeling::{AutoModelForCausalLM, Rows};
use transformers_tokenization::{AutoTokenizer, Tokenizer};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn case(name: &str) -> AutoModelForCausalLM {
    AutoModelForCausalLM::from_pretrained(root().join("tests/cases").join(name)).unwrap()
}

/// A tiny model that was trained to answer, with its tokenizer.
fn tiny_chat() -> (AutoModelForCausalLM, Tokenizer) {
    let folder = root().join("crates/transformers/tests/tiny");
    let model = AutoModelForCausalLM::from_pretrained(folder.as_path()).unwrap();
    (
        model,
        AutoTokenizer::from_pretrained(folder.as_path()).unwrap(),
    )
}

fn greedy(max_new_tokens: usize) -> GenerationConfig {
    GenerationConfig {
        max_new_tokens: Some(max_new_tokens),
        do_sample: Some(false),
        ..GenerationConfig::default()
    }
}

fn sampling(max_new_tokens: usize) -> GenerationConfig {
    GenerationConfig {
        do_sample: Some(true),
        ..greedy(max_new_tokens)
    }
}

const PROMPT: [u32; 7] = [20, 31, 44, 12, 57, 33, 26];

#[test]
fn a_padded_batch_equals_its_rows_alone() {
    for name in ["llama", "mistral", "qwen3", "gemma3_text"] {
        let model = case(name);
        let (long, short) = (&PROMPT[..], &PROMPT[..4]);
        let padded: Vec<u32> = [&[0, 0, 0], short].concat();
        let batch = Prompt {
            input_ids: Rows::new(&[long.to_vec(), padded]).unwrap(),
            attention_mask: Some(Rows::new(&[vec![1; 7], vec![0, 0, 0, 1, 1, 1, 1]]).unwrap()),
        };
        let together = model.generate(batch, &greedy(12)).unwrap();
        for (row, prompt) in [long, short].into_iter().enumerate() {
            let alone = model.generate(prompt, &greedy(12)).unwrap();
            assert_eq!(
                together.new_tokens(row),
                alone.new_tokens(0),
                "{name}, row {row}"
            );
        }
    }
}

#[test]
fn padding_without_a_mask_is_found_by_the_pad_token() {
    let model = case("llama");
    let padded: Vec<u32> = [&[0, 0], &PROMPT[..]].concat();
    let ours = model.generate(padded, &greedy(8)).unwrap();
    let alone = model.generate(&PROMPT[..], &greedy(8)).unwrap();
    assert_eq!(ours.new_tokens(0), alone.new_tokens(0));
}

#[test]
fn long_generations_equal_those_without_a_cache() {
    // Longer than the windows and than the room that a cache first makes.
    for name in ["mistral", "gemma3_text", "qwen2_sliding"] {
        let model = case(name);
        let new = model.context_length().unwrap().min(96) - PROMPT.len();
        let config = GenerationConfig {
            eos_token_id: Some(Vec::new().into()),
            ..greedy(new)
        };
        let cached = model.generate(&PROMPT[..], &config).unwrap();
        assert_eq!(cached.finish_reasons, [FinishReason::Length], "{name}");
        let config = GenerationConfig {
            use_cache: Some(false),
            ..config
        };
        assert_eq!(
            cached.sequences,
            model.generate(&PROMPT[..], &config).unwrap().sequences,
            "{name}"
        );
    }
}

#[test]
fn a_row_is_drawn_by_its_seed_alone() {
    let model = case("llama");
    let draw = |rows: usize, seed| {
        let prompt = Prompt {
            input_ids: Rows::new(&vec![PROMPT.to_vec(); rows]).unwrap(),
            attention_mask: None,
        };
        let options = GenerateOptions {
            seed: Some(seed),
            ..GenerateOptions::default()
        };
        model.generate_with(prompt, &sampling(10), options).unwrap()
    };
    let alone = draw(1, 7);
    assert_eq!(alone.sequences, draw(1, 7).sequences);
    assert_ne!(alone.sequences, draw(1, 8).sequences);
    let pair = draw(2, 7);
    assert_eq!(alone.new_tokens(0), pair.new_tokens(0));
    assert_ne!(pair.new_tokens(0), pair.new_tokens(1));
}

#[test]
fn several_sequences_for_one_prompt() {
    let config = GenerationConfig {
        num_return_sequences: Some(3),
        ..sampling(6)
    };
    let generated = case("llama").generate(&PROMPT[..], &config).unwrap();
    assert_eq!(generated.sequences.len(), 3);
    assert_ne!(generated.new_tokens(0), generated.new_tokens(1));
}

#[test]
fn every_eos_of_a_list_ends_a_row() {
    let model = case("llama");
    let free = model.generate(&PROMPT[..], &greedy(6)).unwrap();
    let third = free.new_tokens(0)[2];
    let config = GenerationConfig {
        eos_token_id: Some(vec![1_000_000, third].into()),
        ..greedy(6)
    };
    let ended = model.generate(&PROMPT[..], &config).unwrap();
    let first = free
        .new_tokens(0)
        .iter()
        .position(|token| *token == third)
        .unwrap();
    assert_eq!(ended.new_tokens(0), &free.new_tokens(0)[..=first]);
    assert_eq!(ended.finish_reasons, [FinishReason::Eos]);

    let config = GenerationConfig {
        min_new_tokens: Some(6),
        ..config
    };
    assert_eq!(
        model
            .generate(&PROMPT[..], &config)
            .unwrap()
            .new_tokens(0)
            .len(),
        6
    );
}

#[test]
fn streamed_text_is_the_text() {
    let (model, tokenizer) = tiny_chat();
    let ids = tokenizer.encode("The capital of", true).unwrap();
    let mut pieces = Vec::new();
    let mut streamer = TextStreamer::new(&tokenizer, |piece: &str| pieces.push(piece.to_owned()));
    let options = GenerateOptions {
        streamer: Some(&mut streamer),
        ..GenerateOptions::default()
    };
    let generated = model.generate_with(&ids, &greedy(12), options).unwrap();
    assert!(pieces.len() > 1);
    assert_eq!(
        pieces.concat(),
        tokenizer.decode(generated.new_tokens(0), true).unwrap()
    );
}

#[test]
fn a_stop_string_ends_the_text_and_stays_in_it() {
    let (model, tokenizer) = tiny_chat();
    let ids = tokenizer.encode("The capital of", true).unwrap();
    let generate = |config: &GenerationConfig| {
        let options = GenerateOptions {
            tokenizer: Some(&tokenizer),
            ..GenerateOptions::default()
        };
        model.generate_with(&ids, config, options).unwrap()
    };
    let free = generate(&greedy(12));
    let text = tokenizer.decode(free.new_tokens(0), true).unwrap();
    let stop = text.chars().skip(4).take(3).collect::<String>();
    let config = GenerationConfig {
        stop_strings: Some(StopStrings::Many(vec![
            "never there".to_owned(),
            stop.clone(),
        ])),
        ..greedy(12)
    };
    let stopped = generate(&config);
    assert_eq!(stopped.finish_reasons, [FinishReason::StopString]);
    let ours = tokenizer.decode(stopped.new_tokens(0), true).unwrap();
    assert!(
        ours.contains(&stop) && text.starts_with(&ours),
        "{ours:?} of {text:?}"
    );
    assert!(stopped.new_tokens(0).len() < free.new_tokens(0).len());
}

#[test]
fn a_cancelled_generation_returns_what_it_has() {
    let model = case("llama");
    let cancel = CancelToken::default();
    let (mut count, from_streamer) = (0, cancel.clone());
    let mut streamer = |_: u32| {
        count += 1;
        if count == 3 {
            from_streamer.cancel();
        }
    };
    let options = GenerateOptions {
        streamer: Some(&mut streamer),
        cancel: Some(cancel),
        ..GenerateOptions::default()
    };
    let generated = model
        .generate_with(&PROMPT[..], &greedy(50), options)
        .unwrap();
    assert_eq!(generated.finish_reasons, [FinishReason::Cancelled]);
    assert_eq!(generated.new_tokens(0).len(), 3);
}

#[test]
fn scores_logits_and_log_probabilities_are_kept_when_asked_for() {
    let model = case("llama");
    let config = GenerationConfig {
        output_scores: Some(true),
        output_logits: Some(true),
        repetition_penalty: Some(1.5),
        ..greedy(5)
    };
    let options = GenerateOptions {
        logprobs: Some(3),
        ..GenerateOptions::default()
    };
    let ours = model.generate_with(&PROMPT[..], &config, options).unwrap();
    let steps = ours.new_lens[0];
    assert_eq!([ours.scores.len(), ours.logits.len()], [steps; 2]);
    for (step, &token) in ours.new_tokens(0).iter().enumerate() {
        let (scores, logits) = (&ours.scores[step][0], &ours.logits[step][0]);
        assert_ne!(
            scores, logits,
            "step {step}: the penalty shows in the scores"
        );
        let chosen = scores[token as usize];
        assert!(scores.iter().all(|score| *score <= chosen));
        let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
        let kept = &ours.logprobs[0][step];
        let expected = logits[token as usize] - sum.ln();
        assert!((kept.logprob - expected).abs() < 1e-5, "step {step}");
        assert_eq!((kept.token, kept.top.len()), (token, 3));
        assert!(kept.top.is_sorted_by(|(_, a), (_, b)| a >= b));
        assert!(kept.top[0].1 >= kept.logprob);
    }
    let nothing = model.generate(&PROMPT[..], &greedy(5)).unwrap();
    assert!(nothing.scores.is_empty() && nothing.logits.is_empty() && nothing.logprobs.is_empty());
}

#[test]
fn a_generation_ends_when_its_time_is_over() {
    let model = case("llama");
    let config = GenerationConfig {
        max_time: Some(1e-9),
        eos_token_id: Some(Vec::new().into()),
        ..greedy(50)
    };
    let ours = model.generate(&PROMPT[..], &config).unwrap();
    assert_eq!(ours.finish_reasons, [FinishReason::Time]);
    assert_eq!(ours.new_lens, [1]);
}

#[test]
fn forbidding_every_token_is_an_error() {
    let model = case("llama");
    let config = GenerationConfig {
        suppress_tokens: Some((0..72).collect()),
        ..greedy(5)
    };
    let refused = model.generate(&PROMPT[..], &config);
    assert!(matches!(
        refused,
        Err(transformers_generation::GenerateError::NothingAllowed { step: 0 })
    ));
}
