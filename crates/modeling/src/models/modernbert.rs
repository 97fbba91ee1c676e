//! ModernBERT (Warner et al. 2024): pre-norm encoder with rotary positions and gated feed-forward blocks; two of three
//! layers see their neighbourhood only. And its decoder (Weller et al. 2025): the same layers in one direction, with a
//! projection each for queries, keys and values.
#![allow(non_snake_case)]

use std::collections::BTreeMap;
use std::marker::PhantomData;

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use transformers_config::{
    LayerType, ModelConfig, ModernBertConfig, ModernBertDecoderConfig, RopeParameters,
};
use transformers_ops as ops;

use crate::nn::heads::{
    by_row, by_span, by_token, first, language_model, last, mean_of_tokens, states,
};
use crate::nn::{
    Activation, BaseFamily, Cache, CacheLayout, Embedding, HeadOptions, Init, Kept, LayerCache,
    LayerNorm, Linear, MaskedAttention, OutputLayer, RotaryEmbedding, RotaryTables, RowScores,
    TaskHead, Tokens, activation, linears, with_noise,
};
use crate::{Family, Forward, Head, ModelError, ModelInputs, ModelOutput, Names};

/// `modernbert`.
pub(crate) fn family() -> Family {
    type Encoder = OnModernBert<ModernBertConfig>;
    of::<ModernBertConfig>()
        .with::<Encoder, ModernBertLM>(Head::MaskedLM)
        .with::<Encoder, ModernBertScores>(Head::SequenceClassification)
        .with::<Encoder, ModernBertScores>(Head::TokenClassification)
        .with::<Encoder, ModernBertScores>(Head::QuestionAnswering)
        .with::<Encoder, ModernBertScores>(Head::MultipleChoice)
}

/// `modernbert-decoder`.
pub(crate) fn decoder() -> Family {
    type Decoder = OnModernBert<ModernBertDecoderConfig>;
    const LANGUAGE_MODEL: Names = &[("head", "lm_head")];
    of::<ModernBertDecoderConfig>()
        .with::<Decoder, ModernBertScores>(Head::SequenceClassification)
        .named(LANGUAGE_MODEL)
        .with::<Decoder, ModernBertLM>(Head::CausalLM)
}

fn of<C: ModernBertLike>() -> Family {
    Family::new(C::MODEL_TYPE, "model")
        .tied(&[("decoder.weight", "model.embeddings.tok_embeddings.weight")])
        .headless::<OnModernBert<C>>(Head::Base)
}

/// The numbers of both.
#[derive(Debug, Clone)]
pub(crate) struct ModernBertOptions {
    vocab_size: usize,
    pad_token_id: Option<u32>,
    hidden_size: usize,
    intermediate_size: usize,
    num_attention_heads: usize,
    norm_eps: f64,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    activation: Activation,
    layer_types: Vec<LayerType>,
    rope_parameters: RopeParameters,
    /// Of sliding layers.
    window: Option<usize>,
    max_position_embeddings: usize,
    initializer_range: f64,
    initializer_cutoff_factor: f64,
    is_decoder: bool,
    head_bias: bool,
    head_activation: Activation,
    classifier_bias: bool,
    decoder_bias: bool,
    pooling: Pooling,
    tie_word_embeddings: bool,
}

/// What stands for a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pooling {
    First,
    Last,
    Mean,
}

/// A config of one of them.
pub(crate) trait ModernBertLike: ModelConfig {
    /// # Errors
    /// An activation that is not known.
    fn options(&self) -> Result<ModernBertOptions, ModelError>;
}

