//! Beam search against the reference's.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde::Deserialize;
use transformers_config::GenerationConfig;
use transformers_generation::{Generate, GenerateOptions, Prompt};
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForSeq2SeqLM, LoadOptions, PreTrainedModel, Precision, Rows,
};

#[derive(Deserialize)]
struct Golden {
    max_new_tokens: usize,
    eos_token_id: Vec<u32>,
    cases: Vec<Search>,
}

#[derive(Deserialize)]
struct Search {
    case: String,
    decoder: bool,
    prompts: Vec<Vec<u32>>,
    config: GenerationConfig,
    sequences: Vec<Vec<u32>>,
    scores: Vec<f32>,
    beam_indices: Vec<Vec<usize>>,
}

fn model(search: &Search) -> Box<dyn PreTrainedModel> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let folder = folder.join(&search.case);
    let exact = LoadOptions {
        precision: Precision::Exact,
        ..LoadOptions::default()
    };
    match search.decoder {
        true => AutoModelForCausalLM::from_pretrained_with(folder, &exact)
            .unwrap()
            .into_inner(),
        false => AutoModelForSeq2SeqLM::from_pretrained_with(folder, &exact)
            .unwrap()
            .into_inner(),
    }
}

fn prompt(search: &Search) -> Prompt {
    let mask = |row: &Vec<u32>| row.iter().map(|id| u32::from(*id != 0)).collect();
    let masks: Vec<Vec<u32>> = search.prompts.iter().map(mask).collect();
    Prompt {
        input_ids: Rows::new(&search.prompts).unwrap(),
        attention_mask: Some(Rows::new(&masks).unwrap()),
    }
}

#[test]
fn beams_equal_the_reference() {
    let golden = include_str!("../golden/beams.json");
    let golden: Golden = serde_json::from_str(golden).unwrap();
    for search in &golden.cases {
        let config = GenerationConfig {
            max_new_tokens: Some(golden.max_new_tokens),
            eos_token_id: Some(golden.eos_token_id.clone().into()),
            pad_token_id: Some(0),
            ..search.config.clone()
        };
        let ours = model(search).generate(prompt(search), &config).unwrap();
        let name = format!("{} {:?} {:?}", search.case, search.prompts, search.config);
        for (row, reference) in search.sequences.iter().enumerate() {
            let len = ours.prompt_len + ours.new_lens[row];
            assert_eq!(&ours.sequences[row][..len], reference, "{name}, row {row}");
            let apart = (ours.sequences_scores[row] - search.scores[row]).abs();
            assert!(apart < 1e-4, "{name}, row {row}: score {apart} apart");
        }
        assert_eq!(ours.sequences.len(), search.sequences.len(), "{name}");
        assert_eq!(ours.beam_indices, search.beam_indices, "{name}");
    }
}

#[test]
fn sampled_beams_depend_on_the_seed() {
    let golden = include_str!("../golden/beams.json");
    let golden: Golden = serde_json::from_str(golden).unwrap();
    let search = &golden.cases[0];
    let model = model(search);
    let sample = |seed| {
        let config = GenerationConfig {
            max_new_tokens: Some(8),
            do_sample: Some(true),
            num_beams: Some(3),
            ..GenerationConfig::default()
        };
        let options = GenerateOptions {
            seed: Some(seed),
            ..GenerateOptions::default()
        };
        let ours = model.generate_with(prompt(search), &config, options);
        ours.unwrap().sequences
    };
    assert_eq!(sample(1), sample(1));
    assert_ne!(sample(1), sample(2));
}
