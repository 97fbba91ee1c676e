//! Rotary embedding, in place and beside: the two bodies.

use burn::tensor::Tensor;
use transformers_ops::RotaryLayout::{self, HalfSplit, Interleaved};
use transformers_ops::{gradients_in_primitives, rotary};

use crate::twin::{Random, agree, followed, tensor, values};

/// Heads, the features of one, and the pairs of these that turn: all, some, and one.
const HEADS: [[usize; 3]; 5] = [[1, 2, 1], [3, 64, 32], [2, 33, 16], [4, 80, 5], [2, 7, 1]];

fn angles(random: &mut Random, entries: usize, seq: usize, half: usize) -> [Tensor<3>; 2] {
    let angle = random.tensor([entries, seq, half]) * 3.0;
    [angle.clone().cos(), angle.sin()]
}

fn check(x: &Tensor<4>, angles: &[Tensor<3>; 2]) {
    for layout in [HalfSplit, Interleaved] {
        let case = (x.dims(), angles[0].dims(), layout);
        let before = values(x.clone());
        agree(
            turn(x.clone(), angles, layout),
            twin(x, angles, layout),
            case,
        );
        assert_eq!(values(x.clone()), before, "{case:?}: others hold it");
    }
}

fn turn(x: Tensor<4>, [cos, sin]: &[Tensor<3>; 2], layout: RotaryLayout) -> Tensor<4> {
    rotary(x, cos.clone(), sin.clone(), layout)
}

fn twin(x: &Tensor<4>, [cos, sin]: &[Tensor<3>; 2], layout: RotaryLayout) -> Tensor<4> {
    rotary(followed(x), followed(cos), followed(sin), layout)
}

#[test]
fn of_every_shape_shared_and_in_place() {
    gradients_in_primitives(|| {
        for seq in [1, 3, 17, 63, 65] {
            for [heads, dim, half] in HEADS {
                let mut random = Random::new((seq * dim) as u64);
                for entries in [1, 2] {
                    let angles = angles(&mut random, entries, seq, half);
                    check(&random.tensor([2, heads, seq, dim]), &angles);
                    // A projection, of which only the view is turned.
                    let values = random.floats(2 * seq * heads * dim);
                    let projected = || tensor(values.clone(), [2, seq, heads, dim]).swap_dims(1, 2);
                    check(&projected(), &angles);
                    for layout in [HalfSplit, Interleaved] {
                        agree(
                            turn(projected(), &angles, layout),
                            twin(&projected(), &angles, layout),
                            ("nobody else holds it", [heads, seq, dim], layout),
                        );
                    }
                }
            }
        }
    });
}

#[test]
fn of_views() {
    gradients_in_primitives(|| {
        let mut random = Random::new(6);
        let angle = angles(&mut random, 2, 17, 16);
        // Queries, keys and values side by side.
        let fused = random.tensor([2, 17, 3 * 3 * 33]);
        let keys = fused.narrow(2, 99, 99).reshape([2, 17, 3, 33]);
        check(&keys.swap_dims(1, 2), &angle);
        let apart = random.tensor([2, 3, 33, 17]).swap_dims(2, 3);
        check(&apart, &angle);
        check(&random.tensor([2, 3, 17, 33]).flip([2]), &angle);
        let some = random.tensor([2, 3, 40, 33]).narrow(2, 20, 17);
        check(&some, &angle);
        let [cos, sin] = angles(&mut random, 1, 64, 16);
        let table = [cos.narrow(1, 40, 17), sin.narrow(1, 40, 17)];
        check(&some, &table);
        let [cos, sin] = angle;
        let whole = [
            Tensor::cat(vec![cos.clone(), cos], 2).narrow(2, 0, 16),
            Tensor::cat(vec![sin.clone(), sin], 2).narrow(2, 0, 16),
        ];
        check(&some, &whole);
    });
}

#[test]
fn of_rows_that_share_their_elements() {
    gradients_in_primitives(|| {
        let mut random = Random::new(7);
        let angles = angles(&mut random, 1, 17, 4);
        let one = random.floats(17 * 9);
        let repeated = || tensor(one.clone(), [1, 1, 17, 9]).expand([2, 3, 17, 9]);
        agree(
            turn(repeated(), &angles, HalfSplit),
            twin(&repeated(), &angles, HalfSplit),
            "one head of keys for all",
        );
    });
}
