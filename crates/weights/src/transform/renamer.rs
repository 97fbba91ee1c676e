//! Renaming the keys of one checkpoint, in order.

use super::{WeightConverter, WeightTransform};
use crate::Result;

/// A key after all transforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Renamed {
    /// The new name; with a converter, that of its first target.
    pub(crate) name: String,
    /// The converter that takes the tensor, and which of its sources matched.
    pub(crate) converter: Option<(usize, usize)>,
}

/// Renames keys and remembers what that takes: which transforms matched, and which guards were seen.
#[derive(Debug)]
pub(crate) struct Renamer<'a> {
    transforms: &'a [WeightTransform],
    used: Vec<bool>,
    guards_seen: Vec<bool>,
}

impl<'a> Renamer<'a> {
    pub(crate) fn new(transforms: &'a [WeightTransform]) -> Self {
        Self {
            transforms,
            used: vec![false; transforms.len()],
            guards_seen: vec![false; transforms.len()],
        }
    }

    /// All renamings, then at most one converter.
    pub(crate) fn load(&mut self, key: &str) -> Result<Renamed> {
        let renamed = self.rename(key)?;
        self.convert(&renamed)
    }

    /// At most one converter; then, where there is none, all renamings.
    ///
    /// The names that a converter gives are renamed after it ran, because renamings may act on parts of its patterns.
    pub(crate) fn save(&mut self, key: &str) -> Result<Renamed> {
        let renamed = self.convert(key)?;
        match renamed.converter {
            Some(_) => Ok(renamed),
            None => Ok(Renamed {
                name: self.rename(&renamed.name)?,
                converter: None,
            }),
        }
    }

    /// The key after every renaming that matches, in order.
    pub(crate) fn rename(&mut self, key: &str) -> Result<String> {
        let mut key = key.to_owned();
        for (index, transform) in self.transforms.iter().enumerate() {
            let renamed = match transform {
                WeightTransform::Renaming(renaming) => renaming.apply(&key)?,
                WeightTransform::Group(group) => group.apply(&key, &mut self.guards_seen[index])?,
                WeightTransform::IndexOffset(renaming) => renaming.apply(&key)?,
                WeightTransform::Prefix(change) => change.apply(&key)?,
                WeightTransform::Converter(_) => None,
            };
            if let Some(renamed) = renamed {
                self.used[index] = true;
                key = renamed;
            }
        }
        Ok(key)
    }

    fn convert(&mut self, key: &str) -> Result<Renamed> {
        for (index, transform) in self.transforms.iter().enumerate() {
            if let WeightTransform::Converter(converter) = transform
                && let Some((name, source)) = converter.first_target(key)?
            {
                self.used[index] = true;
                return Ok(Renamed {
                    name,
                    converter: Some((index, source)),
                });
            }
        }
        Ok(Renamed {
            name: key.to_owned(),
            converter: None,
        })
    }

    /// The converter at `index`, as [`Renamed::converter`] gives it.
    pub(crate) fn converter(&self, index: usize) -> Option<&'a WeightConverter> {
        match &self.transforms[index] {
            WeightTransform::Converter(converter) => Some(converter),
            _ => None,
        }
    }

    /// The transforms that matched a key, in order.
    pub(crate) fn used(&self) -> Vec<WeightTransform> {
        let used = self.transforms.iter().zip(&self.used);
        used.filter(|(_, used)| **used)
            .map(|(transform, _)| transform.clone())
            .collect()
    }
}
