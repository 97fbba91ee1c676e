//! The less common modes of generation against the reference's.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;
use transformers_config::GenerationConfig;
use transformers_generation::{
    CancelToken, FinishReason, Generate, GenerateError, GenerateOptions, GenerateOutput, Generated,
    Prompt, Step, StoppingCriteria, TextIteratorStreamer, TextStreamer,
};
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForSeq2SeqLM, LoadOptions, PreTrainedModel, Precision, Rows,
};
use transformers_tokenization::{AutoTokenizer, Tokenizer};

#[derive(Deserialize)]
struct Golden {
    guidance: Vec<Case>,
    assisted: Vec<Case>,
    watermarks: Vec<Case>,
    healing: Vec<Healing>,
    outputs: Vec<Outputs>,
}

#[derive(Deserialize)]
struct Case {
    case: String,
    assistant: Option<String>,
    config: GenerationConfig,
    prompt: Vec<u32>,
    negative: Option<Vec<u32>>,
    sequences: Vec<Vec<u32>>,
}

#[derive(Deserialize)]
struct Healing {
    text: String,
    ids: Vec<u32>,
    healed: Vec<u32>,
    sequences: Vec<Vec<u32>>,
}

#[derive(Deserialize)]
struct Outputs {
    case: String,
    encoder: bool,
    config: GenerationConfig,
    prompts: Vec<Vec<u32>>,
    class: String,
    sequences: Vec<Vec<u32>>,
    hidden_states: Vec<Vec<Summary>>,
    encoder_hidden_states: Option<Vec<Summary>>,
    attentions: Vec<Vec<Summary>>,
    encoder_attentions: Option<Vec<Summary>>,
    cross_attentions: Option<Vec<Vec<Summary>>>,
    cache: Vec<Vec<usize>>,
    transition_scores: Vec<Vec<f32>>,
    logits: Vec<Summary>,
}

#[derive(Deserialize)]
struct Summary {
    shape: Vec<usize>,
    mean: f32,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/generation.json")).unwrap()
}

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn model(case: &str, encoder: bool) -> Box<dyn PreTrainedModel> {
    let folder = folder("cases").join(case);
    let exact = LoadOptions {
        precision: Precision::Exact,
        ..LoadOptions::default()
    };
    match encoder {
        false => AutoModelForCausalLM::from_pretrained_with(folder, &exact)
            .unwrap()
            .into_inner(),
        true => AutoModelForSeq2SeqLM::from_pretrained_with(folder, &exact)
            .unwrap()
            .into_inner(),
    }
}

/// 0 is padding.
fn prompt(rows: &[Vec<u32>]) -> Prompt {
    let mask = |row: &Vec<u32>| row.iter().map(|id| u32::from(*id != 0)).collect();
    let masks: Vec<Vec<u32>> = rows.iter().map(mask).collect();
    Prompt {
        input_ids: Rows::new(rows).unwrap(),
        attention_mask: Some(Rows::new(&masks).unwrap()),
    }
}

fn config(of: &GenerationConfig) -> GenerationConfig {
    GenerationConfig {
        pad_token_id: Some(0),
        ..of.clone()
    }
}

fn check(case: &Case, options: GenerateOptions<'_>) {
    let model = model(&case.case, false);
    let prompt = prompt(std::slice::from_ref(&case.prompt));
    let ours = model.generate_with(prompt, &config(&case.config), options);
    let ours = ours.unwrap().sequences;
    let name = (&case.case, &case.assistant, &case.negative);
    assert_eq!(ours, case.sequences, "{name:?} {:?}", case.config);
}

#[test]
fn guidance_equals_the_reference() {
    let golden = golden();
    assert!(golden.guidance.len() > 30);
    for case in &golden.guidance {
        for use_cache in [true, false] {
            let mut config = case.config.clone();
            config.use_cache = Some(use_cache);
            let negative = case.negative.as_ref();
            let options = GenerateOptions {
                negative_prompt: negative.map(|ids| prompt(std::slice::from_ref(ids))),
                ..GenerateOptions::default()
            };
            let sequences = case.sequences.clone();
            let case = Case {
                config,
                sequences,
                case: case.case.clone(),
                assistant: None,
                prompt: case.prompt.clone(),
                negative: case.negative.clone(),
            };
            check(&case, options);
        }
    }
}

