//! Datasets made of datasets: parts of them, several of them, and what functions make of them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{Dataset, Example, Files, TorchGenerator};
use crate::{Result, TrainerError};

/// Rows of a dataset, in an order: cheap to copy, to select from and to shuffle.
#[derive(Clone)]
pub struct Table {
    source: Arc<dyn Dataset>,
    /// `None`: all of them.
    rows: Option<Arc<[usize]>>,
}

impl Table {
    /// All rows of a dataset.
    pub fn new(dataset: impl Dataset + 'static) -> Self {
        Self {
            source: Arc::new(dataset),
            rows: None,
        }
    }

    fn of_rows(&self, rows: impl Into<Arc<[usize]>>) -> Self {
        Self {
            source: self.source.clone(),
            rows: Some(rows.into()),
        }
    }

    /// The row of the source.
    fn row(&self, index: usize) -> Result<usize> {
        let len = self.len();
        let row = match &self.rows {
            Some(rows) => rows.get(index).copied(),
            None => (index < len).then_some(index),
        };
        row.ok_or(TrainerError::NoExample { index, len })
    }

    /// These rows, in this order; a row may come twice.
    ///
    /// # Errors
    /// [`TrainerError::NoExample`].
    pub fn select(&self, indices: impl IntoIterator<Item = usize>) -> Result<Self> {
        let rows: Vec<usize> = indices
            .into_iter()
            .map(|index| self.row(index))
            .collect::<Result<_>>()?;
        Ok(self.of_rows(rows))
    }

    /// All rows in the order of `torch.randperm` with this seed.
    ///
    /// # Errors
    /// None of its own.
    pub fn shuffle(&self, seed: u64) -> Result<Self> {
        self.select(TorchGenerator::new(seed).permutation(self.len()))
    }

    /// Shuffled, and parted in two: for training and for testing. The latter is a share of all rows, rounded up, or, from 1
    /// on, a number of rows.
    ///
    /// # Errors
    /// A part would be empty.
    pub fn train_test_split(&self, test_size: f64, seed: u64) -> Result<(Self, Self)> {
        let len = self.len();
        let test = match test_size {
            share if share > 0.0 && share < 1.0 => (share * len as f64).ceil() as usize,
            count if count >= 1.0 && count.fract() == 0.0 => count as usize,
            _ => 0,
        };
        if test == 0 || test >= len {
            return Err(TrainerError::InvalidOption {
                name: "test_size",
                reason: format!("{test_size} of {len} examples leaves a part empty"),
            });
        }
        let order = TorchGenerator::new(seed).permutation(len);
        let (test, train) = order.split_at(test);
        Ok((
            self.select(train.iter().copied())?,
            self.select(test.iter().copied())?,
        ))
    }

    /// The rows that `keep` wants.
    ///
    /// # Errors
    /// A row cannot be read, or `keep` fails.
    pub fn filter(&self, mut keep: impl FnMut(&Example) -> Result<bool>) -> Result<Self> {
        let mut kept = Vec::new();
        for index in 0..self.len() {
            if keep(&self.get(index)?)? {
                kept.push(index);
            }
        }
        self.select(kept)
    }

    /// What `f` makes of each row, in memory.
    ///
    /// # Errors
    /// A row cannot be read, or `f` fails.
    pub fn map(&self, mut f: impl FnMut(Example) -> Result<Example>) -> Result<Self> {
        let mapped: Vec<Example> = (0..self.len())
            .map(|index| f(self.get(index)?))
            .collect::<Result<_>>()?;
        Ok(Self::new(mapped))
    }

    /// As [`map`](Self::map), kept in `cache` for the next time: the same `name` on the same rows is read from there and `f`
    /// does not run. A name stands for what a function does: give another one when that changes.
    ///
    /// # Errors
    /// As [`map`](Self::map); and the cache cannot be written. A damaged file of the cache is written anew.
    pub fn map_cached(
        &self,
        name: &str,
        cache: impl AsRef<Path>,
        f: impl FnMut(Example) -> Result<Example>,
    ) -> Result<Self> {
        let path = self.cache_path("map", name, cache.as_ref())?;
        if let Some(rows) = cached(&path).filter(|rows| rows.len() == self.len()) {
            return Ok(Self::new(rows));
        }
        let mapped = self.map(f)?;
        mapped.write(&path)?;
        Ok(mapped)
    }

