//! The reference's four output classes: one for each mode, with an encoder and without.

use burn::tensor::Tensor;
use transformers_modeling::nn::CacheState;

use crate::Generated;

/// What [`Generated::into_output`] gives.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the classes say what they are")]
pub enum GenerateOutput {
    DecoderOnly(GenerateDecoderOnlyOutput),
    EncoderDecoder(GenerateEncoderDecoderOutput),
    BeamDecoderOnly(GenerateBeamDecoderOnlyOutput),
    BeamEncoderDecoder(GenerateBeamEncoderDecoderOutput),
}

/// Declares the classes; all of them have the fields that come first.
macro_rules! output_classes {
    ($($(#[$attribute:meta])* $class:ident { $($(#[$doc:meta])* $field:ident: $type:ty = $from:ident,)* })*) => {
        $(
            $(#[$attribute])*
            ///
            /// Fields that were not asked for are empty.
            #[derive(Debug, Clone, Default)]
            pub struct $class {
                /// Rows of ids; of a decoder alone, they begin with the prompt.
                pub sequences: Vec<Vec<u32>>,
                /// With `output_scores`: the processed scores, `[step][row][vocab]`.
                pub scores: Vec<Vec<Vec<f32>>>,
                /// With `output_logits`: the model's own, `[step][row][vocab]`.
                pub logits: Vec<Vec<Vec<f32>>>,
                /// With `return_dict_in_generate`: what the cache holds.
                pub past_key_values: Option<CacheState>,
                $($(#[$doc])* pub $field: $type,)*
            }

            impl From<Generated> for $class {
                fn from(generated: Generated) -> Self {
                    Self {
                        sequences: generated.sequences,
                        scores: generated.scores,
                        logits: generated.logits,
                        past_key_values: generated.past_key_values,
                        $($field: generated.$from,)*
                    }
                }
            }
        )*
    };
}

output_classes! {
    /// Of greedy decoding, sampling and assisted decoding, without an encoder.
    GenerateDecoderOnlyOutput {
        /// With `output_hidden_states`: `[step][layer]` of `[rows, tokens of the step, hidden]`.
        hidden_states: Vec<Vec<Tensor<3>>> = hidden_states,
        /// With `output_attentions`: `[step][layer]` of `[rows, heads, tokens of the step, keys]`.
        attentions: Vec<Vec<Tensor<4>>> = attentions,
    }
    /// Of greedy decoding, sampling and assisted decoding, with an encoder.
    GenerateEncoderDecoderOutput {
        /// With `output_hidden_states`: the encoder's, `[layer]` of `[rows, seq, hidden]`.
        encoder_hidden_states: Vec<Tensor<3>> = encoder_hidden_states,
        /// With `output_hidden_states`: the decoder's, `[step][layer]` of `[rows, tokens of the step, hidden]`.
        decoder_hidden_states: Vec<Vec<Tensor<3>>> = hidden_states,
        /// With `output_attentions`: the encoder's, `[layer]` of `[rows, heads, seq, seq]`.
        encoder_attentions: Vec<Tensor<4>> = encoder_attentions,
        /// With `output_attentions`: the decoder's, `[step][layer]` of `[rows, heads, tokens of the step, keys]`.
        decoder_attentions: Vec<Vec<Tensor<4>>> = attentions,
        /// With `output_attentions`: to the encoder, `[step][layer]` of `[rows, heads, tokens of the step, seq]`.
        cross_attentions: Vec<Vec<Tensor<4>>> = cross_attentions,
    }
    /// Of beam search and beam sampling, without an encoder.
    GenerateBeamDecoderOnlyOutput {
        /// Each row's sum of log-probabilities over a power of its length.
        sequences_scores: Vec<f32> = sequences_scores,
        /// The row in which each new token was computed.
        beam_indices: Vec<Vec<usize>> = beam_indices,
        /// With `output_hidden_states`: `[step][layer]` of `[beams, tokens of the step, hidden]`.
        hidden_states: Vec<Vec<Tensor<3>>> = hidden_states,
        /// With `output_attentions`: `[step][layer]` of `[rows, heads, tokens of the step, keys]`.
        attentions: Vec<Vec<Tensor<4>>> = attentions,
    }
    /// Of beam search and beam sampling, with an encoder.
    GenerateBeamEncoderDecoderOutput {
        /// Each row's sum of log-probabilities over a power of its length.
        sequences_scores: Vec<f32> = sequences_scores,
        /// The row in which each new token was computed.
        beam_indices: Vec<Vec<usize>> = beam_indices,
        /// With `output_hidden_states`: the encoder's, `[layer]` of `[rows, seq, hidden]`.
        encoder_hidden_states: Vec<Tensor<3>> = encoder_hidden_states,
        /// With `output_hidden_states`: the decoder's, `[step][layer]` of `[beams, tokens of the step, hidden]`.
        decoder_hidden_states: Vec<Vec<Tensor<3>>> = hidden_states,
        /// With `output_attentions`: the encoder's, `[layer]` of `[rows, heads, seq, seq]`.
        encoder_attentions: Vec<Tensor<4>> = encoder_attentions,
        /// With `output_attentions`: the decoder's, `[step][layer]` of `[rows, heads, tokens of the step, keys]`.
        decoder_attentions: Vec<Vec<Tensor<4>>> = attentions,
        /// With `output_attentions`: to the encoder, `[step][layer]` of `[rows, heads, tokens of the step, seq]`.
        cross_attentions: Vec<Vec<Tensor<4>>> = cross_attentions,
    }
}

impl Generated {
    /// The same as the class that the reference would give.
    pub fn into_output(self) -> GenerateOutput {
        match (self.is_encoder_decoder, self.beam_indices.is_empty()) {
            (false, true) => GenerateOutput::DecoderOnly(self.into()),
            (true, true) => GenerateOutput::EncoderDecoder(self.into()),
            (false, false) => GenerateOutput::BeamDecoderOnly(self.into()),
            (true, false) => GenerateOutput::BeamEncoderDecoder(self.into()),
        }
    }
}
