//! The gated delta rule (Yang, Kautz and Hatamizadeh 2024): attention whose keys and values are one matrix of a fixed size.

use burn::tensor::{DType, Device, Tensor, TensorData};
use transformers_kernels as kernels;

use crate::host::{flex, floats, on_host, tensor, update};

/// Tokens that are computed together; a power of two.
const CHUNK: usize = 64;

/// Added to the square of a query's or a key's length.
const LENGTH_EPS: f64 = 1e-6;

/// What a [`gated_delta_rule`] reads.
#[derive(Debug, Clone)]
pub struct GatedDelta {
    /// `[batch, seq, key_heads, key_dim]`.
    pub q: Tensor<4>,
    /// `[batch, seq, key_heads, key_dim]`.
    pub k: Tensor<4>,
    /// `[batch, seq, heads, value_dim]`; neighbouring heads share a head of queries and keys.
    pub v: Tensor<4>,
    /// Logarithms of what is kept of a state, not positive: `[batch, seq, heads]`.
    pub decay: Tensor<3>,
    /// How far a value is replaced, from 0 to 1: `[batch, seq, heads]`.
    pub beta: Tensor<3>,
}

/// For each token, with a query and a key that are brought to length one, `S = exp(decay) S`, then `S = S + k ⊗ beta (v - Sᵀ
/// k)` and `y = Sᵀ q / √key_dim`.
///
/// `state`, `[batch, heads, key_dim, value_dim]` in f32, is what earlier tokens left; `None`: there were none. Gives `y` in
/// the shape of `v`, and the state after the last token.
pub fn gated_delta_rule(delta: GatedDelta, state: Option<Tensor<4>>) -> (Tensor<4>, Tensor<4>) {
    let [batch, _, heads, value_dim] = delta.v.dims();
    let key_dim = delta.k.dims()[3];
    let state = state.unwrap_or_else(|| {
        let place = (&delta.v.device(), DType::F32);
        Tensor::zeros([batch, heads, key_dim, value_dim], place)
    });
    let GatedDelta {
        q,
        k,
        v,
        decay,
        beta,
    } = &delta;
    let plain = on_host(q) && on_host(k) && on_host(v) && on_host(decay) && on_host(beta);
    match plain && on_host(&state) {
        true => on_cpu(delta, state),
        false => in_primitives(delta, state),
    }
}

fn on_cpu(delta: GatedDelta, state: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let dims = delta.v.dims();
    let [batch, seq, heads, value_dim] = dims;
    let [_, _, key_heads, key_dim] = delta.k.dims();
    let shape = kernels::DeltaShape {
        batch,
        seq,
        key_heads,
        heads,
        key_dim,
        value_dim,
    };
    let (q, k, v) = (flex(delta.q), flex(delta.k), flex(delta.v));
    let (decay, beta) = (flex(delta.decay), flex(delta.beta));
    let mut y = vec![0.0; dims.iter().product()];
    let state = update(flex(state), |state| {
        let delta = kernels::Delta {
            q: &floats(&q),
            k: &floats(&k),
            v: &floats(&v),
            decay: &floats(&decay),
            beta: &floats(&beta),
        };
        kernels::gated_delta_rule(shape, delta, state, &mut y);
    });
    (tensor(y, dims), state)
}

/// In f32, whatever the operands are.
fn in_primitives(delta: GatedDelta, state: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let ([_, seq, heads, _], dtype) = (delta.v.dims(), delta.v.dtype());
    let scale = (delta.k.dims()[3] as f64).powf(-0.5);
    let rows = Rows {
        q: by_head(unit(delta.q), heads) * scale,
        k: by_head(unit(delta.k), heads),
        v: by_head(delta.v.cast(DType::F32), heads),
        decay: delta.decay.cast(DType::F32).swap_dims(1, 2),
        beta: delta.beta.cast(DType::F32).swap_dims(1, 2),
    };
    let (y, state) = match seq {
        1 => in_steps(rows, state),
        _ => in_chunks(rows, state),
    };
    (y.swap_dims(1, 2).cast(dtype), state)
}

/// The operands by head: `[batch, heads, seq, features]`, and `[batch, heads, seq]`.
struct Rows {
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    decay: Tensor<3>,
    beta: Tensor<3>,
}

/// Vectors of length one.
fn unit(x: Tensor<4>) -> Tensor<4> {
    let x = x.cast(DType::F32);
    let square = x.clone().square().sum_dim(3);
    x / (square + LENGTH_EPS).sqrt()
}

