//! EuroBERT (Boizard et al. 2025): Llama's layers, which see both ways.

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::{EuroBertConfig, ModelConfig};
use transformers_ops as ops;

use crate::nn::heads::{TokenClassifier, by_row, by_token, first, mean_of_tokens, states};
use crate::nn::{
    Activation, BlockOptions, Decoder, DecoderFamily, DecoderOptions, HeadOptions, Init, Linear,
    MlpOptions, NormOptions, OnDecoder, OutputLayer, PreNormBlock, RowScores, TaskHead, activation,
};
use crate::{Family, Head, ModelError, ModelInputs, ModelOutput};

/// The family.
pub(crate) fn family() -> Family {
    type EuroBert = OnDecoder<EuroBertLayers>;
    Family::new(EuroBertConfig::MODEL_TYPE, "model")
        .tied(&[("lm_head.weight", "model.embed_tokens.weight")])
        .headless::<EuroBert>(Head::Base)
        .with::<EuroBert, EuroBertMaskedLM>(Head::MaskedLM)
        .with::<EuroBert, EuroBertClassifier>(Head::SequenceClassification)
        .with::<EuroBert, TokenClassifier>(Head::TokenClassification)
}

#[derive(Debug)]
struct EuroBertLayers;

impl DecoderFamily for EuroBertLayers {
    type Config = EuroBertConfig;
    type Layer = PreNormBlock;

    fn options(config: &EuroBertConfig) -> DecoderOptions {
        decoder_options!(config {
            norm: Some(NormOptions::rms(config.rms_norm_eps)),
            bidirectional: true,
        })
    }

    fn layer(config: &EuroBertConfig, _: usize, init: &Init) -> Result<PreNormBlock, ModelError> {
        let attention = attention_options!(config).with_bias(config.attention_bias);
        let activation = activation("hidden_act", &config.hidden_act)?;
        let mlp = MlpOptions {
            bias: config.mlp_bias,
            ..MlpOptions::gated(config.intermediate_size, activation)
        };
        let norm = NormOptions::rms(config.rms_norm_eps);
        let block = BlockOptions::new(attention, mlp, norm);
        Ok(PreNormBlock::new(&block, init))
    }
}

/// The masked-token head: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
struct EuroBertMaskedLM {
    lm_head: OutputLayer,
}

impl TaskHead<OnDecoder<EuroBertLayers>> for EuroBertMaskedLM {
    fn new(config: &EuroBertConfig, _: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let (bias, tied) = (config.mlp_bias, config.tie_word_embeddings);
        Ok(Self {
            lm_head: OutputLayer::new(hidden, vocab, bias, tied, init),
        })
    }

    fn forward(
        &self,
        base: &Decoder<PreNormBlock>,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        by_token(self.lm_head.forward(hidden, base.words()), rest, inputs)
    }
}

/// What a classifier sees of a row.
#[derive(Debug, Clone, Copy)]
enum Pooling {
    /// The first state.
    Bos,
    /// The mean of the tokens' states.
    Mean,
    /// Every token's state; the mean is that of the scores.
    Late,
}

/// The class of a row.
#[derive(Module, Debug)]
struct EuroBertClassifier {
    dense: Linear,
    classifier: Linear,
    #[module(skip)]
    pooling: Pooling,
    #[module(skip)]
    scores: RowScores,
}

impl EuroBertClassifier {
    fn logits<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        let inner = ops::activate(self.dense.forward(hidden), Activation::Gelu);
        self.classifier.forward(inner)
    }
}

impl TaskHead<OnDecoder<EuroBertLayers>> for EuroBertClassifier {
    fn new(
        config: &EuroBertConfig,
        options: &HeadOptions,
        init: &Init,
    ) -> Result<Self, ModelError> {
        let hidden = config.hidden_size;
        Ok(Self {
            dense: Linear::new(hidden, hidden, true, init),
            classifier: Linear::new(hidden, options.num_labels, true, init),
            // The config has checked the name.
            pooling: match config.classifier_pooling.as_str() {
                "bos" => Pooling::Bos,
                "mean" => Pooling::Mean,
                _ => Pooling::Late,
            },
            scores: options.scores,
        })
    }

    fn forward(
        &self,
        _base: &Decoder<PreNormBlock>,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let logits = match self.pooling {
            Pooling::Bos => self.logits(first(hidden)),
            Pooling::Mean => self.logits(mean_of_tokens(hidden, inputs)),
            Pooling::Late => mean_of_tokens(self.logits(hidden), inputs),
        };
        by_row(logits, rest, inputs, self.scores)
    }
}
