//! Gradients through the primitives against central differences of the kernels.

use burn::tensor::Tensor;
use transformers_ops::{
    Activation, AttentionOptions, Experts, Gate, Mask, NormForm, RotaryLayout, RouterOptions,
    Routing, Scan, Score, add_layer_norm, add_rms_norm, attention, causal_conv1d, experts, gated,
    layer_norm, rms_norm, rotary, route, selective_scan,
};

use crate::twin::{Random, tensor, values};

/// The step of a difference: with four points what is left out is of the order of its fourth power.
const STEP: f32 = 0.04;

/// By how much a gradient may be off: f32 has some 1e-7 of a sum of about one, and the step divides it.
const BOUND: f64 = 1e-4;

/// Checks the gradients of `f` at random inputs of these lengths, along every element. `f` gives all its outputs in one
/// row, which are weighed and summed.
fn check<const N: usize>(seed: u64, lens: [usize; N], f: impl Fn([Tensor<1>; N]) -> Tensor<1>) {
    let mut random = Random::new(seed);
    let inputs = lens.map(|len| random.floats(len));
    let plain = |inputs: &[Vec<f32>; N]| f(inputs.each_ref().map(|x| tensor(x.clone(), [x.len()])));
    let weights = random.floats(plain(&inputs).dims()[0]);

    let follow = |x: &Vec<f32>| tensor(x.clone(), [x.len()]).autodiff().require_grad();
    let followed = inputs.each_ref().map(follow);
    let y = f(followed.clone());
    let grads = (y * tensor(weights.clone(), [weights.len()]))
        .sum()
        .backward();

    let loss = |input: usize, at: usize, steps: f32| -> f64 {
        let mut inputs = inputs.clone();
        inputs[input][at] += steps * STEP;
        let y = plain(&inputs);
        assert!(!y.is_autodiff(), "the kernel is the other side");
        let product = |(y, w): (&f32, &f32)| f64::from(*y) * f64::from(*w);
        values(y).iter().zip(&weights).map(product).sum()
    };
    for (input, x) in followed.iter().enumerate() {
        let grad = values(x.grad(&grads).expect("every input has a gradient"));
        for (at, &grad) in grad.iter().enumerate() {
            let near = loss(input, at, 1.0) - loss(input, at, -1.0);
            let far = loss(input, at, 2.0) - loss(input, at, -2.0);
            let expect = (8.0 * near - far) / (12.0 * f64::from(STEP));
            let off = (f64::from(grad) - expect).abs();
            assert!(
                off <= BOUND * expect.abs().max(1.0),
                "input {input}, element {at}: {grad} instead of {expect}"
            );
        }
    }
}

fn row<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let len: usize = x.dims().iter().product();
    x.reshape([len])
}

/// Two heads of queries for one of keys, five keys of three features.
fn check_attention(seed: u64, q_len: usize, mask: impl Fn() -> Mask, options: &AttentionOptions) {
    let lens = [2 * q_len * 3, 15, 15, 2, 2 * q_len * 5];
    check(seed, lens, |[q, k, v, sinks, bias]| {
        let options = AttentionOptions {
            sinks: Some(sinks),
            bias: Some(bias.reshape([1, 2, q_len, 5])),
            ..options.clone()
        };
        row(attention(
            q.reshape([1, 2, q_len, 3]),
            k.reshape([1, 1, 5, 3]),
            v.reshape([1, 1, 5, 3]),
            &mask(),
            &options,
        ))
    });
}

#[test]
fn of_attention_with_sinks_and_bias() {
    let options = AttentionOptions::new(0.6);
    check_attention(1, 2, || Mask::causal().after(3), &options);
    check_attention(2, 2, Mask::bidirectional, &options);
    check_attention(3, 5, || Mask::causal().with_window(Some(2)), &options);
    let tokens = || Some(vec![vec![false, true, true, true, true]]);
    check_attention(4, 5, || Mask::causal().with_padding(tokens()), &options);
}

#[test]
fn of_attention_with_capped_scores() {
    let options = AttentionOptions {
        softcap: Some(0.8),
        ..AttentionOptions::new(0.6)
    };
    check_attention(5, 2, || Mask::causal().after(3), &options);
}

#[test]
fn of_attention_to_segments() {
    let segments = |mask: Mask| mask.with_segments(vec![0, 2, 5]);
    let options = AttentionOptions::new(0.6);
    check_attention(6, 5, || segments(Mask::causal()), &options);
    check_attention(7, 5, || segments(Mask::bidirectional()), &options);
}

#[test]
fn of_attention_without_options() {
    for mask in [Mask::causal(), Mask::bidirectional()] {
        check(8, [24, 12, 12], |[q, k, v]| {
            let shape = [1, 2, 4, 3];
            let keys = [1, 1, 4, 3];
            let (q, k, v) = (q.reshape(shape), k.reshape(keys), v.reshape(keys));
            row(attention(
                q,
                k,
                v,
                &mask.clone(),
                &AttentionOptions::new(0.6),
            ))
        });
    }
}

