//! BART (Lewis et al. 2020) and its kin: mBART, Marian, Pegasus, Blenderbot and M2M100. They differ in where norms are and
//! in how positions are made.

use std::marker::PhantomData;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_config::{
    AutoConfig, BartConfig, BlenderbotConfig, M2M100Config, MBartConfig, MarianConfig, ModelConfig,
    PegasusConfig,
};
use transformers_ops as ops;

use crate::classes::class_name;
use crate::loss::token_loss;
use crate::nn::check_room;
use crate::nn::heads::{EndTokenClassifier, SpanHead, kept};
use crate::nn::{
    Activation, BaseFamily, Cache, CacheLayout, DecoderStart, Embedding, EncoderDecoder,
    EncoderDecoderOptions, Init, LayerNorm, Linear, Projections, Sinusoids, Stack, StackPass,
    Weight, activation, forward_encoder_decoder,
};
use crate::{
    Family, Forward, Head, ModelError, ModelInputs, ModelOutput, PreTrainedModel, Pretrained, Rows,
};

/// All of them.
pub(crate) fn families() -> [Family; 6] {
    [
        family::<BartConfig>(),
        family::<MBartConfig>(),
        family::<MarianConfig>(),
        family::<PegasusConfig>(),
        family::<BlenderbotConfig>(),
        family::<M2M100Config>(),
    ]
}

fn family<C: BartLike>() -> Family {
    let mut family = Family::new(C::MODEL_TYPE, "model")
        .tied(&[
            ("lm_head.weight", "model.shared.weight"),
            ("lm_head.weight", "model.decoder.embed_tokens.weight"),
            ("model.encoder.embed_tokens.weight", "model.shared.weight"),
            ("model.decoder.embed_tokens.weight", "model.shared.weight"),
        ])
        .head(Head::Base, |config, init| {
            let options = of::<C>(config)?;
            Ok(Pretrained::boxed(BartModel::new(&options, init), config))
        })
        .head(Head::Seq2SeqLM, language_model::<C>);
    let has = |head| class_name(C::MODEL_TYPE, head).is_some();
    // They denoise: these are the same model.
    for head in [Head::MaskedLM, Head::PreTraining] {
        if has(head) {
            family = family.head(head, language_model::<C>);
        }
    }
    if has(Head::CausalLM) {
        let decoder = &[("is_decoder", true), ("is_encoder_decoder", false)];
        family = family
            .sets(Head::CausalLM, decoder)
            .head(Head::CausalLM, |config, init| {
                let model = BartForCausalLM::new(&of::<C>(config)?, init);
                Ok(Pretrained::boxed(model, config))
            });
    }
    if has(Head::SequenceClassification) {
        family = family.with::<OnBart<C>, EndTokenClassifier>(Head::SequenceClassification);
    }
    if has(Head::QuestionAnswering) {
        family = family.with::<OnBart<C>, SpanHead>(Head::QuestionAnswering);
    }
    family
}

fn language_model<C: BartLike>(
    config: &AutoConfig,
    init: &Init,
) -> Result<Box<dyn PreTrainedModel>, ModelError> {
    let model = BartForConditionalGeneration::new(&of::<C>(config)?, init);
    Ok(Pretrained::boxed(model, config))
}

/// Both stacks under a head.
#[derive(Debug)]
struct OnBart<C>(PhantomData<C>);

impl<C: BartLike> BaseFamily for OnBart<C> {
    type Config = C;
    type Model = BartModel;

    fn model(config: &C, _pooler: bool, init: &Init) -> Result<BartModel, ModelError> {
        Ok(BartModel::new(&config.options()?, init))
    }

    fn hidden_size(config: &C) -> usize {
        config.hidden_size()
    }
}

fn of<C: BartLike>(config: &AutoConfig) -> Result<BartOptions, ModelError> {
    config.typed::<C>()?.options()
}

/// What the configs have in common, and in what the families differ.
#[derive(Debug, Clone)]
pub struct BartOptions {
    around: EncoderDecoderOptions,
    max_position_embeddings: usize,
    /// Of the encoder and of the decoder, as the two below.
    layers: [usize; 2],
    heads: [usize; 2],
    inner: [usize; 2],
    activation: Activation,
    std: f64,
    tie_word_embeddings: bool,
    form: BartForm,
}

