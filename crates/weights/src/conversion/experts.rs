//! Experts of which some are for text and some for images, as Ernie 4.5 VL numbers them.

use std::sync::Arc;

use super::parts::indexed;
use super::{Collected, ConversionContext, ConversionOp, Operand, operation};
use crate::Result;

/// Parts the experts of every source into as many equal groups as there are targets, stacks each group, and joins the
/// groups of all sources: the first half of gates and ups become the text's, the second half the images'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErnieFuseAndSplitTextVisionExperts {
    stack_dim: usize,
    concat_dim: usize,
}

impl ErnieFuseAndSplitTextVisionExperts {
    /// Stacks experts along `stack_dim` and joins sources along `concat_dim`.
    pub fn new(stack_dim: usize, concat_dim: usize) -> Self {
        Self {
            stack_dim,
            concat_dim,
        }
    }
}

impl ConversionOp for ErnieFuseAndSplitTextVisionExperts {
    fn convert(
        &self,
        mut tensors: Collected,
        context: &ConversionContext<'_>,
    ) -> Result<Collected> {
        let targets = context.target_patterns;
        let mut groups: Vec<Vec<Operand>> = vec![Vec::new(); targets.len()];
        for source in context.source_patterns {
            let mut experts = source_tensors(&mut tensors, source)?;
            let each = experts.len().div_ceil(targets.len());
            for group in &mut groups {
                let rest = experts.split_off(each.min(experts.len()));
                group.push(Operand::stack(experts, self.stack_dim)?);
                experts = rest;
            }
        }
        let mut fused = Collected::default();
        for (target, group) in targets.iter().zip(groups) {
            fused.push(target, Operand::concatenate(group, self.concat_dim)?);
        }
        Ok(fused)
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(ErnieSplitAndDecoupleTextVisionExperts {
            stack_dim: self.stack_dim,
            concat_dim: self.concat_dim,
        }))
    }

    fn many_to_many(&self) -> bool {
        true
    }
}

/// Undoes [`ErnieFuseAndSplitTextVisionExperts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErnieSplitAndDecoupleTextVisionExperts {
    stack_dim: usize,
    concat_dim: usize,
}

impl ErnieSplitAndDecoupleTextVisionExperts {
    /// Parts targets along `concat_dim` and experts along `stack_dim`.
    pub fn new(stack_dim: usize, concat_dim: usize) -> Self {
        Self {
            stack_dim,
            concat_dim,
        }
    }
}

impl ConversionOp for ErnieSplitAndDecoupleTextVisionExperts {
    fn convert(
        &self,
        mut tensors: Collected,
        context: &ConversionContext<'_>,
    ) -> Result<Collected> {
        let targets = context.target_patterns;
        let mut experts: Vec<Vec<Operand>> = vec![Vec::new(); targets.len()];
        for source in context.source_patterns {
            let group = source_tensors(&mut tensors, source)?;
            let (_, group) = Collected {
                tensors: vec![(source.clone(), group)],
            }
            .single()?;
            let parts = group.chunk(targets.len(), self.concat_dim)?;
            for (experts, part) in experts.iter_mut().zip(parts) {
                experts.extend(part.unbind(self.stack_dim)?);
            }
        }
        let mut decoupled = Collected::default();
        for (target, experts) in targets.iter().zip(experts) {
            for (index, expert) in experts.into_iter().enumerate() {
                decoupled.push(&indexed(target, index), expert);
            }
        }
        Ok(decoupled)
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(ErnieFuseAndSplitTextVisionExperts {
            stack_dim: self.stack_dim,
            concat_dim: self.concat_dim,
        }))
    }

    fn many_to_many(&self) -> bool {
        true
    }
}

fn source_tensors(tensors: &mut Collected, source: &str) -> Result<Vec<Operand>> {
    let found = tensors.take(source);
    found.ok_or_else(|| operation(format!("there is no tensor for `{source}`")))
}
