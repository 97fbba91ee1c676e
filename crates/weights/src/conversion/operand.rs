//! A tensor that operations work on, with or without values.

use bytes::Bytes;

use super::operation;
use super::values::{Values, write_joined};
use crate::file_bytes::FileRange;
use crate::tensor::{element_count, owned_bytes};
use crate::{DType, HostTensor, Result};

/// A tensor with values, or its type and shape alone while a plan is made. Cloning shares the values.
///
/// Joining tensors copies nothing until the values are needed: each is then copied, or read from its file, once to where it
/// belongs in the whole.
#[derive(Clone, Debug)]
pub struct Operand {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) values: Option<Values>,
}

impl From<HostTensor> for Operand {
    fn from(tensor: HostTensor) -> Self {
        let (bytes, dtype, shape) = tensor.into_parts();
        Self {
            dtype,
            shape,
            values: Some(Values::Here(bytes)),
        }
    }
}

impl Operand {
    /// A type and a shape without values.
    pub fn of_shape(dtype: DType, shape: &[usize]) -> Self {
        Self {
            dtype,
            shape: shape.to_vec(),
            values: None,
        }
    }

    /// A tensor that is read when its values are needed.
    pub(crate) fn in_file(dtype: DType, shape: &[usize], range: FileRange) -> Self {
        Self {
            dtype,
            shape: shape.to_vec(),
            values: Some(Values::InFile(range)),
        }
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes of the dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values, if there are any.
    ///
    /// # Errors
    /// If an operation gave a shape that does not fit its values, or they cannot be read.
    pub fn into_tensor(self) -> Result<Option<HostTensor>> {
        let (dtype, shape) = (self.dtype, self.shape.clone());
        let bytes = self.bytes()?;
        bytes
            .map(|bytes| HostTensor::new(bytes, dtype, shape))
            .transpose()
    }

    /// The values' bytes in one place.
    fn bytes(self) -> Result<Option<Bytes>> {
        Ok(match self.values {
            None => None,
            Some(Values::Here(bytes)) => Some(bytes),
            Some(Values::InFile(range)) => Some(range.bytes()?),
            Some(Values::Joined { .. }) => {
                let mut output = Output::new(byte_count(self.dtype, &self.shape)?);
                write_joined(self, output.bytes())?;
                Some(output.into_bytes())
            }
        })
    }

    /// The same with its values in one place.
    fn here(self) -> Result<Self> {
        let (dtype, shape) = (self.dtype, self.shape.clone());
        Ok(Self {
            dtype,
            shape,
            values: self.bytes()?.map(Values::Here),
        })
    }

    /// The values, which must be there.
    pub(crate) fn into_values(self) -> Result<HostTensor> {
        let tensor = self.into_tensor()?;
        tensor.ok_or_else(|| operation("a tensor without values".into()))
    }

    /// What `convert` makes of the values; it must give `dtype` and `shape`.
    ///
    /// # Errors
    /// Those of `convert`, and if it gives something else.
    pub fn map(
        tensors: Vec<Self>,
        dtype: DType,
        shape: &[usize],
        convert: impl FnOnce(Vec<HostTensor>) -> Result<HostTensor>,
    ) -> Result<Self> {
        let values = tensors
            .into_iter()
            .map(Self::into_tensor)
            .collect::<Result<Option<Vec<_>>>>()?;
        let Some(values) = values else {
            return Ok(Self::of_shape(dtype, shape));
        };
        let result = Self::from(convert(values)?);
        if result.dtype != dtype || result.shape != shape {
            return Err(operation(format!(
                "it gave {} of shape {:?} where {dtype} of shape {shape:?} was announced",
                result.dtype, result.shape
            )));
        }
        Ok(result)
    }

    /// The same values in another shape.
    ///
    /// # Errors
    /// If the shapes differ in their number of elements.
    pub fn reshape(self, shape: &[usize]) -> Result<Self> {
        let count = element_count(shape);
        if count.is_none() || count != element_count(&self.shape) {
            return Err(operation(format!(
                "shape {:?} cannot be read as {shape:?}",
                self.shape
            )));
        }
        let this = match self.values {
            Some(Values::Joined { .. }) => self.here()?,
            _ => self,
        };
        Ok(Self {
            shape: shape.to_vec(),
            ..this
        })
    }

    /// The tensors one after the other along `dim`.
    ///
    /// # Errors
    /// If there are none, or they differ in type or in another dimension.
    pub fn concatenate(mut tensors: Vec<Self>, dim: usize) -> Result<Self> {
        let (dtype, shape) = joined(&tensors, dim)?;
        if tensors.len() == 1 {
            return Ok(tensors.remove(0));
        }
        let values = tensors.iter().all(|tensor| tensor.values.is_some());
        Ok(Self {
            dtype,
            shape,
            values: values.then_some(Values::Joined { dim, tensors }),
        })
    }

    /// The tensors, all of one shape, along a new dimension `dim`.
    ///
    /// # Errors
    /// If there are none, or they differ in type or shape.
    pub fn stack(tensors: Vec<Self>, dim: usize) -> Result<Self> {
        let unsqueezed = tensors.into_iter().map(|tensor| {
            let mut shape = tensor.shape.clone();
            if dim > shape.len() {
                return Err(no_dimension(dim, &shape));
            }
            shape.insert(dim, 1);
            tensor.reshape(&shape)
        });
        Self::concatenate(unsqueezed.collect::<Result<_>>()?, dim)
    }

    /// Pieces of the given sizes along `dim`. Those of the outermost dimension share the values.
    ///
    /// # Errors
    /// If the sizes do not add up to the dimension's.
    pub fn split(self, sizes: &[usize], dim: usize) -> Result<Vec<Self>> {
        let size = self.size(dim)?;
        if sizes
            .iter()
            .try_fold(0_usize, |sum, &size| sum.checked_add(size))
            != Some(size)
        {
            let shape = &self.shape;
            return Err(operation(format!(
                "dimension {dim} of shape {shape:?} does not part into {sizes:?}"
            )));
        }
        let (dtype, whole) = (self.dtype, self.shape.clone());
        let values = self.bytes()?;
        let outer: usize = whole[..dim].iter().product();
        let inner = byte_count(dtype, &whole[dim + 1..])?;
        let mut start = 0;
        let piece = |&piece: &usize| {
            let mut shape = whole.clone();
            shape[dim] = piece;
            let from = start * inner;
            start += piece;
            let Some(values) = &values else {
                return Self::of_shape(dtype, &shape);
            };
            let run = piece * inner;
            if outer == 1 {
                let values = Some(Values::Here(values.slice(from..from + run)));
                return Self {
                    dtype,
                    shape,
                    values,
                };
            }
            let mut output = Output::new(outer * run);
            for index in 0..outer {
                let source = &values[index * size * inner + from..][..run];
                output.bytes()[index * run..][..run].copy_from_slice(source);
            }
            output.into_operand(dtype, shape)
        };
        Ok(sizes.iter().map(piece).collect())
    }

    /// `count` pieces along `dim`, all of one size but for a smaller last one.
    ///
    /// # Errors
    /// If the dimension is too small for that many.
    pub fn chunk(self, count: usize, dim: usize) -> Result<Vec<Self>> {
        let size = self.size(dim)?;
        let each = size.div_ceil(count.max(1));
        let last = each
            .checked_mul(count.saturating_sub(1))
            .and_then(|before| size.checked_sub(before));
        match last.filter(|&last| count > 0 && last > 0) {
            Some(last) => {
                let mut sizes = vec![each; count];
                sizes[count - 1] = last;
                self.split(&sizes, dim)
            }
            None => Err(operation(format!(
                "dimension {dim} of shape {:?} does not part into {count} pieces",
                self.shape
            ))),
        }
    }

    /// The slices along `dim`, without it.
    ///
    /// # Errors
    /// If there is no such dimension.
    pub fn unbind(self, dim: usize) -> Result<Vec<Self>> {
        let size = self.size(dim)?;
        let mut shape = self.shape.clone();
        shape.remove(dim);
        let slices = self.split(&vec![1; size], dim)?;
        slices
            .into_iter()
            .map(|slice| slice.reshape(&shape))
            .collect()
    }

    /// The tensor with two dimensions exchanged.
    ///
    /// # Errors
    /// If one of them does not exist.
    pub fn transpose(self, dim0: usize, dim1: usize) -> Result<Self> {
        self.size(dim0)?;
        self.size(dim1)?;
        let (first, second) = (dim0.min(dim1), dim0.max(dim1));
        if first == second {
            return Ok(self);
        }
        let (dtype, sizes) = (self.dtype, self.shape.clone());
        let mut shape = sizes.clone();
        shape.swap(first, second);
        let Some(values) = self.bytes()? else {
            return Ok(Self::of_shape(dtype, &shape));
        };
        let product = |range: std::ops::Range<usize>| sizes[range].iter().product::<usize>();
        let grid = Grid {
            rows: sizes[first],
            middle: product(first + 1..second),
            cols: sizes[second],
            run: byte_count(dtype, &sizes[second + 1..])?,
        };
        let mut output = Output::new(values.len());
        if !values.is_empty() {
            let blocks = values
                .chunks_exact(grid.bytes())
                .zip(output.bytes().chunks_exact_mut(grid.bytes()));
            for (from, to) in blocks {
                grid.transpose(from, to);
            }
        }
        Ok(output.into_operand(dtype, shape))
    }

    fn size(&self, dim: usize) -> Result<usize> {
        self.shape
            .get(dim)
            .copied()
            .ok_or_else(|| no_dimension(dim, &self.shape))
    }
}

/// Rows and columns to exchange, with dimensions between them and a run of bytes below.
struct Grid {
    rows: usize,
    middle: usize,
    cols: usize,
    run: usize,
}

impl Grid {
    /// Rows and columns are taken in tiles, so that both sides stay in the cache.
    const TILE: usize = 32;

