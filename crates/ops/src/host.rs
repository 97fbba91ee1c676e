//! Between burn's CPU tensors and the slices that kernels work on.
//!
//! An operation asks whether its operands [are in host memory](on_host), as tensors of burn-flex that autodiff does not
//! follow; if so, a kernel runs on their elements, else the body in burn primitives does.

use std::borrow::Cow;

use burn::backend::Flex;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Device, Int, Shape, Tensor};
use transformers_kernels::HeadView;

/// Whether `x` is an f32 tensor in host memory, without a gradient to follow.
pub(crate) fn on_host<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && in_memory(x)
}

/// The same for any float dtype.
pub(crate) fn in_memory<const D: usize>(x: &Tensor<D>) -> bool {
    // Devices compare equal with and without autodiff.
    !x.is_autodiff() && x.device() == Device::flex()
}

/// Whether the integers `x` are in host memory.
pub(crate) fn ints_in_memory<const D: usize>(x: &Tensor<D, Int>) -> bool {
    x.device() == Device::flex()
}

/// The tensor below, which is in host memory; of one whose gradient is followed, the elements alone.
pub(crate) fn flex<const D: usize>(x: Tensor<D>) -> FlexTensor {
    let flex = x.without_autodiff().try_into_primitive::<Flex>();
    flex.expect("the caller has asked where it lies")
}

/// The same of integers.
pub(crate) fn flex_ints<const D: usize>(x: Tensor<D, Int>) -> FlexTensor {
    let flex = x.without_autodiff().try_into_primitive::<Flex>();
    flex.expect("the caller has asked where it lies")
}

/// The elements of an f32 tensor in row-major order, in place where they lie so.
pub(crate) fn floats(x: &FlexTensor) -> Cow<'_, [f32]> {
    match x.as_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(x.to_contiguous().storage().to_vec()),
    }
}

/// A tensor of `values` in row-major order.
pub(crate) fn tensor<const D: usize>(values: Vec<f32>, dims: [usize; D]) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(flex_of(values, dims))
}

/// The same below.
pub(crate) fn flex_of(values: Vec<f32>, dims: impl Into<Shape>) -> FlexTensor {
    let layout = Layout::contiguous(dims.into());
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// `x` with its elements, in row-major order, changed by `f`: in place where nobody else holds them.
pub(crate) fn update<const D: usize>(x: FlexTensor, f: impl FnOnce(&mut [f32])) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(changed(x, f))
}

/// The same below.
pub(crate) fn changed(x: FlexTensor, f: impl FnOnce(&mut [f32])) -> FlexTensor {
    let mut x = match x.is_contiguous() {
        true => x,
        false => x.to_contiguous(),
    };
    let start = x.layout().start_offset();
    let len = x.layout().num_elements();
    f(&mut x.storage_mut()[start..start + len]);
    x
}

/// The strides of batch, head and position where the features of a head lie next to each other.
pub(crate) fn strides(x: &FlexTensor) -> Option<[usize; 3]> {
    let strides = x.layout().strides();
    let [outer @ .., 1] = strides else {
        return None;
    };
    let mut positive = [0; 3];
    for (to, from) in positive.iter_mut().zip(outer) {
        *to = usize::try_from(*from).ok()?;
    }
    Some(positive)
}

/// Rows `[batch, heads, seq]` of features that lie next to each other, in whatever order the rows do.
pub(crate) struct HostHeads {
    x: FlexTensor,
    strides: [usize; 3],
}

/// The rows of a tensor `[batch, heads, seq, features]`, copied only where its features lie apart.
pub(crate) fn heads(x: FlexTensor) -> HostHeads {
    if let Some(strides) = strides(&x) {
        return HostHeads { x, strides };
    }
    let x = x.to_contiguous();
    let strides = strides(&x).expect("the last dimension of a contiguous tensor");
    HostHeads { x, strides }
}

impl HostHeads {
    pub(crate) fn view(&self) -> HeadView<'_> {
        HeadView {
            data: &self.x.storage()[self.x.layout().start_offset()..],
            strides: self.strides,
        }
    }
}
