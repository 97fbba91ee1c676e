//! How fast tokenizers are: `benches/peers/tokenizer_speed.py` runs this beside the reference.
//!
//! `speed FOLDER TEXTS.json` reads the tokenizer and encodes the texts, and prints seconds as a line of JSON.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use transformers_tokenization::{AutoTokenizer, EncodeOptions};

const SHORT: &str = "What is the capital of France?";

/// The shortest of so many runs, in seconds.
fn best(runs: usize, mut run: impl FnMut()) -> f64 {
    let seconds = (0..runs).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(texts)) = (arguments.next(), arguments.next()) else {
        return Err("usage: speed FOLDER TEXTS.json".into());
    };
    let texts: Vec<String> = serde_json::from_str(&std::fs::read_to_string(texts)?)?;
    let start = Instant::now();
    let tokenizer = AutoTokenizer::from_pretrained(folder.as_str())?;
    let load = start.elapsed().as_secs_f64();

    let options = EncodeOptions::default();
    let mut tokens = 0;
    let batch = best(3, || {
        let batch = tokenizer.encode_batch(&texts, &options);
        tokens = batch.map_or(0, |batch| batch.input_ids.iter().map(Vec::len).sum());
    });
    let calls = 2000;
    let latency = best(3, || {
        for _ in 0..calls {
            tokenizer.encode_batch(&[SHORT], &options).ok();
        }
    });
    let latency = latency / f64::from(calls);
    println!(
        "{}",
        serde_json::json!({"load": load, "batch": batch, "latency": latency, "tokens": tokens})
    );
    Ok(())
}
