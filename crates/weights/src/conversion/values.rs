//! Where an operand's values are, and how those of several get into one place.

use bytes::Bytes;

use super::Operand;
use crate::Result;
use crate::file_bytes::FileRange;

/// A file is read in runs of at least so many bytes; shorter ones are copied from the whole.
const WORTH_READING: usize = 4096;

/// Row-major values.
#[derive(Clone, Debug)]
pub(super) enum Values {
    Here(Bytes),
    InFile(FileRange),
    /// Those of tensors that all have values, one after the other along a dimension.
    Joined {
        dim: usize,
        tensors: Vec<Operand>,
    },
}

/// Writes the values of `operand` one after the other. Each of the joined tensors is freed as soon as it is copied.
pub(super) fn write_joined(operand: Operand, output: &mut [u8]) -> Result<()> {
    let mut stride = operand.dtype.size();
    let mut strides = vec![0; operand.shape.len()];
    for (place, size) in strides.iter_mut().zip(&operand.shape).rev() {
        *place = stride;
        stride *= size;
    }
    write(operand, output, 0, &strides)
}

/// Writes the values of `operand` to where they belong in a whole that has these strides, in bytes, and in which its first
/// value lies at `start`.
fn write(operand: Operand, output: &mut [u8], start: usize, strides: &[usize]) -> Result<()> {
    let region = Region::new(&operand, start, strides);
    match operand.values {
        None => Ok(()),
        Some(Values::Here(bytes)) => {
            region.copy(&bytes, output);
            Ok(())
        }
        Some(Values::InFile(range)) if region.run < WORTH_READING => {
            region.copy(&range.bytes()?, output);
            Ok(())
        }
        Some(Values::InFile(range)) => {
            region.starts().enumerate().try_for_each(|(index, target)| {
                range.read(index * region.run, &mut output[target..][..region.run])
            })
        }
        Some(Values::Joined { dim, tensors }) => {
            let mut start = start;
            for tensor in tensors {
                let step = tensor.shape[dim] * strides[dim];
                write(tensor, output, start, strides)?;
                start += step;
            }
            Ok(())
        }
    }
}

/// The place of a tensor within a whole.
struct Region {
    start: usize,
    /// Sizes and strides of the outer dimensions, whose slices lie apart.
    outer: Vec<(usize, usize)>,
    /// Bytes of a slice.
    run: usize,
}

impl Region {
    fn new(operand: &Operand, start: usize, strides: &[usize]) -> Self {
        let mut run = operand.dtype.size();
        let mut together = operand.shape.len();
        while together > 0 {
            let size = operand.shape[together - 1];
            if size != 1 && strides[together - 1] != run {
                break;
            }
            run *= size;
            together -= 1;
        }
        let outer = operand.shape.iter().copied().zip(strides.iter().copied());
        Self {
            start,
            outer: outer.take(together).collect(),
            run,
        }
    }

    /// Where the slices begin, in row-major order.
    fn starts(&self) -> impl Iterator<Item = usize> {
        let count: usize = match self.run {
            0 => 0,
            _ => self.outer.iter().map(|(size, _)| size).product(),
        };
        (0..count).map(|slice| {
            let mut rest = slice;
            let offset = |(size, stride): &(usize, usize)| {
                let index = rest % size;
                rest /= size;
                index * stride
            };
            self.start + self.outer.iter().rev().map(offset).sum::<usize>()
        })
    }

    fn copy(&self, values: &[u8], output: &mut [u8]) {
        for (values, target) in values.chunks_exact(self.run.max(1)).zip(self.starts()) {
            output[target..][..self.run].copy_from_slice(values);
        }
    }
}