/// `[batch, seq, of, features]` to `[batch, heads, seq, features]`: every head gets those of its group.
fn by_head(x: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, seq, of, features] = x.dims();
    let one = x.reshape([batch, seq, of, 1, features]);
    let all = one.expand([batch, seq, of, heads / of, features]);
    all.reshape([batch, seq, heads, features]).swap_dims(1, 2)
}

/// Token by token, as it is written.
fn in_steps(rows: Rows, mut state: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let seq = rows.v.dims()[2];
    let mut out = Vec::with_capacity(seq);
    for index in 0..seq {
        let row = |x: &Tensor<4>| x.clone().narrow(2, index, 1);
        let factor = |x: &Tensor<3>| x.clone().narrow(2, index, 1).unsqueeze_dim::<4>(3);
        let k = row(&rows.k);
        state = state * factor(&rows.decay).exp();
        let change = (row(&rows.v) - k.clone().matmul(state.clone())) * factor(&rows.beta);
        state = state + k.swap_dims(2, 3).matmul(change);
        out.push(row(&rows.q).matmul(state.clone()));
    }
    (Tensor::cat(out, 2), state)
}

/// Chunk by chunk: within one, what its tokens write follows from a triangular system (the UT transform of Yang et al.
/// 2024, "Parallelizing Linear Transformers with the Delta Rule").
fn in_chunks(rows: Rows, state: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let [batch, heads, seq, value_dim] = rows.v.dims();
    let size = CHUNK.min(seq.next_power_of_two());
    let chunked = |x: Tensor<4>| into_chunks(x, size);
    let (q, k, v) = (chunked(rows.q), chunked(rows.k), chunked(rows.v));
    let beta = chunked(rows.beta.unsqueeze_dim(3));
    let decay = chunked(rows.decay.unsqueeze_dim(3));
    let device = q.device();
    // The logarithm of what is left, at a token, of the state before the chunk: `[.., size, 1]`.
    let total = ones_where(size, &device, |row, column| column <= row).matmul(decay);
    let last = total.clone().narrow(2, size - 1, 1);
    let future = matrix(size, &device, |row, column| match column > row {
        true => f32::NEG_INFINITY,
        false => 0.0,
    });
    // What is left, at a token, of what an earlier one wrote: `[.., size, size]`.
    let left = (total.clone() - total.clone().swap_dims(2, 3) + future).exp();

    let weighed = k.clone() * beta.clone();
    let system = weighed.clone().matmul(k.clone().swap_dims(2, 3)) * left.clone();
    let inverse = unit_lower_inverse(system);
    let written = inverse.clone().matmul(v * beta);
    let known = inverse.matmul(weighed * total.clone().exp());
    let within = q.clone().matmul(k.clone().swap_dims(2, 3)) * left;
    let reading = q * total.clone().exp();
    let writing = (k * (last.clone() - total).exp()).swap_dims(2, 3);
    let kept = last.exp();

    let key_dim = state.dims()[2];
    let mut state = state.reshape([batch * heads, 1, key_dim, value_dim]);
    let mut out = Vec::new();
    for index in 0..written.dims()[1] {
        let chunk = |x: &Tensor<4>| x.clone().narrow(1, index, 1);
        let change = chunk(&written) - chunk(&known).matmul(state.clone());
        let read = chunk(&reading).matmul(state.clone());
        out.push(read + chunk(&within).matmul(change.clone()));
        state = state * chunk(&kept) + chunk(&writing).matmul(change);
    }
    let padded = out.len() * size;
    let y = Tensor::cat(out, 1).reshape([batch, heads, padded, value_dim]);
    let state = state.reshape([batch, heads, key_dim, value_dim]);
    (y.narrow(2, 0, seq), state)
}

/// `[batch, heads, seq, features]` to `[batch * heads, chunks, size, features]`, with zeros after the last token: these
/// change no state.
fn into_chunks(x: Tensor<4>, size: usize) -> Tensor<4> {
    let [batch, heads, seq, features] = x.dims();
    let chunks = seq.div_ceil(size);
    let rest = chunks * size - seq;
    let x = match rest {
        0 => x,
        _ => {
            let zeros = Tensor::zeros([batch, heads, rest, features], (&x.device(), x.dtype()));
            Tensor::cat(vec![x, zeros], 2)
        }
    };
    x.reshape([batch * heads, chunks, size, features])
}