#[test]
fn guidance_goes_with_every_mode() {
    let model = model("llama", false);
    let ids: Vec<u32> = vec![20, 31, 44, 12, 57, 20, 31, 44, 12];
    let guided = GenerationConfig {
        guidance_scale: Some(2.0),
        max_new_tokens: Some(12),
        ..GenerationConfig::default()
    };
    let options = || GenerateOptions {
        negative_prompt: Some(prompt(&[vec![44, 12, 9]])),
        ..GenerateOptions::default()
    };
    let plain = model.generate_with(&ids[..], &guided, options()).unwrap();
    let lookup = GenerationConfig {
        prompt_lookup_num_tokens: Some(3),
        ..guided.clone()
    };
    let assisted = model.generate_with(&ids[..], &lookup, options()).unwrap();
    assert_eq!(plain.sequences, assisted.sequences);
    // With a cache and without, beams take their second run along.
    let beams = |use_cache| {
        let config = GenerationConfig {
            num_beams: Some(3),
            use_cache: Some(use_cache),
            ..guided.clone()
        };
        let ours = model.generate_with(&ids[..], &config, options()).unwrap();
        ours.sequences
    };
    assert_eq!(beams(true), beams(false));
    let refused = GenerateOptions {
        negative_prompt: Some(prompt(&[vec![1], vec![2]])),
        ..GenerateOptions::default()
    };
    assert!(model.generate_with(&ids[..], &guided, refused).is_err());
}

#[test]
fn assisted_decoding_equals_the_reference() {
    let golden = golden();
    assert!(golden.assisted.len() > 20);
    for case in &golden.assisted {
        let assistant = case.assistant.as_ref().map(|name| model(name, false));
        let options = GenerateOptions {
            assistant: assistant.as_deref(),
            ..GenerateOptions::default()
        };
        check(case, options);
    }
}

#[test]
fn early_exits_change_no_token() {
    for name in ["llama", "mistral", "gemma3_text", "qwen3"] {
        let model = model(name, false);
        for do_sample in [false, true] {
            let plain = GenerationConfig {
                max_new_tokens: Some(16),
                do_sample: Some(do_sample),
                ..GenerationConfig::default()
            };
            let early = GenerationConfig {
                assistant_early_exit: Some(1),
                assistant_confidence_threshold: Some(0.0),
                ..plain.clone()
            };
            let ids: &[u32] = &[20, 31, 44, 12, 57];
            let plain = model.generate(ids, &plain).unwrap();
            let early = model.generate(ids, &early).unwrap();
            assert_eq!(plain.sequences, early.sequences, "{name} {do_sample}");
        }
    }
}

#[test]
fn watermarked_texts_equal_the_reference() {
    for case in &golden().watermarks {
        check(case, GenerateOptions::default());
    }
}

fn small_tokenizer() -> Tokenizer {
    AutoTokenizer::from_pretrained(folder("golden/healing_tokenizer").as_path()).unwrap()
}

#[test]
fn healed_prompts_equal_the_reference() {
    let tokenizer = small_tokenizer();
    let model = model("llama", false);
    let healing = GenerationConfig {
        token_healing: Some(true),
        max_new_tokens: Some(6),
        pad_token_id: Some(0),
        ..GenerationConfig::default()
    };
    let options = || GenerateOptions {
        tokenizer: Some(&tokenizer),
        ..GenerateOptions::default()
    };
    let golden = golden().healing;
    for case in &golden {
        let ours = model.generate_with(&case.ids[..], &healing, options());
        let ours = ours.unwrap();
        let healed = &ours.sequences[0][..ours.prompt_len];
        assert_eq!(healed, case.healed, "{}", case.text);
        assert_eq!(ours.sequences, case.sequences, "{}", case.text);
    }
    assert!(golden.iter().any(|case| case.ids != case.healed));
    // Together as alone.
    let (long, short) = (&golden[2], &golden[0]);
    let padded = [vec![0; long.ids.len() - short.ids.len()], short.ids.clone()].concat();
    let both = prompt(&[long.ids.clone(), padded]);
    let both = model.generate_with(both, &healing, options()).unwrap();
    for (row, case) in [long, short].into_iter().enumerate() {
        let alone = &case.sequences[0][case.healed.len()..];
        assert_eq!(both.new_tokens(row), alone);
    }
    let missing = model.generate(&golden[0].ids[..], &healing);
    assert!(matches!(missing, Err(GenerateError::NoTokenizer)));
}