    fn bytes(&self) -> usize {
        self.rows * self.middle * self.cols * self.run
    }

    fn transpose(&self, from: &[u8], to: &mut [u8]) {
        match self.run {
            2 => self.transpose_runs(2, from, to),
            4 => self.transpose_runs(4, from, to),
            run => self.transpose_runs(run, from, to),
        }
    }

    /// `run` is the grid's; given apart so that the common ones become constants.
    #[inline(always)]
    fn transpose_runs(&self, run: usize, from: &[u8], to: &mut [u8]) {
        let tiles = |size: usize| (0..size).step_by(Self::TILE);
        for middle in 0..self.middle {
            for row_tile in tiles(self.rows) {
                for col_tile in tiles(self.cols) {
                    for row in row_tile..self.rows.min(row_tile + Self::TILE) {
                        for col in col_tile..self.cols.min(col_tile + Self::TILE) {
                            let source = ((row * self.middle + middle) * self.cols + col) * run;
                            let target = ((col * self.middle + middle) * self.rows + row) * run;
                            to[target..target + run].copy_from_slice(&from[source..source + run]);
                        }
                    }
                }
            }
        }
    }
}

/// The type and shape of tensors joined along `dim`.
fn joined(tensors: &[Operand], dim: usize) -> Result<(DType, Vec<usize>)> {
    let first = tensors
        .first()
        .ok_or_else(|| operation("there are no tensors to join".into()))?;
    first.size(dim)?;
    let mut shape = first.shape.clone();
    shape[dim] = 0;
    for tensor in tensors {
        let alike = |(at, (one, other)): (usize, (&usize, &usize))| at == dim || one == other;
        let fits = tensor.dtype == first.dtype
            && tensor.shape.len() == shape.len()
            && tensor.shape.iter().zip(&first.shape).enumerate().all(alike);
        if !fits {
            return Err(operation(format!(
                "{} of shape {:?} cannot be joined to {} of shape {:?} along dimension {dim}",
                tensor.dtype, tensor.shape, first.dtype, first.shape
            )));
        }
        let sum = shape[dim].checked_add(tensor.shape[dim]);
        shape[dim] = sum.ok_or_else(|| too_large(&tensor.shape))?;
    }
    Ok((first.dtype, shape))
}

fn no_dimension(dim: usize, shape: &[usize]) -> crate::WeightsError {
    operation(format!("shape {shape:?} has no dimension {dim}"))
}

fn byte_count(dtype: DType, shape: &[usize]) -> Result<usize> {
    let bytes = element_count(shape).and_then(|count| count.checked_mul(dtype.size()));
    bytes.ok_or_else(|| too_large(shape))
}

fn too_large(shape: &[usize]) -> crate::WeightsError {
    operation(format!("shape {shape:?} is too large"))
}

/// Bytes to be written, aligned for every element type.
struct Output {
    words: Vec<u64>,
    len: usize,
}

impl Output {
    fn new(len: usize) -> Self {
        Self {
            words: vec![0; len.div_ceil(size_of::<u64>())],
            len,
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.len]
    }

