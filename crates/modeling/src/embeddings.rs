//! The tables of a model: input embeddings and the output layer.

use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType as BurnDType, Device, GradientCheckpointingStrategy, Tensor};
use transformers_weights::DType;

use crate::erased::Restore;
use crate::load::Dtype;
use crate::origin::Dtypes;
use crate::parameters::{ParameterPath, follow_path};
use crate::{Head, ModelError, PreTrainedModel};

/// The layers that lead from states to the vocabulary, by the ends of their names.
const OUTPUTS: &[&str] = &[
    "lm_head.weight",
    "embed_out.weight",
    "lm_head.decoder.weight",
    "predictions.decoder.weight",
    "decoder.weight",
    "generator_lm_head.weight",
    "vocab_projector.weight",
];

impl dyn PreTrainedModel + '_ {
    /// The table of the tokens' vectors, `[vocab, hidden]`; `None` where it is in quantised blocks.
    pub fn get_input_embeddings(&self) -> Option<Tensor<2>> {
        let name = self.input_name()?;
        self.matrix(|found| found == name)
    }

    /// Another table of the same shape.
    ///
    /// # Errors
    /// A table of another shape: change the number of rows with `resize_token_embeddings`.
    pub fn with_input_embeddings(
        &self,
        table: Tensor<2>,
    ) -> Result<Box<dyn PreTrainedModel>, ModelError> {
        let old = self.get_input_embeddings();
        let expected = old.map_or([0, 0], |old| old.dims());
        let found = table.dims();
        match self.input_name().filter(|_| found == expected) {
            Some(name) => Ok(self.with_parameter(move |other| other == name, table)),
            None => Err(ModelError::InputShape {
                name: "the embedding",
                found,
                expected,
            }),
        }
    }

    /// The weight that leads to the vocabulary, `[vocab, hidden]`: the embedding's where the two are tied, and `None` of
    /// models without such a head.
    pub fn get_output_embeddings(&self) -> Option<Tensor<2>> {
        let head = self.info().origin.head?;
        let vocabulary = [
            Head::CausalLM,
            Head::MaskedLM,
            Head::Seq2SeqLM,
            Head::PreTraining,
        ];
        if !vocabulary.contains(&head) {
            return None;
        }
        self.matrix(is_output)
            .or_else(|| self.get_input_embeddings())
    }

    /// The same model with its weights in `dtype`. What its class keeps in f32 stays there, and so do adapters, and norms and biases on
    /// the CPU, whose values are rounded all the same.
    ///
    /// # Errors
    /// [`Dtype::Auto`], which names none.
    pub fn with_dtype(&self, dtype: Dtype) -> Result<Box<dyn PreTrainedModel>, ModelError> {
        let dtype = match dtype {
            Dtype::Float32 => DType::F32,
            Dtype::Float16 => DType::F16,
            Dtype::BFloat16 => DType::BF16,
            Dtype::Auto => return Err(ModelError::UnknownDtype(dtype.to_string())),
        };
        let mut model = self.boxed_clone();
        let model_type = self.info().config.model_type();
        model.info_mut().origin.set_dtype(dtype, model_type);
        let mut cast = Cast {
            path: ParameterPath::default(),
            dtypes: model.info().origin.dtypes.clone(),
        };
        Ok(model.map_parameters(&mut Restore(&mut cast)))
    }

    /// The same model, of which a backward pass keeps less and computes it again: the same gradients with less memory. In
    /// host memory, of every layer of a decoder the input is kept and all else computed again, unless its adapters have
    /// dropout; of other models and elsewhere, what is cheap to compute. To be called after `train`; a model that follows
    /// no gradients stays as it is.
    pub fn with_gradient_checkpointing(&self) -> Box<dyn PreTrainedModel> {
        let mut model = self.boxed_clone();
        model.info_mut().gradient_checkpointing = true;
        let layers = model.recomputes_layers();
        model.map_parameters(&mut Restore(&mut Checkpointing { layers }))
    }

    /// The first table that has a row for every token.
    pub(crate) fn input_name(&self) -> Option<String> {
        let mut tables = Tables::default();
        self.visit_parameters(&mut Restore(&mut tables));
        tables.found.into_iter().next()
    }

    fn matrix(&self, is_wanted: impl Fn(&str) -> bool) -> Option<Tensor<2>> {
        let mut matrix = Matrix {
            path: ParameterPath::default(),
            is_wanted,
            found: None,
        };
        self.visit_parameters(&mut Restore(&mut matrix));
        matrix.found
    }

    /// The model with `value` in the place of the matrix of that name.
    pub(crate) fn with_parameter(
        &self,
        is_wanted: impl Fn(&str) -> bool,
        value: Tensor<2>,
    ) -> Box<dyn PreTrainedModel> {
        let mut replace = Replace {
            path: ParameterPath::default(),
            is_wanted,
            value: Some(value),
        };
        self.boxed_clone()
            .map_parameters(&mut Restore(&mut replace))
    }
}

