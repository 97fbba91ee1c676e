//! Every operation against literal values from PyTorch 2.15.

#![allow(clippy::excessive_precision, reason = "as PyTorch prints them")]

use burn::tensor::{Device, Int, Tensor, TensorData};
use transformers_ops::{self as ops, Activation, AttentionOptions, Mask, NormForm};

fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

fn check<const D: usize>(ours: Tensor<D>, expect: &[f32]) {
    let ours: Vec<f32> = ours.into_data().iter::<f32>().collect();
    assert_eq!(ours.len(), expect.len());
    for (a, b) in ours.iter().zip(expect) {
        assert!(
            (a - b).abs() <= 1e-6 * b.abs().max(1.0),
            "{ours:?} instead of {expect:?}"
        );
    }
}

#[test]
fn activations() {
    let x = || tensor(&[-3.0, -1.0, -0.25, 0.0, 0.5, 2.0, 6.0], [7]);
    let silu = [
        -0.1422776, -0.2689414, -0.1094559, 0.0, 0.3112297, 1.7615941, 5.9851646,
    ];
    let gelu = [
        -0.0040502, -0.1586553, -0.1003234, 0.0, 0.3457312, 1.9544997, 6.0,
    ];
    let tanh = [
        -0.0036374, -0.158808, -0.1003246, 0.0, 0.345714, 1.9545977, 6.0,
    ];
    check(ops::activate(x(), Activation::Silu), &silu);
    check(ops::activate(x(), Activation::Gelu), &gelu);
    check(ops::activate(x(), Activation::GeluTanh), &tanh);
    let doubled = |values: [f32; 7]| values.map(|value| value * 2.0);
    let two = || tensor(&[2.0; 7], [7]);
    check(ops::gated(x(), two(), Activation::Silu), &doubled(silu));
    check(ops::gated(x(), two(), Activation::GeluTanh), &doubled(tanh));
}

#[test]
fn norms() {
    let x = || tensor(&[1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 0.0, 2.0], [1, 2, 4]);
    let weight = || tensor(&[1.0, 0.5, -1.0, 2.0], [4]);
    let bias = tensor(&[0.1, 0.2, 0.3, 0.4], [4]);
    check(
        ops::layer_norm(x(), weight(), Some(bias), 1e-5),
        &[
            -1.2416354, -0.0236059, -0.1472118, 3.083271, -1.1701652, 0.2577348, 0.6464087,
            3.4022088,
        ],
    );
    check(
        ops::rms_norm(x(), weight(), NormForm::Plain, 1e-6),
        &[
            0.3651484, 0.3651484, -1.0954452, 2.9211869, -0.8728713, 0.2182178, 0.0, 3.4914851,
        ],
    );
    check(
        ops::rms_norm(x(), weight(), NormForm::OnePlus, 1e-6),
        &[
            0.7302967, 1.0954452, 0.0, 4.3817806, -1.7457426, 0.6546534, 0.0, 5.2372274,
        ],
    );
}

#[test]
fn linear_takes_the_weight_as_it_is_stored() {
    let weight = || tensor(&[1.0, 2.0, 3.0, -1.0, 0.0, 1.0], [2, 3]);
    let x = || tensor(&[1.0, 1.0, 1.0, 2.0, 0.0, -1.0], [1, 2, 3]);
    check(ops::linear(x(), weight(), None), &[6.0, 0.0, -1.0, -3.0]);
    let bias = tensor(&[10.0, 20.0], [2]);
    check(
        ops::linear(x(), weight(), Some(bias)),
        &[16.0, 20.0, 9.0, 17.0],
    );
}

#[test]
fn embedding_takes_rows() {
    let weight = tensor(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [3, 2]);
    let ids = TensorData::new(vec![2, 0], [1, 2]);
    let ids = Tensor::<2, Int>::from_data(ids, &Device::flex());
    check(ops::embedding(weight, ids), &[4.0, 5.0, 0.0, 1.0]);
}

#[test]
fn attention_shares_key_heads_among_neighbours() {
    let q = || tensor(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0, -1.0, 2.0], [1, 2, 2, 2]);
    let k = || tensor(&[1.0, 0.0, 0.0, 1.0, 2.0, 1.0], [1, 1, 3, 2]);
    let v = || tensor(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1, 1, 3, 2]);
    let attend = |mask, scale, softcap| {
        let options = AttentionOptions {
            softcap,
            bias: mask,
            ..AttentionOptions::new(scale)
        };
        ops::attention(q(), k(), v(), &Mask::bidirectional(), &options)
    };
    check(
        attend(None, 0.5, None),
        &[
            3.3985691, 4.3985691, 3.7283504, 4.7283506, 3.3019104, 4.3019104, 3.1819592, 4.1819592,
        ],
    );
    check(
        attend(None, 1.0, Some(1.5)),
        &[
            3.3644738, 4.3644738, 3.4091511, 4.4091511, 3.4822044, 4.4822044, 3.2283123, 4.228312,
        ],
    );
    let mask = tensor(&[0.0, 0.0, f32::MIN, 0.0, 0.0, 0.0], [1, 1, 2, 3]);
    check(
        attend(Some(mask), 0.5, None),
        &[
            1.7550814, 2.7550814, 2.0, 3.0, 3.3019104, 4.3019104, 3.1819592, 4.1819592,
        ],
    );
}

#[test]
fn a_row_that_sees_nothing_is_a_number() {
    let x = || tensor(&[1.0, -2.0, 3.0, 4.0], [1, 1, 2, 2]);
    let mask = tensor(&[f32::MIN; 4], [1, 1, 2, 2]);
    let options = AttentionOptions {
        bias: Some(mask),
        ..AttentionOptions::new(1.0)
    };
    // As in the reference: all scores are equally small.
    check(
        ops::attention(x(), x(), x(), &Mask::bidirectional(), &options),
        &[2.0, 1.0, 2.0, 1.0],
    );
}

#[test]
fn rotation_turns_pairs_and_passes_the_rest_through() {
    use ops::RotaryLayout::{HalfSplit, Interleaved};
    let x = || tensor(&[1.0, 2.0, 3.0, 4.0, 5.0], [1, 1, 1, 5]);
    let turn = |cos: [f32; 2], sin: [f32; 2], layout| {
        let [cos, sin] = [cos, sin].map(|angle| tensor(&angle, [1, 1, 2]));
        ops::rotary(x(), cos, sin, layout)
    };
    let none = [[1.0, 1.0], [0.0, 0.0]];
    check(
        turn(none[0], none[1], HalfSplit),
        &[1.0, 2.0, 3.0, 4.0, 5.0],
    );
    // The pairs are (1, 3) and (2, 4): the first by a quarter turn, the second by a half.
    let [cos, sin] = [[0.0, -1.0], [1.0, 0.0]];
    check(turn(cos, sin, HalfSplit), &[-3.0, -2.0, 1.0, -4.0, 5.0]);
    // They are (1, 2) and (3, 4).
    check(turn(cos, sin, Interleaved), &[-2.0, 1.0, -3.0, -4.0, 5.0]);
}
