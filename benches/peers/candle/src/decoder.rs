//! A Llama decoder, dense or from blocks, and the caches it has filled.

use std::collections::HashMap;
use std::fs::{self, File};
use std::time::Instant;

use anyhow::{Result, bail};
use candle_core::quantized::gguf_file;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama::{Cache, Config, Llama, LlamaConfig};
use candle_transformers::models::quantized_llama::ModelWeights;

const DEVICE: Device = Device::Cpu;

/// Any id below every vocabulary's size.
const MAX_ID: usize = 30_000;

pub struct Decoder {
    weights: Weights,
    /// The state behind `depth` tokens; cloning it copies no keys or values.
    filled: HashMap<usize, State>,
}

enum Weights {
    Dense(Box<Llama>, Config, DType),
    Blocks(ModelWeights),
}

/// Candle keeps the cache of a quantised model within the model.
#[derive(Clone)]
enum State {
    Dense(Cache),
    Blocks(ModelWeights),
}

impl Decoder {
    pub fn load(model: &str, kind: &str) -> Result<Self> {
        let weights = match kind {
            "f32" => Weights::dense(model, DType::F32)?,
            "bf16" => Weights::dense(model, DType::BF16)?,
            "f16" => Weights::dense(model, DType::F16)?,
            "q8_0" | "q4_0" | "q4_1" => Weights::blocks(model)?,
            other => bail!("no weights of type {other}"),
        };
        Ok(Self {
            weights,
            filled: HashMap::new(),
        })
    }

    /// Seconds to read a prompt of `tokens` behind `depth` tokens.
    pub fn read(&mut self, depth: usize, tokens: usize) -> Result<f64> {
        let mut state = self.state(depth)?;
        let start = Instant::now();
        self.forward(&mut state, depth, tokens)?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Seconds for `tokens` steps of one token behind `depth` tokens.
    pub fn decode(&mut self, depth: usize, tokens: usize) -> Result<f64> {
        let mut state = self.state(depth)?;
        let start = Instant::now();
        for position in depth..depth + tokens {
            self.forward(&mut state, position, 1)?;
        }
        Ok(start.elapsed().as_secs_f64())
    }

    fn state(&mut self, depth: usize) -> Result<State> {
        if !self.filled.contains_key(&depth) {
            let mut state = self.weights.empty_state()?;
            if depth > 0 {
                self.forward(&mut state, 0, depth)?;
            }
            self.filled.insert(depth, state);
        }
        Ok(self.filled[&depth].clone())
    }

    fn forward(&self, state: &mut State, position: usize, tokens: usize) -> Result<()> {
        let ids = (position..position + tokens).map(|i| (i * 7919 % MAX_ID) as u32);
        let ids = Tensor::from_iter(ids, &DEVICE)?.unsqueeze(0)?;
        match (&self.weights, state) {
            (Weights::Dense(llama, ..), State::Dense(cache)) => {
                llama.forward(&ids, position, cache)?
            }
            (_, State::Blocks(weights)) => weights.forward(&ids, position)?,
            _ => bail!("the cache of another model"),
        };
        Ok(())
    }
}

impl Weights {
    fn dense(folder: &str, dtype: DType) -> Result<Self> {
        let config = fs::read_to_string(format!("{folder}/config.json"))?;
        let config = serde_json::from_str::<LlamaConfig>(&config)?.into_config(false);
        let file = format!("{folder}/model.safetensors");
        // SAFETY: nobody writes to the file while it is measured.
        let tensors = unsafe { VarBuilder::from_mmaped_safetensors(&[file], dtype, &DEVICE)? };
        let llama = Box::new(Llama::load(tensors, &config)?);
        Ok(Self::Dense(llama, config, dtype))
    }

    fn blocks(file: &str) -> Result<Self> {
        let mut file = File::open(file)?;
        let content = gguf_file::Content::read(&mut file)?;
        Ok(Self::Blocks(ModelWeights::from_gguf(
            content, &mut file, &DEVICE,
        )?))
    }

    fn empty_state(&self) -> Result<State> {
        Ok(match self {
            Self::Dense(_, config, dtype) => {
                State::Dense(Cache::new(true, *dtype, config, &DEVICE)?)
            }
            Self::Blocks(weights) => State::Blocks(weights.clone()),
        })
    }
}
