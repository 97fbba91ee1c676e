//! Operations at the shapes of a model of 135 million parameters: 576 features, 9 query and 3 key heads of 64.
#![allow(missing_docs)]

use burn::tensor::{Device, Distribution, Tensor};
use divan::{Bencher, black_box};
use transformers_ops::{self as ops, Activation, AttentionOptions, Mask, NormForm};

fn main() {
    divan::main();
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// Rows of the input: a decoding step and a prompt.
const ROWS: [usize; 2] = [1, 256];

#[divan::bench(args = ROWS)]
fn linear(bencher: Bencher<'_, '_>, rows: usize) {
    let (x, weight) = (random([1, rows, 576]), random::<2>([1536, 576]));
    bencher.bench(|| ops::linear(black_box(x.clone()), weight.clone(), None));
}

#[divan::bench(args = ROWS)]
fn rms_norm(bencher: Bencher<'_, '_>, rows: usize) {
    let (x, weight) = (random([1, rows, 576]), random([576]));
    bencher.bench(|| ops::rms_norm(black_box(x.clone()), weight.clone(), NormForm::Plain, 1e-5));
}

#[divan::bench(args = ROWS)]
fn swiglu(bencher: Bencher<'_, '_>, rows: usize) {
    let (gate, up) = (random([1, rows, 1536]), random([1, rows, 1536]));
    bencher.bench(|| ops::gated(black_box(gate.clone()), up.clone(), Activation::Silu));
}

#[divan::bench(args = ROWS)]
fn attention(bencher: Bencher<'_, '_>, rows: usize) {
    let q = random([1, 9, rows, 64]);
    let (k, v) = (random([1, 3, 256, 64]), random([1, 3, 256, 64]));
    let (mask, options) = (
        Mask::causal().after(256 - rows),
        AttentionOptions::new(0.125),
    );
    bencher.bench(|| ops::attention(black_box(q.clone()), k.clone(), v.clone(), &mask, &options));
}
