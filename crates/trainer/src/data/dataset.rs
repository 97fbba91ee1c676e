//! Where examples come from.

use std::sync::Arc;

use super::Example;
use crate::{Result, TrainerError};

/// Examples by index.
pub trait Dataset: Send + Sync {
    /// How many examples there are.
    fn len(&self) -> usize;

    /// Example `index`.
    ///
    /// # Errors
    /// [`TrainerError::NoExample`] beyond the last one, or what kept it from being read.
    fn get(&self, index: usize) -> Result<Example>;

    /// Whether there is no example.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The columns of the first example.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    fn column_names(&self) -> Result<Vec<String>> {
        match self.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(self.get(0)?.names().map(str::to_owned).collect()),
        }
    }
}

/// Examples one after the other, of which nobody knows how many.
pub trait IterableDataset: Send + Sync {
    /// All examples, from the first one.
    ///
    /// # Errors
    /// The source cannot be opened; the iterator gives what kept an example from being read.
    fn examples(&self) -> Result<Box<dyn Iterator<Item = Result<Example>> + Send + '_>>;
}

impl Dataset for Vec<Example> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn get(&self, index: usize) -> Result<Example> {
        let example = self.as_slice().get(index).cloned();
        let len = self.as_slice().len();
        example.ok_or(TrainerError::NoExample { index, len })
    }
}

impl IterableDataset for Vec<Example> {
    fn examples(&self) -> Result<Box<dyn Iterator<Item = Result<Example>> + Send + '_>> {
        Ok(Box::new(self.iter().cloned().map(Ok)))
    }
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    fn len(&self) -> usize {
        self.as_ref().len()
    }

    fn get(&self, index: usize) -> Result<Example> {
        self.as_ref().get(index)
    }

    fn column_names(&self) -> Result<Vec<String>> {
        self.as_ref().column_names()
    }
}

impl<D: Dataset + ?Sized> Dataset for Box<D> {
    fn len(&self) -> usize {
        self.as_ref().len()
    }

    fn get(&self, index: usize) -> Result<Example> {
        self.as_ref().get(index)
    }

    fn column_names(&self) -> Result<Vec<String>> {
        self.as_ref().column_names()
    }
}
