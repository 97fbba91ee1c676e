//! Activations and gated pairs: the two bodies.

use burn::tensor::Tensor;
use transformers_ops::{Activation, activate, gated, gradients_in_primitives};

use crate::twin::{Random, agree, followed, tensor, values};

fn check(gate: &Tensor<3>, up: &Tensor<3>) {
    for activation in Activation::ALL {
        let case = (activation, gate.dims());
        let before = values(gate.clone());
        agree(
            activate(gate.clone(), activation),
            activate(followed(gate), activation),
            case,
        );
        agree(
            gated(gate.clone(), up.clone(), activation),
            gated(followed(gate), followed(up), activation),
            case,
        );
        assert_eq!(values(gate.clone()), before, "{case:?}: others hold it");
        let alone = tensor(before, gate.dims());
        agree(
            gated(alone, up.clone(), activation),
            gated(followed(gate), followed(up), activation),
            case,
        );
    }
}

#[test]
fn plain_and_gated() {
    gradients_in_primitives(|| {
        for (seed, rows) in [1, 3, 17, 63, 65].into_iter().enumerate() {
            for cols in [1, 7, 33, 100] {
                let mut random = Random::new(seed as u64);
                let gate = random.tensor([2, rows, cols]) * 12.0;
                let up = random.tensor([2, rows, cols]);
                check(&gate, &up);
            }
        }
    });
}

#[test]
fn of_views() {
    gradients_in_primitives(|| {
        let mut random = Random::new(1);
        // Gate and up side by side, as some checkpoints store them.
        let both = random.tensor([2, 17, 66]) * 6.0;
        check(&both.clone().narrow(2, 0, 33), &both.narrow(2, 33, 33));
        let turned = random.tensor([33, 17, 3]).swap_dims(0, 1) * 6.0;
        let up = random.tensor([17, 33, 3]);
        check(&turned.clone().swap_dims(0, 1).swap_dims(0, 1), &up);
        check(&up.clone().flip([1]), &turned);
    });
}

#[test]
fn of_what_is_not_finite_or_far_away() {
    gradients_in_primitives(|| {
        let extremes = vec![
            f32::NEG_INFINITY,
            -200.0,
            -0.0,
            0.0,
            200.0,
            f32::INFINITY,
            f32::NAN,
        ];
        let x = tensor(extremes, [1, 1, 7]);
        for activation in Activation::ALL {
            agree(
                activate(x.clone(), activation),
                activate(followed(&x), activation),
                activation,
            );
        }
    });
}
