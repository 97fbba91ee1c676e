//! A tensor to save, of which everything but the values is known.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::conversion::{ModelFacts, Operand, operation};
use crate::{DType, HostTensor, Result, WeightConverter};

/// A tensor with its name, whose values may still have to be converted: a checkpoint is written with no more of it in memory
/// than a conversion needs.
#[derive(Debug)]
pub struct LazyTensor {
    pub(crate) name: String,
    dtype: DType,
    shape: Vec<usize>,
    values: Values,
}

enum Values {
    Here(HostTensor),
    /// Read when they are asked for.
    Deferred(Box<dyn FnOnce() -> Result<HostTensor> + Send>),
    /// The output of this name of a conversion.
    Of(Arc<Group>, String),
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Here(_) => "here",
            Self::Deferred(_) => "to be read",
            Self::Of(..) => "to be converted",
        })
    }
}

impl From<(String, HostTensor)> for LazyTensor {
    fn from((name, tensor): (String, HostTensor)) -> Self {
        Self {
            name,
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            values: Values::Here(tensor),
        }
    }
}

impl LazyTensor {
    /// A tensor whose values `read` gives when they are asked for, once: they come from a device, or are to be rounded.
    ///
    /// ```
    /// use transformers_weights::{DType, HostTensor, LazyTensor};
    ///
    /// # fn main() -> transformers_weights::Result<()> {
    /// let lazy = LazyTensor::deferred("w", DType::F32, vec![2], || HostTensor::from_vec(vec![1.0_f32, 2.0], vec![2]));
    /// let (name, tensor) = lazy.into_tensor()?;
    /// assert_eq!((name.as_str(), tensor.len()), ("w", 2));
    /// # Ok(())
    /// # }
    /// ```
    pub fn deferred(
        name: impl Into<String>,
        dtype: DType,
        shape: Vec<usize>,
        read: impl FnOnce() -> Result<HostTensor> + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            dtype,
            shape,
            values: Values::Deferred(Box::new(read)),
        }
    }

    /// The tensor under another name.
    #[must_use]
    pub fn renamed(self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..self
        }
    }

    /// The tensor with `change` made to its values when they are asked for, of type `dtype` and the same shape.
    #[must_use]
    pub fn map(
        self,
        dtype: DType,
        change: impl FnOnce(HostTensor) -> Result<HostTensor> + Send + 'static,
    ) -> Self {
        let (name, shape) = (self.name.clone(), self.shape.clone());
        Self::deferred(name, dtype, shape, move || change(self.into_tensor()?.1))
    }

    /// The tensor laid out anew as `change` does, in another shape.
    pub(crate) fn reshaped(
        self,
        shape: Vec<usize>,
        change: impl FnOnce(Operand) -> Result<Operand> + Send + 'static,
    ) -> Self {
        let (name, dtype) = (self.name.clone(), self.dtype);
        Self::deferred(name, dtype, shape, move || {
            change(self.into_tensor()?.1.into())?.into_values()
        })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sizes of the dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Bytes of the values.
    pub(crate) fn byte_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }

    /// Elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The name and the tensor, converted.
    ///
    /// # Errors
    /// If it cannot be read or an operation fails, or the tensor is of another type or shape than was said.
    pub fn into_tensor(self) -> Result<(String, HostTensor)> {
        let tensor = match self.values {
            Values::Here(tensor) => tensor,
            Values::Deferred(read) => read()?,
            Values::Of(group, output) => group.take(&output)?,
        };
        if tensor.dtype() != self.dtype || tensor.shape() != self.shape {
            return Err(operation(format!(
                "`{}` was announced as {} of shape {:?} and is {} of shape {:?}",
                self.name,
                self.dtype,
                self.shape,
                tensor.dtype(),
                tensor.shape()
            )));
        }
        Ok((self.name, tensor))
    }
}

/// Tensors that are converted together, once one of the results is asked for.
pub(crate) struct Group {
    converter: WeightConverter,
    first_target: String,
    model: Arc<ModelFacts>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    collected: Option<Vec<(usize, LazyTensor)>>,
    converted: HashMap<String, HostTensor>,
}

impl Group {
    /// The results of `converter` for `collected`, under the names that `rename` makes of the converter's.
    pub(crate) fn outputs(
        converter: WeightConverter,
        first_target: String,
        collected: Vec<(usize, LazyTensor)>,
        model: &Arc<ModelFacts>,
        mut rename: impl FnMut(&str) -> Result<String>,
    ) -> Result<Vec<LazyTensor>> {
        let bare = |(source, tensor): &(usize, LazyTensor)| {
            (*source, Operand::of_shape(tensor.dtype(), tensor.shape()))
        };
        let bare = collected.iter().map(bare).collect();
        let outputs = converter.convert(&first_target, bare, model)?;
        let group = Arc::new(Self {
            converter,
            first_target,
            model: Arc::clone(model),
            state: Mutex::new(State {
                collected: Some(collected),
                converted: HashMap::new(),
            }),
        });
        let lazy = |(output, operand): (String, Operand)| {
            Ok(LazyTensor {
                name: rename(&output)?,
                dtype: operand.dtype(),
                shape: operand.shape().to_vec(),
                values: Values::Of(Arc::clone(&group), output),
            })
        };
        outputs.into_iter().map(lazy).collect()
    }

    fn take(&self, output: &str) -> Result<HostTensor> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(collected) = state.collected.take() {
            let read = |(source, tensor): (usize, LazyTensor)| {
                let (_, tensor) = tensor.into_tensor()?;
                Ok((source, tensor.into()))
            };
            let operands = collected.into_iter().map(read).collect::<Result<_>>()?;
            for (name, operand) in
                self.converter
                    .convert(&self.first_target, operands, &self.model)?
            {
                let tensor = operand.into_tensor()?;
                state.converted.extend(tensor.map(|tensor| (name, tensor)));
            }
        }
        let tensor = state.converted.remove(output);
        tensor.ok_or_else(|| operation(format!("the conversion did not give `{output}`")))
    }
}
