//! Softmax.

use burn::tensor::{Tensor, activation};
use transformers_kernels as kernels;

use crate::host::{flex, on_host, update};

/// Softmax over the last dimension.
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if on_host(&x) {
        let cols = x.dims()[D - 1];
        return update(flex(x), |x| kernels::softmax(x, cols));
    }
    activation::softmax(x, D - 1)
}