/// In what the families differ.
#[derive(Debug, Clone, Copy)]
struct BartForm {
    /// Norms come before attention and MLP, and once more at the end; else after each.
    pre_norm: bool,
    /// The embeddings are normed.
    embedding_norm: bool,
    positions: Positions,
    /// The logits have a bias.
    logits_bias: bool,
    /// There is one embedding for both stacks.
    shared: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Positions {
    /// A table, of which the first rows are not used.
    Learned { unused: usize },
    /// A table that begins as sinusoids.
    Stored,
    /// Sinusoids that no checkpoint has.
    Computed,
    /// The same for tokens; the pad token has none and is not counted.
    Counted { pad: Option<u32> },
}

/// A config of this kind.
trait BartLike: ModelConfig {
    fn hidden_size(&self) -> usize;

    fn options(&self) -> Result<BartOptions, ModelError>;
}

macro_rules! bart_like {
    ($type:ident, $config:ident { $($field:ident: $value:expr,)* } $form:expr) => {
        impl BartLike for $type {
            fn hidden_size(&self) -> usize {
                self.d_model
            }

            fn options(&self) -> Result<BartOptions, ModelError> {
                let $config = self;
                let form: BartForm = $form;
                let hidden = $config.d_model;
                Ok(BartOptions {
                    around: EncoderDecoderOptions {
                        $($field: $value,)*
                        ..EncoderDecoderOptions {
                            vocab_size: $config.vocab_size,
                            decoder_vocab_size: $config.vocab_size,
                            hidden_size: hidden,
                            embedding_scale: $config.scale_embedding.then(|| (hidden as f64).sqrt()),
                            max_positions: Some($config.max_position_embeddings),
                            pad_token_id: $config.pad_token_id,
                            padding_row: $config.pad_token_id,
                            start: DecoderStart::Token($config.decoder_start_token_id),
                            shifts_inputs: false,
                        }
                    },
                    max_position_embeddings: $config.max_position_embeddings,
                    layers: [$config.encoder_layers, $config.decoder_layers],
                    heads: [$config.encoder_attention_heads, $config.decoder_attention_heads],
                    inner: [$config.encoder_ffn_dim, $config.decoder_ffn_dim],
                    activation: activation("activation_function", &$config.activation_function)?,
                    std: $config.init_std,
                    tie_word_embeddings: $config.tie_word_embeddings,
                    form,
                })
            }
        }
    };
}

bart_like!(BartConfig, config { shifts_inputs: true, } BartForm {
    pre_norm: false,
    embedding_norm: true,
    positions: Positions::Learned { unused: 2 },
    logits_bias: true,
    shared: true,
});
bart_like!(MBartConfig, config { shifts_inputs: true, start: DecoderStart::LastToken, } BartForm {
    pre_norm: true,
    embedding_norm: true,
    positions: Positions::Learned { unused: 2 },
    logits_bias: true,
    shared: true,
});
bart_like!(MarianConfig, config {
    decoder_vocab_size: match config.share_encoder_decoder_embeddings {
        true => config.vocab_size,
        false => config.decoder_vocab_size(),
    },
} BartForm {
    pre_norm: false,
    embedding_norm: false,
    positions: Positions::Computed,
    logits_bias: true,
    shared: config.share_encoder_decoder_embeddings,
});
bart_like!(PegasusConfig, config {} BartForm {
    pre_norm: true,
    embedding_norm: false,
    positions: Positions::Stored,
    logits_bias: true,
    shared: true,
});
bart_like!(BlenderbotConfig, config {} BartForm {
    pre_norm: true,
    embedding_norm: false,
    positions: Positions::Learned { unused: 0 },
    logits_bias: true,
    shared: true,
});
bart_like!(M2M100Config, config { max_positions: None, } BartForm {
    pre_norm: true,
    embedding_norm: false,
    positions: Positions::Counted { pad: config.pad_token_id },
    logits_bias: false,
    shared: true,
});

impl BartOptions {
    fn norm(&self, init: &Init) -> LayerNorm {
        LayerNorm::new(self.around.hidden_size, 1e-5, true, init)
    }

