//! One row of a dataset.

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Value;
use crate::{Result, TrainerError};

/// Named values, in the order in which they were put in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Example {
    columns: Vec<(String, Value)>,
}

impl Example {
    /// Without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more column; in place of one of the same name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.insert(name, value);
        self
    }

    /// Puts a column in, in place of one of the same name.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.columns.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.columns.push((name, value)),
        }
    }

    /// The value of a column.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let mut columns = self.columns.iter();
        columns
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// Takes a column out.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.columns.iter().position(|(known, _)| known == name)?;
        Some(self.columns.remove(at).1)
    }

    /// Gives a column another name, which no other one has afterwards.
    pub fn rename(&mut self, from: &str, to: &str) {
        if from != to
            && let Some(value) = self.remove(from)
        {
            self.insert(to, value);
        }
    }

    /// Leaves the columns that `keep` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.columns.retain(|(name, _)| keep(name));
    }

    /// The names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// The columns.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.columns
            .iter()
            .map(|(name, value)| (name.as_str(), value))
    }

    /// How many columns there are.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether there is no column.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The value of a column that has to be there.
    ///
    /// # Errors
    /// [`TrainerError::MissingColumn`].
    pub fn require(&self, name: &str) -> Result<&Value> {
        self.get(name).ok_or_else(|| TrainerError::MissingColumn {
            column: name.to_owned(),
            available: self.names().collect::<Vec<_>>().join(", "),
        })
    }

    /// The text of a column.
    ///
    /// # Errors
    /// There is no such column, or it is none of texts.
    pub fn text(&self, name: &str) -> Result<&str> {
        let value = self.require(name)?;
        value
            .as_text()
            .ok_or_else(|| wrong_type(name, value, "a text"))
    }

    /// The whole numbers of a column.
    ///
    /// # Errors
    /// There is no such column, or it is none of lists of whole numbers.
    pub fn integers(&self, name: &str) -> Result<&[i64]> {
        let value = self.require(name)?;
        value
            .as_integers()
            .ok_or_else(|| wrong_type(name, value, "a list of whole numbers"))
    }
}

/// The error of a column whose value is not what is wanted.
pub(crate) fn wrong_type(column: &str, found: &Value, expected: &'static str) -> TrainerError {
    TrainerError::ColumnType {
        column: column.to_owned(),
        found: found.kind(),
        expected,
    }
}

impl<N: Into<String>, V: Into<Value>> FromIterator<(N, V)> for Example {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(columns: I) -> Self {
        let mut example = Self::new();
        for (name, value) in columns {
            example.insert(name, value);
        }
        example
    }
}

impl IntoIterator for Example {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.columns.into_iter()
    }
}

impl Serialize for Example {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Example {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = serde_json::Map::deserialize(deserializer)?;
        Ok(map.into_iter().collect())
    }
}
