//! The decoder stack: embedding, layers, final norm, output head.
//!
//! Families differ in their layer and in a few numbers; what all of them do around the layers is here. Layer types
//! (`layer_types` of the config) drive rotary tables, masks and caches.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use transformers_config::{LayerType, ModelConfig, RopeParameters, RopeType};
use transformers_ops as ops;

use super::{
    Alibi, AttentionInterface, AttentionPass, BaseFamily, Cache, CacheLayout, Embedding, Hiding,
    Init, Linear, Mask, MaskFunction, MultimodalRotary, Norm, NormOptions, OutputLayer,
    PackedBatch, PagedLayout, QueryScale, RecurrentState, RotaryEmbedding, RotaryLayout,
    RotaryTables, States, with_noise,
};
use super::{check_room, checkpointing::checkpointed, heads::kept};
use crate::loss::{LoadBalancing, causal_lm_loss};
use crate::{
    Forward, ModelError, ModelInputs, ModelOutput, Names, Part, PreTrainedModel, Rows, Whole,
};

/// What one layer needs beside its input.
pub struct LayerContext<'a> {
    /// The index of the layer.
    pub layer: usize,
    /// Rotary angles; `None` for layers without positions.
    pub rotary: Option<&'a RotaryTables>,
    /// Who sees whom.
    pub mask: &'a Mask,
    /// How attention is computed.
    pub attention: &'a AttentionPass,
    /// Added to the scores, `[batch or 1, heads, 1, keys]`.
    pub bias: Option<&'a Tensor<4>>,
    /// Earlier keys and values.
    pub cache: Option<&'a mut dyn Cache>,
    /// Where routers leave their logits, `[tokens, experts]`, one per sparse layer.
    pub router_logits: Option<&'a mut Vec<Tensor<2>>>,
}

impl LayerContext<'_> {
    /// Attention under the layer's mask: the arguments and the result are those of [`ops::attention`].
    pub fn attend(&self, qkv: [Tensor<4>; 3], options: &ops::AttentionOptions) -> Tensor<3> {
        self.attention.attend(qkv, self.mask, options)
    }

    /// What this layer keeps between two passes, if there is a cache.
    pub fn recurrent(&mut self) -> Option<&mut RecurrentState> {
        let layer = self.layer;
        self.cache.as_mut()?.recurrent(layer)
    }

    /// Keeps a router's logits, if they were asked for.
    pub fn record_router(&mut self, logits: &Tensor<2>) {
        if let Some(record) = &mut self.router_logits {
            record.push(logits.clone());
        }
    }
}

/// One block of a decoder.
pub trait DecoderLayer: Module + ModuleDisplay + Debug + Sync + 'static {
    /// `[batch, seq, hidden]` to the same shape.
    fn forward(&self, hidden: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3>;
}

/// A decoder-only family: its config, its layer, and how the one makes the other.
pub trait DecoderFamily: Debug + 'static {
    /// The family's typed config.
    type Config: ModelConfig;
    /// The family's block.
    type Layer: DecoderLayer;

    /// What the family calls the parts that llama calls otherwise.
    const NAMES: Names = &[];
    /// The names of the parameters that are one where `tie_word_embeddings` is set: `(target, source)`.
    const TIED: &'static [(&'static str, &'static str)] =
        &[("lm_head.weight", "model.embed_tokens.weight")];
    /// The name of the decoder under the head for question answering; some families kept an older one.
    const QUESTION_ANSWERING_PREFIX: &'static str = "model";
    /// The head for tokens is named and made as that of encoders.
    const CLASSIFIES_TOKENS_AS_ENCODERS: bool = false;

    /// What surrounds the layers.
    fn options(config: &Self::Config) -> DecoderOptions;

    /// Layer `index`.
    ///
    /// # Errors
    /// A config value that the layer cannot have, such as an unknown activation.
    fn layer(config: &Self::Config, index: usize, init: &Init) -> Result<Self::Layer, ModelError>;
}

