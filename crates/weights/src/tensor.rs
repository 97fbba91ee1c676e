//! A tensor in host memory: shared bytes with a type and a shape.
//!
//! The bytes are reference-counted and may be a part of a memory-mapped file, so a tensor that needs no conversion is
//! never copied between the file and the model.

use bytes::Bytes;
use transformers_kernels::BlockFormat;

use crate::cast;
use crate::{DType, Element, Result, WeightsError};

/// A tensor in host memory, row-major and contiguous, in native byte order. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    bytes: Bytes,
    dtype: DType,
    shape: Vec<usize>,
}

impl HostTensor {
    /// A tensor over `bytes`, which must be exactly as long as `dtype` and `shape` need.
    pub fn new(bytes: Bytes, dtype: DType, shape: Vec<usize>) -> Result<Self> {
        let needed = element_count(&shape).and_then(|count| count.checked_mul(dtype.size()));
        if needed != Some(bytes.len()) {
            return Err(WeightsError::ByteLength {
                dtype,
                shape,
                found: bytes.len(),
            });
        }
        Ok(Self {
            bytes,
            dtype,
            shape,
        })
    }

    /// A tensor that takes over `values` without copying them.
    pub fn from_vec<T: Element>(values: Vec<T>, shape: Vec<usize>) -> Result<Self> {
        Self::new(owned_bytes(values), T::DTYPE, shape)
    }

    /// The elements' bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes, the type and the shape.
    pub fn into_parts(self) -> (Bytes, DType, Vec<usize>) {
        (self.bytes, self.dtype, self.shape)
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes of the dimensions, outermost first; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the bytes lie at a multiple of the element's size, so that elements can be read in place. Files written
    /// by old tools hold tensors that do not.
    pub fn is_aligned(&self) -> bool {
        self.is_empty() || self.bytes.as_ptr().addr().is_multiple_of(self.dtype.size())
    }

    /// The same tensor, copied if it was not [aligned](Self::is_aligned).
    #[must_use]
    pub fn aligned(self) -> Self {
        if self.is_aligned() {
            return self;
        }
        Self {
            bytes: cast::copy_aligned(&self.bytes),
            ..self
        }
    }

    /// The elements in place, if they are of type `T` and aligned.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        match self.bytes.is_empty() {
            _ if T::DTYPE != self.dtype => None,
            true => Some(&[]),
            false => bytemuck::try_cast_slice(&self.bytes).ok(),
        }
    }

    /// The same values as `dtype`, rounded to the nearest even where they do not fit, as PyTorch does. Floating-point
    /// types convert into one another; any type converts to itself without a copy.
    pub fn cast(&self, dtype: DType) -> Result<Self> {
        if dtype == self.dtype {
            return Ok(self.clone());
        }
        Ok(Self {
            bytes: cast::cast_floats(&self.bytes, self.dtype, dtype)?,
            dtype,
            shape: self.shape.clone(),
        })
    }
}

/// A matrix in ggml's quantised blocks. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockTensor {
    /// What the blocks are.
    pub format: BlockFormat,
    /// Rows.
    pub rows: usize,
    /// Elements of a row, whole blocks of them.
    pub cols: usize,
    /// The blocks, row after row.
    pub bytes: Bytes,
}

/// The product of the dimensions, unless it overflows.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    // A zero anywhere makes the product zero, however large the other dimensions are.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))
}

/// Shared bytes that own `values`.
pub(crate) fn owned_bytes<T: Element>(values: Vec<T>) -> Bytes {
    struct Owner<T>(Vec<T>);
    impl<T: Element> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    Bytes::from_owner(Owner(values))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn the_length_must_fit_type_and_shape() {
        let new = |bytes: usize, shape: &[usize]| {
            HostTensor::new(Bytes::from(vec![0; bytes]), DType::F32, shape.to_vec())
        };
        assert_eq!(new(24, &[2, 3]).unwrap().len(), 6);
        assert_eq!(new(4, &[]).unwrap().len(), 1);
        let empty = new(0, &[usize::MAX, 0, usize::MAX]).unwrap();
        assert!(empty.is_empty() && empty.is_aligned());
        assert_eq!(empty.as_slice::<f32>(), Some(&[][..]));
        for (bytes, shape) in [
            (23, vec![2, 3]),
            (0, vec![]),
            (8, vec![1 << 63, 2]),
            (8, vec![1 << 62, 1]),
        ] {
            let error = new(bytes, &shape).unwrap_err().to_string();
            assert!(error.contains(&format!("{shape:?}")), "{error}");
        }
    }

    #[test]
    fn from_vec_does_not_copy() {
        let values = vec![1.0_f32, 2.0];
        let pointer = values.as_ptr().addr();
        let tensor = HostTensor::from_vec(values, vec![2]).unwrap();
        assert_eq!(tensor.bytes().as_ptr().addr(), pointer);
        assert_eq!(tensor.as_slice::<f32>(), Some(&[1.0, 2.0][..]));
        assert_eq!(tensor.as_slice::<i32>(), None);
    }

    #[test]
    fn misaligned_bytes_are_copied_on_request() {
        let backing = owned_bytes(vec![0.0_f32, 1.5, 2.5]);
        let shifted = owned_bytes([&[0_u8; 1][..], &backing].concat()).slice(1..);
        let shifted = if shifted.as_ptr().addr().is_multiple_of(4) {
            owned_bytes([&[0_u8; 2][..], &backing].concat()).slice(2..)
        } else {
            shifted
        };
        let tensor = HostTensor::new(shifted.clone(), DType::F32, vec![3]).unwrap();
        assert!(!tensor.is_aligned());
        assert_eq!(tensor.as_slice::<f32>(), None);
        // Casting reads element by element and needs no alignment.
        let doubles = tensor.cast(DType::F64).unwrap();
        assert_eq!(doubles.as_slice::<f64>(), Some(&[0.0, 1.5, 2.5][..]));

        let aligned = tensor.aligned();
        assert!(aligned.is_aligned());
        assert_ne!(aligned.bytes().as_ptr(), shifted.as_ptr());
        assert_eq!(aligned.as_slice::<f32>(), Some(&[0.0, 1.5, 2.5][..]));

        let pointer = aligned.bytes().as_ptr();
        assert_eq!(aligned.aligned().bytes().as_ptr(), pointer);
    }

    #[test]
    fn casts_round_to_nearest_even() {
        let values = vec![1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -1e-8, 70_000.0_f32];
        let tensor = HostTensor::from_vec(values, vec![4]).unwrap();
        let as_bf16 = tensor.cast(DType::BF16).unwrap();
        assert_eq!(
            as_bf16.as_slice::<bf16>().unwrap(),
            [1.0, 1.015625, -1e-8, 70_144.0].map(bf16::from_f32)
        );
        let as_f16 = tensor.cast(DType::F16).unwrap();
        assert_eq!(
            as_f16.as_slice::<f16>().unwrap(),
            [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -0.0, f32::INFINITY].map(f16::from_f32)
        );
        assert_eq!(
            as_bf16.cast(DType::F32).unwrap().as_slice::<f32>().unwrap(),
            [1.0, 1.015625, bf16::from_f32(-1e-8).to_f32(), 70_144.0]
        );
    }

    #[test]
    fn only_floating_point_types_are_cast() {
        let ids = HostTensor::from_vec(vec![1_i64, 2], vec![2]).unwrap();
        assert_eq!(ids.cast(DType::I64).unwrap(), ids);
        let error = ids.cast(DType::F32).unwrap_err().to_string();
        assert!(
            error.contains("int64") && error.contains("float32"),
            "{error}"
        );
    }
}
