//! Operations that lay the elements of one tensor out anew.

use std::sync::Arc;

use super::{Collected, ConversionContext, ConversionOp, Operand, operation};
use crate::Result;

/// Takes pairs apart along one dimension: elements 0, 2, 4 … first, then 1, 3, 5 …. For gates stored between the lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interleave {
    dim: usize,
    inverse: bool,
}

impl Interleave {
    /// Takes pairs apart along `dim`.
    pub fn new(dim: usize) -> Self {
        Self {
            dim,
            inverse: false,
        }
    }
}

impl ConversionOp for Interleave {
    fn convert(&self, tensors: Collected, context: &ConversionContext<'_>) -> Result<Collected> {
        let (_, tensor) = tensors.single()?;
        let shape = tensor.shape().to_vec();
        let size = shape
            .get(self.dim)
            .copied()
            .filter(|size| size.is_multiple_of(2));
        let half = size.map(|size| size / 2).ok_or_else(|| {
            operation(format!(
                "dimension {} of shape {shape:?} does not hold pairs",
                self.dim
            ))
        })?;
        let pairs = if self.inverse { [2, half] } else { [half, 2] };
        let mut paired = shape.clone();
        paired.splice(self.dim..=self.dim, pairs);
        let tensor = tensor
            .reshape(&paired)?
            .transpose(self.dim, self.dim + 1)?
            .reshape(&shape)?;
        // The first target, whether or not an operation that parts the tensor follows.
        Ok(Collected::one(&context.target_patterns[0], tensor))
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(Self {
            dim: self.dim,
            inverse: !self.inverse,
        }))
    }
}

/// Exchanges two dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transpose {
    dim0: usize,
    dim1: usize,
    check_dims: bool,
}

impl Transpose {
    /// Exchanges `dim0` and `dim1`.
    pub fn new(dim0: usize, dim1: usize) -> Self {
        Self {
            dim0,
            dim1,
            check_dims: false,
        }
    }

    /// Exchanges `dim0` and `dim1` where the tensor has not the shape of the model's parameter already.
    pub fn if_shapes_differ(dim0: usize, dim1: usize) -> Self {
        Self {
            check_dims: true,
            ..Self::new(dim0, dim1)
        }
    }
}

impl ConversionOp for Transpose {
    fn convert(&self, tensors: Collected, context: &ConversionContext<'_>) -> Result<Collected> {
        let name = context.only_name()?;
        let (_, tensor) = tensors.single()?;
        let fits =
            self.check_dims && tensor.shape() == context.model.shape(context.first_target)?;
        let tensor = if fits {
            tensor
        } else {
            tensor.transpose(self.dim0, self.dim1)?
        };
        Ok(Collected::one(name, tensor))
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(Self {
            dim0: self.dim1,
            dim1: self.dim0,
            check_dims: self.check_dims,
        }))
    }
}

/// Brings the rows of each head from rotary pairs that lie side by side to pairs that lie half a head apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PermuteForRope {
    subconfig_key: Option<String>,
    permute_layer_names: Option<Vec<String>>,
    inverse: bool,
}

impl PermuteForRope {
    /// Permutes every tensor; the number of heads is the configuration's `num_attention_heads`, 1 if it does not say.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the number of heads from this part of the configuration.
    #[must_use]
    pub fn heads_of(self, subconfig_key: &str) -> Self {
        Self {
            subconfig_key: Some(subconfig_key.to_owned()),
            ..self
        }
    }

    /// Permutes only tensors whose pattern holds one of these names.
    #[must_use]
    pub fn only(self, layer_names: &[&str]) -> Self {
        Self {
            permute_layer_names: Some(layer_names.iter().map(|&name| name.to_owned()).collect()),
            ..self
        }
    }

    fn permutes(&self, pattern: &str) -> bool {
        let names = self.permute_layer_names.as_ref();
        names.is_none_or(|names| names.iter().any(|name| pattern.contains(name)))
    }

