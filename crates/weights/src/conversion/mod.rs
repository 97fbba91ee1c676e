//! Operations on tensors between a checkpoint and a model, each of which knows its reverse.
//!
//! An operation works on [`Operand`]s: tensors with values when a checkpoint is loaded or saved, and types and shapes
//! alone when a plan is made. Written with the operand's methods it serves both; one of your own is a few lines:
//!
//! ```
//! use std::sync::Arc;
//! use transformers_weights::conversion::{Collected, ConversionContext, ConversionOp};
//! use transformers_weights::{Result, WeightConverter, conversion_mapping};
//!
//! /// Rows from last to first.
//! #[derive(Debug)]
//! struct ReverseRows;
//!
//! impl ConversionOp for ReverseRows {
//!     fn convert(&self, tensors: Collected, context: &ConversionContext<'_>) -> Result<Collected> {
//!         let (_, tensor) = tensors.single()?;
//!         let mut rows = tensor.unbind(0)?;
//!         rows.reverse();
//!         let reversed = transformers_weights::conversion::Operand::stack(rows, 0)?;
//!         Ok(Collected::one(context.single_target()?, reversed))
//!     }
//!
//!     fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
//!         Some(Arc::new(Self))
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let converter = WeightConverter::new(&["upside_down.weight"], &["table.weight"], vec![Arc::new(ReverseRows)])?;
//! conversion_mapping::register("my_model", vec![converter.into()], false)?;
//! # Ok(())
//! # }
//! ```

mod experts;
mod layout;
mod operand;
mod parts;
mod quantization;
mod values;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use serde_json::Value;

pub use experts::{ErnieFuseAndSplitTextVisionExperts, ErnieSplitAndDecoupleTextVisionExperts};
pub use layout::{Conv3dToLinear, Interleave, LinearToConv3d, PermuteForRope, Transpose};
pub use operand::Operand;
pub use parts::{Chunk, Concatenate, MergeModulelist, Split, SplitModulelist};
pub use quantization::{Dequantize, Identity};

use crate::{Result, WeightsError};

/// One operation of a [`WeightConverter`](crate::WeightConverter).
pub trait ConversionOp: Debug + Send + Sync {
    /// Turns the collected tensors into others.
    ///
    /// The first operation of a chain finds tensors under the sources that they matched; the last leaves them under the
    /// targets, of which a `*` is replaced by an index.
    ///
    /// # Errors
    /// If tensors are missing or have shapes that the operation is not for.
    fn convert(&self, tensors: Collected, context: &ConversionContext<'_>) -> Result<Collected>;

    /// The operation that undoes this one, or `None` if nothing does.
    fn reverse(&self) -> Option<Arc<dyn ConversionOp>>;

    /// Whether the operation takes several sources to several targets.
    fn many_to_many(&self) -> bool {
        false
    }
}

/// What an operation may know beside its tensors.
#[derive(Clone, Copy, Debug)]
pub struct ConversionContext<'a> {
    /// The converter's sources, as they are searched for.
    pub source_patterns: &'a [String],
    /// The converter's targets, as they are inserted.
    pub target_patterns: &'a [String],
    /// The full name of the first target.
    pub first_target: &'a str,
    /// The model.
    pub model: &'a ModelFacts,
}

/// What conversions ask about a model: the shapes of its parameters, and its configuration.
#[derive(Clone, Debug, Default)]
pub struct ModelFacts {
    /// Shapes by name.
    pub parameters: HashMap<String, Vec<usize>>,
    /// `config.json`, with the names of version 5.
    pub config: Value,
}

impl ModelFacts {
    fn shape(&self, parameter: &str) -> Result<&[usize]> {
        let shape = self.parameters.get(parameter).map(Vec::as_slice);
        shape.ok_or_else(|| operation(format!("the model has no parameter `{parameter}`")))
    }

    /// A number of the configuration's part `part`, or of the whole where there is no such part.
    fn number(&self, part: Option<&str>, key: &str) -> Option<usize> {
        let part = part
            .and_then(|part| self.config.get(part))
            .unwrap_or(&self.config);
        part.get(key)?.as_u64()?.try_into().ok()
    }

