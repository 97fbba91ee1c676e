//! What is kept of the passes beside their logits: states between the layers and weights of attention.

use burn::tensor::Tensor;
use transformers_config::GenerationConfig;
use transformers_modeling::{ModelInputs, ModelOutput};

use crate::Generated;

/// The states of one pass, of the decoder where there is an encoder too.
#[derive(Debug, Clone, Default)]
pub(crate) struct States {
    /// `[layer]` of `[rows, seq, hidden]`.
    hidden_states: Vec<Tensor<3>>,
    /// `[layer]` of `[rows, heads, seq, keys]`.
    attentions: Vec<Tensor<4>>,
    /// To the encoder, `[layer]` of `[rows, heads, seq, encoder seq]`.
    cross_attentions: Vec<Tensor<4>>,
}

impl States {
    /// Those of tokens `start..start + len` of `all`, with the keys that there were when the last of them was new.
    fn part(&self, start: usize, len: usize, all: usize) -> Self {
        let later = all - start - len;
        let of_keys = |weights: &Tensor<4>| {
            let keys = weights.dims()[3] - later;
            weights.clone().narrow(2, start, len).narrow(3, 0, keys)
        };
        let states = self.hidden_states.iter();
        let cross = self.cross_attentions.iter();
        Self {
            hidden_states: states.map(|s| s.clone().narrow(1, start, len)).collect(),
            attentions: self.attentions.iter().map(of_keys).collect(),
            cross_attentions: cross.map(|w| w.clone().narrow(2, start, len)).collect(),
        }
    }

    /// The tokens of the pass.
    fn len(&self) -> usize {
        let states = self.hidden_states.first().map(|states| states.dims()[1]);
        let weights = self.attentions.first().or(self.cross_attentions.first());
        states
            .or(weights.map(|weights| weights.dims()[2]))
            .unwrap_or(0)
    }
}

/// What is kept of the passes' states.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Whether those between the layers are kept.
    hidden_states: bool,
    /// Whether the weights of attention are. They are those of whole passes: nothing is read in pieces then.
    pub attentions: bool,
    last: States,
    steps: Vec<States>,
}

impl Record {
    /// Keeps what `config` asks for.
    pub fn new(config: &GenerationConfig) -> Self {
        Self {
            hidden_states: config.output_hidden_states == Some(true),
            attentions: config.output_attentions == Some(true),
            ..Self::default()
        }
    }

    fn keeps(&self) -> bool {
        self.hidden_states || self.attentions
    }

    /// Asks a pass for what is kept.
    pub fn ask(&self, inputs: ModelInputs) -> ModelInputs {
        ModelInputs {
            output_hidden_states: self.hidden_states,
            output_attentions: self.attentions,
            ..inputs
        }
    }

    /// Another pass begins.
    pub fn begin(&mut self) {
        self.last = States::default();
    }

    /// A piece of the pass.
    pub fn add(&mut self, output: &ModelOutput) {
        if !self.keeps() {
            return;
        }
        let of_decoder = output.decoder_hidden_states.as_ref();
        let states = of_decoder.or(output.hidden_states.as_ref());
        let states = states.cloned().unwrap_or_default();
        let of_decoder = output.decoder_attentions.as_ref();
        let attentions = of_decoder.or(output.attentions.as_ref());
        let before = std::mem::take(&mut self.last.hidden_states);
        self.last = States {
            hidden_states: match before.is_empty() {
                true => states,
                false => {
                    let pairs = before.into_iter().zip(states);
                    pairs.map(|(a, b)| Tensor::cat(vec![a, b], 1)).collect()
                }
            },
            attentions: attentions.cloned().unwrap_or_default(),
            cross_attentions: output.cross_attentions.clone().unwrap_or_default(),
        };
    }

    /// The last pass was a step of its own.
    pub fn keep(&mut self) {
        if self.keeps() {
            self.steps.push(std::mem::take(&mut self.last));
        }
    }

    /// The last pass, less its last `dropped` tokens, was several steps: `count`, of which all but the first have one
    /// token.
    pub fn keep_steps(&mut self, count: usize, dropped: usize) {
        if !self.keeps() {
            return;
        }
        let last = std::mem::take(&mut self.last);
        let all = last.len();
        let first = all.saturating_sub(dropped + count - 1);
        self.steps.push(last.part(0, first, all));
        let others = (1..count).map(|step| last.part(first + step - 1, 1, all));
        self.steps.extend(others);
    }

    /// Hands over the states of every step.
    pub fn give(self, generated: &mut Generated) {
        for states in self.steps {
            if self.hidden_states {
                generated.hidden_states.push(states.hidden_states);
            }
            if self.attentions {
                generated.attentions.push(states.attentions);
            }
            if self.attentions && generated.is_encoder_decoder {
                generated.cross_attentions.push(states.cross_attentions);
            }
        }
    }
}
