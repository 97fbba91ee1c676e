//! Several examples as arrays.

use std::collections::BTreeMap;

use transformers_modeling::Rows;

use crate::{Result, TrainerError};

/// Values in a shape, row by row, on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Array<T> {
    values: Vec<T>,
    shape: Vec<usize>,
}

impl<T> Array<T> {
    /// Values in a shape.
    ///
    /// # Panics
    /// Their number is not the product of the shape.
    pub fn new(values: Vec<T>, shape: impl Into<Vec<usize>>) -> Self {
        let shape = shape.into();
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{shape:?}");
        Self { values, shape }
    }

    /// All values.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// All values.
    pub fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }

    /// How long each dimension is; the first one is the batch.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values along the last dimension, one run after the other.
    pub fn rows(&self) -> impl Iterator<Item = &[T]> {
        let last = self.shape.last().copied().unwrap_or(1).max(1);
        self.values.chunks_exact(last)
    }

    /// The array of what `f` makes of each value.
    pub fn map<U>(&self, f: impl FnMut(&T) -> U) -> Array<U> {
        Array {
            values: self.values.iter().map(f).collect(),
            shape: self.shape.clone(),
        }
    }
}

impl<T: Copy> Array<T> {
    /// As a matrix: a vector is a column, and all dimensions but the last one are rows.
    pub fn to_rows(&self) -> Rows<T> {
        match self.shape.len() {
            0 | 1 => Rows::column_of(self.values.clone()),
            _ => {
                let rows: Vec<&[T]> = self.rows().collect();
                Rows::new(&rows).expect("rows of an array are equally long")
            }
        }
    }
}

/// A column of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Ids, positions, classes.
    Integers(Array<i64>),
    /// Numbers.
    Floats(Array<f32>),
    /// Masks.
    Bools(Array<bool>),
}

impl Column {
    /// How long each dimension is.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Integers(array) => array.shape(),
            Self::Floats(array) => array.shape(),
            Self::Bools(array) => array.shape(),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Integers(_) => "whole numbers",
            Self::Floats(_) => "numbers",
            Self::Bools(_) => "truth values",
        }
    }
}

impl From<Array<i64>> for Column {
    fn from(array: Array<i64>) -> Self {
        Self::Integers(array)
    }
}

impl From<Array<f32>> for Column {
    fn from(array: Array<f32>) -> Self {
        Self::Floats(array)
    }
}

impl From<Array<bool>> for Column {
    fn from(array: Array<bool>) -> Self {
        Self::Bools(array)
    }
}

/// What a collator makes of examples: arrays by the names of a model's arguments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    columns: BTreeMap<String, Column>,
}

impl Batch {
    /// Without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a column in, in place of one of the same name.
    pub fn insert(&mut self, name: impl Into<String>, column: impl Into<Column>) {
        self.columns.insert(name.into(), column.into());
    }

    /// A column.
    pub fn get(&self, name: &str) -> Option<&Column> {
        self.columns.get(name)
    }

    /// Takes a column out.
    pub fn remove(&mut self, name: &str) -> Option<Column> {
        self.columns.remove(name)
    }

    /// The names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// The columns by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Column)> {
        self.columns
            .iter()
            .map(|(name, column)| (name.as_str(), column))
    }

    /// How many rows there are: the first dimension of `input_ids`, or of any column where there is none.
    pub fn batch_size(&self) -> usize {
        let column = self.get("input_ids").or(self.columns.values().next());
        column.map_or(0, |column| column.shape().first().copied().unwrap_or(1))
    }

    /// The column of whole numbers of this name.
    ///
    /// # Errors
    /// There is none, or it is of another kind.
    pub fn integers(&self, name: &str) -> Result<&Array<i64>> {
        match self.get(name) {
            Some(Column::Integers(array)) => Ok(array),
            Some(other) => Err(TrainerError::ColumnType {
                column: name.to_owned(),
                found: other.kind(),
                expected: "whole numbers",
            }),
            None => Err(TrainerError::MissingColumn {
                column: name.to_owned(),
                available: self.names().collect::<Vec<_>>().join(", "),
            }),
        }
    }
}
