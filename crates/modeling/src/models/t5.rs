//! T5 (Raffel et al. 2020), mT5 and UMT5: pre-norm encoder–decoders without biases, with positions only in the attention
//! scores, which are not scaled. T5 1.1, mT5 and UMT5 have gated MLPs; UMT5 has a position table in every layer.
//!
//! Field names are the checkpoint's, hence `SelfAttention` and `DenseReluDense`.
#![allow(non_snake_case)]

use std::marker::PhantomData;

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::{AutoConfig, MT5Config, ModelConfig, T5Config, UMT5Config};
use transformers_ops as ops;

use crate::classes::class_name;
use crate::nn::heads::{EndTokenClassifier, SpanHead, TokenClassifier};
use crate::nn::{
    Activation, BaseFamily, Cache, DecoderStart, Embedding, EncoderDecoder, EncoderDecoderOptions,
    Init, Linear, NormForm, Projections, RelativeBuckets, RmsNorm, Stack, StackPass, activation,
    encoder_states, forward_encoder_decoder, linears, with_noise,
};
use crate::{
    Family, Forward, Head, ModelError, ModelInputs, ModelOutput, PreTrainedModel, Pretrained,
};

/// The three families.
pub(crate) fn families() -> [Family; 3] {
    [
        family::<T5Config>(),
        family::<MT5Config>(),
        family::<UMT5Config>(),
    ]
}

fn family<C: T5Like>() -> Family {
    let mut family = Family::new(C::MODEL_TYPE, "transformer")
        .tied(&[("lm_head.weight", "shared.weight")])
        .sets(None, &[("tie_word_embeddings", true)])
        .aliases(&[
            ("encoder.embed_tokens.weight", "shared.weight"),
            ("decoder.embed_tokens.weight", "shared.weight"),
        ])
        .head(Head::Base, |config, init| {
            Ok(Pretrained::boxed(
                T5Model::new(&of::<C>(config)?, init)?,
                config,
            ))
        })
        .head(Head::Seq2SeqLM, language_model::<C>)
        .head(Head::TextEncoding, |config, init| {
            let model = T5EncoderModel::new(&of::<C>(config)?, init)?;
            Ok(Pretrained::boxed(model, config))
        });
    if class_name(C::MODEL_TYPE, Head::PreTraining).is_some() {
        family = family.head(Head::PreTraining, language_model::<C>);
    }
    if C::ENCODER_SAYS_SO {
        let encoder = &[("is_encoder_decoder", false), ("use_cache", false)];
        for head in [Head::TextEncoding, Head::TokenClassification] {
            family = family.sets(head, encoder);
        }
    }
    family
        .with::<OnT5<C>, EndTokenClassifier>(Head::SequenceClassification)
        .with::<OnT5Encoder<C>, TokenClassifier>(Head::TokenClassification)
        .prefix(Head::QuestionAnswering, "")
        .with::<OnT5<C>, SpanHead>(Head::QuestionAnswering)
}

fn language_model<C: T5Like>(
    config: &AutoConfig,
    init: &Init,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let model = T5ForConditionalGeneration::new(&of::<C>(config)?, init)?;
    Ok(Pretrained::boxed(model, config))
}

/// Both stacks under a head: the decoder reads what the encoder reads, one place further to the right.
#[derive(Debug)]
struct OnT5<C>(PhantomData<C>);

impl<C: T5Like> BaseFamily for OnT5<C> {
    type Config = C;
    type Model = T5Model;

    fn model(config: &C, _pooler: bool, init: &Init) -> Result<T5Model, ModelError> {
        let options = T5Options {
            shifts_inputs: true,
            ..config.options()?
        };
        T5Model::new(&options, init)
    }

    fn hidden_size(config: &C) -> usize {
        config.hidden_size()
    }
}

/// The encoder alone under a head.
#[derive(Debug)]
struct OnT5Encoder<C>(PhantomData<C>);

impl<C: T5Like> BaseFamily for OnT5Encoder<C> {
    type Config = C;
    type Model = T5EncoderModel;

    fn model(config: &C, _pooler: bool, init: &Init) -> Result<T5EncoderModel, ModelError> {
        T5EncoderModel::new(&config.options()?, init)
    }

