//! ModernBERT's decoder (Weller et al. 2025): its layers in one direction, with a cache.
#![allow(non_snake_case)]

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::Tensor;
use transformers_config::{LayerType, ModelConfig, ModernBertDecoderConfig};
use transformers_ops as ops;

use super::modernbert::{ModernBertEmbeddings, ModernBertMlp, ModernBertPredictionHead};
use crate::loss::causal_lm_loss;
use crate::nn::check_room;
use crate::nn::heads::{by_row, last, states};
use crate::nn::{
    AttentionPass, BaseFamily, Cache, CacheLayout, HeadOptions, Init, LayerNorm, Linear, Mask,
    MaskedAttention, OutputLayer, RotaryEmbedding, RotaryTables, States, TaskHead, activation,
    linears,
};
use crate::{Family, Forward, Head, ModelError, ModelInputs, ModelOutput};

/// The family.
pub(crate) fn family() -> Family {
    Family::new(ModernBertDecoderConfig::MODEL_TYPE, "model")
        .tied(&[("decoder.weight", "model.embeddings.tok_embeddings.weight")])
        .headless::<ModernBertDecoder>(Head::Base)
        .with::<ModernBertDecoder, ModernBertDecoderLM>(Head::CausalLM)
        .with::<ModernBertDecoder, ModernBertDecoderClassifier>(Head::SequenceClassification)
}

#[derive(Debug)]
struct ModernBertDecoder;

impl BaseFamily for ModernBertDecoder {
    type Config = ModernBertDecoderConfig;
    type Model = ModernBertDecoderModel;

    fn model(
        config: &ModernBertDecoderConfig,
        _pooler: bool,
        init: &Init,
    ) -> Result<ModernBertDecoderModel, ModelError> {
        ModernBertDecoderModel::new(config, init)
    }

    fn hidden_size(config: &ModernBertDecoderConfig) -> usize {
        config.hidden_size
    }
}

fn norm(config: &ModernBertDecoderConfig, init: &Init) -> LayerNorm {
    LayerNorm::new(config.hidden_size, config.norm_eps, config.norm_bias, init)
}

/// Fresh weights of layers that lead into a block.
fn inward(config: &ModernBertDecoderConfig, init: &Init) -> Init {
    Init {
        std: config.initializer_range,
        cutoff: config.initializer_cutoff_factor,
        ..init.clone()
    }
}

/// And of those that lead out of it.
fn outward(config: &ModernBertDecoderConfig, init: &Init) -> Init {
    let layers = config.num_hidden_layers as f64;
    inward(config, init).with_std(config.initializer_range / (2.0 * layers).sqrt())
}

/// What the layers of one type share in one pass.
struct Shared<'a> {
    rotary: RotaryTables,
    attention: MaskedAttention<'a>,
}

#[derive(Module, Debug)]
struct ModernBertDecoderAttention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    Wo: Linear,
    heads: usize,
}

