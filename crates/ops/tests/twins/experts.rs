//! Routers and experts: the two bodies.

use burn::tensor::{DType, Tensor};
use transformers_ops::{
    Activation, ExpertGroups, Experts, Gate, RouterOptions, Routing, Score, experts,
    gradients_in_primitives, route,
};

use crate::twin::{Random, agree, followed};

const COUNT: usize = 5;
const HIDDEN: usize = 21;
const INNER: usize = 17;

fn routers() -> Vec<RouterOptions> {
    let groups = |count, kept, best| Some(ExpertGroups { count, kept, best });
    let scores = [Score::Softmax, Score::Sigmoid, Score::SoftmaxOfChosen];
    let plain = scores.map(|score| RouterOptions::new(2, score));
    let mut all = Vec::from(plain.clone());
    for options in plain {
        all.push(RouterOptions {
            normalise: Some(1e-3),
            groups: groups(3, 2, 2),
            ..options.clone()
        });
        all.push(RouterOptions {
            normalise: Some(1.5),
            scale: 2.5,
            groups: groups(3, 1, 1),
            ..options
        });
    }
    all
}

#[test]
fn routes() {
    gradients_in_primitives(|| {
        let mut random = Random::new(70);
        for options in routers() {
            for tokens in [1, 3, 40] {
                let logits = random.tensor([tokens, 6]) * 3.0;
                for bias in [None, Some(random.tensor([6]))] {
                    let case = (&options, tokens, bias.is_some());
                    let kernel = route(logits.clone(), bias.clone(), &options);
                    let primitives = route(followed(&logits), bias, &options);
                    assert_eq!(kernel.experts, primitives.experts, "{case:?}");
                    agree(kernel.weights, primitives.weights, case);
                }
            }
        }
    });
}

/// As large as weights are.
fn weight(random: &mut Random, rows: usize, input: usize, dtype: DType) -> Tensor<2> {
    (random.tensor([rows, input]) / (input as f32).sqrt()).cast(dtype)
}

fn check(random: &mut Random, x: &Tensor<2>, chosen: &[u32], gate: Gate, dtype: DType) {
    let tokens = x.dims()[0];
    let top_k = chosen.len() / tokens;
    let gate_up = weight(random, COUNT * 2 * INNER, HIDDEN, dtype);
    let down = weight(random, COUNT * HIDDEN, INNER, dtype);
    let weights = random.tensor([tokens, top_k]);
    let biases = [2 * INNER, HIDDEN].map(|len| random.tensor([COUNT, len]));
    for biased in [false, true] {
        let [gate_up_bias, down_bias] = biases.clone().map(|bias| biased.then_some(bias));
        let run = |x: Tensor<2>, weights: Tensor<2>| {
            let weights = Routing {
                experts: chosen.to_vec(),
                weights,
            };
            let layer = Experts {
                gate_up: gate_up.clone().into(),
                gate_up_bias: gate_up_bias.clone(),
                down: down.clone().into(),
                down_bias: down_bias.clone(),
                gate,
            };
            experts(x, weights, layer)
        };
        let case = (tokens, top_k, gate, dtype, biased);
        let kernel = run(x.clone(), weights.clone());
        agree(kernel.clone(), run(followed(x), weights.clone()), case);
        agree(kernel, run(x.clone(), followed(&weights)), case);
    }
}

#[test]
fn experts_of_every_dtype_and_shape() {
    gradients_in_primitives(|| {
        let clamped = Gate::Clamped {
            alpha: 1.7,
            limit: 0.4,
        };
        let mut random = Random::new(71);
        for gate in [Gate::Plain(Activation::Silu), clamped] {
            for dtype in [DType::F32, DType::BF16, DType::F16] {
                for (tokens, top_k) in [(1, 1), (1, 3), (3, 2), (40, 2), (40, 5)] {
                    let x = random.tensor([tokens, HIDDEN]);
                    // Neighbours on a ring: those of a token differ, and one is passed by few.
                    let slots =
                        (0..tokens).flat_map(|t| (0..top_k).map(move |k| t % 3 + t / 30 + k));
                    let chosen: Vec<u32> = slots.map(|slot| (slot % COUNT) as u32).collect();
                    check(&mut random, &x, &chosen, gate, dtype);
                }
            }
        }
    });
}

#[test]
fn experts_of_views() {
    gradients_in_primitives(|| {
        let mut random = Random::new(72);
        let gate = Gate::Plain(Activation::Gelu);
        let chosen = [0, 1, 4, 1, 2, 0];
        for x in [
            random.tensor([HIDDEN, 3]).transpose(),
            random.tensor([5, HIDDEN]).narrow(0, 1, 3),
            random.tensor([1, HIDDEN]).expand([3, HIDDEN]),
        ] {
            check(&mut random, &x, &chosen, gate, DType::F32);
        }
    });
}
