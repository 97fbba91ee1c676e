//! Transforms: what turns the names and tensors of a checkpoint into those of a model, and back.
//!
//! A transform is data and has no state, so that one table serves every load. What a load learns on the way (which
//! transforms matched, whether a group's first name was there) is kept by [`Renamer`].

mod converter;
mod pattern;
mod renamer;
mod renaming;

pub use converter::WeightConverter;
pub(crate) use renamer::{Renamed, Renamer};
pub use renaming::{GroupWeightRename, IndexOffsetRename, PrefixChange, WeightRenaming};

use crate::Result;
use pattern::Patterns;

/// One step between a checkpoint and a model. Renamings are applied in order and chain; of the converters at most one
/// takes a tensor.
#[derive(Clone, Debug)]
pub enum WeightTransform {
    /// One name for another.
    Renaming(WeightRenaming),
    /// Names that shift by one another, renamed only together.
    Group(GroupWeightRename),
    /// One name for another, with an index that is counted from elsewhere.
    IndexOffset(IndexOffsetRename),
    /// A level of the name that is there on one side only.
    Prefix(PrefixChange),
    /// Tensors that become other tensors.
    Converter(WeightConverter),
}

impl WeightTransform {
    /// The transform from the model's names and tensors to the checkpoint's.
    ///
    /// # Errors
    /// If an operation cannot be undone, or the patterns hold more than a search can be reversed.
    pub fn reverse(&self) -> Result<Self> {
        Ok(match self {
            Self::Renaming(renaming) => Self::Renaming(renaming.reverse()?),
            Self::Group(group) => Self::Group(group.reverse()?),
            Self::IndexOffset(renaming) => Self::IndexOffset(renaming.reverse()?),
            Self::Prefix(change) => Self::Prefix(change.reverse()?),
            Self::Converter(converter) => Self::Converter(converter.reverse()?),
        })
    }

    /// The transform limited to the part of a model at `path`, given below the base model's prefix: a key must begin with
    /// `path`, with or without the prefix before it, and patterns see only what follows.
    #[must_use]
    pub fn in_scope(mut self, path: &str, base_model_prefix: &str) -> Self {
        self.patterns_mut().set_scope(path, base_model_prefix);
        self
    }

    fn patterns_mut(&mut self) -> &mut Patterns {
        match self {
            Self::Renaming(renaming) => &mut renaming.patterns,
            Self::Group(group) => &mut group.patterns,
            Self::IndexOffset(renaming) => &mut renaming.patterns,
            Self::Prefix(change) => &mut change.patterns,
            Self::Converter(converter) => &mut converter.patterns,
        }
    }
}

macro_rules! variants {
    ($($variant:ident($kind:ty)),* $(,)?) => {
        $(impl From<$kind> for WeightTransform {
            fn from(transform: $kind) -> Self {
                Self::$variant(transform)
            }
        })*
    };
}

variants! {
    Renaming(WeightRenaming), Group(GroupWeightRename), IndexOffset(IndexOffsetRename),
    Prefix(PrefixChange), Converter(WeightConverter),
}
