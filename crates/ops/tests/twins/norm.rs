//! Norms with and without a residual: the two bodies.

use burn::tensor::Tensor;
use transformers_ops::{
    NormForm, add_layer_norm, add_rms_norm, gradients_in_primitives, layer_norm, rms_norm,
};

use crate::twin::{Random, agree, followed, tensor, values};

const EPS: f64 = 1e-6;

/// Every norm of `x`, alone and with a residual.
fn check(x: &Tensor<3>, residual: &Tensor<3>, random: &mut Random) {
    let n = x.dims()[2];
    let (weight, bias) = (random.tensor([n]), random.tensor([n]));
    let before = values(residual.clone());
    for form in [NormForm::Plain, NormForm::OnePlus] {
        let case = (form, x.dims());
        agree(
            rms_norm(x.clone(), weight.clone(), form, EPS),
            rms_norm(followed(x), followed(&weight), form, EPS),
            case,
        );
        let (sum, y) = add_rms_norm(x.clone(), residual.clone(), weight.clone(), form, EPS);
        let twin = add_rms_norm(
            followed(x),
            followed(residual),
            followed(&weight),
            form,
            EPS,
        );
        agree(sum, twin.0, case);
        agree(y, twin.1.clone(), case);
        let alone = tensor(before.clone(), x.dims());
        let (_, y) = add_rms_norm(x.clone(), alone, weight.clone(), form, EPS);
        agree(y, twin.1, case);
    }
    assert_eq!(values(residual.clone()), before, "others hold it");
    for bias in [None, Some(bias)] {
        let case = ("layer norm", bias.is_some(), x.dims());
        agree(
            layer_norm(x.clone(), weight.clone(), bias.clone(), EPS),
            layer_norm(
                followed(x),
                followed(&weight),
                bias.as_ref().map(followed),
                EPS,
            ),
            case,
        );
        agree(
            add_layer_norm(
                x.clone(),
                residual.clone(),
                weight.clone(),
                bias.clone(),
                EPS,
            ),
            add_layer_norm(
                followed(x),
                followed(residual),
                followed(&weight),
                bias.as_ref().map(followed),
                EPS,
            ),
            case,
        );
    }
}

#[test]
fn of_every_shape() {
    gradients_in_primitives(|| {
        for rows in [1, 3, 17, 63, 65] {
            // A layer norm of two elements is plus or minus one whatever they are: what of it is rounding depends on the seed.
            for cols in [1, 5, 33, 100, 257, 576] {
                let mut random = Random::new((rows * cols) as u64);
                let x = random.tensor([2, rows, cols]);
                let residual = random.tensor([2, rows, cols]);
                check(&x, &residual, &mut random);
            }
        }
    });
}

#[test]
fn of_views() {
    gradients_in_primitives(|| {
        let mut random = Random::new(4);
        let turned = random.tensor([33, 17, 3]).swap_dims(0, 2);
        let part = random.tensor([3, 17, 70]).narrow(2, 20, 33);
        check(&turned, &part, &mut random);
        check(&part, &turned, &mut random);
        // The heads of a projection, each normed by itself.
        let heads = random.tensor([2, 17, 3 * 33]).reshape([2, 51, 33]);
        let last = random.tensor([2, 60, 33]).narrow(1, 9, 51);
        check(&heads, &last, &mut random);
        let repeated = random.tensor([1, 17, 33]).expand([3, 17, 33]);
        check(&repeated, &part.flip([1]), &mut random);
    });
}

#[test]
fn of_small_large_and_zero_rows() {
    gradients_in_primitives(|| {
        let mut random = Random::new(5);
        let sizes = tensor(vec![0.0, 1e-4, 1.0, 1e4], [1, 4, 1]);
        let x = random.tensor([1, 4, 33]) * sizes.clone();
        let residual = random.tensor([1, 4, 33]) * sizes;
        check(&x, &residual, &mut random);
    });
}
