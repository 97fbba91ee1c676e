//! Rows written into a buffer: the two bodies, and who else holds the buffer.

use burn::tensor::Tensor;
use transformers_ops::{gradients_in_primitives, write_rows};

use crate::twin::{Random, agree, followed, values};

fn check(buffer: &Tensor<4>, at: usize, rows: &Tensor<4>) {
    let case = (buffer.dims(), at, rows.dims());
    let before = values(buffer.clone());
    let twin = write_rows(followed(buffer), at, followed(rows));
    agree(write_rows(buffer.clone(), at, rows.clone()), twin, case);
    assert_eq!(values(buffer.clone()), before, "{case:?}: others hold it");
}

#[test]
fn of_every_shape_and_view() {
    gradients_in_primitives(|| {
        let mut random = Random::new(21);
        for [batch, heads, len, dim] in [[1, 1, 1, 1], [1, 3, 64, 64], [3, 2, 17, 33]] {
            for (at, new) in [(0, 1), (len - 1, 1), (len / 3, len - len / 3)] {
                let buffer = random.tensor([batch, heads, len, dim]);
                check(&buffer, at, &random.tensor([batch, heads, new, dim]));
                let projected = random.tensor([batch, new, heads, dim]).swap_dims(1, 2);
                check(&buffer, at, &projected);
                let alone = write_rows(buffer.clone() + 0.0, at, projected.clone());
                let twin = write_rows(followed(&buffer), at, followed(&projected));
                agree(alone, twin, "nobody else holds it");
            }
        }
    });
}
