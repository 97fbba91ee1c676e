//! The encoder of models that have one: it reads the prompt once, and the decoder begins with a token of its own.

use burn::tensor::Tensor;
use transformers_config::GenerationConfig;
use transformers_modeling::{ModelInputs, PreTrainedModel, Rows, select_rows};

use crate::{GenerateError, Prompt};

/// What the encoder made of the prompt, one row per sequence.
#[derive(Debug)]
pub(crate) struct Encoded {
    states: Tensor<3>,
    attention_mask: Option<Rows<u32>>,
    /// With `output_hidden_states`: those between the layers, before the rows are repeated.
    pub hidden_states: Vec<Tensor<3>>,
    /// With `output_attentions`: the weights, as well.
    pub attentions: Vec<Tensor<4>>,
}

impl Encoded {
    /// Runs the encoder on `prompt`: gives what came out, and the prompt of the decoder. `None` for a model without one.
    pub fn new<M: PreTrainedModel + ?Sized>(
        model: &M,
        prompt: &Prompt,
        config: &GenerationConfig,
    ) -> Result<Option<(Self, Prompt)>, GenerateError> {
        let inputs = ModelInputs {
            input_ids: prompt.input_ids.clone(),
            attention_mask: mask(prompt, config),
            ..ModelInputs::default()
        };
        let Some(states) = model.encode(&inputs)? else {
            return Ok(None);
        };
        let start = start(config, states.dims()[0])?;
        let (hidden_states, attentions) = watched(model, &inputs, &start, config)?;
        let start = Prompt {
            // T5 begins with the pad token, which counts.
            attention_mask: Some(start.map(|_| 1)),
            input_ids: start,
        };
        let attention_mask = inputs.attention_mask;
        let encoded = Self {
            states,
            attention_mask,
            hidden_states,
            attentions,
        };
        Ok(Some((encoded, start)))
    }

    /// Every row `times` times, one after the other.
    pub fn repeat(self, times: usize) -> Self {
        let batch = self.states.dims()[0];
        let rows: Vec<usize> = (0..batch * times).map(|row| row / times).collect();
        Self {
            states: select_rows(self.states, &rows),
            attention_mask: self.attention_mask.map(|mask| mask.select(&rows)),
            hidden_states: self.hidden_states,
            attentions: self.attentions,
        }
    }

    /// The decoder's pass over `ids`.
    pub fn inputs(&self, ids: Rows<u32>) -> ModelInputs {
        ModelInputs {
            attention_mask: self.attention_mask.clone(),
            decoder_input_ids: Some(ids),
            encoder_outputs: Some(self.states.clone()),
            ..ModelInputs::default()
        }
    }
}

/// The encoder's states between its layers and its weights of attention, where they are asked for: it runs once more
/// for them.
fn watched<M: PreTrainedModel + ?Sized>(
    model: &M,
    inputs: &ModelInputs,
    start: &Rows<u32>,
    config: &GenerationConfig,
) -> Result<(Vec<Tensor<3>>, Vec<Tensor<4>>), GenerateError> {
    let output_hidden_states = config.output_hidden_states == Some(true);
    let output_attentions = config.output_attentions == Some(true);
    if !output_hidden_states && !output_attentions {
        return Ok(Default::default());
    }
    let inputs = ModelInputs {
        decoder_input_ids: Some(start.clone()),
        output_hidden_states,
        output_attentions,
        ..inputs.clone()
    };
    let output = model.forward(&inputs, None)?;
    let attentions = output.encoder_attentions.unwrap_or_default();
    Ok((output.encoder_hidden_states.unwrap_or_default(), attentions))
}

/// As given, else everything but the pad token, unless that ends texts too.
fn mask(prompt: &Prompt, config: &GenerationConfig) -> Option<Rows<u32>> {
    let eos = config.eos_token_ids();
    let infer = || {
        let pad = config.pad_token_id.filter(|pad| !eos.contains(pad))?;
        let found = prompt.input_ids.values().contains(&pad);
        found.then(|| prompt.input_ids.map(|id| u32::from(id != pad)))
    };
    prompt.attention_mask.clone().or_else(infer)
}

/// What the decoder of each of `batch` rows begins with, `[batch, 1]`.
fn start(config: &GenerationConfig, batch: usize) -> Result<Rows<u32>, GenerateError> {
    let tokens = match (&config.decoder_start_token_id, config.bos_token_id) {
        (Some(tokens), _) => tokens.as_slice().to_vec(),
        (None, Some(bos)) => vec![bos],
        (None, None) => return Err(GenerateError::NoDecoderStart),
    };
    let rows: Vec<[u32; 1]> = match tokens[..] {
        [token] => vec![[token]; batch],
        _ if tokens.len() == batch => tokens.iter().map(|token| [*token]).collect(),
        _ => {
            return Err(GenerateError::DecoderStarts {
                found: tokens.len(),
                batch,
            });
        }
    };
    Ok(Rows::new(&rows)?)
}
