//! Mixture of experts on stacked weights.

use burn::tensor::{Tensor, activation};
use transformers_kernels as kernels;
pub use transformers_kernels::Gate;

use crate::host::{flex, floats, on_host, tensor};
use crate::routing::indices;
use crate::weight::HostWeight;
use crate::{Routing, Weight, gated};

/// The weights of all experts of a layer.
#[derive(Debug, Clone)]
pub struct Experts {
    /// `[experts * 2 * inner, hidden]`: the rows of each expert's gate, then those that it gates.
    pub gate_up: Weight,
    /// `[experts, 2 * inner]`.
    pub gate_up_bias: Option<Tensor<2>>,
    /// `[experts * hidden, inner]`.
    pub down: Weight,
    /// `[experts, hidden]`.
    pub down_bias: Option<Tensor<2>>,
    /// What joins the two halves of an expert.
    pub gate: Gate,
}

/// `Σ weight * down(gate(x) joined with up(x))` over the experts of every token; `x` is `[tokens, hidden]`, and so is the
/// result.
///
/// On the CPU the rows of an expert go through its weights where those lie, and the weights of experts that no token
/// passes are not read.
pub fn experts(x: Tensor<2>, routing: Routing, weights: Experts) -> Tensor<2> {
    let Experts {
        gate_up_bias,
        down_bias,
        ..
    } = &weights;
    let fast = weights.gate_up.in_memory()
        && weights.down.in_memory()
        && [gate_up_bias, down_bias].into_iter().flatten().all(on_host);
    if fast && on_host(&x) && on_host(&routing.weights) {
        return on_cpu(x, routing, weights);
    }
    in_primitives(x, &routing, weights)
}

fn on_cpu(x: Tensor<2>, routing: Routing, experts: Experts) -> Tensor<2> {
    let [tokens, hidden] = x.dims();
    let (x, weights) = (flex(x), flex(routing.weights));
    let [gate_up, down] = [experts.gate_up, experts.down].map(HostWeight::new);
    let biases = [experts.gate_up_bias, experts.down_bias].map(|bias| bias.map(flex));
    let [gate_up_bias, down_bias] = biases.each_ref().map(|bias| bias.as_ref().map(floats));
    let mut out = vec![0.0; tokens * hidden];
    kernels::experts(
        &floats(&x),
        hidden,
        kernels::Routes {
            experts: &routing.experts,
            weights: &floats(&weights),
        },
        &kernels::Experts {
            gate_up: gate_up.view(),
            gate_up_bias: gate_up_bias.as_deref(),
            down: down.view(),
            down_bias: down_bias.as_deref(),
            inner: down.dims()[1],
            gate: experts.gate,
            precision: gate_up.precision(),
        },
        &mut out,
    );
    tensor(out, [tokens, hidden])
}

/// One product for all experts that are passed: each has as many rows as the busiest of them, of which those beyond its
/// own tokens are not looked at.
fn in_primitives(x: Tensor<2>, routing: &Routing, experts: Experts) -> Tensor<2> {
    let [tokens, hidden] = x.dims();
    let (device, dtype) = (x.device(), x.dtype());
    let inner = experts.down.dims()[1];
    let count = experts.down.dims()[0] / hidden;
    let plan = Plan::new(&routing.experts, tokens, count);
    let (passed, rows) = (plan.passed.len(), plan.rows);

    let stacked = |weight: Weight, out: usize| {
        let input = weight.dims()[1];
        let weight = weight.dense(&device, dtype).reshape([count, out, input]);
        let weight = match passed == count {
            true => weight,
            false => weight.select(0, indices(&plan.passed, &device)),
        };
        weight.swap_dims(1, 2)
    };
    let biased = |y: Tensor<3>, bias: Option<Tensor<2>>| match bias {
        Some(bias) => {
            let bias = bias.select(0, indices(&plan.passed, &device));
            y + bias.unsqueeze_dim(1)
        }
        None => y,
    };
    let rows_of = |x: Tensor<2>, rows: &[u32]| x.select(0, indices(rows, &device));

    let x = rows_of(x, &plan.tokens).reshape([passed, rows, hidden]);
    let y = x.matmul(stacked(experts.gate_up, 2 * inner));
    let y = biased(y, experts.gate_up_bias);
    let [gate, up] = [0, inner].map(|start| y.clone().narrow(2, start, inner));
    let y = join(experts.gate, gate, up).matmul(stacked(experts.down, hidden));
    let y = biased(y, experts.down_bias).reshape([passed * rows, hidden]);
    let top_k = routing.experts.len() / tokens;
    let y = rows_of(y, &plan.places).reshape([tokens, top_k, hidden]);
    let weights: Tensor<3> = routing.weights.clone().unsqueeze_dim(2);
    (y * weights).sum_dim(1).squeeze_dim(1)
}

fn join(gate: Gate, x: Tensor<3>, up: Tensor<3>) -> Tensor<3> {
    match gate {
        Gate::Plain(activation) => gated(x, up, activation),
        Gate::Clamped { alpha, limit } => {
            let x = x.clamp_max(limit);
            let up = up.clamp(-limit, limit);
            (up + 1.0) * x.clone() * activation::sigmoid(x * alpha)
        }
    }
}

/// Where the tokens are while their experts work: `[passed experts, rows]`.
struct Plan {
    /// The experts that a token passes, in order.
    passed: Vec<u32>,
    /// Rows of each.
    rows: usize,
    /// The token of every row; what no token takes has the first.
    tokens: Vec<u32>,
    /// The row of every token and each of its experts.
    places: Vec<u32>,
}

impl Plan {
    fn new(slots: &[u32], tokens: usize, experts: usize) -> Self {
        let mut of_expert = vec![Vec::new(); experts];
        for (slot, &expert) in slots.iter().enumerate() {
            of_expert[expert as usize].push(slot);
        }
        let rows = of_expert.iter().map(Vec::len).max().unwrap_or(0);
        let mut plan = Self {
            passed: Vec::new(),
            rows,
            tokens: Vec::new(),
            places: vec![0; slots.len()],
        };
        let top_k = slots.len() / tokens;
        for (expert, slots) in of_expert.iter().enumerate() {
            if slots.is_empty() {
                continue;
            }
            let start = plan.tokens.len();
            plan.passed.push(expert as u32);
            plan.tokens.resize(start + rows, 0);
            for (row, &slot) in slots.iter().enumerate() {
                plan.tokens[start + row] = (slot / top_k) as u32;
                plan.places[slot] = (start + row) as u32;
            }
        }
        plan
    }
}