#[test]
fn of_norms() {
    for form in [NormForm::Plain, NormForm::OnePlus] {
        check(9, [15, 5], |[x, weight]| {
            row(rms_norm(x.reshape([3, 5]), weight, form, 1e-3))
        });
        check(10, [15, 15, 5], |[x, residual, weight]| {
            let (x, residual) = (x.reshape([3, 5]), residual.reshape([3, 5]));
            let (sum, y) = add_rms_norm(x, residual, weight, form, 1e-3);
            row(Tensor::cat(vec![sum, y], 0))
        });
    }
    check(11, [15, 5, 5], |[x, weight, bias]| {
        row(layer_norm(x.reshape([3, 5]), weight, Some(bias), 1e-3))
    });
    check(12, [15, 15, 5], |[x, residual, weight]| {
        let (x, residual) = (x.reshape([3, 5]), residual.reshape([3, 5]));
        row(add_layer_norm(x, residual, weight, None, 1e-3))
    });
}

#[test]
fn of_rotary() {
    use RotaryLayout::{HalfSplit, Interleaved};
    for (half, layout) in [(2, HalfSplit), (1, HalfSplit), (2, Interleaved)] {
        check(13, [2 * 3 * 5, 3 * half, 3 * half], |[x, cos, sin]| {
            let (cos, sin) = (cos.reshape([1, 3, half]), sin.reshape([1, 3, half]));
            row(rotary(x.reshape([1, 2, 3, 5]), cos, sin, layout))
        });
    }
}

#[test]
fn of_gates() {
    let all = [
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::SquaredRelu,
        Activation::Tanh,
        Activation::Sigmoid,
    ];
    // ReLU has a corner: of it the primitive is as it is.
    for activation in all {
        check(14, [12, 12], |[gate, up]| row(gated(gate, up, activation)));
    }
}

#[test]
fn of_routers() {
    for score in [Score::Softmax, Score::Sigmoid, Score::SoftmaxOfChosen] {
        for normalise in [None, Some(0.0)] {
            let options = RouterOptions {
                normalise,
                scale: 1.5,
                ..RouterOptions::new(2, score)
            };
            check(15, [12], |[logits]| {
                // Far from each other: a step changes no choice.
                let apart = tensor(
                    vec![0.0, 2.0, 1.0, 3.0, 6.0, 4.0, 8.0, 2.0, 1.0, 6.0, 3.0, 9.0],
                    [12],
                );
                let logits = (logits * 0.2 + apart * 0.5).reshape([3, 4]);
                row(route(logits, None, &options).weights)
            });
        }
    }
}

#[test]
fn of_experts() {
    // Three experts of five features and three inside; one is passed by no token.
    let lens = [20, 8, 3 * 6 * 5, 3 * 6, 3 * 5 * 3, 3 * 5];
    let clamped = Gate::Clamped {
        alpha: 1.5,
        limit: 20.0,
    };
    for gate in [Gate::Plain(Activation::Silu), clamped] {
        for chosen in [[0, 2, 2, 0, 0, 2, 0, 2], [0, 1, 2, 1, 1, 0, 2, 0]] {
            check(16, lens, |[x, weights, gate_up, bias, down, down_bias]| {
                let routing = Routing {
                    experts: chosen.to_vec(),
                    weights: weights.reshape([4, 2]),
                };
                let layer = Experts {
                    gate_up: gate_up.reshape([18, 5]).into(),
                    gate_up_bias: Some(bias.reshape([3, 6])),
                    down: down.reshape([15, 3]).into(),
                    down_bias: Some(down_bias.reshape([3, 5])),
                    gate,
                };
                row(experts(x.reshape([4, 5]), routing, layer))
            });
        }
    }
}

#[test]
fn of_scans() {
    // Two tokens, four heads of two features, two groups of three states.
    let lens = [16, 8, 12, 12, 12, 4, 24];
    check(15, lens, |[x, dt, a, b, c, d, state]| {
        let scan = Scan {
            x: x.reshape([1, 2, 4, 2]),
            dt: dt.reshape([1, 2, 4]),
            a: a.reshape([4, 3]),
            b: b.reshape([1, 2, 2, 3]),
            c: c.reshape([1, 2, 2, 3]),
            d,
        };
        let (y, state) = selective_scan(scan, Some(state.reshape([1, 4, 2, 3])));
        Tensor::cat(vec![row(y), row(state)], 0)
    });
}

#[test]
fn of_scans_in_chunks() {
    // Three tokens, two heads of two features and one rate, one group of two states.
    let lens = [12, 6, 2, 6, 6, 2, 8];
    check(17, lens, |[x, dt, a, b, c, d, state]| {
        let scan = Scan {
            x: x.reshape([1, 3, 2, 2]),
            dt: dt.reshape([1, 3, 2]),
            a: a.reshape([2, 1]),
            b: b.reshape([1, 3, 1, 2]),
            c: c.reshape([1, 3, 1, 2]),
            d,
        };
        let (y, state) = selective_scan(scan, Some(state.reshape([1, 2, 2, 2])));
        Tensor::cat(vec![row(y), row(state)], 0)
    });
}

#[test]
fn of_convolutions() {
    check(16, [15, 9, 3], |[x, weight, bias]| {
        let (x, weight) = (x.reshape([1, 5, 3]), weight.reshape([3, 3]));
        row(causal_conv1d(x, weight, Some(bias)))
    });
}
