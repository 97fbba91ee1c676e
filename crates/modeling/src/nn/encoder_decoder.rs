//! The encoder–decoder: two stacks around one embedding.
//!
//! Families differ in their stacks; what all of them do around these is here: which ids the decoder sees, caches, hidden
//! states, logits and the loss.

use burn::module::Module;
use burn::tensor::Tensor;

use super::check_room;
use super::stack::StackOutput;
use super::{
    Cache, CacheLayout, Embedding, EmbeddingNoise, EncoderStates, Init, Stack, StackPass, States,
    encoder_states, with_noise,
};
use crate::loss::token_loss;
use crate::{Forward, ModelError, ModelInputs, ModelOutput, Part, Rows};

/// The numbers around the two stacks.
#[derive(Debug, Clone)]
pub struct EncoderDecoderOptions {
    /// The encoder's ids are below this.
    pub vocab_size: usize,
    /// The decoder's ids are below this.
    pub decoder_vocab_size: usize,
    /// Features of the residual stream.
    pub hidden_size: usize,
    /// Factor on the embeddings.
    pub embedding_scale: Option<f64>,
    /// The most positions that a stack has; `None`: no end.
    pub max_positions: Option<usize>,
    /// What takes the place of -100 where labels become the decoder's ids.
    pub pad_token_id: Option<u32>,
    /// The token whose vector in the embedding is zero in a fresh model.
    pub padding_row: Option<u32>,
    /// What the decoder begins with.
    pub start: DecoderStart,
    /// Without labels the decoder's ids are made of `input_ids`, as denoising models do.
    pub shifts_inputs: bool,
}

/// What a decoder's ids begin with when they are made of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecoderStart {
    /// `decoder_start_token_id` of the config.
    Token(Option<u32>),
    /// The target's own last token: the language that mBART's texts end with.
    LastToken,
}

/// Encoder and decoder without a head.
#[derive(Module, Debug)]
pub struct EncoderDecoder<S: Stack> {
    /// `None`: each stack has an embedding of its own.
    pub shared: Option<Embedding>,
    encoder: S,
    decoder: S,
    #[module(skip)]
    options: EncoderDecoderOptions,
}

impl<S: Stack> EncoderDecoder<S> {
    /// `[encoder, decoder]` around an embedding, if one is `shared`.
    pub fn new(
        [encoder, decoder]: [S; 2],
        shared: bool,
        options: EncoderDecoderOptions,
        init: &Init,
    ) -> Self {
        let (vocab, hidden) = (options.vocab_size, options.hidden_size);
        let table = || Embedding::padded(vocab, hidden, options.padding_row, init);
        Self {
            shared: shared.then(table),
            encoder,
            decoder,
            options,
        }
    }

    fn side<'a>(&'a self, stack: &'a S) -> Side<'a, S> {
        let own = stack.own_embedding().or(self.shared.as_ref());
        Side {
            stack,
            table: own.expect("a stack without an embedding shares one"),
            options: &self.options,
        }
    }

    /// One stack as a model of its own, with its embedding.
    pub fn part(&self, part: Part) -> StackModel<S> {
        let stack = match part {
            Part::Encoder => &self.encoder,
            Part::Decoder => &self.decoder,
        };
        let shared = self.shared.clone();
        StackModel {
            embed_tokens: shared.filter(|_| stack.own_embedding().is_none()),
            __: stack.clone(),
            part,
            options: self.options.clone(),
        }
    }

    /// `last_hidden_state` and what else both stacks give.
    ///
    /// # Errors
    /// Inputs that do not fit the model or each other.
    pub fn states(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let encoder = match &inputs.encoder_outputs {
            Some(states) => States {
                last: states.clone(),
                all: None,
                attentions: None,
            },
            None => self.side(&self.encoder).encode(inputs)?,
        };
        let states = encoder.last.clone();
        let decoded = self.side(&self.decoder).decode(states, inputs, cache)?;
        Ok(ModelOutput {
            encoder_last_hidden_state: Some(encoder.last),
            encoder_hidden_states: encoder.all,
            encoder_attentions: encoder.attentions,
            ..decoded
        })
    }

    /// A language model's output: `head` makes logits `[batch, seq, vocab]` of states `[batch, seq, hidden]`.
    ///
    /// # Errors
    /// As [`Self::states`], and labels that are no ids.
    pub fn language_model(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
        head: impl FnOnce(Tensor<3>) -> Tensor<3>,
    ) -> Result<ModelOutput, ModelError> {
        let labels = inputs.label_ids()?;
        let shifted = match (&inputs.decoder_input_ids, labels) {
            (None, Some(labels)) => Some(ModelInputs {
                decoder_input_ids: Some(self.options.shift(labels)?),
                ..inputs.clone()
            }),
            _ => None,
        };
        let mut output = self.states(shifted.as_ref().unwrap_or(inputs), cache)?;
        let hidden = output.last_hidden_state.take().expect("just made");
        let seq = hidden.dims()[1];
        let keep = match labels {
            Some(_) => seq,
            None => inputs.logits_to_keep.unwrap_or(seq).clamp(1, seq),
        };
        let logits = head(hidden.narrow(1, seq - keep, keep));
        if let Some(labels) = labels {
            output.loss = Some(token_loss(logits.clone(), labels)?);
        }
        output.logits = Some(logits);
        Ok(output)
    }

