//! Parameters on their way into a GGUF file: other names, and values laid out as llama.cpp reads them.

use std::collections::HashMap;

use crate::conversion::{Operand, operation};
use crate::conversion_mapping::gguf::{GGUF_MAPPINGS, GgufMapping, Stored};
use crate::{DType, HeadCounts, HostTensor, LazyTensor, Result, WeightsError};

impl GgufMapping {
    /// Parameters of a Hugging Face model as a file of `architecture` has them: under its names, and with their values
    /// changed as [`Stored`] says when they are written.
    ///
    /// # Errors
    /// If such a file has no place for one of them, or the rows of a projection do not divide into heads.
    pub fn file_tensors(
        architecture: &str,
        heads: HeadCounts,
        parameters: Vec<LazyTensor>,
    ) -> Result<Vec<LazyTensor>> {
        let mapping = Self::for_parameters(architecture, &parameters)?;
        let mut tensors: Vec<(String, Stored, Vec<LazyTensor>)> = Vec::new();
        let mut stacks: HashMap<String, usize> = HashMap::new();
        for parameter in parameters {
            let found = mapping.gguf_name(parameter.name());
            let (name, stored) = found.ok_or_else(|| no_place(architecture, &parameter))?;
            match stacks.get(&name) {
                Some(&stack) => tensors[stack].2.push(parameter),
                None => {
                    if stored == Stored::Stacked {
                        stacks.insert(name.clone(), tensors.len());
                    }
                    tensors.push((name, stored, vec![parameter]));
                }
            }
        }
        let tensor = |(name, stored, parts): (String, Stored, Vec<LazyTensor>)| {
            Ok(file_tensor(stored, heads, parts)?.renamed(name))
        };
        tensors.into_iter().map(tensor).collect()
    }

    /// The table that has a place for all parameters.
    fn for_parameters(architecture: &str, parameters: &[LazyTensor]) -> Result<&'static Self> {
        let mut tables = GGUF_MAPPINGS
            .iter()
            .filter(|mapping| mapping.architecture == architecture)
            .peekable();
        let first = tables.peek().copied().ok_or_else(|| {
            operation(format!(
                "there are no names for the architecture {architecture}"
            ))
        })?;
        let lacks = |table: &Self, tensor: &&LazyTensor| table.gguf_name(tensor.name()).is_none();
        let fits = |table: &&Self| !parameters.iter().any(|tensor| lacks(table, &tensor));
        match parameters.iter().find(|tensor| lacks(first, tensor)) {
            None => Ok(first),
            Some(lacking) => tables
                .find(fits)
                .ok_or_else(|| no_place(architecture, lacking)),
        }
    }
}

fn no_place(architecture: &str, tensor: &LazyTensor) -> WeightsError {
    operation(format!(
        "`{}` has no place in a GGUF file of the architecture {architecture}; write safetensors",
        tensor.name()
    ))
}

/// The tensor of a file that holds `parts`, of which there are several only where they are stacked.
fn file_tensor(
    stored: Stored,
    heads: HeadCounts,
    mut parts: Vec<LazyTensor>,
) -> Result<LazyTensor> {
    let Some(first) = parts.first() else {
        return Err(operation("a tensor has no parts".into()));
    };
    let shape = first.shape().to_vec();
    if stored == Stored::Stacked {
        return stacked(parts);
    }
    let tensor = parts.remove(0);
    let rows = shape.first().copied().unwrap_or_default();
    let order = heads.order(stored, rows);
    let order = order.map_err(|reason| operation(format!("`{}`: {reason}", tensor.name())))?;
    if let Some(order) = order {
        let dtype = tensor.dtype();
        return Ok(tensor.map(dtype, move |tensor| reordered(tensor, &order)));
    }
    Ok(match (stored, shape.as_slice()) {
        (Stored::PlusOne, _) => computed(tensor, |value| value + 1.0),
        (Stored::NegatedExponential, _) => computed(tensor, |value| -value.exp()),
        (Stored::Flat, &[.., 1, _]) => {
            let mut flat = shape.clone();
            flat.remove(shape.len() - 2);
            let target = flat.clone();
            tensor.reshaped(flat, move |tensor| tensor.reshape(&target))
        }
        (Stored::Transposed, &[rows, cols]) => {
            tensor.reshaped(vec![cols, rows], |tensor| tensor.transpose(0, 1))
        }
        _ => tensor,
    })
}

fn stacked(parts: Vec<LazyTensor>) -> Result<LazyTensor> {
    let bare = |part: &LazyTensor| Operand::of_shape(part.dtype(), part.shape());
    let whole = Operand::stack(parts.iter().map(bare).collect(), 0)?;
    let stack = move || {
        let read = |part: LazyTensor| Ok(Operand::from(part.into_tensor()?.1));
        let parts = parts.into_iter().map(read).collect::<Result<_>>()?;
        Operand::stack(parts, 0)?.into_values()
    };
    let (dtype, shape) = (whole.dtype(), whole.shape().to_vec());
    Ok(LazyTensor::deferred("", dtype, shape, stack))
}

/// Row `row` of the model in the place of row `order[row]`.
fn reordered(tensor: HostTensor, order: &[usize]) -> Result<HostTensor> {
    let len = tensor
        .bytes()
        .len()
        .checked_div(order.len())
        .unwrap_or_default();
    let mut bytes = vec![0; tensor.bytes().len()];
    for (row, &stored) in order.iter().enumerate() {
        bytes[stored * len..][..len].copy_from_slice(&tensor.bytes()[row * len..][..len]);
    }
    HostTensor::new(bytes.into(), tensor.dtype(), tensor.shape().to_vec())
}

fn computed(tensor: LazyTensor, f: fn(f32) -> f32) -> LazyTensor {
    tensor.map(DType::F32, move |tensor| {
        let values = tensor.cast(DType::F32)?.aligned();
        let values = values.as_slice::<f32>().unwrap_or_default();
        let values = values.iter().map(|value| f(*value)).collect();
        HostTensor::from_vec(values, tensor.shape().to_vec())
    })
}