impl ModernBertDecoderAttention {
    fn forward(
        &self,
        x: Tensor<3>,
        shared: &Shared<'_>,
        cache: Option<(usize, &mut dyn Cache)>,
    ) -> Tensor<3> {
        let [batch, seq, hidden] = x.dims();
        let head_dim = hidden / self.heads;
        let [q, k, v] = linears(x, [&self.q_proj, &self.k_proj, &self.v_proj]).map(|x| {
            x.reshape([batch, seq, self.heads, head_dim])
                .swap_dims(1, 2)
        });
        let (q, k) = (shared.rotary.apply(q), shared.rotary.apply(k));
        let (k, v) = match cache {
            Some((layer, cache)) => cache.update(layer, k, v),
            None => (k, v),
        };
        let scores = ops::AttentionOptions::new((head_dim as f64).powf(-0.5));
        self.Wo.forward(shared.attention.attend([q, k, v], &scores))
    }
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`; the first layer's first norm is that of the embeddings.
#[derive(Module, Debug)]
struct ModernBertDecoderLayer {
    attn_norm: Option<LayerNorm>,
    attn: ModernBertDecoderAttention,
    mlp_norm: LayerNorm,
    mlp: ModernBertMlp,
}

impl ModernBertDecoderLayer {
    fn new(
        config: &ModernBertDecoderConfig,
        index: usize,
        init: &Init,
    ) -> Result<Self, ModelError> {
        let hidden = config.hidden_size;
        let (inward, outward) = (inward(config, init), outward(config, init));
        let project = |init| Linear::new(hidden, hidden, config.attention_bias, init);
        Ok(Self {
            attn_norm: (index > 0).then(|| norm(config, init)),
            attn: ModernBertDecoderAttention {
                q_proj: project(&inward),
                k_proj: project(&inward),
                v_proj: project(&inward),
                Wo: project(&outward),
                heads: config.num_attention_heads,
            },
            mlp_norm: norm(config, init),
            mlp: ModernBertMlp::new(
                [hidden, config.intermediate_size],
                config.mlp_bias,
                activation("hidden_activation", &config.hidden_activation)?,
                [&inward, &outward],
            ),
        })
    }

    fn forward(
        &self,
        x: Tensor<3>,
        shared: &Shared<'_>,
        cache: Option<(usize, &mut dyn Cache)>,
    ) -> Tensor<3> {
        let normed = match &self.attn_norm {
            Some(norm) => norm.forward(x.clone()),
            None => x.clone(),
        };
        let x = x + self.attn.forward(normed, shared, cache);
        x.clone() + self.mlp.forward(self.mlp_norm.forward(x))
    }
}

/// The decoder: states `[batch, seq, hidden]`.
#[derive(Module, Debug)]
struct ModernBertDecoderModel {
    embeddings: ModernBertEmbeddings,
    layers: Vec<ModernBertDecoderLayer>,
    final_norm: LayerNorm,
    #[module(skip)]
    config: ModernBertDecoderConfig,
    #[module(skip)]
    rotary: BTreeMap<LayerType, RotaryEmbedding>,
}

impl ModernBertDecoderModel {
    fn new(config: &ModernBertDecoderConfig, init: &Init) -> Result<Self, ModelError> {
        let mut rotary = BTreeMap::new();
        for kind in config.layer_types() {
            let rope = config.rope_parameters.for_layer(kind);
            let rope = rope.cloned().unwrap_or_default();
            let length = config.max_position_embeddings;
            rotary.insert(kind, RotaryEmbedding::new(rope, config.head_dim(), length)?);
        }
        let layers = (0..config.num_hidden_layers)
            .map(|index| ModernBertDecoderLayer::new(config, index, init));
        Ok(Self {
            embeddings: ModernBertEmbeddings::new(
                config.vocab_size,
                norm(config, init),
                &inward(config, init),
            ),
            layers: layers.collect::<Result<_, _>>()?,
            final_norm: norm(config, init),
            config: config.clone(),
            rotary,
        })
    }

    fn window(&self, kind: LayerType) -> Option<usize> {
        let sliding = kind == LayerType::SlidingAttention;
        self.config.window().filter(|_| sliding)
    }

    /// What the layers of each type share.
    fn shared<'a>(
        &self,
        inputs: &ModelInputs,
        pass: &'a AttentionPass,
        cache: Option<&dyn Cache>,
        hidden: &Tensor<3>,
    ) -> Result<BTreeMap<LayerType, Shared<'a>>, ModelError> {
        let past = cache.map_or(0, |cache| cache.seq_len());
        let positions = inputs.positions(past)?;
        let mut kinds = BTreeMap::new();
        for (layer, kind) in self.config.layer_types().into_iter().enumerate() {
            if kinds.contains_key(&kind) {
                continue;
            }
            let dropped = cache.map_or(0, |cache| cache.dropped(layer));
            let mask = Mask::causal()
                .after(past - dropped)
                .with_window(self.window(kind))
                .with_padding(inputs.tokens(dropped));
            let rotary = &self.rotary[&kind];
            let rotary = rotary.tables(&positions, &hidden.device(), hidden.dtype())?;
            let attention = MaskedAttention::new(pass, mask);
            kinds.insert(kind, Shared { rotary, attention });
        }
        Ok(kinds)
    }
}

impl Forward for ModernBertDecoderModel {
    fn forward(
        &self,
        inputs: &ModelInputs,
        mut cache: Option<&mut dyn Cache>,
    ) -> Result<ModelOutput, ModelError> {
        let past = cache.as_ref().map_or(0, |cache| cache.seq_len());
        inputs.check(self.config.vocab_size, past)?;
        check_room(cache.as_deref(), inputs.input_ids.dims()[1])?;
        let device = self.embeddings.tok_embeddings.weight.device();
        let ids = inputs.input_ids.to_tensor(&device);
        let mut hidden = self.embeddings.forward(ids, inputs.embedding_noise);
        let pass = AttentionPass::new(inputs);
        let shared = self.shared(inputs, &pass, cache.as_deref(), &hidden)?;
        let mut record = inputs.output_hidden_states.then(Vec::new);
        let layers = self.layers.iter().zip(self.config.layer_types());
        for (index, (layer, kind)) in layers.enumerate() {
            if let Some(record) = &mut record {
                record.push(hidden.clone());
            }
            let cache = cache.as_deref_mut();
            let cache = cache.map(|cache| (index, cache as &mut dyn Cache));
            hidden = layer.forward(hidden, &shared[&kind], cache);
        }
        let hidden = self.final_norm.forward(hidden);
        if let Some(record) = &mut record {
            record.push(hidden.clone());
        }
        Ok(ModelOutput::of_states(States {
            last: hidden,
            all: record,
            attentions: pass.take_weights()?,
        }))
    }

    fn cache_layout(&self) -> Option<CacheLayout> {
        let kinds = self.config.layer_types().into_iter();
        Some(CacheLayout::new(kinds.map(|kind| self.window(kind))))
    }

    fn context_length(&self) -> Option<usize> {
        Some(self.config.max_position_embeddings)
    }
}

fn prediction_head(
    config: &ModernBertDecoderConfig,
    init: &Init,
) -> Result<ModernBertPredictionHead, ModelError> {
    let activation = activation("classifier_activation", &config.classifier_activation)?;
    let norm = norm(config, init);
    Ok(ModernBertPredictionHead::new(
        config.classifier_bias,
        activation,
        norm,
        &outward(config, init),
    ))
}

/// The language-model head: logits `[batch, seq, vocab]`.
#[derive(Module, Debug)]
struct ModernBertDecoderLM {
    lm_head: ModernBertPredictionHead,
    decoder: OutputLayer,
}

impl TaskHead<ModernBertDecoder> for ModernBertDecoderLM {
    fn new(
        config: &ModernBertDecoderConfig,
        _: &HeadOptions,
        init: &Init,
    ) -> Result<Self, ModelError> {
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let (bias, tied) = (config.decoder_bias, config.tie_word_embeddings);
        Ok(Self {
            lm_head: prediction_head(config, init)?,
            decoder: OutputLayer::new(hidden, vocab, bias, tied, &outward(config, init)),
        })
    }

    fn forward(
        &self,
        base: &ModernBertDecoderModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let labels = inputs.label_ids()?;
        let seq = hidden.dims()[1];
        let keep = match labels {
            Some(_) => seq,
            None => inputs.logits_to_keep.unwrap_or(seq).clamp(1, seq),
        };
        let hidden = self.lm_head.forward(hidden.narrow(1, seq - keep, keep));
        let logits = self
            .decoder
            .forward(hidden, &base.embeddings.tok_embeddings);
        let loss = labels.map(|labels| causal_lm_loss(logits.clone(), labels));
        Ok(ModelOutput {
            loss: loss.transpose()?,
            logits: Some(logits),
            ..rest
        })
    }
}

/// The class of a row by the state of its last token.
#[derive(Module, Debug)]
struct ModernBertDecoderClassifier {
    head: ModernBertPredictionHead,
    classifier: Linear,
    #[module(skip)]
    options: HeadOptions,
}

impl TaskHead<ModernBertDecoder> for ModernBertDecoderClassifier {
    fn new(
        config: &ModernBertDecoderConfig,
        options: &HeadOptions,
        init: &Init,
    ) -> Result<Self, ModelError> {
        let (hidden, labels) = (config.hidden_size, options.num_labels);
        let last = inward(config, init).with_std((hidden as f64).powf(-0.5));
        Ok(Self {
            head: prediction_head(config, init)?,
            classifier: Linear::new(hidden, labels, config.classifier_bias, &last),
            options: options.clone(),
        })
    }

    fn forward(
        &self,
        _base: &ModernBertDecoderModel,
        output: ModelOutput,
        inputs: &ModelInputs,
    ) -> Result<ModelOutput, ModelError> {
        let (hidden, rest) = states(output)?;
        let rows = last(hidden, inputs, self.options.pad_token_id)?;
        let logits = self.classifier.forward(self.head.forward(rows));
        by_row(logits, rest, inputs, self.options.scores)
    }
}