    /// The tied output layer: `[batch, seq, hidden]` to logits `[batch, seq, vocab]`.
    pub fn tied_logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.side(&self.decoder).table.logits(hidden)
    }

    /// See [`Forward::encode`](crate::Forward::encode).
    ///
    /// # Errors
    /// Inputs that do not fit the model or each other.
    pub fn encoder_states(&self, inputs: &ModelInputs) -> Result<Option<Tensor<3>>, ModelError> {
        Ok(Some(self.side(&self.encoder).encode(inputs)?.last))
    }

    /// What the decoder's layers need of a cache.
    pub fn decoder_cache_layout(&self) -> CacheLayout {
        cache_layout(&self.decoder)
    }

    /// See [`Forward::context_length`](crate::Forward::context_length).
    pub fn max_positions(&self) -> Option<usize> {
        self.options.max_positions
    }
}

fn cache_layout(decoder: &impl Stack) -> CacheLayout {
    CacheLayout {
        cross_attention: true,
        ..CacheLayout::new(vec![None; decoder.layers()])
    }
}

impl EncoderDecoderOptions {
    fn check_length(&self, len: usize) -> Result<(), ModelError> {
        match self.max_positions {
            Some(max) if len > max => Err(ModelError::TooLong { len, max }),
            _ => Ok(()),
        }
    }

    /// The decoder's ids for the text `target`; see [`shift_tokens_right`].
    fn shift(&self, target: &Rows<i64>) -> Result<Rows<u32>, ModelError> {
        shift_tokens_right(target, self.pad_token_id, self.start)
    }

    fn target(&self, inputs: &ModelInputs, past: usize) -> Result<ModelInputs, ModelError> {
        let ids = match &inputs.decoder_input_ids {
            Some(ids) => ids.clone(),
            None if self.shifts_inputs => self.shift(&inputs.input_ids.map(i64::from))?,
            None => return Err(ModelError::NoDecoderInput),
        };
        let target = ModelInputs {
            input_ids: ids,
            attention_mask: inputs.decoder_attention_mask.clone(),
            output_hidden_states: inputs.output_hidden_states,
            output_attentions: inputs.output_attentions,
            attention: inputs.attention.clone(),
            embedding_noise: inputs.embedding_noise.map(EmbeddingNoise::next),
            ..ModelInputs::default()
        };
        target.check(self.decoder_vocab_size, past)?;
        self.check_length(past + target.input_ids.dims()[1])?;
        Ok(target)
    }
}

/// A stack with its embedding.
struct Side<'a, S> {
    stack: &'a S,
    table: &'a Embedding,
    options: &'a EncoderDecoderOptions,
}

impl<S: Stack> Side<'_, S> {
    fn embed(&self, inputs: &ModelInputs) -> Tensor<3> {
        let ids = inputs.input_ids.to_tensor(&self.table.weight.device());
        let embedded = with_noise(inputs.embedding_noise, self.table.forward(ids));
        match self.options.embedding_scale {
            Some(scale) => embedded * scale,
            None => embedded,
        }
    }

    fn encode(&self, inputs: &ModelInputs) -> Result<States, ModelError> {
        let source = ModelInputs {
            input_ids: inputs.input_ids.clone(),
            attention_mask: inputs.attention_mask.clone(),
            output_hidden_states: inputs.output_hidden_states,
            output_attentions: inputs.output_attentions,
            attention: inputs.attention.clone(),
            embedding_noise: inputs.embedding_noise,
            ..ModelInputs::default()
        };
        source.check(self.options.vocab_size, 0)?;
        self.options.check_length(source.input_ids.dims()[1])?;
        encoder_states(self.stack, self.embed(&source), &source)
    }

    fn decode(
        &self,
        states: Tensor<3>,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let states = EncoderStates::new(states, inputs, self.options.hidden_size)?;
        let past = cache.as_ref().map_or(0, |cache| cache.seq_len());
        let target = self.options.target(inputs, past)?;
        check_room(cache.as_deref(), target.input_ids.dims()[1])?;
        let [batch, seq] = target.input_ids.dims();
        if batch != states.states.dims()[0] {
            return Err(ModelError::InputShape {
                name: "decoder_input_ids",
                found: [batch, seq],
                expected: [states.states.dims()[0], seq],
            });
        }
        let embedded = self.embed(&target);
        let cache = cache.map(|cache| cache as &mut dyn Cache);
        let pass = StackPass::new(&target, Some(states), cache);
        let StackOutput {
            states: decoder,
            cross_attentions,
        } = pass.run(self.stack, embedded)?;
        Ok(ModelOutput {
            last_hidden_state: Some(decoder.last),
            decoder_hidden_states: decoder.all,
            decoder_attentions: decoder.attentions,
            cross_attentions,
            ..ModelOutput::default()
        })
    }
}