/// What surrounds the layers of a decoder.
#[derive(Debug, Clone)]
pub struct DecoderOptions {
    /// Ids are below this.
    pub vocab_size: usize,
    /// The token whose vector is zero in a fresh model.
    pub pad_token_id: Option<u32>,
    /// Features of the residual stream.
    pub hidden_size: usize,
    /// One entry per layer.
    pub layer_types: Vec<LayerType>,
    /// The final norm.
    pub norm: Option<NormOptions>,
    /// Features of a head.
    pub head_dim: usize,
    /// Rotary settings, for all layers or by layer type.
    pub rope_parameters: Option<RopeParameters>,
    /// Which features of a head rotate together.
    pub rotary_layout: RotaryLayout,
    /// Tokens among images rotate by three positions (Qwen2-VL).
    pub multimodal_rotary: Option<MultimodalRotary>,
    /// Every key is computed anew once a sequence is longer than this (Phi-3).
    pub rotation_changes_beyond: Option<usize>,
    /// Queries that grow with their position.
    pub query_scale: Option<QueryScale>,
    /// The length that the model was made for.
    pub max_position_embeddings: Option<usize>,
    /// Learned positions are added to the embeddings; the first is this row of their table.
    pub position_offset: Option<usize>,
    /// Linear biases by distance.
    pub alibi: Option<Alibi>,
    /// What hides a key from queries that see none.
    pub hiding: Hiding,
    /// The window of sliding layers.
    pub sliding_window: Option<usize>,
    /// The tokens of a chunk of chunked layers, which see no others (Llama 4).
    pub attention_chunk_size: Option<usize>,
    /// Queries see later tokens too.
    pub bidirectional: bool,
    /// Features of the embedding, where they are not those of the residual stream: a projection leads from these to
    /// those, and one back before the head (OPT).
    pub embedding_size: Option<usize>,
    /// A norm of the embeddings (BLOOM).
    pub embedding_norm: Option<NormOptions>,
    /// Factor on the embeddings (Gemma).
    pub embedding_scale: Option<f64>,
    /// Factor on the logits (Cohere, Granite).
    pub logit_scale: Option<f64>,
    /// Soft cap of the logits.
    pub final_logit_softcapping: Option<f64>,
    /// The output head has a bias.
    pub head_bias: bool,
    /// The output head is the embedding's weight.
    pub tie_word_embeddings: bool,
    /// Spread of fresh weights.
    pub initializer_range: f64,
    /// Of models with a mixture of experts: what becomes of the routers' logits.
    pub router: Option<RouterOutputs>,
    /// The hidden states that are given are those after each layer, and not those before (Mamba).
    pub states_after_layers: bool,
}

/// What a model gives of its routers.
#[derive(Debug, Clone, Copy)]
pub struct RouterOutputs {
    /// Give their logits where the inputs do not say.
    pub by_default: bool,
    /// The load-balancing loss, in families that have one.
    pub loss: Option<LoadBalancing>,
}

impl RouterOutputs {
    /// Of models of which every token passes `top_k` of `experts`; `coefficient` is the factor on their load-balancing
    /// loss.
    pub fn balanced(by_default: bool, experts: usize, top_k: usize, coefficient: f64) -> Self {
        let loss = LoadBalancing {
            experts,
            top_k,
            coefficient,
        };
        Self {
            by_default,
            loss: Some(loss),
        }
    }
}

impl DecoderOptions {
    /// Embedding, layers and a head of its own; no final norm and no positions.
    pub fn new(vocab_size: usize, hidden_size: usize, layer_types: Vec<LayerType>) -> Self {
        Self {
            vocab_size,
            pad_token_id: None,
            hidden_size,
            layer_types,
            norm: None,
            head_dim: 0,
            rope_parameters: None,
            rotary_layout: RotaryLayout::HalfSplit,
            multimodal_rotary: None,
            rotation_changes_beyond: None,
            query_scale: None,
            max_position_embeddings: None,
            position_offset: None,
            alibi: None,
            hiding: Hiding::Added,
            sliding_window: None,
            attention_chunk_size: None,
            bidirectional: false,
            embedding_size: None,
            embedding_norm: None,
            embedding_scale: None,
            logit_scale: None,
            final_logit_softcapping: None,
            head_bias: false,
            tie_word_embeddings: false,
            initializer_range: 0.02,
            router: None,
            states_after_layers: false,
        }
    }

