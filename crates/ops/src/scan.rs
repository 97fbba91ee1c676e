//! State spaces and short convolutions: what recurrent layers compute over their tokens.

use burn::tensor::{Bool, Tensor};
use transformers_kernels as kernels;

use crate::host::{flex, floats, on_host, tensor, update};

/// What a [`selective_scan`] reads.
#[derive(Debug, Clone)]
pub struct Scan {
    /// `[batch, seq, heads, head_dim]`.
    pub x: Tensor<4>,
    /// Time steps, `[batch, seq, heads]`.
    pub dt: Tensor<3>,
    /// Rates of decay, negative: `[heads, states]`, or `[heads, 1]` for the same in all states.
    pub a: Tensor<2>,
    /// What enters the states, `[batch, seq, groups, states]`; neighbouring heads share a group.
    pub b: Tensor<4>,
    /// What leaves them, likewise.
    pub c: Tensor<4>,
    /// What passes them by, `[heads]`.
    pub d: Tensor<1>,
}

/// The scan of a selective state space (Gu and Dao 2023): for each token `h = exp(dt a) h + dt x b` and `y = h · c + d x`,
/// where `h` are the states of a feature.
///
/// `state`, `[batch, heads, head_dim, states]`, is what earlier tokens left; `None`: there were none. Gives `y` in the shape
/// of `x`, and the state after the last token.
pub fn selective_scan(scan: Scan, state: Option<Tensor<4>>) -> (Tensor<4>, Tensor<4>) {
    let [batch, _, heads, head_dim] = scan.x.dims();
    let states = scan.b.dims()[3];
    let state = state.unwrap_or_else(|| {
        let place = (&scan.x.device(), scan.x.dtype());
        Tensor::zeros([batch, heads, head_dim, states], place)
    });
    let Scan { x, dt, a, b, c, d } = &scan;
    let plain = on_host(x) && on_host(dt) && on_host(a) && on_host(b) && on_host(c) && on_host(d);
    match plain && on_host(&state) {
        true => on_cpu(scan, state),
        false => in_primitives(scan, state),
    }
}

fn on_cpu(scan: Scan, state: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let dims = scan.x.dims();
    let [batch, seq, heads, head_dim] = dims;
    let [_, _, groups, states] = scan.b.dims();
    let shape = kernels::ScanShape {
        batch,
        seq,
        heads,
        head_dim,
        groups,
        states,
    };
    let (x, dt, a) = (flex(scan.x), flex(scan.dt), flex(scan.a));
    let (b, c, d) = (flex(scan.b), flex(scan.c), flex(scan.d));
    let mut y = vec![0.0; dims.iter().product()];
    let state = update(flex(state), |state| {
        let scan = kernels::Scan {
            x: &floats(&x),
            dt: &floats(&dt),
            a: &floats(&a),
            b: &floats(&b),
            c: &floats(&c),
            d: &floats(&d),
        };
        kernels::selective_scan(shape, scan, state, &mut y);
    });
    (tensor(y, dims), state)
}

/// A scan whose operands have one row for each head.
struct ByHead {
    /// Time step times input, `[batch, seq, heads, head_dim]`.
    entering: Tensor<4>,
    /// What the time step makes of the rates, `[batch, seq, heads, states or 1]`; their exponential is what is kept.
    decay: Tensor<4>,
    /// `[batch, seq, heads, states]`.
    b: Tensor<4>,
    /// Likewise.
    c: Tensor<4>,
}

fn in_primitives(scan: Scan, state: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let Scan { x, dt, a, b, c, d } = scan;
    let [batch, seq, heads, _] = x.dims();
    let [_, _, groups, states] = b.dims();
    // Every head gets the states of its group.
    let by_head = |of_group: Tensor<4>| {
        let one = [batch, seq, groups, 1, states];
        let all = [batch, seq, groups, heads / groups, states];
        of_group
            .reshape(one)
            .expand(all)
            .reshape([batch, seq, heads, states])
    };
    let dt = dt.unsqueeze_dim::<4>(3);
    let one_rate = a.dims()[1] == 1;
    let scan = ByHead {
        entering: x.clone() * dt.clone(),
        decay: dt * a.unsqueeze(),
        b: by_head(b),
        c: by_head(c),
    };
    let (y, state) = match one_rate && seq > 1 {
        true => by_chunks(scan, state),
        false => by_tokens(scan, state),
    };
    (y + x * d.reshape([1, 1, heads, 1]), state)
}