macro_rules! modernbert_like {
    ($config:ty, $self:ident { $($own:ident: $value:expr,)* }) => {
        impl ModernBertLike for $config {
            fn options(&$self) -> Result<ModernBertOptions, ModelError> {
                Ok(ModernBertOptions {
                    vocab_size: $self.vocab_size,
                    pad_token_id: $self.pad_token_id,
                    hidden_size: $self.hidden_size,
                    intermediate_size: $self.intermediate_size,
                    num_attention_heads: $self.num_attention_heads,
                    norm_eps: $self.norm_eps,
                    norm_bias: $self.norm_bias,
                    attention_bias: $self.attention_bias,
                    mlp_bias: $self.mlp_bias,
                    activation: activation("hidden_activation", &$self.hidden_activation)?,
                    layer_types: $self.layer_types(),
                    rope_parameters: $self.rope_parameters.clone(),
                    max_position_embeddings: $self.max_position_embeddings,
                    initializer_range: $self.initializer_range,
                    initializer_cutoff_factor: $self.initializer_cutoff_factor,
                    head_bias: $self.classifier_bias,
                    head_activation: activation(
                        "classifier_activation",
                        &$self.classifier_activation,
                    )?,
                    decoder_bias: $self.decoder_bias,
                    tie_word_embeddings: $self.tie_word_embeddings,
                    $($own: $value,)*
                })
            }
        }
    };
}

modernbert_like!(
    ModernBertConfig,
    self {
        window: Some(self.window()),
        is_decoder: false,
        classifier_bias: true,
        pooling: match self.classifier_pooling.as_str() {
            "mean" => Pooling::Mean,
            _ => Pooling::First,
        },
    }
);
modernbert_like!(
    ModernBertDecoderConfig,
    self {
        window: self.window(),
        is_decoder: true,
        classifier_bias: self.classifier_bias,
        pooling: Pooling::Last,
    }
);

impl ModernBertOptions {
    /// For layers that read the residual stream; the spread of fresh weights is cut off.
    fn inward(&self, init: &Init) -> Init {
        Init {
            std: self.initializer_range,
            cutoff: self.initializer_cutoff_factor,
            ..init.clone()
        }
    }

    /// For layers that write to it: the spread shrinks with their number.
    fn outward(&self, init: &Init) -> Init {
        let layers = self.layer_types.len() as f64;
        let std = self.initializer_range / (2.0 * layers).sqrt();
        self.inward(init).with_std(std)
    }

    fn norm(&self, init: &Init) -> LayerNorm {
        LayerNorm::new(self.hidden_size, self.norm_eps, self.norm_bias, init)
    }

    fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    fn window(&self, kind: LayerType) -> Option<usize> {
        self.window.filter(|_| kind == LayerType::SlidingAttention)
    }
}

/// The headless model of a config.
#[derive(Debug)]
pub(crate) struct OnModernBert<C>(PhantomData<C>);

impl<C: ModernBertLike> BaseFamily for OnModernBert<C> {
    type Config = C;
    type Model = ModernBertModel;

    fn model(config: &C, _pooler: bool, init: &Init) -> Result<ModernBertModel, ModelError> {
        ModernBertModel::new(config.options()?, init)
    }

    fn hidden_size(config: &C) -> usize {
        config.options().map_or(0, |options| options.hidden_size)
    }
}

#[derive(Module, Debug)]
struct ModernBertEmbeddings {
    tok_embeddings: Embedding,
    norm: LayerNorm,
}

/// What the layers of one type share in one pass.
struct Shared<'a> {
    rotary: RotaryTables,
    attention: MaskedAttention<'a>,
}

/// Queries, keys and values by one projection in the encoder, by three in the decoder.
#[derive(Module, Debug)]
struct ModernBertAttention {
    Wqkv: Option<Linear>,
    q_proj: Option<Linear>,
    k_proj: Option<Linear>,
    v_proj: Option<Linear>,
    Wo: Linear,
    heads: usize,
}

impl ModernBertAttention {
    fn new(options: &ModernBertOptions, init: &Init) -> Self {
        let (hidden, bias) = (options.hidden_size, options.attention_bias);
        let (inward, outward) = (options.inward(init), options.outward(init));
        let project = |width| Linear::new(hidden, width, bias, &inward);
        let separate = || options.is_decoder.then(|| project(hidden));
        Self {
            Wqkv: (!options.is_decoder).then(|| project(3 * hidden)),
            q_proj: separate(),
            k_proj: separate(),
            v_proj: separate(),
            Wo: Linear::new(hidden, hidden, bias, &outward),
            heads: options.num_attention_heads,
        }
    }