    fn embedding_size(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    fn window(&self, kind: LayerType) -> Option<usize> {
        self.sliding_window
            .filter(|_| kind == LayerType::SlidingAttention)
    }

    fn chunk(&self, kind: LayerType) -> Option<usize> {
        self.attention_chunk_size
            .filter(|_| kind == LayerType::ChunkedAttention)
    }

    /// How many of the last tokens a layer may still see.
    fn reach(&self, kind: LayerType) -> Option<usize> {
        self.window(kind).or(self.chunk(kind))
    }

    /// Of `past` tokens before this pass, `dropped` are no longer among the keys.
    fn mask(&self, kind: LayerType, past: usize, dropped: usize, inputs: &ModelInputs) -> Mask {
        let mask = match self.bidirectional {
            true => Mask::bidirectional(),
            false => Mask::causal(),
        };
        let mask = mask
            .after(past - dropped)
            .with_window(self.window(kind))
            .with_padding(inputs.tokens(dropped))
            .with_means(inputs.reads_padding())
            .with_hiding(self.hiding);
        match self.chunk(kind) {
            Some(size) => mask.and(MaskFunction::chunked(
                size,
                first_chunks(inputs, size, dropped),
            )),
            None => mask,
        }
    }

    /// Of one row of several sequences.
    fn packed_mask(&self, kind: LayerType, batch: &PackedBatch) -> Mask {
        Mask::causal()
            .with_window(self.window(kind))
            .with_pages(batch.pages())
    }

    /// `None` where a layer keeps more than keys and values, or a token sees later ones.
    fn paged_layout(&self) -> Option<PagedLayout> {
        let attention = |kind: &LayerType| {
            matches!(kind, LayerType::FullAttention | LayerType::SlidingAttention)
        };
        let pages = self.layer_types.iter().all(attention) && !self.bidirectional;
        pages.then(|| PagedLayout {
            layers: self.layer_types.len(),
            rotation_changes_beyond: self.rotation_changes_beyond,
            rotation_stretches: self.rotates_by(&[RopeType::Dynamic, RopeType::Longrope]),
        })
    }

    /// What to give of the routers in this pass, if anything.
    fn routers(&self, inputs: &ModelInputs) -> Option<RouterOutputs> {
        let asked =
            |router: &RouterOutputs| inputs.output_router_logits.unwrap_or(router.by_default);
        self.router.filter(asked)
    }

    /// Whether a layer's rotation is of one of these types.
    fn rotates_by(&self, types: &[RopeType]) -> bool {
        let of_layer = |kind: &LayerType| {
            let rope = self.rope_parameters.as_ref()?.for_layer(*kind)?;
            Some(types.contains(&rope.rope_type))
        };
        self.layer_types.iter().filter_map(of_layer).any(|it| it)
    }

    /// A dynamic rotation stretches with the sequence; every other one was made for a length.
    fn context_length(&self) -> Option<usize> {
        self.max_position_embeddings
            .filter(|_| !self.rotates_by(&[RopeType::Dynamic]))
    }

    /// Rotations and biases go on beyond the length that they were made for.
    fn position_limit(&self) -> Option<usize> {
        self.position_offset.and(self.max_position_embeddings)
    }

    fn rotary(&self) -> Result<BTreeMap<LayerType, RotaryEmbedding>, ModelError> {
        let mut tables = BTreeMap::new();
        let Some(parameters) = &self.rope_parameters else {
            return Ok(tables);
        };
        for &kind in &self.layer_types {
            if let Some(rope) = parameters.for_layer(kind) {
                let length = self.max_position_embeddings.unwrap_or_default();
                let rotary = RotaryEmbedding::new(rope.clone(), self.head_dim, length)?;
                let rotary = rotary
                    .with_layout(self.rotary_layout)
                    .with_multimodal(self.multimodal_rotary);
                tables.insert(kind, rotary.with_query_scale(self.query_scale));
            }
        }
        Ok(tables)
    }
}

/// What the layers of one type share in one forward pass.
struct Shared {
    rotary: Option<RotaryTables>,
    mask: Mask,
}

impl Shared {
    /// A layer of which a backward pass keeps the input alone.
    fn recomputed<L: DecoderLayer>(
        &self,
        block: &L,
        layer: usize,
        hidden: Tensor<3>,
        bias: Option<Tensor<4>>,
        interface: Option<AttentionInterface>,
    ) -> Tensor<3> {
        let (rotary, mask) = (self.rotary.clone(), self.mask.clone());
        checkpointed(block, hidden, move |block, x| {
            let plain = !x.is_autodiff();
            let rotary = rotary.clone().map(|tables| match plain {
                true => tables.without_autodiff(),
                false => tables,
            });
            let bias = bias.clone().map(|bias| match plain {
                true => bias.without_autodiff(),
                false => bias,
            });
            let attention = AttentionPass::without_weights(interface.clone());
            let mut context = LayerContext {
                layer,
                rotary: rotary.as_ref(),
                mask: &mask.clone(),
                attention: &attention,
                bias: bias.as_ref(),
                cache: None,
                router_logits: None,
            };
            block.forward(x, &mut context)
        })
    }
}

/// What a pass through the stack gives.
struct DecoderStates {
    states: States,
    /// With `output_router_logits`, one of each sparse layer, `[tokens, experts]`.
    router_logits: Option<Vec<Tensor<2>>>,
}

/// Embedding, layers and final norm.
#[derive(Module, Debug)]
pub struct Decoder<L: DecoderLayer> {
    embed_tokens: Embedding,
    embed_positions: Option<Embedding>,
    embed_norm: Option<Norm>,
    project_in: Option<Linear>,
    layers: Vec<L>,
    norm: Option<Norm>,
    project_out: Option<Linear>,
    #[module(skip)]
    options: DecoderOptions,
    #[module(skip)]
    rotary: BTreeMap<LayerType, RotaryEmbedding>,
}

impl<L: DecoderLayer> Decoder<L> {
    /// The stack of family `F`.
    ///
    /// # Errors
    /// Config values that do not fit together.
    pub fn new<F: DecoderFamily<Layer = L>>(
        config: &F::Config,
        init: &Init,
    ) -> Result<Self, ModelError> {
        let options = F::options(config);
        let init = &Init {
            std: options.initializer_range,
            ..init.clone()
        };
        let (hidden, embedded) = (options.hidden_size, options.embedding_size());
        let norm = |norm: Option<NormOptions>| Some(Norm::new(hidden, norm?, init));
        let positions = options.position_offset.zip(options.max_position_embeddings);
        let positions = positions.map(|(offset, length)| offset + length);
        let project = |input, output| Linear::new(input, output, false, init);
        let projected = embedded != hidden;
        Ok(Self {
            embed_tokens: Embedding::padded(
                options.vocab_size,
                embedded,
                options.pad_token_id,
                init,
            ),
            embed_positions: positions.map(|rows| Embedding::new(rows, hidden, init)),
            embed_norm: norm(options.embedding_norm),
            project_in: projected.then(|| project(embedded, hidden)),
            layers: (0..options.layer_types.len())
                .map(|index| F::layer(config, index, init))
                .collect::<Result<_, _>>()?,
            norm: norm(options.norm),
            project_out: projected.then(|| project(hidden, embedded)),
            rotary: options.rotary()?,
            options,
        })
    }