/// Whether a parameter is the weight of an output layer.
pub(crate) fn is_output(name: &str) -> bool {
    let before = |end: &&str| name.strip_suffix(*end);
    let mut found = OUTPUTS.iter().filter_map(before);
    found.any(|before| before.is_empty() || before.ends_with('.'))
}

#[derive(Default)]
struct Tables {
    path: ParameterPath,
    found: Vec<String>,
}

impl ModuleVisitor for Tables {
    follow_path!();
    fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<D>>) {
        if self.path.is_embedding() {
            self.found.push(self.path.name());
        }
    }
}

struct Matrix<F> {
    path: ParameterPath,
    is_wanted: F,
    found: Option<Tensor<2>>,
}

impl<F: Fn(&str) -> bool> ModuleVisitor for Matrix<F> {
    follow_path!();
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D == 2 && self.found.is_none() && (self.is_wanted)(&self.path.name()) {
            let value = param.val();
            let shape = [value.dims()[0], value.dims()[D - 1]];
            self.found = Some(value.reshape(shape));
        }
    }
}

struct Replace<F> {
    path: ParameterPath,
    is_wanted: F,
    value: Option<Tensor<2>>,
}

impl<F: Fn(&str) -> bool> ModuleMapper for Replace<F> {
    follow_path!();
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D != 2 || !(self.is_wanted)(&self.path.name()) {
            return param;
        }
        match self.value.take() {
            Some(value) => param.map(|old| {
                let value = value.reshape(old.dims()).cast(old.dtype());
                let value = match old.is_autodiff() {
                    true => Tensor::from_inner(value.without_autodiff()),
                    false => value,
                };
                value.set_require_grad(old.is_require_grad())
            }),
            None => param,
        }
    }
}

/// burn's own checkpointing, where `layers` do not do it.
struct Checkpointing {
    layers: bool,
}

impl ModuleMapper for Checkpointing {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        const AGAIN: GradientCheckpointingStrategy = GradientCheckpointingStrategy::Balanced;
        param.map(|value| {
            let by_layers = self.layers && value.device() == Device::flex();
            match value.is_autodiff() && !by_layers {
                true => value.with_gradient_checkpointing_strategy(AGAIN),
                false => value,
            }
        })
    }
}

struct Cast {
    path: ParameterPath,
    dtypes: Dtypes,
}

impl ModuleMapper for Cast {
    follow_path!();
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.path.adapter().is_some() {
            return param;
        }
        let (name, buffer) = (self.path.name(), self.path.is_buffer());
        let dtype = match buffer {
            true => self.dtypes.of_buffer(&name),
            false => self.dtypes.of_parameter(&name),
        };
        let dtype = match dtype {
            DType::F16 => BurnDType::F16,
            DType::BF16 => BurnDType::BF16,
            _ => BurnDType::F32,
        };
        let weight = self.path.is_weight();
        param.map(|value| {
            let in_f32 = buffer || !weight && value.device() == Device::flex();
            let require_grad = value.is_require_grad();
            let value = match in_f32 {
                true => value.cast(dtype).cast(BurnDType::F32),
                false => value.cast(dtype),
            };
            value.detach().set_require_grad(require_grad)
        })
    }
}
