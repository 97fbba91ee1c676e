//! Operations that join tensors and part them.

use std::sync::Arc;

use super::{Collected, ConversionContext, ConversionOp, Operand, operation};
use crate::Result;

/// Joins the tensors of all sources, in the order of the sources, along one dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concatenate {
    dim: usize,
    num_shards_attribute: Option<String>,
}

impl Concatenate {
    /// Joins along `dim`.
    pub fn new(dim: usize) -> Self {
        Self {
            dim,
            num_shards_attribute: None,
        }
    }

    /// Joins any number of tensors along `dim`; the text configuration's `attribute` says how many, for the way back.
    pub fn shards(dim: usize, attribute: &str) -> Self {
        Self {
            dim,
            num_shards_attribute: Some(attribute.to_owned()),
        }
    }
}

impl ConversionOp for Concatenate {
    fn convert(
        &self,
        mut tensors: Collected,
        context: &ConversionContext<'_>,
    ) -> Result<Collected> {
        let target = context.single_target()?;
        let mut all = Vec::new();
        // Operations before this one may have used up sources.
        for source in context.source_patterns {
            all.extend(tensors.take(source).unwrap_or_default());
        }
        Ok(Collected::one(target, Operand::concatenate(all, self.dim)?))
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(Chunk {
            dim: self.dim,
            num_shards_attribute: self.num_shards_attribute.clone(),
        }))
    }
}

/// Parts a tensor into equal pieces, one for each target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    dim: usize,
    num_shards_attribute: Option<String>,
}

impl Chunk {
    /// Parts along `dim`.
    pub fn new(dim: usize) -> Self {
        Self {
            dim,
            num_shards_attribute: None,
        }
    }

    /// Parts along `dim` into as many pieces as the text configuration's `attribute` says, named by the target's `*`.
    pub fn shards(dim: usize, attribute: &str) -> Self {
        Self {
            dim,
            num_shards_attribute: Some(attribute.to_owned()),
        }
    }

    fn targets(&self, context: &ConversionContext<'_>) -> Result<Vec<String>> {
        let Some(attribute) = &self.num_shards_attribute else {
            return Ok(context.target_patterns.to_vec());
        };
        let target = context.single_target()?;
        let count = context.model.text_number(attribute).ok_or_else(|| {
            operation(format!(
                "the configuration does not say how many pieces: `{attribute}`"
            ))
        })?;
        Ok((0..count).map(|index| indexed(target, index)).collect())
    }
}

impl ConversionOp for Chunk {
    fn convert(&self, tensors: Collected, context: &ConversionContext<'_>) -> Result<Collected> {
        let (_, tensor) = tensors.single()?;
        let targets = self.targets(context)?;
        named(&targets, tensor.chunk(targets.len(), self.dim)?)
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(Concatenate {
            dim: self.dim,
            num_shards_attribute: self.num_shards_attribute.clone(),
        }))
    }
}

/// Parts a tensor into pieces as large as the parameters that the targets name: queries, keys and values of unequal size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    dim: usize,
}

impl Split {
    /// Parts along `dim`.
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }
}

impl ConversionOp for Split {
    fn convert(&self, tensors: Collected, context: &ConversionContext<'_>) -> Result<Collected> {
        let (_, tensor) = tensors.single()?;
        let targets = context.target_patterns;
        let size = |target: &String| {
            let name = context.first_target.replace(&targets[0], target);
            let shape = context.model.shape(&name)?;
            shape.get(self.dim).copied().ok_or_else(|| {
                operation(format!(
                    "`{name}` of shape {shape:?} has no dimension {}",
                    self.dim
                ))
            })
        };
        let sizes = targets.iter().map(size).collect::<Result<Vec<_>>>()?;
        named(targets, tensor.split(&sizes, self.dim)?)
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(Concatenate::new(self.dim)))
    }
}

/// Stacks the tensors of each source along a new dimension: the experts of a layer.
///
/// With several sources each keeps its name, for the operation that joins them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeModulelist {
    dim: usize,
}

impl MergeModulelist {
    /// Stacks along `dim`.
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }
}

impl ConversionOp for MergeModulelist {
    fn convert(&self, tensors: Collected, context: &ConversionContext<'_>) -> Result<Collected> {
        let alone = tensors.len() == 1;
        let mut merged = Collected::default();
        for (source, tensors) in tensors {
            let name = if alone {
                context.single_target()?
            } else {
                &source
            };
            merged.push(name, Operand::stack(tensors, self.dim)?);
        }
        Ok(merged)
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(SplitModulelist { dim: self.dim }))
    }
}

/// Parts stacked tensors again, each slice named by the `*` of its pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitModulelist {
    dim: usize,
}

impl SplitModulelist {
    /// Parts along `dim`.
    pub fn new(dim: usize) -> Self {
        Self { dim }
    }
}

impl ConversionOp for SplitModulelist {
    fn convert(&self, tensors: Collected, context: &ConversionContext<'_>) -> Result<Collected> {
        let alone = tensors.len() == 1;
        let mut split = Collected::default();
        for (source, tensors) in tensors {
            let name = if alone {
                context.single_target()?
            } else {
                &source
            };
            let (_, tensor) = Collected {
                tensors: vec![(source.clone(), tensors)],
            }
            .single()?;
            for (index, slice) in tensor.unbind(self.dim)?.into_iter().enumerate() {
                split.push(&indexed(name, index), slice);
            }
        }
        Ok(split)
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(MergeModulelist { dim: self.dim }))
    }
}

/// A name with its `*` replaced by an index.
pub(super) fn indexed(name: &str, index: usize) -> String {
    name.replace('*', &index.to_string())
}

fn named(targets: &[String], pieces: Vec<Operand>) -> Result<Collected> {
    let mut collected = Collected::default();
    for (target, piece) in targets.iter().zip(pieces) {
        collected.push(target, piece);
    }
    Ok(collected)
}