    /// `[batch, heads, seq, head_dim]` each.
    fn project(&self, x: Tensor<3>) -> [Tensor<4>; 3] {
        let [batch, seq, hidden] = x.dims();
        let shape = [batch, seq, self.heads, hidden / self.heads];
        let separate = [&self.q_proj, &self.k_proj, &self.v_proj];
        let qkv = match (&self.Wqkv, separate) {
            (None, [Some(q), Some(k), Some(v)]) => linears(x, [q, k, v]),
            (Some(fused), _) => {
                let all = fused.forward(x);
                [0, hidden, 2 * hidden].map(|start| all.clone().narrow(2, start, hidden))
            }
            (None, _) => unreachable!("one projection or three"),
        };
        qkv.map(|x| x.reshape(shape).swap_dims(1, 2))
    }

    fn forward(&self, x: Tensor<3>, shared: &Shared<'_>, cache: LayerCache<'_>) -> Tensor<3> {
        let [q, k, v] = self.project(x);
        let scores = ops::AttentionOptions::new((q.dims()[3] as f64).powf(-0.5));
        let (q, k) = (shared.rotary.apply(q), shared.rotary.apply(k));
        let attended = shared.attention.attend_after([q, k, v], cache, &scores);
        self.Wo.forward(attended)
    }
}

/// `Wo(activation(a) * b)`, where `a` and `b` are the halves of `Wi(x)`.
#[derive(Module, Debug)]
struct ModernBertMlp {
    Wi: Linear,
    Wo: Linear,
    #[module(skip)]
    activation: Activation,
}

