//! A linear layer over the pooled vector (the reference's `Dense` module).

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;
use transformers_hub::ModelFiles;
use transformers_modeling::nn::{self, Activation};
use transformers_ops as ops;
use transformers_weights::{Checkpoint, DType, OpenOptions};

use super::files::{inside, read_json};
use crate::PipelineError;

#[derive(Debug, Deserialize)]
struct Config {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    /// A class of torch, for instance `torch.nn.modules.activation.Tanh`.
    #[serde(default = "tanh")]
    activation_function: String,
    #[serde(default)]
    use_residual: bool,
    module_input_name: Option<String>,
}

fn yes() -> bool {
    true
}

fn tanh() -> String {
    "Tanh".to_owned()
}

/// `activation(x Wᵀ + b)`, and the input itself on top where the module is residual.
#[derive(Debug)]
pub(crate) struct Dense {
    /// `[out, in]`.
    weight: Tensor<2>,
    /// `[out]`.
    bias: Option<Tensor<1>>,
    activation: Option<Activation>,
    /// The input is added to the output.
    residual: bool,
    /// `[out, in]`: what brings the input to the output's width, where it differs.
    projection: Option<Tensor<2>>,
}

impl Dense {
    /// Reads the module in the folder `name` of a model. Its `config.json` names the shapes, so that a wrong file shows.
    pub fn load(files: &ModelFiles, name: &str, device: &Device) -> Result<Self, PipelineError> {
        let path = files.require(&inside(name, "config.json"))?;
        let config: Config = read_json(&path)?;
        let weights = Weights::open(files.require(&inside(name, "model.safetensors"))?, device)?;
        let (input, output) = (config.in_features, config.out_features);
        let projection = |name| weights.tensor(name, [output, input]);
        Ok(Self {
            weight: projection("linear.weight")?,
            bias: config
                .bias
                .then(|| weights.tensor("linear.bias", [output]))
                .transpose()?,
            activation: activation(&config, &path)?,
            residual: config.use_residual,
            projection: (config.use_residual && input != output)
                .then(|| projection("residual.weight"))
                .transpose()?,
        })
    }

    /// `[batch, in]` to `[batch, out]`.
    pub fn forward(&self, x: Tensor<2>) -> Result<Tensor<2>, PipelineError> {
        let (found, expected) = (x.dims()[1], self.weight.dims()[1]);
        if found != expected {
            return Err(PipelineError::Features { found, expected });
        }
        let y = ops::linear(x.clone(), self.weight.clone(), self.bias.clone());
        let y = match self.activation {
            Some(activation) => ops::activate(y, activation),
            None => y,
        };
        Ok(match (self.residual, &self.projection) {
            (false, _) => y,
            (true, None) => y + x,
            (true, Some(weight)) => y + ops::linear(x, weight.clone(), None),
        })
    }
}

/// `None` is the identity.
fn activation(config: &Config, path: &Path) -> Result<Option<Activation>, PipelineError> {
    let invalid = |key, reason| PipelineError::InvalidKey {
        path: path.to_path_buf(),
        key,
        reason,
    };
    if let Some(name) = config
        .module_input_name
        .as_deref()
        .filter(|name| *name != "sentence_embedding")
    {
        let reason =
            format!("{name:?} is not supported; only a dense layer over \"sentence_embedding\" is");
        return Err(invalid("module_input_name", reason));
    }
    let class = config
        .activation_function
        .rsplit('.')
        .next()
        .unwrap_or_default();
    if class == "Identity" {
        return Ok(None);
    }
    nn::activation("activation_function", &class.to_lowercase())
        .map(Some)
        .map_err(|error| invalid("activation_function", error.to_string()))
}

struct Weights<'a> {
    checkpoint: Checkpoint,
    path: PathBuf,
    device: &'a Device,
}

impl<'a> Weights<'a> {
    fn open(path: PathBuf, device: &'a Device) -> Result<Self, PipelineError> {
        let checkpoint = Checkpoint::open_file(&path, &OpenOptions::default())?;
        Ok(Self {
            checkpoint,
            path,
            device,
        })
    }

    /// A small tensor, copied and as f32: what follows the pooling is computed in it.
    fn tensor<const D: usize>(
        &self,
        name: &'static str,
        shape: [usize; D],
    ) -> Result<Tensor<D>, PipelineError> {
        let tensor = self.checkpoint.tensor(name)?.cast(DType::F32)?.aligned();
        if tensor.shape() != shape {
            return Err(PipelineError::WeightShape {
                path: self.path.clone(),
                name,
                found: tensor.shape().to_vec(),
                expected: shape.to_vec(),
            });
        }
        let values = tensor
            .as_slice::<f32>()
            .expect("an aligned f32 tensor is a slice of f32")
            .to_vec();
        Ok(Tensor::from_data(
            TensorData::new(values, shape),
            self.device,
        ))
    }
}