/// One stack of an encoder–decoder as a model: the encoder takes `input_ids`; the decoder `decoder_input_ids` and
/// `encoder_outputs`, of which `attention_mask` hides the padding.
#[derive(Module, Debug)]
pub struct StackModel<S: Stack> {
    /// `None`: the stack's own.
    embed_tokens: Option<Embedding>,
    __: S,
    #[module(skip)]
    part: Part,
    #[module(skip)]
    options: EncoderDecoderOptions,
}

impl<S: Stack> StackModel<S> {
    fn side(&self) -> Side<'_, S> {
        let own = self.__.own_embedding().or(self.embed_tokens.as_ref());
        Side {
            stack: &self.__,
            table: own.expect("the stack's, or beside it"),
            options: &self.options,
        }
    }
}

impl<S: Stack> Forward for StackModel<S> {
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        match (self.part, &inputs.encoder_outputs) {
            (Part::Encoder, _) => Ok(ModelOutput::of_states(self.side().encode(inputs)?)),
            (Part::Decoder, Some(states)) => self.side().decode(states.clone(), inputs, cache),
            (Part::Decoder, None) => Err(ModelError::NoEncoderOutputs),
        }
    }

    fn cache_layout(&self) -> Option<CacheLayout> {
        (self.part == Part::Decoder).then(|| cache_layout(&self.__))
    }

    fn context_length(&self) -> Option<usize> {
        self.options.max_positions
    }
}

/// [`Forward`](crate::Forward)'s methods of a model that has an [`EncoderDecoder`] in `$field`, but for the forward pass.
macro_rules! forward_encoder_decoder {
    ($($field:tt)+) => {
        fn cache_layout(&self) -> Option<$crate::nn::CacheLayout> {
            Some(self.$($field)+.decoder_cache_layout())
        }

        fn context_length(&self) -> Option<usize> {
            self.$($field)+.max_positions()
        }

        fn encode(
            &self,
            inputs: &$crate::ModelInputs,
        ) -> Result<Option<burn::tensor::Tensor<3>>, $crate::ModelError> {
            self.$($field)+.encoder_states(inputs)
        }

        fn part(&self, part: $crate::Part, of: &$crate::Whole<'_>) -> Option<Box<dyn $crate::PreTrainedModel>> {
            Some(of.part(self.$($field)+.part(part)))
        }
    };
}
pub(crate) use forward_encoder_decoder;

/// A decoder's input for the text `target`: all but the last id, after what the decoder begins with. -100 becomes the
/// pad token.
///
/// # Errors
/// The config names no start token, or no pad token where one is needed.
pub fn shift_tokens_right(
    target: &Rows<i64>,
    pad: Option<u32>,
    start: DecoderStart,
) -> Result<Rows<u32>, ModelError> {
    let mut rows = Vec::with_capacity(target.dims()[0]);
    for row in target.iter() {
        let id = |label: &i64| match *label {
            crate::loss::IGNORE_INDEX => pad.ok_or(ModelError::NoSpecialToken("pad_token_id")),
            id => u32::try_from(id).map_err(|_| ModelError::IdBeyondVocabulary {
                id,
                vocab_size: u32::MAX as usize,
            }),
        };
        let ids: Vec<u32> = row.iter().map(id).collect::<Result<_, _>>()?;
        let start = match start {
            DecoderStart::Token(token) => token,
            DecoderStart::LastToken => {
                let texts = ids.iter().filter(|id| Some(**id) != pad).count();
                ids.get(texts.saturating_sub(1)).copied()
            }
        };
        let start = start.ok_or(ModelError::NoSpecialToken("decoder_start_token_id"))?;
        rows.push([&[start], &ids[..ids.len().saturating_sub(1)]].concat());
    }
    Rows::new(&rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn targets_move_one_place_to_the_right() {
        let target = Rows::new(&[[7, 8, 9, 4], [7, 5, -100, -100]]).unwrap();
        let shift = |start| shift_tokens_right(&target, Some(1), start);
        let shifted = shift(DecoderStart::Token(Some(2))).unwrap();
        assert_eq!(shifted, Rows::new(&[[2, 7, 8, 9], [2, 7, 5, 1]]).unwrap());
        let wrapped = shift(DecoderStart::LastToken).unwrap();
        assert_eq!(wrapped, Rows::new(&[[4, 7, 8, 9], [5, 7, 5, 1]]).unwrap());
    }

    #[test]
    fn tokens_that_are_needed_and_missing_are_named() {
        let target = Rows::new(&[[7, -100]]).unwrap();
        let error = |pad, start| {
            let start = DecoderStart::Token(start);
            shift_tokens_right(&target, pad, start)
                .unwrap_err()
                .to_string()
        };
        assert!(error(None, Some(2)).contains("pad_token_id"));
        assert!(error(Some(1), None).contains("decoder_start_token_id"));
    }
}
