//! Integer matrices on the host: ids, masks, positions and labels, `[batch, seq]`.
//!
//! They stay on the host until a model has checked them, so that a bad id is a typed error and not a fault on a device.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::ModelError;

/// A rectangular matrix, row by row.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows<T> {
    values: Vec<T>,
    dims: [usize; 2],
}

impl<T: Copy> Rows<T> {
    /// One row.
    pub fn row_of(values: Vec<T>) -> Self {
        let dims = [1, values.len()];
        Self { values, dims }
    }

    /// Rows of one value each.
    pub fn column_of(values: Vec<T>) -> Self {
        let dims = [values.len(), 1];
        Self { values, dims }
    }

    /// Rows of one length.
    ///
    /// # Errors
    /// [`ModelError::RaggedRows`] when the lengths differ: pad first.
    pub fn new(rows: &[impl AsRef<[T]>]) -> Result<Self, ModelError> {
        let seq = rows.first().map_or(0, |row| row.as_ref().len());
        let mut values = Vec::with_capacity(rows.len() * seq);
        for (index, row) in rows.iter().enumerate() {
            let row = row.as_ref();
            if row.len() != seq {
                let found = row.len();
                return Err(ModelError::RaggedRows {
                    index,
                    found,
                    expected: seq,
                });
            }
            values.extend_from_slice(row);
        }
        let dims = [rows.len(), seq];
        Ok(Self { values, dims })
    }

    /// `[batch, seq]`.
    pub fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// All values, row by row.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Row `index`.
    pub fn row(&self, index: usize) -> &[T] {
        let seq = self.dims[1];
        &self.values[index * seq..(index + 1) * seq]
    }

    /// Of every row the last `count` values, row after row.
    pub(crate) fn last_columns(&self, count: usize) -> Vec<T> {
        let rows = self.iter();
        rows.flat_map(|row| &row[row.len().saturating_sub(count)..])
            .copied()
            .collect()
    }

    /// The matrix of what `f` makes of each value.
    pub fn map<U>(&self, f: impl FnMut(T) -> U) -> Rows<U> {
        Rows {
            values: self.values.iter().copied().map(f).collect(),
            dims: self.dims,
        }
    }

    /// Row `rows[i]` as row `i`.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let values: Vec<&[T]> = rows.iter().map(|row| self.row(*row)).collect();
        Self {
            values: values.concat(),
            dims: [rows.len(), self.dims[1]],
        }
    }

    /// The rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &[T]> {
        (0..self.dims[0]).map(|index| self.row(index))
    }
}

/// Row `rows[i]` of the first dimension as row `i`, of tensors that have one row per sequence.
pub fn select_rows<const D: usize>(tensor: Tensor<D>, rows: &[usize]) -> Tensor<D> {
    let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    let data = TensorData::new(rows.clone(), [rows.len()]);
    let index = Tensor::<1, Int>::from_data(data, &tensor.device());
    tensor.select(0, index)
}

impl Rows<u32> {
    /// The matrix on `device`.
    pub fn to_tensor(&self, device: &Device) -> Tensor<2, Int> {
        let values: Vec<i32> = self.values.iter().map(|value| *value as i32).collect();
        Tensor::from_data(TensorData::new(values, self.dims), device)
    }
}

impl<T: Copy> From<Vec<T>> for Rows<T> {
    fn from(values: Vec<T>) -> Self {
        Self::row_of(values)
    }
}
