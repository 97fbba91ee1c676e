//! Mixture of experts (Shazeer et al. 2017): routers, and experts on stacked weights.
//!
//! Weights are stacked as the reference holds them in memory; checkpoints hold them one by one, and
//! `weights::conversion_mapping` stacks them on loading and parts them on saving.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use transformers_ops as ops;
pub use transformers_ops::{ExpertGroups, Gate, RouterOptions, Routing, Score};

use super::{Activation, Buffer, FeedForward, GatedMlp, Init, LayerContext, Weight};

/// The shape of a layer's [`Experts`].
#[derive(Debug, Clone, Copy)]
pub struct ExpertsOptions {
    /// How many there are.
    pub count: usize,
    /// Features of the residual stream.
    pub hidden_size: usize,
    /// Features inside of an expert.
    pub inner_size: usize,
    /// What joins the two halves of an expert.
    pub gate: Gate,
    /// Biases of all projections.
    pub bias: bool,
}

/// Gated feed-forward blocks of which every token passes a few.
#[derive(Module, Debug)]
pub struct Experts {
    /// `[experts, 2 * inner, hidden]`: the rows of each expert's gate, then those that it gates.
    gate_up_proj: Weight,
    /// `[experts, 2 * inner]`.
    gate_up_proj_bias: Option<Param<Tensor<2>>>,
    /// `[experts, hidden, inner]`.
    down_proj: Weight,
    /// `[experts, hidden]`.
    down_proj_bias: Option<Param<Tensor<2>>>,
    #[module(skip)]
    gate: Gate,
}

impl ExpertsOptions {
    /// Plain experts: gated by an activation, without biases.
    pub fn new(
        count: usize,
        hidden_size: usize,
        inner_size: usize,
        activation: Activation,
    ) -> Self {
        Self {
            count,
            hidden_size,
            inner_size,
            gate: Gate::Plain(activation),
            bias: false,
        }
    }
}

impl Experts {
    /// Experts of the given shape.
    pub fn new(options: &ExpertsOptions, init: &Init) -> Self {
        let ExpertsOptions {
            count,
            hidden_size,
            inner_size,
            gate,
            bias,
        } = *options;
        let weight = |output, input| Weight::stacked([count, output, input], init);
        let zeros = |output| bias.then(|| init.zeros([count, output]));
        Self {
            gate_up_proj: weight(2 * inner_size, hidden_size),
            gate_up_proj_bias: zeros(2 * inner_size),
            down_proj: weight(hidden_size, inner_size),
            down_proj_bias: zeros(hidden_size),
            gate,
        }
    }

    /// Every row of `x` (`[tokens, hidden]`) through its experts.
    pub fn forward(&self, x: Tensor<2>, routing: Routing) -> Tensor<2> {
        let weights = ops::Experts {
            gate_up: self.gate_up_proj.val(),
            gate_up_bias: self.gate_up_proj_bias.as_ref().map(Param::val),
            down: self.down_proj.val(),
            down_bias: self.down_proj_bias.as_ref().map(Param::val),
            gate: self.gate,
        };
        ops::experts(x, routing, weights)
    }
}

/// Chooses experts: a linear layer, and what [`RouterOptions`] say.
#[derive(Module, Debug)]
pub struct Router {
    /// `[experts, hidden]`.
    weight: Weight,
    /// `[experts]`.
    bias: Option<Param<Tensor<1>>>,
    /// `[experts]`: added to the scores for the choice alone.
    e_score_correction_bias: Option<Buffer<1>>,
    #[module(skip)]
    options: RouterOptions,
}

impl Router {
    /// A router to `experts`. Its product is exact whatever the precision of the model: a choice has no small errors.
    pub fn new(experts: &ExpertsOptions, options: RouterOptions, init: &Init) -> Self {
        let init = &Init {
            precision: ops::Precision::Exact,
            ..init.clone()
        };
        Self {
            weight: Weight::new([experts.count, experts.hidden_size], init),
            bias: None,
            e_score_correction_bias: None,
            options,
        }
    }

    /// With a bias of the logits, which is drawn as the weights are.
    pub fn with_bias(mut self, init: &Init) -> Self {
        let [experts, _] = self.weight.dims();
        self.bias = Some(init.normal([experts]));
        self
    }

    /// With a bias of the scores that counts for the choice alone.
    pub fn with_score_correction(mut self, init: &Init) -> Self {
        let [experts, _] = self.weight.dims();
        self.e_score_correction_bias = Some(Buffer::zeros([experts], init));
        self
    }

    /// The experts of every row of `x` (`[tokens, hidden]`).
    pub fn forward(&self, x: Tensor<2>, context: &mut LayerContext<'_>) -> Routing {
        let correction = self.e_score_correction_bias.as_ref().map(Buffer::val);
        self.forward_with(x, correction, context)
    }

    /// [`forward`](Self::forward) with a score correction, `[experts]`, that is kept elsewhere.
    pub fn forward_with(
        &self,
        x: Tensor<2>,
        correction: Option<Tensor<1>>,
        context: &mut LayerContext<'_>,
    ) -> Routing {
        let logits = ops::linear(x, self.weight.val(), self.bias.as_ref().map(Param::val));
        context.record_router(&logits);
        ops::route(logits, correction, &self.options)
    }
}

/// `[batch, seq, hidden]` as `[tokens, hidden]`.
pub fn tokens(x: Tensor<3>) -> Tensor<2> {
    let [batch, seq, hidden] = x.dims();
    x.reshape([batch * seq, hidden])
}

/// A router, its experts, and perhaps a block that every token passes.
#[derive(Module, Debug)]
pub struct SparseMoe {
    gate: Router,
    experts: Experts,
    shared_experts: Option<GatedMlp>,
}

impl SparseMoe {
    /// A layer of the given shape.
    pub fn new(experts: &ExpertsOptions, router: RouterOptions, init: &Init) -> Self {
        let gate = Router::new(experts, router, init);
        Self::of(gate, Experts::new(experts, init))
    }

    /// What `gate` chooses of `experts`.
    pub fn of(gate: Router, experts: Experts) -> Self {
        Self {
            gate,
            experts,
            shared_experts: None,
        }
    }

    /// With a block that every token passes.
    pub fn with_shared(mut self, shared_experts: GatedMlp) -> Self {
        self.shared_experts = Some(shared_experts);
        self
    }
}

impl FeedForward for SparseMoe {
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        let shape = x.dims();
        let routing = self.gate.forward(tokens(x.clone()), context);
        let routed = self.experts.forward(tokens(x.clone()), routing);
        let routed = routed.reshape(shape);
        match &self.shared_experts {
            Some(shared) => routed + shared.forward(x),
            None => routed,
        }
    }
}

/// A feed-forward layer that is sparse in some layers of a model and dense in others.
#[allow(
    clippy::large_enum_variant,
    reason = "a model has one for each layer, and their weights are elsewhere"
)]
#[derive(Module, Debug)]
pub enum DenseOrSparse<F: FeedForward> {
    /// One block for all tokens.
    Dense(GatedMlp),
    /// Experts.
    Sparse(F),
}

impl<F: FeedForward> FeedForward for DenseOrSparse<F> {
    fn forward(&self, x: Tensor<3>, context: &mut LayerContext<'_>) -> Tensor<3> {
        match self {
            Self::Dense(mlp) => mlp.forward(x),
            Self::Sparse(sparse) => sparse.forward(x, context),
        }
    }
}