    fn init(&self, init: &Init) -> Init {
        Init {
            std: self.std,
            ..init.clone()
        }
    }

    /// The table of positions, where a checkpoint has one.
    fn position_table(&self, init: &Init) -> Option<Embedding> {
        let (rows, features) = (self.max_position_embeddings, self.around.hidden_size);
        match self.form.positions {
            Positions::Learned { unused } => Some(Embedding::new(rows + unused, features, init)),
            Positions::Stored => {
                let dtype = init.dtype;
                let table = init.lazy([rows, features], move |device| {
                    let rows = (0..rows).map(Some);
                    Sinusoids::Paper.rows(rows, features, device).cast(dtype)
                });
                let weight = Weight::dense(table, init);
                Some(Embedding::from(weight))
            }
            Positions::Computed | Positions::Counted { .. } => None,
        }
    }
}

#[derive(Module, Debug)]
struct BartAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

impl BartAttention {
    fn new(hidden: usize, heads: usize, init: &Init) -> Self {
        let project = || Linear::new(hidden, hidden, true, init);
        Self {
            q_proj: project(),
            k_proj: project(),
            v_proj: project(),
            out_proj: project(),
            heads,
        }
    }

    fn projections(&self) -> Projections<'_> {
        Projections {
            qkv: [&self.q_proj, &self.k_proj, &self.v_proj],
            output: &self.out_proj,
            heads: self.heads,
            scale: None,
        }
    }
}

/// Attention, in a decoder attention to the encoder, and an MLP; each with its norm around a residual stream.
#[derive(Module, Debug)]
struct BartLayer {
    self_attn: BartAttention,
    self_attn_layer_norm: LayerNorm,
    encoder_attn: Option<BartAttention>,
    encoder_attn_layer_norm: Option<LayerNorm>,
    fc1: Linear,
    fc2: Linear,
    final_layer_norm: LayerNorm,
    pre_norm: bool,
    #[module(skip)]
    activation: Activation,
}

impl BartLayer {
    fn new(options: &BartOptions, decoder: bool, init: &Init) -> Self {
        let hidden = options.around.hidden_size;
        let side = usize::from(decoder);
        let (heads, inner) = (options.heads[side], options.inner[side]);
        Self {
            self_attn: BartAttention::new(hidden, heads, init),
            self_attn_layer_norm: options.norm(init),
            encoder_attn: decoder.then(|| BartAttention::new(hidden, heads, init)),
            encoder_attn_layer_norm: decoder.then(|| options.norm(init)),
            fc1: Linear::new(hidden, inner, true, init),
            fc2: Linear::new(inner, hidden, true, init),
            final_layer_norm: options.norm(init),
            pre_norm: options.form.pre_norm,
            activation: options.activation,
        }
    }

    /// `x + f(norm(x))`, or `norm(x + f(x))`.
    fn around(
        &self,
        norm: &LayerNorm,
        x: Tensor<3>,
        f: impl FnOnce(Tensor<3>) -> Tensor<3>,
    ) -> Tensor<3> {
        match self.pre_norm {
            true => f(norm.forward(x.clone())) + x,
            false => norm.add(f(x.clone()), x),
        }
    }

    fn forward(&self, x: Tensor<3>, index: usize, pass: &mut StackPass<'_>) -> Tensor<3> {
        let own = self.self_attn.projections();
        let x = self.around(&self.self_attn_layer_norm, x, |x| {
            own.to_itself(x, index, pass)
        });
        let cross = (&self.encoder_attn, &self.encoder_attn_layer_norm);
        let x = match cross {
            (Some(attention), Some(norm)) if pass.encoder.is_some() => self.around(norm, x, |x| {
                attention.projections().to_encoder(x, index, pass)
            }),
            _ => x,
        };
        self.around(&self.final_layer_norm, x, |x| {
            let inner = ops::activate(self.fc1.forward(x), self.activation);
            self.fc2.forward(inner)
        })
    }
}

