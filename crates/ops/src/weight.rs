//! Weight matrices as operations take them.

use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Device, Int, Tensor, TensorData, bf16, f16};
use transformers_kernels as kernels;
pub use transformers_kernels::Precision;

use crate::gradient::{Operand, takes_any};
use crate::host::{flex, flex_ints, in_memory, ints_in_memory};

/// A matrix `[out, in]`: dense in any float dtype, or in ggml's quantised blocks. The precision is that of products on
/// the CPU.
#[derive(Debug, Clone)]
pub enum Weight {
    /// `[out, in]`.
    Dense(Tensor<2>, Precision),
    /// Bytes `[out, blocks of a row, bytes of a block]`; the last says which [`BlockFormat`](kernels::BlockFormat) it is,
    /// for no two have blocks of the same size.
    Blocks(Tensor<3, Int>, Precision),
}

impl From<Tensor<2>> for Weight {
    fn from(weight: Tensor<2>) -> Self {
        Self::Dense(weight, Precision::Exact)
    }
}

impl Weight {
    /// `[out, in]`.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Dense(weight, _) => weight.dims(),
            Self::Blocks(blocks, _) => {
                let [rows, count, bytes] = blocks.dims();
                [rows, count * block_format(bytes).block_len()]
            }
        }
    }

    /// A dense matrix on `device`; blocks are decoded anew at each call.
    pub fn dense(self, device: &Device, dtype: DType) -> Tensor<2> {
        let dims = self.dims();
        match self {
            Self::Dense(weight, _) => weight.cast(dtype),
            Self::Blocks(blocks, _) => {
                let format = block_format(blocks.dims()[2]);
                let mut values = vec![0.0; dims[0] * dims[1]];
                format.dequantize(blocks.into_data().as_bytes(), &mut values);
                Tensor::from_data(TensorData::new(values, dims), (device, dtype))
            }
        }
    }

    /// Whether kernels read it where it lies: it is in host memory, and no gradient is followed.
    pub fn in_memory(&self) -> bool {
        match self {
            Self::Dense(weight, _) => is_float(weight.dtype()) && in_memory(weight),
            Self::Blocks(blocks, _) => ints_in_memory(blocks),
        }
    }

    /// Whether kernels take it, with its gradient or without.
    pub(crate) fn is_taken(&self) -> bool {
        match self {
            Self::Dense(weight, _) => is_float(weight.dtype()) && takes_any(weight),
            Self::Blocks(blocks, _) => ints_in_memory(blocks),
        }
    }

    /// The weight as autodiff knows it; of blocks nobody follows a gradient.
    pub(crate) fn operand(&self) -> Operand {
        match self {
            Self::Dense(weight, _) => Operand::new(weight.clone()),
            Self::Blocks(..) => Operand::none(),
        }
    }

    /// The elements without their gradient, multiplied as they are.
    pub(crate) fn exact(self) -> Self {
        match self {
            Self::Dense(weight, _) => Self::Dense(weight.without_autodiff(), Precision::Exact),
            Self::Blocks(blocks, _) => Self::Blocks(blocks, Precision::Exact),
        }
    }
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::BF16 | DType::F16)
}

fn block_format(bytes: usize) -> kernels::BlockFormat {
    let format = kernels::BlockFormat::of_bytes(bytes);
    format.unwrap_or_else(|| panic!("no block format has blocks of {bytes} bytes"))
}

/// A weight in host memory.
#[derive(Debug, Clone)]
pub(crate) struct HostWeight {
    elements: FlexTensor,
    dims: [usize; 2],
    blocks: Option<kernels::BlockFormat>,
    precision: Precision,
}

impl HostWeight {
    /// `weight`, which [is in memory](Weight::in_memory), or [is taken](Weight::is_taken).
    pub(crate) fn new(weight: Weight) -> Self {
        let dims = weight.dims();
        let (elements, blocks, precision) = match weight {
            Weight::Dense(weight, precision) => (flex(weight), None, precision),
            Weight::Blocks(blocks, precision) => {
                let format = block_format(blocks.dims()[2]);
                (flex_ints(blocks), Some(format), precision)
            }
        };
        let elements = match elements.is_contiguous() {
            true => elements,
            false => elements.to_contiguous(),
        };
        Self {
            elements,
            dims,
            blocks,
            precision,
        }
    }

    /// `[out, in]`.
    pub(crate) fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// The precision of products.
    pub(crate) fn precision(&self) -> Precision {
        self.precision
    }

    /// The elements, where they lie.
    pub(crate) fn view(&self) -> kernels::Weight<'_> {
        let slices = "weights are contiguous here";
        let elements = &self.elements;
        if let Some(format) = self.blocks {
            let bytes = elements.as_slice::<u8>().expect(slices);
            let [rows, cols] = self.dims;
            let matrix = kernels::BlockMatrix::new(format, bytes, rows, cols);
            return kernels::Weight::Blocks(matrix.expect("the shape says so"));
        }
        match elements.dtype() {
            DType::BF16 => kernels::Weight::Bf16(elements.as_slice::<bf16>().expect(slices)),
            DType::F16 => kernels::Weight::F16(elements.as_slice::<f16>().expect(slices)),
            _ => kernels::Weight::F32(elements.as_slice().expect(slices)),
        }
    }
}
