//! Transforms that turn tensors into other tensors.

use std::sync::Arc;

use super::pattern::Patterns;
use crate::conversion::{Collected, ConversionContext, ConversionOp, ModelFacts, Operand};
use crate::{Result, WeightsError};

/// Tensors whose names match the sources become those that the targets name, by a chain of operations.
///
/// Several sources become one target, or one source several; operations that say so take several to several. A `*` stands
/// for an index: all tensors that differ only in it are collected in natural order.
///
/// The separate projections of a checkpoint as one of the model:
///
/// ```
/// use std::sync::Arc;
/// use transformers_weights::conversion::Concatenate;
/// use transformers_weights::{Checkpoint, HostTensor, LoadRules, WeightConverter, plan};
///
/// # fn main() -> transformers_weights::Result<()> {
/// let fuse = WeightConverter::new(
///     &["self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"],
///     &["self_attn.qkv_proj.weight"],
///     vec![Arc::new(Concatenate::new(0))],
/// )?;
///
/// let rows = |name: &str, value: f32| {
///     let tensor = HostTensor::from_vec(vec![value; 4], vec![2, 2])?;
///     Ok::<_, transformers_weights::WeightsError>((format!("layers.0.self_attn.{name}.weight"), tensor))
/// };
/// let checkpoint = Checkpoint::from_tensors([rows("q_proj", 1.0)?, rows("k_proj", 2.0)?, rows("v_proj", 3.0)?]);
/// let parameters = [("layers.0.self_attn.qkv_proj.weight".to_owned(), vec![6, 2])];
/// let transforms = [fuse.into()];
/// let rules = LoadRules { transforms: &transforms, ..LoadRules::default() };
///
/// let plan = plan(&parameters, &checkpoint, &rules)?;
/// assert!(plan.report.is_clean(), "{}", plan.report);
/// let fused = plan.load(&checkpoint)?;
/// let values = fused["layers.0.self_attn.qkv_proj.weight"].as_slice::<f32>();
/// assert_eq!(values, Some(&[1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 3.0][..]));
///
/// let restored = plan.revert(fused.into_iter().collect())?;
/// assert_eq!(restored.len(), 3);
/// for tensor in restored {
///     let (name, tensor) = tensor.into_tensor()?;
///     assert_eq!(tensor, checkpoint.tensor(&name)?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WeightConverter {
    pub(super) patterns: Patterns,
    operations: Vec<Arc<dyn ConversionOp>>,
}

impl WeightConverter {
    /// A converter of what `sources` match to `targets`, by `operations` in order.
    ///
    /// # Errors
    /// If a pattern is not a regular expression, there is no operation, or there are several sources and several targets
    /// and no operation that [takes them](ConversionOp::many_to_many).
    pub fn new(
        sources: &[&str],
        targets: &[&str],
        operations: Vec<Arc<dyn ConversionOp>>,
    ) -> Result<Self> {
        let patterns = Patterns::new(sources, targets)?;
        if operations.is_empty() {
            return Err(patterns.error("a converter needs an operation".into()));
        }
        let many_to_many = sources.len() > 1 && targets.len() > 1;
        if many_to_many && !operations.iter().any(|operation| operation.many_to_many()) {
            let reason = "several sources become one target, or one source several";
            return Err(patterns.error(reason.into()));
        }
        Ok(Self {
            patterns,
            operations,
        })
    }

    /// The converter with one more operation before its own: where a quantisation method makes plain tensors of stored ones.
    #[must_use]
    pub fn preceded_by(mut self, operation: Arc<dyn ConversionOp>) -> Self {
        self.operations.insert(0, operation);
        self
    }

    /// The converter with one more operation after its own: where a quantisation method packs what came out.
    #[must_use]
    pub fn followed_by(mut self, operation: Arc<dyn ConversionOp>) -> Self {
        self.operations.push(operation);
        self
    }

    /// The name of the first target for `key`, and which source matched.
    pub(super) fn first_target(&self, key: &str) -> Result<Option<(String, usize)>> {
        let found = self.patterns.find(key)?;
        Ok(found.map(|found| (found.replace(&self.patterns.targets()[0]), found.source)))
    }

    /// The converter with the operations undone, last one first.
    ///
    /// # Errors
    /// If an operation cannot be undone.
    pub fn reverse(&self) -> Result<Self> {
        let undo = |operation: &Arc<dyn ConversionOp>| {
            operation
                .reverse()
                .ok_or_else(|| WeightsError::Irreversible {
                    operation: format!("{operation:?}"),
                    targets: self.patterns.targets().join(", "),
                })
        };
        let operations = self
            .operations
            .iter()
            .rev()
            .map(undo)
            .collect::<Result<_>>()?;
        let (sources, targets) = self.patterns.written();
        let mut reversed = Self::new(&targets, &sources, operations)?;
        reversed.patterns = reversed.patterns.scoped_like(&self.patterns);
        Ok(reversed)
    }

    /// Runs the operations on the tensors collected for the target `first_target`, each with the source that matched it,
    /// in natural order of their names. Gives the results under their full names.
    pub(crate) fn convert(
        &self,
        first_target: &str,
        collected: Vec<(usize, Operand)>,
        model: &ModelFacts,
    ) -> Result<Vec<(String, Operand)>> {
        let mut tensors = Collected::default();
        for (source, tensor) in collected {
            tensors.push(&self.patterns.sources()[source], tensor);
        }
        let context = ConversionContext {
            source_patterns: self.patterns.sources(),
            target_patterns: self.patterns.targets(),
            first_target,
            model,
        };
        for operation in &self.operations {
            tensors = operation.convert(tensors, &context).map_err(|source| {
                WeightsError::Conversion {
                    target: first_target.to_owned(),
                    operation: format!("{operation:?}"),
                    source: Box::new(source),
                }
            })?;
        }
        tensors.into_named(first_target)
    }

    /// The full names of all targets, for tensors that found no place in the model.
    pub(crate) fn target_names(&self, first_target: &str) -> Vec<String> {
        let targets = self.patterns.targets();
        let name = |target: &String| first_target.replace(&targets[0], target);
        targets.iter().map(name).collect()
    }
}
