//! Where quantisation methods hook into conversions.

use std::fmt;
use std::sync::Arc;

use super::{Collected, ConversionContext, ConversionOp, Operand, operation};
use crate::{DType, HostTensor, Result};

/// Leaves everything as it is: what undoes a [`Dequantize`], since weights that were dequantised are saved so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity;

impl ConversionOp for Identity {
    fn convert(&self, tensors: Collected, _: &ConversionContext<'_>) -> Result<Collected> {
        Ok(tensors)
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(Self))
    }
}

type Rule = dyn Fn(Vec<HostTensor>) -> Result<HostTensor> + Send + Sync;

/// Makes one plain tensor of the first source (the quantised values) and those that belong to it, for instance scales.
///
/// As the first of a chain it serves operations that follow, which find the result under the first source.
#[derive(Clone)]
pub struct Dequantize {
    method: &'static str,
    dtype: DType,
    rule: Arc<Rule>,
}

impl Dequantize {
    /// `rule` gets the tensors of all sources in order, and gives one of `dtype` and of the first one's shape. `method`
    /// names it in messages.
    pub fn new(
        method: &'static str,
        dtype: DType,
        rule: impl Fn(Vec<HostTensor>) -> Result<HostTensor> + Send + Sync + 'static,
    ) -> Self {
        Self {
            method,
            dtype,
            rule: Arc::new(rule),
        }
    }
}

impl fmt::Debug for Dequantize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dequantize({} to {})", self.method, self.dtype)
    }
}

impl ConversionOp for Dequantize {
    fn convert(
        &self,
        mut tensors: Collected,
        context: &ConversionContext<'_>,
    ) -> Result<Collected> {
        let mut parts = Vec::new();
        for source in context.source_patterns {
            let found = tensors.take(source).unwrap_or_default();
            if found.len() != 1 {
                return Err(operation(format!(
                    "`{source}` has {} tensors, expected 1",
                    found.len()
                )));
            }
            parts.extend(found);
        }
        let shape = parts
            .first()
            .map(|part| part.shape().to_vec())
            .unwrap_or_default();
        let tensor = Operand::map(parts, self.dtype, &shape, |parts| (self.rule)(parts))?;
        let name = match context.target_patterns {
            [target] => target,
            _ => &context.source_patterns[0],
        };
        Ok(Collected::one(name, tensor))
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(Identity))
    }
}
