//! What is not trained may be a plain tensor beside operands whose gradients are followed.

use burn::tensor::Tensor;
use transformers_ops::{
    Activation, AttentionOptions, Mask, NormForm, RotaryLayout, attention, gated,
    gradients_in_primitives, linear, rms_norm, rotary,
};

use crate::twin::{Random, agree, followed};

#[test]
fn plain_operands_beside_followed_ones() {
    gradients_in_primitives(|| {
        let mut random = Random::new(90);
        let x = random.tensor([3, 33]);
        let weight: Tensor<2> = random.tensor([17, 33]) * 0.2;
        let bias = random.tensor([17]);
        let y = linear(x.clone(), weight.clone(), Some(bias.clone()));
        let biased = linear(x.clone(), weight.clone(), Some(followed(&bias)));
        agree(y.clone(), biased, "a bias is trained");
        let before = linear(followed(&x), weight, Some(bias));
        agree(y, before, "what is before is trained");

        let factor = random.tensor([33]);
        let y = rms_norm(x.clone(), factor.clone(), NormForm::Plain, 1e-6);
        let trained = rms_norm(x.clone(), followed(&factor), NormForm::Plain, 1e-6);
        agree(y, trained, "a norm is trained");
        let up = random.tensor([3, 33]);
        agree(
            gated(x.clone(), up.clone(), Activation::Silu),
            gated(x, followed(&up), Activation::Silu),
            "one side of a gate is trained",
        );
    });
}

#[test]
fn attention_with_one_trained_operand() {
    gradients_in_primitives(|| {
        let mut random = Random::new(91);
        let [q, k, v] = [(); 3].map(|()| random.tensor([2, 2, 5, 8]));
        let (sinks, bias) = (random.tensor([2]), random.tensor([1, 2, 5, 5]));
        let mask = Mask::causal();
        let attend = |trained: usize| {
            let follow = |which: usize, x: &Tensor<4>| match which == trained {
                true => followed(x),
                false => x.clone(),
            };
            let options = AttentionOptions {
                sinks: Some(match trained {
                    3 => followed(&sinks),
                    _ => sinks.clone(),
                }),
                bias: Some(follow(4, &bias)),
                ..AttentionOptions::new(0.3)
            };
            // The same mask in turn beside plain and followed operands.
            attention(follow(0, &q), follow(1, &k), follow(2, &v), &mask, &options)
        };
        for trained in 0..5 {
            agree(attend(5), attend(trained), trained);
        }
    });
}

#[test]
fn rotary_by_plain_angles() {
    gradients_in_primitives(|| {
        let mut random = Random::new(92);
        let x = random.tensor([2, 2, 5, 8]);
        let angle = random.tensor([1, 5, 4]);
        let (cos, sin) = (angle.clone().cos(), angle.sin());
        agree(
            rotary(x.clone(), cos.clone(), sin.clone(), RotaryLayout::HalfSplit),
            rotary(followed(&x), cos, sin, RotaryLayout::HalfSplit),
            "queries are trained",
        );
    });
}
