//! What the comparisons share: inputs by seed, and when two results are the same.

use std::fmt::Debug;

use burn::tensor::{Device, Tensor, TensorData};

/// By how much the bodies may differ, relative to the result or to 1, where it is smaller: inputs are of about that size,
/// and sums of them cancel.
pub const BOUND: f32 = 2e-6;

/// A small generator (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In 0..n.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// In -1..1.
    pub fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.float()).collect()
    }

    /// A contiguous tensor in host memory, elements in -1..1.
    pub fn tensor<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<D> {
        tensor(self.floats(shape.iter().product()), shape)
    }
}

pub fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

pub fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}

/// `x` with the same layout, of which autodiff could follow the gradient: operations take their primitives.
pub fn followed<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    x.clone().autodiff()
}

/// The results of a kernel and of primitives are the same.
pub fn agree<const D: usize>(kernel: Tensor<D>, primitives: Tensor<D>, case: impl Debug) {
    assert!(!kernel.is_autodiff(), "{case:?}: no kernel has run");
    assert!(primitives.is_autodiff(), "{case:?}: a kernel has run");
    assert_eq!(kernel.dims(), primitives.dims(), "{case:?}");
    near(&values(kernel), &values(primitives), BOUND, case);
}

pub fn near(ours: &[f32], expect: &[f32], bound: f32, case: impl Debug) {
    assert_eq!(ours.len(), expect.len(), "{case:?}");
    for (i, (&a, &b)) in ours.iter().zip(expect).enumerate() {
        let same = a == b || a.is_nan() && b.is_nan();
        let off = (a - b).abs() / b.abs().max(1.0);
        assert!(
            same || off <= bound,
            "{case:?}, element {i}: {a} and {b}, {off:e} apart"
        );
    }
}
