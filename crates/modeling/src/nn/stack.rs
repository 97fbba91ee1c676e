//! One half of an encoder–decoder, and the attention in its layers.

use std::fmt::Debug;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use transformers_ops as ops;

use super::{AttentionPass, Cache, Embedding, Linear, Mask, States, linears};
use crate::{ModelError, ModelInputs, Rows};

/// The encoder or the decoder of a model that has both.
pub trait Stack: Module + ModuleDisplay + Debug + Sync + 'static {
    /// Embedded ids `[batch, seq, hidden]` through positions, layers and norms, to the same shape. A layer's input is
    /// [recorded](StackPass::record) before it runs.
    fn forward(&self, embedded: Tensor<3>, pass: &mut StackPass<'_>) -> Tensor<3>;

    /// The number of layers.
    fn layers(&self) -> usize;

    /// An embedding of its own, where it does not share the model's.
    fn own_embedding(&self) -> Option<&Embedding> {
        None
    }
}

/// What the layers of a stack have in common in one forward pass.
pub struct StackPass<'a> {
    /// The ids, `[batch, seq]`.
    pub ids: &'a Rows<u32>,
    /// The number of tokens before them.
    pub past: usize,
    /// Who sees whom among the stack's own tokens.
    pub mask: Mask,
    /// Added to the scores among them: relative positions, `[1, heads, seq, past + seq]`.
    pub bias: Option<Tensor<4>>,
    /// In a decoder, what the encoder gave.
    pub encoder: Option<EncoderStates>,
    attention: AttentionPass,
    cross_attention: AttentionPass,
    cache: Option<&'a mut dyn Cache>,
    states: Option<Vec<Tensor<3>>>,
}

/// The states that a decoder attends to.
#[derive(Debug, Clone)]
pub struct EncoderStates {
    /// `[batch, states, hidden]`.
    pub states: Tensor<3>,
    /// Hides padding.
    pub mask: Mask,
}

/// What one stack gives.
pub(crate) struct StackOutput {
    /// The states, and the weights of attention among the stack's own tokens.
    pub states: States,
    /// The weights of attention to the encoder's states.
    pub cross_attentions: Option<Vec<Tensor<4>>>,
}

impl<'a> StackPass<'a> {
    /// A pass of an encoder, or with the states of one of a decoder, on checked inputs.
    pub(super) fn new(
        inputs: &'a ModelInputs,
        encoder: Option<EncoderStates>,
        cache: Option<&'a mut dyn Cache>,
    ) -> Self {
        let past = cache.as_ref().map_or(0, |cache| cache.seq_len());
        let mask = match &encoder {
            Some(_) => Mask::causal().after(past),
            None => Mask::bidirectional(),
        };
        Self {
            ids: &inputs.input_ids,
            past,
            mask: mask.with_padding(inputs.tokens(0)),
            bias: None,
            encoder,
            attention: AttentionPass::new(inputs),
            cross_attention: AttentionPass::new(inputs),
            cache,
            states: inputs.output_hidden_states.then(Vec::new),
        }
    }

    /// A pass of a decoder that attends to its own tokens only.
    pub(crate) fn decoder_alone(inputs: &'a ModelInputs, cache: Option<&'a mut dyn Cache>) -> Self {
        let pass = Self::new(inputs, None, cache);
        let mask = Mask::causal().after(pass.past);
        Self {
            mask: mask.with_padding(inputs.tokens(0)),
            ..pass
        }
    }

    /// Keeps `hidden`, the input of a layer, if states were asked for.
    pub fn record(&mut self, hidden: &Tensor<3>) {
        if let Some(states) = &mut self.states {
            states.push(hidden.clone());
        }
    }

    pub(crate) fn run(
        mut self,
        stack: &impl Stack,
        embedded: Tensor<3>,
    ) -> Result<StackOutput, ModelError> {
        let last = stack.forward(embedded, &mut self);
        self.record(&last);
        Ok(StackOutput {
            states: States {
                last,
                all: self.states,
                attentions: self.attention.take_weights()?,
            },
            cross_attentions: self.cross_attention.take_weights()?,
        })
    }
}

