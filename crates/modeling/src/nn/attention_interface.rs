//! How attention is computed: by the name of an implementation, and with its weights where they are wanted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use burn::tensor::Tensor;
use transformers_ops as ops;

use super::{Cache, Mask};
use crate::{ModelError, ModelInputs};

/// What a layer asks of an implementation of attention.
#[derive(Debug)]
pub struct AttentionCall<'a> {
    /// Queries, `[batch, heads, q_len, head_dim]`.
    pub q: Tensor<4>,
    /// Keys, `[batch, kv_heads, kv_len, head_dim]`; `heads` is a multiple of `kv_heads`.
    pub k: Tensor<4>,
    /// Values, `[batch, kv_heads, kv_len, value_dim]`.
    pub v: Tensor<4>,
    /// Who sees whom.
    pub mask: &'a Mask,
    /// What happens to the scores.
    pub options: &'a ops::AttentionOptions,
    /// Whether the weights are wanted.
    pub output_attentions: bool,
}

/// What it gives.
#[derive(Debug)]
pub struct AttentionResult {
    /// `[batch, q_len, heads * value_dim]`.
    pub output: Tensor<3>,
    /// After the softmax, `[batch, heads, q_len, kv_len]`; an implementation may have none.
    pub weights: Option<Tensor<4>>,
}