    fn hidden_size(config: &C) -> usize {
        config.hidden_size()
    }
}

fn of<C: T5Like>(config: &AutoConfig) -> Result<T5Options, ModelError> {
    config.typed::<C>()?.options()
}

/// What the three configs have in common.
#[derive(Debug, Clone)]
pub struct T5Options {
    vocab_size: usize,
    d_model: usize,
    d_kv: usize,
    d_ff: usize,
    /// Of the encoder and of the decoder.
    layers: [usize; 2],
    num_heads: usize,
    buckets: usize,
    max_distance: usize,
    layer_norm_epsilon: f64,
    initializer_factor: f64,
    activation: Activation,
    gated: bool,
    pad_token_id: Option<u32>,
    decoder_start_token_id: Option<u32>,
    tie_word_embeddings: bool,
    /// The decoder's states are scaled before the output layer.
    scale_outputs: bool,
    /// Every layer has its own table of positions.
    table_in_every_layer: bool,
    /// Without ids of its own, the decoder has the encoder's.
    shifts_inputs: bool,
}

/// A config of this kind.
trait T5Like: ModelConfig {
    /// Whether the encoder alone is no encoder–decoder by its config.
    const ENCODER_SAYS_SO: bool;

    fn hidden_size(&self) -> usize;

    fn options(&self) -> Result<T5Options, ModelError>;
}

macro_rules! t5_like {
    ($config:ident, $self:ident, encoder_says_so: $says:expr, scale_outputs: $scale:expr, table_in_every_layer: $every:expr) => {
        impl T5Like for $config {
            const ENCODER_SAYS_SO: bool = $says;

            fn hidden_size(&$self) -> usize {
                $self.d_model
            }

            fn options(&$self) -> Result<T5Options, ModelError> {
                let (name, gated) = $self.activation()?;
                Ok(T5Options {
                    vocab_size: $self.vocab_size,
                    d_model: $self.d_model,
                    d_kv: $self.d_kv,
                    d_ff: $self.d_ff,
                    layers: [$self.num_layers, $self.num_decoder_layers()],
                    num_heads: $self.num_heads,
                    buckets: $self.relative_attention_num_buckets,
                    max_distance: $self.relative_attention_max_distance,
                    layer_norm_epsilon: $self.layer_norm_epsilon,
                    initializer_factor: $self.initializer_factor,
                    activation: activation("feed_forward_proj", name)?,
                    gated,
                    pad_token_id: $self.pad_token_id,
                    decoder_start_token_id: $self.decoder_start_token_id,
                    tie_word_embeddings: $self.tie_word_embeddings,
                    scale_outputs: $scale,
                    table_in_every_layer: $every,
                    shifts_inputs: false,
                })
            }
        }
    };
}

t5_like!(T5Config, self, encoder_says_so: true, scale_outputs: self.scale_decoder_outputs != Some(false), table_in_every_layer: false);
t5_like!(MT5Config, self, encoder_says_so: true, scale_outputs: false, table_in_every_layer: false);
t5_like!(UMT5Config, self, encoder_says_so: false, scale_outputs: true, table_in_every_layer: true);

impl T5Options {
    fn norm(&self, init: &Init) -> RmsNorm {
        RmsNorm::new(self.d_model, self.layer_norm_epsilon, NormForm::Plain, init)
    }

    /// Fresh weights of a layer with so many inputs.
    fn init(&self, inputs: usize, init: &Init) -> Init {
        Init {
            std: self.initializer_factor * (inputs as f64).powf(-0.5),
            ..init.clone()
        }
    }

    /// A layer without bias.
    fn linear(&self, input: usize, output: usize, init: &Init) -> Linear {
        Linear::new(input, output, false, &self.init(input, init))
    }
}

#[derive(Module, Debug)]
struct T5Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    /// `[buckets, heads]`.
    relative_attention_bias: Option<Embedding>,
    heads: usize,
}

impl T5Attention {
    fn new(options: &T5Options, table: bool, init: &Init) -> Self {
        let (hidden, inner) = (options.d_model, options.num_heads * options.d_kv);
        let spread = options.init(hidden, init);
        let table = table.then(|| Embedding::new(options.buckets, options.num_heads, &spread));
        // Unscaled scores ask for smaller queries.
        let of_queries = options.init(hidden * options.d_kv, init);
        Self {
            q: Linear::new(hidden, inner, false, &of_queries),
            k: options.linear(hidden, inner, init),
            v: options.linear(hidden, inner, init),
            o: options.linear(inner, hidden, init),
            relative_attention_bias: table,
            heads: options.num_heads,
        }
    }