/// An encoder on its own: its states of embedded ids, `[batch, seq, hidden]`; `inputs` are checked.
///
/// # Errors
/// Weights of attention are wanted, and its implementation gives none.
pub fn encoder_states(
    encoder: &impl Stack,
    embedded: Tensor<3>,
    inputs: &ModelInputs,
) -> Result<States, ModelError> {
    let pass = StackPass::new(inputs, None, None);
    Ok(pass.run(encoder, embedded)?.states)
}

/// The four projections of an attention layer, whatever their names are on disk.
#[derive(Debug)]
pub struct Projections<'a> {
    /// Queries, keys and values.
    pub qkv: [&'a Linear; 3],
    /// From the heads back to the residual stream.
    pub output: &'a Linear,
    /// The number of heads.
    pub heads: usize,
    /// Factor on the scores; `None`: one by the root of a head's size.
    pub scale: Option<f64>,
}

impl Projections<'_> {
    /// Attention of `x` (`[batch, seq, hidden]`) to itself and the tokens before it.
    pub fn to_itself(&self, x: Tensor<3>, layer: usize, pass: &mut StackPass<'_>) -> Tensor<3> {
        let [q, k, v] = linears(x, self.qkv).map(|x| self.split(x));
        let (k, v) = match &mut pass.cache {
            Some(cache) => cache.update(layer, k, v),
            None => (k, v),
        };
        let scores = self.scores(&q, pass.bias.clone());
        let y = pass.attention.attend([q, k, v], &pass.mask, &scores);
        self.output.forward(y)
    }

    /// Attention of a decoder's `x` (`[batch, seq, hidden]`) to the encoder's states.
    pub fn to_encoder(&self, x: Tensor<3>, layer: usize, pass: &mut StackPass<'_>) -> Tensor<3> {
        let Some(EncoderStates { states, mask }) = &pass.encoder else {
            return x.zeros_like();
        };
        let [query, key, value] = self.qkv;
        let mut make = || {
            let [k, v] = linears(states.clone(), [key, value]).map(|x| self.split(x));
            (k, v)
        };
        let (k, v) = match &mut pass.cache {
            Some(cache) => cache.cross(layer, &mut make),
            None => make(),
        };
        let q = self.split(query.forward(x));
        let scores = self.scores(&q, None);
        let y = pass.cross_attention.attend([q, k, v], mask, &scores);
        self.output.forward(y)
    }

    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, seq, features] = x.dims();
        x.reshape([batch, seq, self.heads, features / self.heads])
            .swap_dims(1, 2)
    }

    fn scores(&self, q: &Tensor<4>, bias: Option<Tensor<4>>) -> ops::AttentionOptions {
        let by_size = || (q.dims()[3] as f64).powf(-0.5);
        ops::AttentionOptions {
            bias,
            ..ops::AttentionOptions::new(self.scale.unwrap_or_else(by_size))
        }
    }
}

impl EncoderStates {
    /// Checks states that were given against the mask of the tokens that they come from.
    pub(super) fn new(
        states: Tensor<3>,
        inputs: &ModelInputs,
        hidden_size: usize,
    ) -> Result<Self, ModelError> {
        let [batch, seq, found] = states.dims();
        let wrong = |name, found, expected| ModelError::InputShape {
            name,
            found,
            expected,
        };
        if found != hidden_size {
            return Err(wrong("encoder_outputs", [seq, found], [seq, hidden_size]));
        }
        let mask = inputs.attention_mask.as_ref();
        if let Some(found) = mask.map(Rows::dims).filter(|dims| *dims != [batch, seq]) {
            return Err(wrong("attention_mask", found, [batch, seq]));
        }
        let mask = Mask::bidirectional().with_padding(inputs.tokens(0));
        Ok(Self { states, mask })
    }
}