    /// As [`filter`](Self::filter), kept in `cache` as [`map_cached`](Self::map_cached) does.
    ///
    /// # Errors
    /// As [`map_cached`](Self::map_cached).
    pub fn filter_cached(
        &self,
        name: &str,
        cache: impl AsRef<Path>,
        keep: impl FnMut(&Example) -> Result<bool>,
    ) -> Result<Self> {
        let path = self.cache_path("filter", name, cache.as_ref())?;
        if let Some(rows) = cached(&path) {
            return Ok(Self::new(rows));
        }
        let kept = self.filter(keep)?;
        kept.write(&path)?;
        Ok(kept)
    }

    /// The rows of all tables, one table behind the other.
    ///
    /// # Errors
    /// Their columns differ.
    pub fn concatenate(tables: impl IntoIterator<Item = Self>) -> Result<Self> {
        let tables: Vec<Self> = tables.into_iter().collect();
        let mut expected: Option<Vec<String>> = None;
        for table in tables.iter().filter(|table| !table.is_empty()) {
            let mut found = table.column_names()?;
            found.sort();
            match &expected {
                Some(expected) if *expected != found => {
                    return Err(TrainerError::DifferentColumns {
                        expected: expected.join(", "),
                        found: found.join(", "),
                    });
                }
                _ => expected = Some(found),
            }
        }
        Ok(Self::new(Concatenated(tables)))
    }

    /// SHA-256 of all rows.
    ///
    /// # Errors
    /// A row cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for index in 0..self.len() {
            hash.update(line(&self.get(index)?));
        }
        Ok(hex(&hash.finalize()))
    }

    fn cache_path(&self, operation: &str, name: &str, cache: &Path) -> Result<PathBuf> {
        let mut hash = Sha256::new();
        for part in [
            env!("CARGO_PKG_VERSION"),
            operation,
            name,
            &self.fingerprint()?,
        ] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Ok(cache.join(format!("{operation}-{}.jsonl", hex(&hash.finalize()[..16]))))
    }

    /// Writes the rows as lines of JSON; the file appears when it is whole.
    ///
    /// # Errors
    /// A row cannot be read, or the file not be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failed = |error| TrainerError::io("writing", path)(error);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = self.write_lines(&temporary, failed);
        let done = written.and_then(|()| fs::rename(&temporary, path).map_err(failed));
        if done.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        done
    }

    fn write_lines(
        &self,
        path: &Path,
        failed: impl Fn(std::io::Error) -> TrainerError,
    ) -> Result<()> {
        let mut file = BufWriter::new(File::create(path).map_err(&failed)?);
        for index in 0..self.len() {
            file.write_all(&line(&self.get(index)?)).map_err(&failed)?;
        }
        file.flush().map_err(failed)
    }
}

impl Dataset for Table {
    fn len(&self) -> usize {
        match &self.rows {
            Some(rows) => rows.len(),
            None => self.source.len(),
        }
    }

    fn get(&self, index: usize) -> Result<Example> {
        self.source.get(self.row(index)?)
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Tables one behind the other.
struct Concatenated(Vec<Table>);

impl Dataset for Concatenated {
    fn len(&self) -> usize {
        self.0.iter().map(Dataset::len).sum()
    }

    fn get(&self, index: usize) -> Result<Example> {
        let mut at = index;
        for table in &self.0 {
            match at.checked_sub(table.len()) {
                Some(beyond) => at = beyond,
                None => return table.get(at),
            }
        }
        let len = self.len();
        Err(TrainerError::NoExample { index, len })
    }
}

/// What an earlier run wrote; `None` if it did not, or not whole.
fn cached(path: &Path) -> Option<Vec<Example>> {
    if !path.is_file() {
        return None;
    }
    let read = Files::new([path]).and_then(|file| file.load());
    read.inspect_err(|error| log::warn!("{error}; it is made anew"))
        .ok()
}

fn line(example: &Example) -> Vec<u8> {
    let mut line = serde_json::to_vec(example).expect("names are texts");
    line.push(b'\n');
    line
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