/// The encoder, or the decoder.
#[derive(Module, Debug)]
pub struct BartStack {
    /// `None`: the model's.
    embed_tokens: Option<Embedding>,
    embed_positions: Option<Embedding>,
    layernorm_embedding: Option<LayerNorm>,
    layers: Vec<BartLayer>,
    layer_norm: Option<LayerNorm>,
    #[module(skip)]
    positions: Positions,
}

impl BartStack {
    fn new(options: &BartOptions, decoder: bool, init: &Init) -> Self {
        let BartOptions { around, form, .. } = options;
        let vocab = match decoder {
            true => around.decoder_vocab_size,
            false => around.vocab_size,
        };
        let own_embedding = !form.shared || !options.tie_word_embeddings;
        let layers = options.layers[usize::from(decoder)];
        Self {
            embed_tokens: own_embedding
                .then(|| Embedding::padded(vocab, around.hidden_size, around.padding_row, init)),
            embed_positions: options.position_table(init),
            layernorm_embedding: form.embedding_norm.then(|| options.norm(init)),
            layers: (0..layers)
                .map(|_| BartLayer::new(options, decoder, init))
                .collect(),
            layer_norm: form.pre_norm.then(|| options.norm(init)),
            positions: form.positions,
        }
    }

    /// What is added to the embeddings, `[batch or 1, seq, hidden]`.
    fn positions(&self, embedded: &Tensor<3>, pass: &StackPass<'_>) -> Tensor<3> {
        let [batch, seq, hidden] = embedded.dims();
        let device = embedded.device();
        let first = pass.past;
        if let Some(table) = &self.embed_positions {
            let unused = match self.positions {
                Positions::Learned { unused } => unused,
                _ => 0,
            };
            let rows = (0..seq).map(|column| (unused + first + column) as u32);
            return table.forward(Rows::row_of(rows.collect()).to_tensor(&device));
        }
        let Positions::Counted { pad } = self.positions else {
            let rows = (0..seq).map(|column| Some(first + column));
            return Sinusoids::Paper.rows(rows, hidden, &device).unsqueeze();
        };
        let unused = pad.map_or(0, |pad| pad as usize + 1);
        let mut rows = Vec::with_capacity(batch * seq);
        for ids in pass.ids.iter() {
            let mut count = 0;
            rows.extend(ids.iter().map(|id| {
                let token = Some(*id) != pad;
                count += usize::from(token);
                token.then(|| unused + first + count - 1)
            }));
        }
        let rows = Sinusoids::Fairseq.rows(rows.into_iter(), hidden, &device);
        rows.reshape([batch, seq, hidden])
    }
}

impl Stack for BartStack {
    fn forward(&self, embedded: Tensor<3>, pass: &mut StackPass<'_>) -> Tensor<3> {
        let positions = self.positions(&embedded, pass).cast(embedded.dtype());
        let mut hidden = embedded + positions;
        if let Some(norm) = &self.layernorm_embedding {
            hidden = norm.forward(hidden);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            pass.record(&hidden);
            hidden = layer.forward(hidden, index, pass);
        }
        match &self.layer_norm {
            Some(norm) => norm.forward(hidden),
            None => hidden,
        }
    }

    fn layers(&self) -> usize {
        self.layers.len()
    }

    fn own_embedding(&self) -> Option<&Embedding> {
        self.embed_tokens.as_ref()
    }
}

/// Both stacks; the decoder's states are the output.
#[derive(Module, Debug)]
pub struct BartModel {
    __: EncoderDecoder<BartStack>,
}

impl BartModel {
    /// Both stacks and their embedding.
    pub fn new(options: &BartOptions, init: &Init) -> Self {
        let init = options.init(init);
        let stacks = [false, true].map(|decoder| BartStack::new(options, decoder, &init));
        let around = options.around.clone();
        Self {
            __: EncoderDecoder::new(stacks, options.form.shared, around, &init),
        }
    }
}