fn mean(values: &[f32]) -> f32 {
    values.iter().map(|value| value.abs()).sum::<f32>() / values.len() as f32
}

fn same_states<const D: usize>(
    ours: &[Tensor<D>],
    reference: &[Summary],
    values: bool,
    name: &str,
) {
    assert_eq!(ours.len(), reference.len(), "{name}");
    for (ours, reference) in ours.iter().zip(reference) {
        assert_eq!(ours.dims().as_slice(), reference.shape, "{name}");
        let all: Vec<f32> = ours.clone().into_data().iter::<f32>().collect();
        let apart = (mean(&all) - reference.mean).abs();
        assert!(!values || apart < 1e-5, "{name}: {apart}");
    }
}

/// Of weights, whose mean says nothing.
fn squares(weights: &[Tensor<4>]) -> Vec<Tensor<4>> {
    let squares = weights.iter().map(|w| w.clone() * w.clone());
    squares.collect()
}

/// The reference gives every beam its row.
fn of_prompts(reference: &[Summary], rows: usize) -> Vec<Summary> {
    let shape = |summary: &Summary| Summary {
        shape: [&[rows], &summary.shape[1..]].concat(),
        mean: summary.mean,
    };
    reference.iter().map(shape).collect()
}

#[test]
fn outputs_equal_the_reference() {
    for case in golden().outputs {
        let model = model(&case.case, case.encoder);
        let ours = model.generate(prompt(&case.prompts), &config(&case.config));
        let ours = ours.unwrap();
        let name = format!("{} {}", case.case, case.class);
        assert_eq!(ours.sequences, case.sequences, "{name}");
        let transitions = ours.transition_scores(false);
        for (ours, reference) in transitions.iter().zip(&case.transition_scores) {
            for (ours, reference) in ours.iter().zip(reference) {
                assert!(
                    (ours - reference).abs() < 1e-4,
                    "{name}: {ours} {reference}"
                );
            }
        }
        for (ours, reference) in ours.logits.iter().zip(&case.logits) {
            assert_eq!([ours.len(), ours[0].len()], reference.shape[..], "{name}");
            assert!(
                (mean(&ours.concat()) - reference.mean).abs() < 1e-5,
                "{name}"
            );
        }
        assert_eq!(ours.logits.len(), case.logits.len());
        let padded = case.prompts.len() > 1;
        assert_eq!(ours.hidden_states.len(), case.hidden_states.len(), "{name}");
        for (step, (ours, reference)) in ours
            .hidden_states
            .iter()
            .zip(&case.hidden_states)
            .enumerate()
        {
            // What padding has in the first step nobody reads.
            let values = !padded || case.encoder || step > 0;
            same_states(ours, reference, values, &name);
        }
        let cross = case.cross_attentions.unwrap_or_default();
        for (ours, reference) in [
            (&ours.attentions, &case.attentions),
            (&ours.cross_attentions, &cross),
        ] {
            assert_eq!(ours.len(), reference.len(), "{name}");
            for (step, (ours, reference)) in ours.iter().zip(reference).enumerate() {
                let values = !padded || case.encoder || step > 0;
                same_states(&squares(ours), reference, values, &name);
            }
        }
        if let Some(reference) = &case.encoder_hidden_states {
            let reference = of_prompts(reference, case.prompts.len());
            same_states(&ours.encoder_hidden_states, &reference, !padded, &name);
        }
        if let Some(reference) = &case.encoder_attentions {
            let reference = of_prompts(reference, case.prompts.len());
            same_states(
                &squares(&ours.encoder_attentions),
                &reference,
                !padded,
                &name,
            );
        }
        let state = ours.past_key_values.clone().unwrap();
        let keys = state
            .layers
            .iter()
            .filter_map(|layer| layer.attention.as_ref());
        let keys: Vec<Vec<usize>> = keys.map(|(keys, _)| keys.dims().to_vec()).collect();
        if case.case != "mistral" {
            assert_eq!(keys, case.cache, "{name}");
        }
        let class = match ours.into_output() {
            GenerateOutput::DecoderOnly(_) => "GenerateDecoderOnlyOutput",
            GenerateOutput::EncoderDecoder(_) => "GenerateEncoderDecoderOutput",
            GenerateOutput::BeamDecoderOnly(_) => "GenerateBeamDecoderOnlyOutput",
            GenerateOutput::BeamEncoderDecoder(_) => "GenerateBeamEncoderDecoderOutput",
        };
        assert_eq!(class, case.class);
    }
}