    /// What goes into the first layer, `[batch, seq, hidden]`.
    fn embed(&self, inputs: &ModelInputs, positions: &Rows<u32>) -> Result<Tensor<3>, ModelError> {
        let device = self.embed_tokens.weight.device();
        let ids = inputs.input_ids.to_tensor(&device);
        let mut hidden = with_noise(inputs.embedding_noise, self.embed_tokens.forward(ids));
        if let Some(scale) = self.options.embedding_scale {
            hidden = hidden * scale;
        }
        if let Some(norm) = &self.embed_norm {
            hidden = norm.forward(hidden);
        }
        if let Some(project) = &self.project_in {
            hidden = project.forward(hidden);
        }
        if let (Some(table), Some(offset)) = (&self.embed_positions, self.options.position_offset) {
            let max = self.options.max_position_embeddings.unwrap_or_default();
            let last = positions.values().iter().max().map_or(0, |p| *p as usize);
            if last >= max {
                let len = last + 1;
                return Err(ModelError::TooLong { len, max });
            }
            let rows = position_rows(inputs, positions, offset as u32)?;
            hidden = hidden + table.forward(rows.to_tensor(&device));
        }
        Ok(hidden)
    }

    /// The table of words, which heads may share.
    pub(crate) fn words(&self) -> &Embedding {
        &self.embed_tokens
    }