impl Forward for BartModel {
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
pub struct BartForConditionalGeneration {
    model: BartModel,
    /// `None`: tied to the decoder's embedding.
    lm_head: Option<Linear>,
    /// `[1, vocab]`.
    final_logits_bias: Option<Param<Tensor<2>>>,
}

impl BartForConditionalGeneration {
    /// The model and its output layer.
    pub fn new(options: &BartOptions, init: &Init) -> Self {
        let (hidden, vocab) = (
            options.around.hidden_size,
            options.around.decoder_vocab_size,
        );
        let head = || Linear::new(hidden, vocab, false, &options.init(init));
        Self {
            model: BartModel::new(options, init),
            lm_head: (!options.tie_word_embeddings).then(head),
            final_logits_bias: options.form.logits_bias.then(|| init.zeros([1, vocab])),
        }
    }

    fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let logits = match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => self.model.__.tied_logits(hidden),
        };
        match &self.final_logits_bias {
            Some(bias) => logits + bias.val().unsqueeze(),
            None => logits,
        }
    }
}

impl Forward for BartForConditionalGeneration {
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let model = &self.model.__;
        model.language_model(inputs, cache, |hidden| self.logits(hidden))
    }

    forward_encoder_decoder!(model.__);
}

#[derive(Module, Debug)]
struct BartDecoderWrapper {
    decoder: BartStack,
}

/// The decoder alone, which attends to its own tokens only: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
pub struct BartForCausalLM {
    model: BartDecoderWrapper,
    /// `None`: tied to the embedding.
    lm_head: Option<Linear>,
    #[module(skip)]
    around: EncoderDecoderOptions,
}

impl BartForCausalLM {
    /// The decoder and its output layer.
    pub fn new(options: &BartOptions, init: &Init) -> Self {
        let init = &options.init(init);
        let mut options = options.clone();
        // Marian's sinusoids are in the files of this model.
        if options.form.positions == Positions::Computed {
            options.form.positions = Positions::Stored;
        }
        let around = options.around.clone();
        let (hidden, vocab) = (around.hidden_size, around.decoder_vocab_size);
        let decoder = BartStack {
            embed_tokens: Some(Embedding::new(vocab, hidden, init)),
            ..BartStack::new(&options, true, init)
        };
        let head = || Linear::new(hidden, vocab, false, init);
        Self {
            model: BartDecoderWrapper { decoder },
            lm_head: (!options.tie_word_embeddings).then(head),
            around,
        }
    }

    fn words(&self) -> &Embedding {
        let words = self.model.decoder.embed_tokens.as_ref();
        words.expect("the decoder has a table of its own")
    }
}

impl Forward for BartForCausalLM {
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let past = cache.as_ref().map_or(0, |cache| cache.seq_len());
        let seq = inputs.input_ids.dims()[1];
        inputs.check(self.around.decoder_vocab_size, past)?;
        check_room(cache.as_deref(), seq)?;
        if let Some(max) = self.around.max_positions.filter(|max| past + seq > *max) {
            let len = past + seq;
            return Err(ModelError::TooLong { len, max });
        }
        let words = self.words();
        let mut embedded = words.forward(inputs.input_ids.to_tensor(&words.weight.device()));
        if let Some(scale) = self.around.embedding_scale {
            embedded = embedded * scale;
        }
        let cache = cache.map(|cache| cache as &mut dyn Cache);
        let pass = StackPass::decoder_alone(inputs, cache);
        let states = pass.run(&self.model.decoder, embedded)?.states;
        let labels = inputs.label_ids()?;
        let hidden = kept(states.last, inputs)?;
        let logits = match &self.lm_head {
            Some(head) => head.forward(hidden),
            None => words.logits(hidden),
        };
        // As the reference: the labels are those of the positions, and not of the next ones.
        let loss = labels.map(|labels| token_loss(logits.clone(), labels));
        Ok(ModelOutput {
            loss: loss.transpose()?,
            logits: Some(logits),
            hidden_states: states.all,
            attentions: states.attentions,
            ..ModelOutput::default()
        })
    }

    fn cache_layout(&self) -> Option<CacheLayout> {
        Some(CacheLayout::new(vec![None; self.model.decoder.layers()]))
    }

    fn context_length(&self) -> Option<usize> {
        self.around.max_positions
    }
}