type Function = dyn Fn(AttentionCall<'_>) -> AttentionResult + Send + Sync;

/// An implementation of attention under a name, as `attn_implementation` of a model chooses it.
///
/// `sdpa`, the default, is the fused operation of the device; where weights are wanted it is computed as `eager`, which
/// is the reference's order in burn primitives. Others are yours:
///
/// ```
/// use transformers_modeling::nn::{AttentionInterface, AttentionResult};
/// use transformers_ops as ops;
///
/// AttentionInterface::register("uncapped", |call| {
///     let options = ops::AttentionOptions { softcap: None, ..call.options.clone() };
///     let (output, weights) = ops::eager_attention(call.q, call.k, call.v, call.mask, &options);
///     AttentionResult { output, weights: Some(weights) }
/// })?;
/// assert!(AttentionInterface::names().contains(&"uncapped".to_owned()));
/// assert!(AttentionInterface::get("flash").is_err());
/// # Ok::<(), transformers_modeling::ModelError>(())
/// ```
///
/// `model.set_attn_implementation("uncapped")` or [`LoadOptions`](crate::LoadOptions) choose it for a model.
#[derive(Clone)]
pub struct AttentionInterface {
    name: Arc<str>,
    function: Arc<Function>,
}

static INTERFACES: LazyLock<RwLock<BTreeMap<String, AttentionInterface>>> = LazyLock::new(|| {
    let built_in = [
        AttentionInterface::new("eager", eager),
        AttentionInterface::new("sdpa", sdpa),
    ];
    let named = |interface: AttentionInterface| (interface.name.to_string(), interface);
    RwLock::new(built_in.into_iter().map(named).collect())
});

fn eager(call: AttentionCall<'_>) -> AttentionResult {
    let (output, weights) = ops::eager_attention(call.q, call.k, call.v, call.mask, call.options);
    AttentionResult {
        output,
        weights: Some(weights),
    }
}

fn sdpa(call: AttentionCall<'_>) -> AttentionResult {
    match call.output_attentions {
        true => eager(call),
        false => AttentionResult {
            output: ops::attention(call.q, call.k, call.v, call.mask, call.options),
            weights: None,
        },
    }
}

impl AttentionInterface {
    fn new(
        name: &str,
        function: impl Fn(AttentionCall<'_>) -> AttentionResult + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            function: Arc::new(function),
        }
    }

    /// Makes an implementation known to every model of the process.
    ///
    /// # Errors
    /// [`ModelError::AttentionRegistered`].
    pub fn register(
        name: &str,
        function: impl Fn(AttentionCall<'_>) -> AttentionResult + Send + Sync + 'static,
    ) -> Result<(), ModelError> {
        let mut known = INTERFACES.write().unwrap_or_else(PoisonError::into_inner);
        if known.contains_key(name) {
            return Err(ModelError::AttentionRegistered { name: name.into() });
        }
        known.insert(name.to_owned(), Self::new(name, function));
        Ok(())
    }

    /// The implementation of this name.
    ///
    /// # Errors
    /// [`ModelError::UnknownAttention`].
    pub fn get(name: &str) -> Result<Self, ModelError> {
        let known = INTERFACES.read().unwrap_or_else(PoisonError::into_inner);
        known
            .get(name)
            .cloned()
            .ok_or_else(|| ModelError::UnknownAttention {
                name: name.to_owned(),
                known: known.keys().cloned().collect::<Vec<_>>().join(", "),
            })
    }

    /// The names that are known.
    pub fn names() -> Vec<String> {
        let known = INTERFACES.read().unwrap_or_else(PoisonError::into_inner);
        known.keys().cloned().collect()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for AttentionInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AttentionInterface({})", self.name)
    }
}

/// The attention of one forward pass: how it is computed, and where the layers leave its weights.
#[derive(Debug)]
pub struct AttentionPass {
    interface: Option<AttentionInterface>,
    weights: Option<RefCell<Vec<Option<Tensor<4>>>>>,
}

impl AttentionPass {
    /// As the inputs ask for.
    pub fn new(inputs: &ModelInputs) -> Self {
        Self {
            interface: inputs.attention.clone(),
            weights: inputs.output_attentions.then(RefCell::default),
        }
    }

    /// The same implementation, without a place for weights.
    pub(super) fn without_weights(interface: Option<AttentionInterface>) -> Self {
        Self {
            interface,
            weights: None,
        }
    }

    /// Attention of a layer: the arguments and the result are those of [`ops::attention`].
    pub fn attend(
        &self,
        [q, k, v]: [Tensor<4>; 3],
        mask: &Mask,
        options: &ops::AttentionOptions,
    ) -> Tensor<3> {
        if self.interface.is_none() && self.weights.is_none() {
            return ops::attention(q, k, v, mask, options);
        }
        let call = AttentionCall {
            q,
            k,
            v,
            mask,
            options,
            output_attentions: self.weights.is_some(),
        };
        let result = match &self.interface {
            Some(interface) => (interface.function)(call),
            None => eager(call),
        };
        if let Some(weights) = &self.weights {
            weights.borrow_mut().push(result.weights);
        }
        result.output
    }

    /// The weights so far, one `[batch, heads, q_len, kv_len]` for each layer with attention, if they were asked for.
    ///
    /// # Errors
    /// [`ModelError::NoAttentionWeights`] of an implementation that gives none.
    pub fn take_weights(&self) -> Result<Option<Vec<Tensor<4>>>, ModelError> {
        let Some(weights) = &self.weights else {
            return Ok(None);
        };
        let name = || self.interface.as_ref().map_or("sdpa", |it| it.name());
        let weights = weights.take().into_iter().collect::<Option<_>>();
        weights
            .map(Some)
            .ok_or_else(|| ModelError::NoAttentionWeights {
                name: name().into(),
            })
    }
}

/// The index of a layer and the cache that it has a place in, if there is one.
pub type LayerCache<'a> = Option<(usize, &'a mut dyn Cache)>;

/// The attention of one pass with one mask: what layers of encoders get.
#[derive(Debug)]
pub struct MaskedAttention<'a> {
    pass: &'a AttentionPass,
    mask: Mask,
}

impl<'a> MaskedAttention<'a> {
    /// The attention of `pass` under `mask`.
    pub fn new(pass: &'a AttentionPass, mask: Mask) -> Self {
        Self { pass, mask }
    }

    /// See [`AttentionPass::attend`].
    pub fn attend(&self, qkv: [Tensor<4>; 3], options: &ops::AttentionOptions) -> Tensor<3> {
        self.pass.attend(qkv, &self.mask, options)
    }

    /// The same to the keys and values that `cache` holds too, which takes the new ones.
    pub fn attend_after(
        &self,
        [q, k, v]: [Tensor<4>; 3],
        cache: LayerCache<'_>,
        options: &ops::AttentionOptions,
    ) -> Tensor<3> {
        let (k, v) = match cache {
            Some((layer, cache)) => cache.update(layer, k, v),
            None => (k, v),
        };
        self.attend([q, k, v], options)
    }
}
