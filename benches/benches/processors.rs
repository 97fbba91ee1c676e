//! What choosing a token costs, of a vocabulary of 49,152: each processor alone.
#![allow(missing_docs)]

use divan::Bencher;
use transformers_generation::{
    Dry, LogitsProcessor, MinP, NoRepeatNGram, RepetitionPenalty, Step, Temperature, TopK, TopP,
    Typical,
};

fn main() {
    divan::main();
}

const VOCAB: u32 = 49_152;

/// Scores as of a model that is unsure, and a row of 512 tokens.
fn inputs() -> (Vec<f32>, Vec<u32>) {
    let random = |index: u32| index.wrapping_mul(2_654_435_761) >> 8;
    let scores = (0..VOCAB).map(|id| random(id) as f32 / 1e6).collect();
    let ids = (0..512).map(|index| random(index) % VOCAB).collect();
    (scores, ids)
}

fn processor(name: &str) -> Box<dyn LogitsProcessor> {
    let min_tokens_to_keep = 1;
    match name {
        "temperature" => Box::new(Temperature(0.7)),
        "top-k" => Box::new(TopK(50)),
        "top-p" => Box::new(TopP {
            p: 0.9,
            min_tokens_to_keep,
        }),
        "min-p" => Box::new(MinP {
            p: 0.05,
            min_tokens_to_keep,
        }),
        "typical" => Box::new(Typical {
            mass: 0.9,
            min_tokens_to_keep,
        }),
        "repetition" => Box::new(RepetitionPenalty(1.1)),
        "no-repeat" => Box::new(NoRepeatNGram(4)),
        _ => Box::new(Dry {
            multiplier: 0.8,
            base: 1.75,
            allowed: 2,
            breakers: Default::default(),
        }),
    }
}

#[divan::bench(args = [
    "temperature", "top-k", "top-p", "min-p", "typical", "repetition", "no-repeat", "dry"
])]
fn process(bencher: Bencher<'_, '_>, name: &str) {
    let (scores, ids) = inputs();
    let mut processor = processor(name);
    let step = Step {
        ids: &ids,
        prompt_len: 256,
        prompt: 0,
    };
    bencher
        .with_inputs(|| scores.clone())
        .bench_local_refs(|scores| processor.process(&step, scores));
}