#[test]
fn drafts_and_pieces_leave_the_same_states() {
    let model = model("llama", false);
    let base = GenerationConfig {
        max_new_tokens: Some(12),
        output_hidden_states: Some(true),
        ..GenerationConfig::default()
    };
    let lookup = |config: &GenerationConfig| GenerationConfig {
        prompt_lookup_num_tokens: Some(4),
        ..config.clone()
    };
    let pieces = GenerationConfig {
        prefill_chunk_size: Some(4),
        ..base.clone()
    };
    let attentive = GenerationConfig {
        output_attentions: Some(true),
        ..base.clone()
    };
    let ids: &[u32] = &[20, 31, 44, 12, 57, 20, 31, 44, 12];
    let values = |data: TensorData| data.iter::<f32>().collect::<Vec<f32>>();
    // Of each step its states, then its weights.
    let states = |config: &GenerationConfig| -> Vec<Vec<Vec<f32>>> {
        let ours = model.generate(ids, config).unwrap();
        let step = |(step, states): (usize, &Vec<Tensor<3>>)| {
            let weights = ours.attentions.get(step).into_iter().flatten();
            let weights = weights.map(|weights| values(weights.to_data()));
            let states = states.iter().map(|state| values(state.to_data()));
            states.chain(weights).collect()
        };
        ours.hidden_states.iter().enumerate().map(step).collect()
    };
    for (plain, other) in [
        (&base, lookup(&base)),
        (&base, pieces),
        (&attentive, lookup(&attentive)),
    ] {
        let (plain, other) = (states(plain), states(&other));
        assert_eq!(plain.len(), other.len());
        for (plain, other) in plain.iter().zip(&other) {
            assert_eq!(plain.len(), other.len());
            for (plain, other) in plain.iter().zip(other) {
                assert_eq!(plain.len(), other.len());
                let apart = plain.iter().zip(other).map(|(a, b)| (a - b).abs());
                assert!(apart.fold(0.0, f32::max) < 1e-5);
            }
        }
    }
}

#[test]
fn a_beams_transitions_add_up_to_its_score() {
    for (name, encoder) in [("llama", false), ("t5", true)] {
        let model = model(name, encoder);
        let search = GenerationConfig {
            num_beams: Some(3),
            num_return_sequences: Some(3),
            max_new_tokens: Some(8),
            length_penalty: Some(0.7),
            output_scores: Some(true),
            ..GenerationConfig::default()
        };
        let options = GenerateOptions {
            logprobs: Some(2),
            ..GenerateOptions::default()
        };
        let ours = model.generate_with(&[20u32, 31, 44, 12][..], &search, options);
        let ours = ours.unwrap();
        for (row, transitions) in ours.transition_scores(false).iter().enumerate() {
            let length = (transitions.len() as f32).powf(0.7);
            let sum: f32 = transitions.iter().sum();
            assert!((sum / length - ours.sequences_scores[row]).abs() < 1e-4);
            // Without processors the scores are the model's own.
            for (transition, logprob) in transitions.iter().zip(&ours.logprobs[row]) {
                assert!((transition - logprob.logprob).abs() < 1e-4);
                assert_eq!(logprob.top.len(), 2);
            }
            let tokens = ours.logprobs[row].iter().map(|logprob| logprob.token);
            assert_eq!(tokens.collect::<Vec<_>>(), ours.new_tokens(row));
        }
    }
}

/// Ends a row with its third new token.
#[derive(Debug, Clone)]
struct Third;

