//! candle as a worker of `cargo xtask bench`; `worker.py` describes the protocol.
//!
//! Folders of safetensors in f32, bf16 and f16; GGUF files in block types. `RAYON_NUM_THREADS` gives the threads.

mod decoder;
mod encoder;

use std::collections::HashMap;
use std::io::{self, BufRead, Write};
use std::time::Instant;

use anyhow::Result;
use serde::Deserialize;
use serde_json::json;

use decoder::Decoder;
use encoder::Encoder;

/// How many sentences one measurement of `embed` takes, in batches.
const SENTENCES: usize = 32;

#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
enum Request {
    Prompt(Run),
    Decode(Run),
    Load {
        model: String,
        r#type: String,
    },
    Embed {
        model: String,
        batch: usize,
        seq: usize,
    },
}

/// `tokens` read or decoded behind a cache of `depth` tokens.
#[derive(Deserialize)]
struct Run {
    model: String,
    r#type: String,
    tokens: usize,
    depth: usize,
}

/// The models that were used so far.
#[derive(Default)]
struct Worker {
    decoders: HashMap<String, Decoder>,
    encoders: HashMap<(String, usize, usize), Encoder>,
}

impl Worker {
    /// Tokens/s, seconds (load) or sentences/s (embed).
    fn measure(&mut self, request: Request) -> Result<f64> {
        match request {
            Request::Prompt(run) => {
                let seconds = self.decoder(&run)?.read(run.depth, run.tokens)?;
                Ok(run.tokens as f64 / seconds)
            }
            Request::Decode(run) => {
                let seconds = self.decoder(&run)?.decode(run.depth, run.tokens)?;
                Ok(run.tokens as f64 / seconds)
            }
            Request::Load { model, r#type } => {
                let start = Instant::now();
                Decoder::load(&model, &r#type)?.read(0, 1)?;
                Ok(start.elapsed().as_secs_f64())
            }
            Request::Embed { model, batch, seq } => {
                let encoder = self.encoder(model, batch, seq)?;
                let start = Instant::now();
                for _ in 0..SENTENCES / batch {
                    encoder.run()?;
                }
                Ok(SENTENCES as f64 / start.elapsed().as_secs_f64())
            }
        }
    }

    fn decoder(&mut self, run: &Run) -> Result<&mut Decoder> {
        if !self.decoders.contains_key(&run.model) {
            let mut decoder = Decoder::load(&run.model, &run.r#type)?;
            decoder.read(0, 64)?; // warm up
            self.decoders.insert(run.model.clone(), decoder);
        }
        Ok(self.decoders.get_mut(&run.model).expect("it is there"))
    }

    fn encoder(&mut self, model: String, batch: usize, seq: usize) -> Result<&Encoder> {
        let key = (model, batch, seq);
        if !self.encoders.contains_key(&key) {
            let encoder = Encoder::load(&key.0, batch, seq)?;
            encoder.run()?; // warm up
            self.encoders.insert(key.clone(), encoder);
        }
        Ok(&self.encoders[&key])
    }
}

fn main() -> Result<()> {
    let mut worker = Worker::default();
    let mut answers = io::stdout();
    writeln!(answers, "{}", json!({ "ready": "candle 0.11" }))?;
    for line in io::stdin().lock().lines() {
        let answer = match worker.measure(serde_json::from_str(&line?)?) {
            Ok(value) => json!({ "value": value }),
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        writeln!(answers, "{answer}")?;
    }
    Ok(())
}