    /// The states after the final norm, and what else was asked for.
    fn hidden_states(
        &self,
        inputs: &ModelInputs,
        mut cache: Option<&mut dyn Cache>,
    ) -> Result<DecoderStates, ModelError> {
        let past = cache.as_ref().map_or(0, |cache| cache.seq_len());
        inputs.check(self.options.vocab_size, past)?;
        let seq = inputs.input_ids.dims()[1];
        check_room(cache.as_deref(), seq)?;
        let positions = inputs.positions(past)?;
        let mut hidden = self.embed(inputs, &positions)?;
        let packed = cache.as_ref().and_then(|cache| cache.packed());
        let bias = match &self.options.alibi {
            Some(alibi) => {
                let positions = match &packed {
                    Some(batch) => batch.key_positions(),
                    None if alibi.by_columns => Rows::row_of((0..(past + seq) as u32).collect()),
                    None => inputs.key_positions(past)?,
                };
                Some(alibi.bias(&positions, &hidden.device()))
            }
            None => None,
        };
        let rotated = inputs.rotated_positions(positions, past);
        let kinds = self.kinds(&rotated, inputs, cache.as_deref(), &hidden)?;
        let attention = AttentionPass::new(inputs);
        let mut record = inputs.output_hidden_states.then(Vec::new);
        let mut router_logits = self.options.routers(inputs).map(|_| Vec::new());
        // What a layer leaves beside its output is not there after another run.
        let recomputes = inputs.gradient_checkpointing
            && cache.is_none()
            && router_logits.is_none()
            && !inputs.output_attentions;
        let after = self.options.states_after_layers;
        let record_after = |record: &mut Option<Vec<_>>, hidden: &Tensor<3>| {
            if let Some(record) = record.as_mut().filter(|_| after) {
                record.push(hidden.clone());
            }
        };
        for (layer, (block, kind)) in self
            .layers
            .iter()
            .zip(&self.options.layer_types)
            .take(inputs.early_exit.unwrap_or(usize::MAX))
            .enumerate()
        {
            if let Some(record) = record.as_mut().filter(|_| !after) {
                record.push(hidden.clone());
            }
            let kind = &kinds[kind];
            if recomputes {
                let interface = inputs.attention.clone();
                hidden = kind.recomputed(block, layer, hidden, bias.clone(), interface);
                record_after(&mut record, &hidden);
                continue;
            }
            let mut context = LayerContext {
                layer,
                rotary: kind.rotary.as_ref(),
                mask: &kind.mask,
                attention: &attention,
                bias: bias.as_ref(),
                cache: cache.as_deref_mut().map(|cache| cache as &mut dyn Cache),
                router_logits: router_logits.as_mut(),
            };
            hidden = block.forward(hidden, &mut context);
            record_after(&mut record, &hidden);
        }
        if let Some(norm) = &self.norm {
            hidden = norm.forward(hidden);
        }
        if let Some(project) = &self.project_out {
            hidden = project.forward(hidden);
        }
        if let Some(record) = &mut record {
            record.push(hidden.clone());
        }
        Ok(DecoderStates {
            states: States {
                last: hidden,
                all: record,
                attentions: attention.take_weights()?,
            },
            router_logits,
        })
    }