/// The inverse of the matrix that has ones on the diagonal and below it what `system` has, `[.., size, size]`: of blocks
/// of one first, then of pairs of blocks, of pairs of pairs …
fn unit_lower_inverse(system: Tensor<4>) -> Tensor<4> {
    let (size, device) = (system.dims()[3], system.device());
    let mut inverse = ones_where(size, &device, |row, column| row == column);
    inverse = inverse.expand(system.dims());
    let mut block = 1;
    while block < size {
        let below = ones_where(size, &device, |row, column| {
            let pair = row / (2 * block) == column / (2 * block);
            pair && (row / block) % 2 == 1 && (column / block).is_multiple_of(2)
        });
        let between = inverse.clone().matmul(system.clone() * below);
        inverse = inverse.clone() - between.matmul(inverse);
        block *= 2;
    }
    inverse
}

/// `[1, 1, size, size]` of the values at each row and column.
fn matrix(size: usize, device: &Device, value: impl Fn(usize, usize) -> f32) -> Tensor<4> {
    let values = (0..size * size).map(|at| value(at / size, at % size));
    let data = TensorData::new(values.collect::<Vec<f32>>(), [1, 1, size, size]);
    Tensor::from_data(data, (device, DType::F32))
}

/// The same of ones and zeros.
fn ones_where(size: usize, device: &Device, is: impl Fn(usize, usize) -> bool) -> Tensor<4> {
    matrix(size, device, |row, column| {
        f32::from(u8::from(is(row, column)))
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    fn random<const D: usize>(dims: [usize; D]) -> Tensor<D> {
        Tensor::random(dims, Distribution::Uniform(-1.0, 1.0), &Device::flex())
    }

    fn case(dims: [usize; 6]) -> (GatedDelta, Tensor<4>) {
        let [batch, seq, key_heads, heads, key_dim, value_dim] = dims;
        let delta = GatedDelta {
            q: random([batch, seq, key_heads, key_dim]),
            k: random([batch, seq, key_heads, key_dim]),
            v: random([batch, seq, heads, value_dim]),
            decay: random([batch, seq, heads]).abs().neg() * 0.3,
            beta: random([batch, seq, heads]).abs(),
        };
        (delta, random([batch, heads, key_dim, value_dim]))
    }

    fn distance(a: Tensor<4>, b: Tensor<4>) -> f32 {
        (a - b).abs().max().into_scalar()
    }

    #[test]
    fn all_bodies_agree() {
        for dims in [
            [1, 1, 1, 1, 4, 4],
            [2, 5, 2, 4, 6, 3],
            [1, 64, 1, 2, 8, 16],
            [2, 70, 2, 2, 5, 7],
            [1, 200, 1, 1, 16, 8],
        ] {
            let (delta, state) = case(dims);
            let (kernel, after) = gated_delta_rule(delta.clone(), Some(state.clone()));
            let (chunks, chunks_after) = in_primitives(delta.clone(), state.clone());
            assert!(distance(kernel.clone(), chunks) < 2e-5, "{dims:?}");
            assert!(distance(after.clone(), chunks_after) < 2e-5, "{dims:?}");

            let heads = dims[3];
            let rows = Rows {
                q: by_head(unit(delta.q), heads) * (dims[4] as f64).powf(-0.5),
                k: by_head(unit(delta.k), heads),
                v: by_head(delta.v, heads),
                decay: delta.decay.swap_dims(1, 2),
                beta: delta.beta.swap_dims(1, 2),
            };
            let (steps, steps_after) = in_steps(rows, state);
            assert!(distance(kernel, steps.swap_dims(1, 2)) < 2e-5, "{dims:?}");
            assert!(distance(after, steps_after) < 2e-5, "{dims:?}");
        }
    }

    #[test]
    fn a_state_goes_on_where_it_was() {
        let (delta, _) = case([1, 9, 1, 2, 4, 4]);
        let part = |x: &Tensor<4>, at, len| x.clone().narrow(1, at, len);
        let factor = |x: &Tensor<3>, at, len| x.clone().narrow(1, at, len);
        let piece = |at, len| GatedDelta {
            q: part(&delta.q, at, len),
            k: part(&delta.k, at, len),
            v: part(&delta.v, at, len),
            decay: factor(&delta.decay, at, len),
            beta: factor(&delta.beta, at, len),
        };
        let (first, state) = gated_delta_rule(piece(0, 8), None);
        let (second, after) = gated_delta_rule(piece(8, 1), Some(state));
        let (whole, whole_after) = gated_delta_rule(delta.clone(), None);
        let both = Tensor::cat(vec![first, second], 1);
        assert!(distance(both, whole) < 1e-6);
        assert!(distance(after, whole_after) < 1e-6);
    }
}
