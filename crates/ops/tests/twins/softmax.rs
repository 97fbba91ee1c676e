//! Softmax: the two bodies.

use transformers_ops::{gradients_in_primitives, softmax};

use crate::twin::{Random, agree, followed, tensor, values};

#[test]
fn of_rows_of_every_length() {
    gradients_in_primitives(|| {
        for rows in [1, 3, 17, 63, 65] {
            for cols in [1, 2, 7, 33, 100, 257] {
                let x = Random::new(cols as u64).tensor([rows, cols]) * 8.0;
                let before = values(x.clone());
                agree(softmax(x.clone()), softmax(followed(&x)), x.dims());
                assert_eq!(values(x), before, "others hold it");
            }
        }
    });
}

#[test]
fn of_views() {
    gradients_in_primitives(|| {
        let mut random = Random::new(2);
        let turned = random.tensor([33, 17]).transpose();
        agree(
            softmax(turned.clone()),
            softmax(followed(&turned)),
            "turned",
        );
        let part = random.tensor([3, 17, 65]).narrow(2, 30, 31);
        agree(softmax(part.clone()), softmax(followed(&part)), "part");
        let repeated = random.tensor([1, 17, 9]).expand([3, 17, 9]);
        agree(
            softmax(repeated.clone()),
            softmax(followed(&repeated)),
            "repeated",
        );
    });
}

#[test]
fn of_rows_with_negative_infinity() {
    gradients_in_primitives(|| {
        let mut random = Random::new(3);
        let mut x = random.floats(5 * 33);
        for (i, x) in x.iter_mut().enumerate() {
            let (row, col) = (i / 33, i % 33);
            // The first row has one finite element, the second every other, and the last none.
            let hidden = [col != 7, col % 2 == 0, false, col > 3, true];
            if hidden[row] {
                *x = f32::NEG_INFINITY;
            }
        }
        let x = tensor(x, [5, 33]);
        let y = softmax(x.clone());
        agree(y.clone(), softmax(followed(&x)), "hidden");
        let y = values(y);
        assert_eq!((y[6], y[7]), (0.0, 1.0));
        assert!(y[4 * 33..].iter().all(|y| y.is_nan()), "as in PyTorch");
    });
}