    /// What the layers of one type share in this pass, for every type that occurs.
    fn kinds(
        &self,
        positions: &Rows<u32>,
        inputs: &ModelInputs,
        cache: Option<&dyn Cache>,
        hidden: &Tensor<3>,
    ) -> Result<BTreeMap<LayerType, Shared>, ModelError> {
        let device = hidden.device();
        let packed = cache.and_then(|cache| cache.packed());
        let mut kinds = BTreeMap::new();
        for (layer, &kind) in self.options.layer_types.iter().enumerate() {
            if kinds.contains_key(&kind) {
                continue;
            }
            let dtype = hidden.dtype();
            let multimodal = inputs.multimodal_position_ids.as_deref();
            let rotary = self
                .rotary
                .get(&kind)
                .map(|rotary| match (&packed, multimodal) {
                    (Some(batch), _) => {
                        rotary.tables_for(positions, batch.lengths(), &device, dtype)
                    }
                    (None, Some(three)) => rotary.multimodal_tables(three, &device, dtype),
                    (None, None) => rotary.tables(positions, &device, dtype),
                });
            let rotary = rotary.transpose()?;
            let past = cache.map_or(0, |cache| cache.seq_len());
            let dropped = cache.map_or(0, |cache| cache.dropped(layer));
            let mask = match &packed {
                Some(batch) => self.options.packed_mask(kind, batch),
                None => self.options.mask(kind, past, dropped, inputs),
            };
            kinds.insert(kind, Shared { rotary, mask });
        }
        Ok(kinds)
    }

    fn cache_layout(&self) -> CacheLayout {
        let kinds = self.options.layer_types.iter();
        CacheLayout {
            rotation_changes_beyond: self.options.rotation_changes_beyond,
            ..CacheLayout::new(kinds.map(|kind| self.options.reach(*kind)))
        }
    }
}

/// Where the first chunk of `size` tokens begins among the keys of each row, of which the `dropped` oldest are no longer
/// there: chunks are counted from a row's first token.
fn first_chunks(inputs: &ModelInputs, size: usize, dropped: usize) -> Vec<usize> {
    let (size, dropped) = (size.max(1) as i64, dropped as i64);
    let first = |row: &[u32]| row.iter().position(|token| *token != 0).unwrap_or(0) as i64;
    let mask = inputs.attention_mask.as_ref();
    let firsts = mask.map_or(vec![0], |mask| mask.iter().map(first).collect());
    let begin = |first: i64| (first - dropped).rem_euclid(size) as usize;
    firsts.into_iter().map(begin).collect()
}

/// The rows of learned positions, `[batch or 1, seq]`; of padding, the one before the first, where there is one (OPT).
fn position_rows(
    inputs: &ModelInputs,
    positions: &Rows<u32>,
    offset: u32,
) -> Result<Rows<u32>, ModelError> {
    let [batch, seq] = inputs.input_ids.dims();
    let row = |position: u32| position + offset;
    let mask = inputs.attention_mask.as_ref();
    let Some(mask) = mask.filter(|_| offset > 0 && inputs.position_ids.is_none()) else {
        return Ok(positions.map(row));
    };
    let positions = inputs.counted_positions(mask.dims()[1] - seq)?;
    let tokens = mask.last_columns(seq);
    let one = |entry: usize| {
        let positions = positions.row(entry.min(positions.dims()[0] - 1));
        let tokens = &tokens[entry * seq..(entry + 1) * seq];
        let pairs = positions.iter().zip(tokens);
        let row = |(position, token): (&u32, &u32)| match token {
            0 => offset - 1,
            _ => row(*position),
        };
        pairs.map(row).collect::<Vec<u32>>()
    };
    Rows::new(&(0..batch).map(one).collect::<Vec<_>>())
}

impl<L: DecoderLayer> Forward for Decoder<L> {
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let output = self.hidden_states(inputs, cache)?;
        Ok(ModelOutput {
            router_logits: output.router_logits,
            ..ModelOutput::of_states(output.states)
        })
    }

    fn cache_layout(&self) -> Option<CacheLayout> {
        Some(self.cache_layout())
    }

    fn context_length(&self) -> Option<usize> {
        self.options.context_length()
    }