    /// A number of the configuration's text part, or of the whole.
    fn text_number(&self, key: &str) -> Option<usize> {
        let text = ["text_config", "decoder", "generator", "text_encoder"];
        let text = text
            .into_iter()
            .find(|part| self.config.get(part).is_some_and(Value::is_object));
        self.number(text, key)
    }
}

impl<'a> ConversionContext<'a> {
    /// The target, where there is one.
    ///
    /// # Errors
    /// If there are several.
    pub fn single_target(&self) -> Result<&'a str> {
        match self.target_patterns {
            [target] => Ok(target),
            targets => Err(operation(format!(
                "it gives one tensor, but there are {} targets",
                targets.len()
            ))),
        }
    }

    /// The name for the only tensor after an operation that may stand first in a chain: the target, or, where there are
    /// several and operations that part it still to come, the source.
    pub(crate) fn only_name(&self) -> Result<&'a str> {
        match (self.target_patterns, self.source_patterns) {
            ([target], _) => Ok(target),
            (_, [source]) => Ok(source),
            _ => Err(operation(
                "it takes one tensor, but there are several sources and targets".into(),
            )),
        }
    }
}

/// Tensors on their way through operations: for each pattern those that matched it, in natural order of their names.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    tensors: Vec<(String, Vec<Operand>)>,
}

impl Collected {
    /// One tensor under one pattern.
    pub fn one(pattern: &str, tensor: Operand) -> Self {
        let mut collected = Self::default();
        collected.push(pattern, tensor);
        collected
    }

    /// Adds a tensor under `pattern`, behind those that are there.
    pub fn push(&mut self, pattern: &str, tensor: Operand) {
        match self.tensors.iter_mut().find(|(other, _)| other == pattern) {
            Some((_, tensors)) => tensors.push(tensor),
            None => self.tensors.push((pattern.to_owned(), vec![tensor])),
        }
    }

    /// Takes the tensors of `pattern` out, if there are any.
    pub fn take(&mut self, pattern: &str) -> Option<Vec<Operand>> {
        let position = self
            .tensors
            .iter()
            .position(|(other, _)| other == pattern)?;
        Some(self.tensors.remove(position).1)
    }

    /// The number of patterns that have tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The patterns and their tensors, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Operand])> {
        self.tensors
            .iter()
            .map(|(pattern, tensors)| (pattern.as_str(), tensors.as_slice()))
    }

    /// The only tensor, with its pattern.
    ///
    /// # Errors
    /// If there are several patterns, or none.
    pub fn single(self) -> Result<(String, Operand)> {
        let found = self.len();
        let mut tensors = self.tensors.into_iter();
        match (tensors.next(), tensors.next()) {
            (Some((pattern, tensors)), None) => Ok((pattern, first(tensors)?)),
            _ => Err(operation(format!(
                "it takes one tensor, but found {found} kinds"
            ))),
        }
    }

    /// The tensors under their full names: what stands around the first target's pattern in its name stands around the
    /// others too.
    pub(crate) fn into_named(self, first_target: &str) -> Result<Vec<(String, Operand)>> {
        let full = first_target.replace("*.", "0.");
        let around = self
            .iter()
            .find_map(|(pattern, _)| full.split_once(pattern));
        let (before, after) = around.unwrap_or_default();
        let name = |(pattern, tensors)| Ok((format!("{before}{pattern}{after}"), first(tensors)?));
        self.tensors.into_iter().map(name).collect()
    }
}

impl IntoIterator for Collected {
    type Item = (String, Vec<Operand>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.tensors.into_iter()
    }
}

fn first(tensors: Vec<Operand>) -> Result<Operand> {
    let tensor = tensors.into_iter().next();
    tensor.ok_or_else(|| operation("a pattern has no tensor".into()))
}

/// A [`WeightsError::Operation`].
pub(crate) fn operation(reason: String) -> WeightsError {
    WeightsError::Operation { reason }
}