fn by_tokens(scan: ByHead, mut state: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let [batch, seq, heads, head_dim] = scan.entering.dims();
    let decay = scan.decay.exp();
    let token = |x: &Tensor<4>, index: usize| x.clone().narrow(1, index, 1).swap_dims(1, 2);
    let mut rows = Vec::with_capacity(seq);
    for index in 0..seq {
        // `[batch, heads, head_dim, states]` from a column of features and a row of states.
        let x = token(&scan.entering, index).swap_dims(2, 3);
        state = token(&decay, index) * state + x * token(&scan.b, index);
        let y = state.clone().matmul(token(&scan.c, index).swap_dims(2, 3));
        rows.push(y.reshape([batch, 1, heads, head_dim]));
    }
    (Tensor::cat(rows, 1), state)
}

/// Tokens that are computed together where a head has one rate.
const CHUNK: usize = 64;

/// The same where a head has one rate (Dao and Gu 2024): within a chunk as attention whose scores decay with the distance,
/// and between chunks by their states.
fn by_chunks(scan: ByHead, mut state: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let seq = scan.entering.dims()[1];
    let mut chunks = Vec::with_capacity(seq.div_ceil(CHUNK));
    for start in (0..seq).step_by(CHUNK) {
        let len = CHUNK.min(seq - start);
        // `[batch, heads, len, _]`.
        let part = |x: &Tensor<4>| x.clone().narrow(1, start, len).swap_dims(1, 2);
        let x = part(&scan.entering);
        let (b, c) = (part(&scan.b), part(&scan.c));
        // The logarithm of what is left of a state from before the chunk, after each token.
        let kept = part(&scan.decay).cumsum(2);
        let later = Tensor::<2, Bool>::tril_mask([len, len], 0, &x.device());
        let between = kept.clone() - kept.clone().swap_dims(2, 3);
        let between = between.mask_fill(later.unsqueeze(), f32::MIN).exp();
        let scores = c.clone().matmul(b.clone().swap_dims(2, 3)) * between;
        let before = c.matmul(state.clone().swap_dims(2, 3)) * kept.clone().exp();
        chunks.push((scores.matmul(x.clone()) + before).swap_dims(1, 2));
        let end = kept.clone().narrow(2, len - 1, 1);
        let left = x * (end.clone() - kept).exp();
        state = end.exp() * state + left.swap_dims(2, 3).matmul(b);
    }
    (Tensor::cat(chunks, 1), state)
}

/// The short causal convolution: `y[t] = bias + Σ weight[k] x[t + k]` for every channel.
///
/// `x` is `[batch, seq + width - 1, channels]`, the first rows being those before the first token; `weight` is `[channels,
/// width]` and `bias` `[channels]`. Gives `[batch, seq, channels]`.
pub fn causal_conv1d(x: Tensor<3>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<3> {
    let [batch, rows, channels] = x.dims();
    let width = weight.dims()[1];
    let seq = rows + 1 - width;
    if on_host(&x) && on_host(&weight) && bias.as_ref().is_none_or(on_host) {
        let (x, weight, bias) = (flex(x), flex(weight), bias.map(flex));
        let bias = bias.as_ref().map(floats);
        let dims = [batch, seq, channels];
        let mut y = vec![0.0; batch * seq * channels];
        kernels::causal_conv1d(dims, &floats(&x), &floats(&weight), bias.as_deref(), &mut y);
        return tensor(y, dims);
    }
    let tap = |k| weight.clone().narrow(1, k, 1).reshape([1, 1, channels]);
    let terms = (0..width).map(|k| x.clone().narrow(1, k, seq) * tap(k));
    let sum = terms.reduce(|sum, term| sum + term);
    let y = sum.unwrap_or_else(|| x.clone().narrow(1, 0, seq).zeros_like());
    match bias {
        Some(bias) => y + bias.reshape([1, 1, channels]),
        None => y,
    }
}