    fn position_limit(&self) -> Option<usize> {
        self.options.position_limit()
    }

    fn paged_layout(&self) -> Option<PagedLayout> {
        self.options.paged_layout()
    }

    fn recomputes_layers(&self) -> bool {
        true
    }
}

/// The headless decoder of family `F`, for heads.
#[derive(Debug)]
pub struct OnDecoder<F>(PhantomData<F>);

impl<F: DecoderFamily> BaseFamily for OnDecoder<F> {
    type Config = F::Config;
    type Model = Decoder<F::Layer>;

    fn model(config: &F::Config, _pooler: bool, init: &Init) -> Result<Self::Model, ModelError> {
        Decoder::new::<F>(config, init)
    }

    fn hidden_size(config: &F::Config) -> usize {
        F::options(config).embedding_size()
    }
}

/// A decoder with an output head.
#[derive(Module, Debug)]
pub struct CausalLM<L: DecoderLayer> {
    model: Decoder<L>,
    lm_head: OutputLayer,
}

impl<L: DecoderLayer> CausalLM<L> {
    /// The language model of family `F`.
    ///
    /// # Errors
    /// Config values that do not fit together.
    pub fn new<F: DecoderFamily<Layer = L>>(
        config: &F::Config,
        init: &Init,
    ) -> Result<Self, ModelError> {
        let model = Decoder::new::<F>(config, init)?;
        let options = &model.options;
        let init = Init {
            std: options.initializer_range,
            ..init.clone()
        };
        let lm_head = OutputLayer::new(
            options.embedding_size(),
            options.vocab_size,
            options.head_bias,
            options.tie_word_embeddings,
            &init,
        );
        Ok(Self { model, lm_head })
    }

    /// `[batch, seq, hidden]` to logits `[batch, seq, vocab]`.
    fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        let logits = self.lm_head.forward(hidden, &self.model.embed_tokens);
        let logits = match self.model.options.logit_scale {
            Some(scale) => logits * scale,
            None => logits,
        };
        match self.model.options.final_logit_softcapping {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }
}

impl<L: DecoderLayer> Forward for CausalLM<L> {
    fn forward(
        &self,
        inputs: &ModelInputs,
        cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let DecoderStates {
            states,
            router_logits,
        } = self.model.hidden_states(inputs, cache)?;
        let hidden = states.last;
        let seq = hidden.dims()[1];
        let logits = self.logits(kept(hidden, inputs)?);
        let labels = inputs.label_ids()?;
        let loss = labels.map(|labels| causal_lm_loss(logits.clone(), labels));
        let loss = loss.transpose()?;
        let balancing = self.model.options.router.and_then(|router| router.loss);
        let aux_loss = match (&balancing, &router_logits) {
            (Some(balancing), Some(logits)) => {
                let mask = inputs.attention_mask.as_ref();
                Some(balancing.loss(logits, mask.map(|mask| mask.last_columns(seq))))
            }
            _ => None,
        };
        let loss = match (loss, &balancing, &aux_loss) {
            (Some(loss), Some(balancing), Some(aux)) => {
                Some(loss + aux.clone() * balancing.coefficient)
            }
            (loss, ..) => loss,
        };
        Ok(ModelOutput {
            loss,
            aux_loss,
            logits: Some(logits),
            hidden_states: states.all,
            attentions: states.attentions,
            router_logits,
            ..ModelOutput::default()
        })
    }

    fn cache_layout(&self) -> Option<CacheLayout> {
        Some(self.model.cache_layout())
    }

    fn context_length(&self) -> Option<usize> {
        self.model.options.context_length()
    }

    fn position_limit(&self) -> Option<usize> {
        self.model.options.position_limit()
    }

    fn paged_layout(&self) -> Option<PagedLayout> {
        self.model.options.paged_layout()
    }

    fn recomputes_layers(&self) -> bool {
        true
    }

    fn part(&self, _part: Part, of: &Whole<'_>) -> Option<Box<dyn PreTrainedModel>> {
        Some(of.part(self.model.clone()))
    }
}