    fn into_bytes(self) -> Bytes {
        owned_bytes(self.words).slice(..self.len)
    }

    fn into_operand(self, dtype: DType, shape: Vec<usize>) -> Operand {
        Operand {
            dtype,
            shape,
            values: Some(Values::Here(self.into_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tensor(shape: &[usize]) -> Operand {
        let count = shape.iter().product::<usize>() as i16;
        HostTensor::from_vec((0..count).collect(), shape.to_vec())
            .unwrap()
            .into()
    }

    fn values(operand: &Operand) -> Vec<i16> {
        let tensor = operand.clone().into_tensor().unwrap().unwrap();
        tensor.as_slice::<i16>().unwrap().to_vec()
    }

    /// With and without values, shapes are the same.
    fn check(
        operand: Operand,
        apply: impl Fn(Operand) -> Result<Operand>,
        shape: &[usize],
        expected: &[i16],
    ) {
        let bare = Operand::of_shape(operand.dtype(), operand.shape());
        assert_eq!(apply(bare).unwrap().shape(), shape);
        let applied = apply(operand).unwrap();
        assert_eq!(applied.shape(), shape);
        assert_eq!(values(&applied), expected);
    }

    #[test]
    fn transposes_any_two_dimensions() {
        check(
            tensor(&[2, 3]),
            |t| t.transpose(0, 1),
            &[3, 2],
            &[0, 3, 1, 4, 2, 5],
        );
        check(
            tensor(&[2, 3]),
            |t| t.transpose(1, 1),
            &[2, 3],
            &[0, 1, 2, 3, 4, 5],
        );
        check(
            tensor(&[2, 2, 2]),
            |t| t.transpose(2, 0),
            &[2, 2, 2],
            &[0, 4, 2, 6, 1, 5, 3, 7],
        );
        check(
            tensor(&[2, 2, 2]),
            |t| t.transpose(0, 1),
            &[2, 2, 2],
            &[0, 1, 4, 5, 2, 3, 6, 7],
        );
        check(tensor(&[0, 3]), |t| t.transpose(0, 1), &[3, 0], &[]);
        let large = tensor(&[70, 45]);
        let twice = large
            .clone()
            .transpose(0, 1)
            .unwrap()
            .transpose(0, 1)
            .unwrap();
        assert_eq!(values(&twice), values(&large));
        assert!(tensor(&[2]).transpose(0, 1).is_err());
    }

    #[test]
    fn joins_and_parts_along_any_dimension() {
        let pair = |t: Operand| vec![t.clone(), t];
        check(
            tensor(&[2, 2]),
            |t| Operand::concatenate(pair(t), 1),
            &[2, 4],
            &[0, 1, 0, 1, 2, 3, 2, 3],
        );
        check(
            tensor(&[2]),
            |t| Operand::stack(pair(t), 0),
            &[2, 2],
            &[0, 1, 0, 1],
        );
        check(
            tensor(&[2]),
            |t| Operand::stack(pair(t), 1),
            &[2, 2],
            &[0, 0, 1, 1],
        );
        check(
            tensor(&[2, 3]),
            |t| Ok(t.split(&[1, 2], 1)?.remove(1)),
            &[2, 2],
            &[1, 2, 4, 5],
        );
        check(
            tensor(&[5]),
            |t| Ok(t.chunk(2, 0)?.remove(1)),
            &[2],
            &[3, 4],
        );
        check(
            tensor(&[2, 2, 1]),
            |t| Ok(t.unbind(1)?.remove(1)),
            &[2, 1],
            &[1, 3],
        );
        for faulty in [
            tensor(&[4]).split(&[1, 2], 0).map(|_| ()),
            tensor(&[4]).split(&[usize::MAX, 5], 0).map(|_| ()),
            tensor(&[4]).chunk(3, 0).map(|_| ()),
            tensor(&[4]).chunk(0, 0).map(|_| ()),
            tensor(&[4]).split(&[4], 1).map(|_| ()),
            Operand::stack(vec![tensor(&[4])], 2).map(|_| ()),
            Operand::concatenate(vec![], 0).map(|_| ()),
            Operand::concatenate(vec![tensor(&[2, 1]), tensor(&[2, 2])], 0).map(|_| ()),
            Operand::concatenate(vec![tensor(&[2]), Operand::of_shape(DType::F32, &[2])], 0)
                .map(|_| ()),
            tensor(&[4]).reshape(&[3]).map(|_| ()),
        ] {
            assert!(faulty.is_err());
        }
    }

    #[test]
    fn outermost_pieces_share_the_values() {
        let whole = tensor(&[4, 2]);
        let pieces = whole.clone().chunk(2, 0).unwrap();
        let pointer = |operand: &Operand| {
            let tensor = operand.clone().into_tensor().unwrap().unwrap();
            tensor.bytes().as_ptr().addr()
        };
        assert_eq!(pointer(&pieces[1]), pointer(&whole) + 8);
        let alone = Operand::concatenate(vec![whole.clone()], 0).unwrap();
        assert_eq!(pointer(&alone), pointer(&whole));
    }
}