impl ModernBertMlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let both = self.Wi.forward(x);
        let inner = both.dims()[2] / 2;
        let [input, gate] = [0, inner].map(|start| both.clone().narrow(2, start, inner));
        self.Wo.forward(ops::gated(input, gate, self.activation))
    }
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`; the first layer's first norm is that of the embeddings.
#[derive(Module, Debug)]
struct ModernBertLayer {
    attn_norm: Option<LayerNorm>,
    attn: ModernBertAttention,
    mlp_norm: LayerNorm,
    mlp: ModernBertMlp,
}

impl ModernBertLayer {
    fn new(options: &ModernBertOptions, index: usize, init: &Init) -> Self {
        let (hidden, inner) = (options.hidden_size, options.intermediate_size);
        let bias = options.mlp_bias;
        Self {
            attn_norm: (index > 0).then(|| options.norm(init)),
            attn: ModernBertAttention::new(options, init),
            mlp_norm: options.norm(init),
            mlp: ModernBertMlp {
                Wi: Linear::new(hidden, 2 * inner, bias, &options.inward(init)),
                Wo: Linear::new(inner, hidden, bias, &options.outward(init)),
                activation: options.activation,
            },
        }
    }

    fn forward(&self, x: Tensor<3>, shared: &Shared<'_>, cache: LayerCache<'_>) -> Tensor<3> {
        let normed = match &self.attn_norm {
            Some(norm) => norm.forward(x.clone()),
            None => x.clone(),
        };
        let x = x + self.attn.forward(normed, shared, cache);
        x.clone() + self.mlp.forward(self.mlp_norm.forward(x))
    }
}

/// The encoder or decoder: states `[batch, seq, hidden]`.
#[derive(Module, Debug)]
pub(crate) struct ModernBertModel {
    embeddings: ModernBertEmbeddings,
    layers: Vec<ModernBertLayer>,
    final_norm: LayerNorm,
    #[module(skip)]
    options: ModernBertOptions,
    #[module(skip)]
    rotary: BTreeMap<LayerType, RotaryEmbedding>,
}

impl ModernBertModel {
    fn new(options: ModernBertOptions, init: &Init) -> Result<Self, ModelError> {
        let length = options.max_position_embeddings;
        let mut rotary = BTreeMap::new();
        for kind in &options.layer_types {
            let rope = options.rope_parameters.for_layer(*kind);
            let rope = rope.cloned().unwrap_or_default();
            rotary.insert(
                *kind,
                RotaryEmbedding::new(rope, options.head_dim(), length)?,
            );
        }
        let layers =
            (0..options.layer_types.len()).map(|index| ModernBertLayer::new(&options, index, init));
        let (vocab, hidden) = (options.vocab_size, options.hidden_size);
        Ok(Self {
            embeddings: ModernBertEmbeddings {
                // The reference draws the padding token's vector like any other.
                tok_embeddings: Embedding::new(vocab, hidden, &options.inward(init))
                    .with_padding(options.pad_token_id),
                norm: options.norm(init),
            },
            layers: layers.collect(),
            final_norm: options.norm(init),
            rotary,
            options,
        })
    }

    fn words(&self) -> &Embedding {
        &self.embeddings.tok_embeddings
    }

    /// What the layers of each type share.
    fn shared<'a>(
        &self,
        tokens: &'a Tokens<'_>,
        cache: Option<&dyn Cache>,
        hidden: &Tensor<3>,
    ) -> Result<BTreeMap<LayerType, Shared<'a>>, ModelError> {
        let mut kinds = BTreeMap::new();
        for (layer, &kind) in self.options.layer_types.iter().enumerate() {
            if kinds.contains_key(&kind) {
                continue;
            }
            let dropped = cache.map_or(0, |cache| cache.dropped(layer));
            let shared = Shared {
                rotary: tokens.rotary(&self.rotary[&kind], hidden)?,
                attention: tokens.attention_without(self.options.window(kind), dropped),
            };
            kinds.insert(kind, shared);
        }
        Ok(kinds)
    }
}

impl Forward for ModernBertModel {
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let mut cache = cache.filter(|_| self.options.is_decoder);
        let tokens = match self.options.is_decoder {
            true => Tokens::of_decoder(inputs, self.words(), cache.as_deref())?,
            false => Tokens::new(inputs, self.words())?,
        };
        let embedded = with_noise(inputs.embedding_noise, self.words().forward(tokens.ids()));
        let hidden = self.embeddings.norm.forward(embedded);
        let shared = self.shared(&tokens, cache.as_deref(), &hidden)?;
        let layers = self.layers.iter().zip(&self.options.layer_types);
        let layer = |(index, (layer, kind)): (usize, (&ModernBertLayer, &LayerType)),
                     hidden,
                     _: Kept<'_>| {
            let cache = cache.as_deref_mut();
            let cache = cache.map(|cache| (index, cache as &mut dyn Cache));
            layer.forward(hidden, &shared[kind], cache)
        };
        let last = |hidden| self.final_norm.forward(hidden);
        let states = tokens.through(hidden, layers.enumerate(), layer, last)?;
        Ok(ModelOutput::of_states(states))
    }

    fn cache_layout(&self) -> Option<CacheLayout> {
        let kinds = self.options.layer_types.iter();
        let layout = || CacheLayout::new(kinds.map(|kind| self.options.window(*kind)));
        self.options.is_decoder.then(layout)
    }

    fn context_length(&self) -> Option<usize> {
        Some(self.options.max_position_embeddings)
    }

    fn position_limit(&self) -> Option<usize> {
        None
    }
}

/// `norm(activation(dense(x)))`, in every head.
#[derive(Module, Debug)]
struct ModernBertPredictionHead {
    dense: Linear,
    norm: LayerNorm,
    #[module(skip)]
    activation: Activation,
}

impl ModernBertPredictionHead {
    fn new(options: &ModernBertOptions, init: &Init) -> Self {
        let (hidden, bias) = (options.hidden_size, options.head_bias);
        Self {
            dense: Linear::new(hidden, hidden, bias, &options.outward(init)),
            norm: options.norm(init),
            activation: options.head_activation,
        }
    }

    /// `[.., hidden]` to the same shape.
    fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let inner = ops::activate(self.dense.forward(x), self.activation);
        self.norm.forward(inner)
    }
}

/// The head for masked tokens, or for the next one: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
struct ModernBertLM {
    head: ModernBertPredictionHead,
    decoder: OutputLayer,
    #[module(skip)]
    of: Head,
}

impl<C: ModernBertLike> TaskHead<OnModernBert<C>> for ModernBertLM {
    fn new(config: &C, of: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let options = config.options()?;
        let (hidden, vocab) = (options.hidden_size, options.vocab_size);
        let (bias, tied) = (options.decoder_bias, options.tie_word_embeddings);
        Ok(Self {
            head: ModernBertPredictionHead::new(&options, init),
            decoder: OutputLayer::new(hidden, vocab, bias, tied, &options.outward(init)),
            of: of.head,
        })
    }

    fn forward(
        &self,
        base: &ModernBertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        language_model(self.of, output, inputs, |hidden| {
            self.decoder
                .forward(self.head.forward(hidden), base.words())
        })
    }
}

/// The other heads: scores of tokens, of answers or of rows, by one layer after the common one.
#[derive(Module, Debug)]
struct ModernBertScores {
    head: ModernBertPredictionHead,
    classifier: Linear,
    #[module(skip)]
    pooling: Pooling,
    #[module(skip)]
    options: HeadOptions,
}

impl ModernBertScores {
    /// `[batch, seq, hidden]` to what stands for each row, `[batch, hidden]`.
    fn rows(&self, hidden: Tensor<3>, inputs: &ModelInputs) -> Result<Tensor<2>, ModelError> {
        Ok(match (self.pooling, self.options.scores) {
            (Pooling::Mean, _) => mean_of_tokens(hidden, inputs),
            (Pooling::Last, _) => last(hidden, inputs, self.options.pad_token_id)?,
            (Pooling::First, RowScores::Labels(_)) => first(hidden),
            (Pooling::First, RowScores::Choice) => first_tokens(hidden, inputs),
        })
    }
}

impl<C: ModernBertLike> TaskHead<OnModernBert<C>> for ModernBertScores {
    fn new(config: &C, options: &HeadOptions, init: &Init) -> Result<Self, ModelError> {
        let of_model = config.options()?;
        let hidden = of_model.hidden_size;
        let last = of_model.inward(init).with_std((hidden as f64).powf(-0.5));
        let bias = of_model.classifier_bias;
        Ok(Self {
            head: ModernBertPredictionHead::new(&of_model, init),
            classifier: Linear::new(hidden, options.num_labels, bias, &last),
            pooling: of_model.pooling,
            options: options.clone(),
        })
    }

    fn forward(
        &self,
        _base: &ModernBertModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let of_tokens = |hidden| self.classifier.forward(self.head.forward(hidden));
        match self.options.head {
            Head::TokenClassification => by_token(of_tokens(hidden), rest, inputs),
            Head::QuestionAnswering => by_span(of_tokens(hidden), rest, inputs),
            _ => {
                let rows = self.head.forward(self.rows(hidden, inputs)?);
                let logits = self.classifier.forward(rows);
                by_row(logits, rest, inputs, self.options.scores)
            }
        }
    }
}

/// The state of each row's first token that is not padding: `[batch, seq, hidden]` to `[batch, hidden]`.
fn first_tokens(hidden: Tensor<3>, inputs: &ModelInputs) -> Tensor<2> {
    let [batch, seq, size] = hidden.dims();
    let Some(mask) = &inputs.attention_mask else {
        return first(hidden);
    };
    let first = |(index, row): (usize, &[u32])| {
        let token = row.iter().position(|token| *token != 0).unwrap_or(0);
        (index * seq + token) as i64
    };
    let rows: Vec<i64> = mask.iter().enumerate().map(first).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [batch]), &hidden.device());
    hidden.reshape([batch * seq, size]).select(0, rows)
}