impl StoppingCriteria for Third {
    fn is_done(&mut self, step: &Step<'_>, scores: &[f32]) -> bool {
        assert!(scores[step.ids[step.ids.len() - 1] as usize].is_finite());
        step.new_ids().len() == 3
    }
}

#[test]
fn a_criterion_of_the_caller_ends_every_mode() {
    let model = model("llama", false);
    for (beams, lookup) in [(1, None), (1, Some(4)), (3, None)] {
        let config = GenerationConfig {
            max_new_tokens: Some(10),
            num_beams: Some(beams),
            prompt_lookup_num_tokens: lookup,
            ..GenerationConfig::default()
        };
        let options = GenerateOptions {
            stopping_criteria: vec![Box::new(Third)],
            ..GenerateOptions::default()
        };
        let ours = model.generate_with(&[20u32, 31, 20, 31][..], &config, options);
        let ours = ours.unwrap();
        assert_eq!(ours.new_lens, [3]);
        assert_eq!(ours.finish_reasons, [FinishReason::Criteria]);
    }
}

#[test]
fn a_stop_string_may_begin_in_the_prompt() {
    let tokenizer = small_tokenizer();
    let model = model("llama", false);
    let ids: &[u32] = &golden().healing[0].healed;
    let free = GenerationConfig {
        max_new_tokens: Some(4),
        ..GenerationConfig::default()
    };
    let generate = |config: &GenerationConfig| -> Generated {
        let options = GenerateOptions {
            tokenizer: Some(&tokenizer),
            ..GenerateOptions::default()
        };
        model.generate_with(ids, config, options).unwrap()
    };
    let first = generate(&free).new_tokens(0)[0];
    let text = tokenizer
        .decode(&[ids, &[first]].concat()[..], true)
        .unwrap();
    let stop: String = text.chars().skip(text.chars().count() - 6).collect();
    let stopping = GenerationConfig {
        stop_strings: Some(transformers_config::StopStrings::One(stop)),
        ..free.clone()
    };
    let stopped = generate(&stopping);
    assert_eq!(stopped.finish_reasons, [FinishReason::StopString]);
    assert_eq!(stopped.new_lens, [1]);
    // What is all in the prompt ends nothing.
    let prompt = tokenizer.decode(ids, true).unwrap();
    let within = GenerationConfig {
        stop_strings: Some(transformers_config::StopStrings::One(prompt)),
        ..free
    };
    assert_eq!(generate(&within).new_lens, [4]);
}

#[test]
fn text_is_iterated_in_another_thread() {
    let tokenizer = small_tokenizer();
    let model = model("llama", false);
    let config = GenerationConfig {
        max_new_tokens: Some(8),
        ..GenerationConfig::default()
    };
    let ids: &[u32] = &golden().healing[0].ids;
    let mut whole = String::new();
    let mut plain = TextStreamer::new(&tokenizer, |piece: &str| whole.push_str(piece));
    let run = |streamer: &mut dyn transformers_generation::Streamer, cancel| {
        let options = GenerateOptions {
            streamer: Some(streamer),
            cancel,
            ..GenerateOptions::default()
        };
        model.generate_with(ids, &config, options).unwrap()
    };
    run(&mut plain, None);
    let (mut streamer, pieces) = TextIteratorStreamer::new(&tokenizer);
    let text: String = std::thread::scope(|scope| {
        scope.spawn(|| run(&mut streamer, None));
        pieces.collect()
    });
    assert_eq!(text, whole);
    assert!(!text.is_empty());

    let (streamer, pieces) = TextIteratorStreamer::new(&tokenizer);
    let mut streamer = streamer.skip_prompt(false);
    run(&mut streamer, None);
    let with_prompt: String = pieces.collect();
    assert!(with_prompt.ends_with(&whole) && with_prompt.len() > whole.len());

    // Nobody listens: the generation ends.
    let (mut streamer, pieces) = TextIteratorStreamer::new(&tokenizer);
    drop(pieces);
    let cancel: CancelToken = streamer.cancel_token();
    let ended = run(&mut streamer, Some(cancel));
    assert_eq!(ended.finish_reasons, [FinishReason::Cancelled]);
}