    fn projections(&self) -> Projections<'_> {
        Projections {
            qkv: [&self.q, &self.k, &self.v],
            output: &self.o,
            heads: self.heads,
            scale: Some(1.0),
        }
    }
}

/// The feed-forward block: plain with `wi`, gated with `wi_0` and `wi_1`.
#[derive(Module, Debug)]
struct T5Dense {
    wi: Option<Linear>,
    wi_0: Option<Linear>,
    wi_1: Option<Linear>,
    wo: Linear,
    #[module(skip)]
    activation: Activation,
}

impl T5Dense {
    fn new(options: &T5Options, init: &Init) -> Self {
        let (hidden, inner) = (options.d_model, options.d_ff);
        let widen = |there: bool| there.then(|| options.linear(hidden, inner, init));
        Self {
            wi: widen(!options.gated),
            wi_0: widen(options.gated),
            wi_1: widen(options.gated),
            wo: options.linear(inner, hidden, init),
            activation: options.activation,
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let inner = match (&self.wi, &self.wi_0, &self.wi_1) {
            (None, Some(gate), Some(up)) => {
                let [gate, up] = linears(x, [gate, up]);
                ops::gated(gate, up, self.activation)
            }
            (Some(wi), ..) => ops::activate(wi.forward(x), self.activation),
            _ => x,
        };
        self.wo.forward(inner)
    }
}

/// A norm and what follows it before the sum with the residual stream: one of three.
#[derive(Module, Debug)]
struct T5Layer {
    SelfAttention: Option<T5Attention>,
    EncDecAttention: Option<T5Attention>,
    DenseReluDense: Option<T5Dense>,
    layer_norm: RmsNorm,
}

impl T5Layer {
    fn forward(&self, x: Tensor<3>, index: usize, pass: &mut StackPass<'_>) -> Tensor<3> {
        let normed = self.layer_norm.forward(x.clone());
        if let Some(attention) = &self.SelfAttention {
            return x + attention.projections().to_itself(normed, index, pass);
        }
        if let Some(attention) = &self.EncDecAttention {
            return x + attention.projections().to_encoder(normed, index, pass);
        }
        match &self.DenseReluDense {
            Some(dense) => x + dense.forward(normed),
            None => x,
        }
    }
}

#[derive(Module, Debug)]
struct T5Block {
    layer: Vec<T5Layer>,
}

impl T5Block {
    fn new(options: &T5Options, decoder: bool, table: bool, init: &Init) -> Self {
        let layer = || T5Layer {
            SelfAttention: None,
            EncDecAttention: None,
            DenseReluDense: None,
            layer_norm: options.norm(init),
        };
        let own = T5Layer {
            SelfAttention: Some(T5Attention::new(options, table, init)),
            ..layer()
        };
        let cross = decoder.then(|| T5Layer {
            EncDecAttention: Some(T5Attention::new(options, false, init)),
            ..layer()
        });
        let dense = T5Layer {
            DenseReluDense: Some(T5Dense::new(options, init)),
            ..layer()
        };
        Self {
            layer: [Some(own), cross, Some(dense)]
                .into_iter()
                .flatten()
                .collect(),
        }
    }