    fn permute(&self, tensor: Operand, heads: usize) -> Result<Operand> {
        let shape = tensor.shape().to_vec();
        // Of anything but a matrix or a bias the reference leaves the order as it is.
        let (&[rows] | &[rows, _]) = shape.as_slice() else {
            return Ok(tensor);
        };
        if heads == 0 || !rows.is_multiple_of(2 * heads) {
            return Err(operation(format!(
                "the rows of shape {shape:?} do not divide into {heads} heads of even size"
            )));
        }
        let half = rows / heads / 2;
        let [outer, inner] = if self.inverse { [2, half] } else { [half, 2] };
        let by_head = [&[heads, outer, inner], &shape[1..]].concat();
        tensor.reshape(&by_head)?.transpose(1, 2)?.reshape(&shape)
    }
}

impl ConversionOp for PermuteForRope {
    fn convert(&self, tensors: Collected, context: &ConversionContext<'_>) -> Result<Collected> {
        let heads = context
            .model
            .number(self.subconfig_key.as_deref(), "num_attention_heads");
        let mut permuted = Collected::default();
        for (source, tensors) in tensors {
            let name = match (context.source_patterns, context.target_patterns) {
                ([_], [target]) => target,
                ([_], _) | (_, [_]) => &source,
                _ => {
                    return Err(operation(
                        "there are several sources and several targets".into(),
                    ));
                }
            };
            let (_, tensor) = Collected {
                tensors: vec![(source.clone(), tensors)],
            }
            .single()?;
            let tensor = match self.permutes(&source) {
                true => self.permute(tensor, heads.unwrap_or(1))?,
                false => tensor,
            };
            permuted.push(name, tensor);
        }
        Ok(permuted)
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(Self {
            inverse: !self.inverse,
            ..self.clone()
        }))
    }
}

/// Reads the kernel of a 3-D convolution whose stride is its size as the matrix that does the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv3dToLinear {
    in_channels: usize,
    kernel_size: [usize; 3],
}

impl Conv3dToLinear {
    /// For kernels [out, `in_channels`, `kernel_size`…].
    pub fn new(in_channels: usize, kernel_size: [usize; 3]) -> Self {
        Self {
            in_channels,
            kernel_size,
        }
    }
}

impl ConversionOp for Conv3dToLinear {
    fn convert(&self, tensors: Collected, context: &ConversionContext<'_>) -> Result<Collected> {
        let name = context.only_name()?;
        let (_, tensor) = tensors.single()?;
        let shape = tensor.shape().to_vec();
        let tensor = match shape.len() {
            5 => tensor.reshape(&[shape[0], shape[1..].iter().product()])?,
            2 => tensor,
            _ => {
                return Err(operation(format!(
                    "a kernel has 5 dimensions and a matrix 2, but the shape is {shape:?}"
                )));
            }
        };
        Ok(Collected::one(name, tensor))
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(LinearToConv3d {
            in_channels: self.in_channels,
            kernel_size: self.kernel_size,
        }))
    }
}

/// Reads a matrix as the kernel of a 3-D convolution whose stride is its size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinearToConv3d {
    in_channels: usize,
    kernel_size: [usize; 3],
}

impl LinearToConv3d {
    /// For kernels [out, `in_channels`, `kernel_size`…].
    pub fn new(in_channels: usize, kernel_size: [usize; 3]) -> Self {
        Self {
            in_channels,
            kernel_size,
        }
    }
}

impl ConversionOp for LinearToConv3d {
    fn convert(&self, tensors: Collected, context: &ConversionContext<'_>) -> Result<Collected> {
        let name = context.only_name()?;
        let (_, tensor) = tensors.single()?;
        let out = tensor.shape().first().copied().unwrap_or(1);
        let shape = [&[out, self.in_channels], self.kernel_size.as_slice()].concat();
        Ok(Collected::one(name, tensor.reshape(&shape)?))
    }

    fn reverse(&self) -> Option<Arc<dyn ConversionOp>> {
        Some(Arc::new(Conv3dToLinear {
            in_channels: self.in_channels,
            kernel_size: self.kernel_size,
        }))
    }
}