    fn table(&self) -> Option<&Embedding> {
        let own = self.layer.first()?.SelfAttention.as_ref()?;
        own.relative_attention_bias.as_ref()
    }
}

/// The encoder, or the decoder.
#[derive(Module, Debug)]
pub struct T5Stack {
    block: Vec<T5Block>,
    final_layer_norm: RmsNorm,
    #[module(skip)]
    buckets: RelativeBuckets,
}

impl T5Stack {
    fn new(options: &T5Options, decoder: bool, init: &Init) -> Self {
        let table = |index| index == 0 || options.table_in_every_layer;
        let layers = options.layers[usize::from(decoder)];
        Self {
            block: (0..layers)
                .map(|index| T5Block::new(options, decoder, table(index), init))
                .collect(),
            final_layer_norm: options.norm(init),
            buckets: RelativeBuckets {
                count: options.buckets,
                max_distance: options.max_distance,
                bidirectional: !decoder,
            },
        }
    }
}

impl Stack for T5Stack {
    fn forward(&self, mut hidden: Tensor<3>, pass: &mut StackPass<'_>) -> Tensor<3> {
        let seq = hidden.dims()[1];
        for (index, block) in self.block.iter().enumerate() {
            pass.record(&hidden);
            if let Some(table) = block.table() {
                let (past, keys) = (pass.past, pass.past + seq);
                pass.bias = Some(self.buckets.bias(table, past, seq, keys));
            }
            for layer in &block.layer {
                hidden = layer.forward(hidden, index, pass);
            }
        }
        self.final_layer_norm.forward(hidden)
    }

    fn layers(&self) -> usize {
        self.block.len()
    }
}

/// Both stacks; the decoder's states are the output.
#[derive(Module, Debug)]
pub struct T5Model {
    __: EncoderDecoder<T5Stack>,
}

impl T5Model {
    /// # Errors
    /// Config values that do not fit together.
    pub fn new(options: &T5Options, init: &Init) -> Result<Self, ModelError> {
        let stacks = [false, true].map(|decoder| T5Stack::new(options, decoder, init));
        let around = EncoderDecoderOptions {
            vocab_size: options.vocab_size,
            decoder_vocab_size: options.vocab_size,
            hidden_size: options.d_model,
            embedding_scale: None,
            max_positions: None,
            pad_token_id: options.pad_token_id,
            padding_row: None,
            start: DecoderStart::Token(options.decoder_start_token_id),
            shifts_inputs: options.shifts_inputs,
        };
        Ok(Self {
            __: EncoderDecoder::new(stacks, true, around, &options.init(1, init)),
        })
    }
}

impl Forward for T5Model {
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        self.__.states(inputs, cache)
    }

    forward_encoder_decoder!(__);
}

/// With the output layer: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
pub struct T5ForConditionalGeneration {
    __: T5Model,
    /// `None`: tied to the embedding.
    lm_head: Option<Linear>,
    scale: Option<f64>,
}

impl T5ForConditionalGeneration {
    /// # Errors
    /// As [`T5Model::new`].
    pub fn new(options: &T5Options, init: &Init) -> Result<Self, ModelError> {
        let head = || {
            Linear::new(
                options.d_model,
                options.vocab_size,
                false,
                &options.init(1, init),
            )
        };
        Ok(Self {
            __: T5Model::new(options, init)?,
            lm_head: (!options.tie_word_embeddings).then(head),
            scale: options
                .scale_outputs
                .then(|| (options.d_model as f64).powf(-0.5)),
        })
    }

    fn logits(&self, mut hidden: Tensor<3>) -> Tensor<3> {
        if let Some(scale) = self.scale {
            hidden = hidden * scale;
        }
        match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => self.__.__.tied_logits(hidden),
        }
    }
}

impl Forward for T5ForConditionalGeneration {
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        self.__
            .__
            .language_model(inputs, cache, |hidden| self.logits(hidden))
    }

    forward_encoder_decoder!(__.__);
}

/// The encoder alone.
#[derive(Module, Debug)]
pub struct T5EncoderModel {
    shared: Embedding,
    encoder: T5Stack,
    vocab_size: usize,
}

impl T5EncoderModel {
    /// # Errors
    /// Config values that do not fit together.
    pub fn new(options: &T5Options, init: &Init) -> Result<Self, ModelError> {
        let spread = options.init(1, init);
        Ok(Self {
            shared: Embedding::new(options.vocab_size, options.d_model, &spread),
            encoder: T5Stack::new(options, false, init),
            vocab_size: options.vocab_size,
        })
    }
}

impl Forward for T5EncoderModel {
    fn forward(
        &self,
        inputs: &ModelInputs,
        _cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        inputs.check(self.vocab_size, 0)?;
        let ids = inputs.input_ids.to_tensor(&self.shared.weight.device());
        let vectors = with_noise(inputs.embedding_noise, self.shared.forward(ids));
        let states = encoder_states(&self.encoder, vectors, inputs)?;
        Ok(ModelOutput::of_states(states))
    }
}
