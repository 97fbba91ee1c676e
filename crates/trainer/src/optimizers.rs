//! Optimizers: rules that change one parameter by its gradient, and the state that they keep of each.
//!
//! Weights, gradients and states are slices on the host; states are f32 whatever the weights are.

mod adafactor;
mod adamw;
mod muon;
mod names;
mod rules;
mod schedule_free;

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use transformers_ops as ops;

pub use adafactor::Adafactor;
pub use adamw::AdamW;
pub use muon::Muon;
pub use names::NAMES;
pub(crate) use names::check_name;
pub use rules::{AdEMAMix, Adagrad, Lion, RmsProp, Sgd};
pub use schedule_free::ScheduleFree;

use crate::options::Options;
use crate::{Result, TrainerError, TrainingArguments};

/// What a rule keeps of one parameter.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ParameterState {
    /// Steps that it has taken.
    pub step: u64,
    /// Named arrays, each with its shape.
    pub buffers: BTreeMap<String, Buffer>,
}

/// An array of a state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buffer {
    /// Row by row.
    pub values: Vec<f32>,
    /// How long each dimension is.
    pub shape: Vec<usize>,
}

impl ParameterState {
    /// The array of this name; zeros where there is none yet.
    pub fn buffer(&mut self, name: &str, shape: &[usize]) -> &mut Vec<f32> {
        let buffer = self.buffers.entry(name.to_owned()).or_default();
        if buffer.values.is_empty() {
            buffer.values = ops::zeros(shape.iter().product());
            buffer.shape = shape.to_vec();
        }
        &mut buffer.values
    }

    /// Two arrays of one shape.
    pub fn two(&mut self, names: [&str; 2], shape: &[usize]) -> [&mut Vec<f32>; 2] {
        let mut buffers = names.map(|name| {
            self.buffer(name, shape);
            self.buffers.remove(name).unwrap_or_default()
        });
        for (name, buffer) in names.iter().zip(&mut buffers) {
            self.buffers
                .insert((*name).to_owned(), std::mem::take(buffer));
        }
        let mut found = self.buffers.iter_mut();
        let mut slots: [Option<&mut Vec<f32>>; 2] = [None, None];
        for (name, buffer) in &mut found {
            if let Some(at) = names.iter().position(|wanted| wanted == name) {
                slots[at] = Some(&mut buffer.values);
            }
        }
        slots.map(|slot| slot.expect("both were put in"))
    }
}

/// One parameter at one step.
#[derive(Debug)]
pub struct Update<'a> {
    /// Its name on disk.
    pub name: &'a str,
    /// Its shape.
    pub shape: &'a [usize],
    /// Its values, to be changed.
    pub weight: &'a mut [f32],
    /// Its gradient.
    pub grad: &'a [f32],
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// The weight decay of its group.
    pub weight_decay: f64,
}

/// How an optimizer changes a parameter.
pub trait Rule: Debug + Send + Sync {
    /// Takes a step; `state.step` is counted already and begins with 1.
    fn update(&self, update: Update<'_>, state: &mut ParameterState, shared: &Shared);

    /// The arrays of a parameter's state that will be needed. Those that are there before the first pass lie together;
    /// later ones would go between gradients, whose room then falls into pieces.
    fn prepare(&self, shape: &[usize], state: &mut ParameterState) {
        let _ = (shape, state);
    }

    /// What all parameters share is brought to the next step.
    fn begin(&self, learning_rate: f64, shared: &mut Shared) {
        let _ = (learning_rate, shared);
    }

    /// The values that are evaluated, made of those that are trained (`true`), or the way back; `false`: they are the same.
    fn swap(&self, weight: &mut [f32], state: &ParameterState, to_evaluated: bool) -> bool {
        let _ = (weight, state, to_evaluated);
        false
    }

    /// Whether evaluation and training have different values.
    fn has_two_faces(&self) -> bool {
        false
    }
}

/// Numbers that all parameters share.
pub type Shared = BTreeMap<String, f64>;

/// A rule with its states.
#[derive(Debug)]
pub struct Optimizer {
    name: String,
    rule: Box<dyn Rule>,
    states: BTreeMap<String, ParameterState>,
    shared: Shared,
}

#[derive(Serialize, Deserialize)]
struct Numbers {
    optimizer: String,
    steps: BTreeMap<String, u64>,
    shared: BTreeMap<String, String>,
}

impl Optimizer {
    /// An optimizer of a rule of your own; its name is kept with its state.
    pub fn new(name: impl Into<String>, rule: impl Rule + 'static) -> Self {
        Self {
            name: name.into(),
            rule: Box::new(rule),
            states: BTreeMap::new(),
            shared: Shared::new(),
        }
    }

    /// The optimizer that `optim` names.
    ///
    /// # Errors
    /// One that is not known here, or `optim_args` that it does not take.
    pub fn from_arguments(args: &TrainingArguments, total_steps: u64) -> Result<Self> {
        let values = optim_args(args.optim_args.as_deref().unwrap_or_default())?;
        let mut options = Options::new("optim_args", &values);
        let betas = [args.adam_beta1, args.adam_beta2];
        let epsilon = args.adam_epsilon;
        let name = args.optim.as_str();
        check_name(name).map_err(|reason| unsupported(&reason))?;
        let rule: Box<dyn Rule> = match name {
            "adamw_torch" | "adamw_torch_fused" | "paged_adamw_32bit" => {
                Box::new(AdamW { betas, epsilon })
            }
            "adafactor" => Box::new(Adafactor::default()),
            "sgd" => Box::new(Sgd::new(&mut options)?),
            "adagrad" => Box::new(Adagrad::new(&mut options)?),
            "rmsprop" => Box::new(RmsProp::new(&mut options)?),
            "lion_32bit" | "paged_lion_32bit" => Box::new(Lion { betas }),
            "ademamix" | "paged_ademamix_32bit" => {
                Box::new(AdEMAMix::new(betas, epsilon, &mut options)?)
            }
            "schedule_free_adamw" => {
                let warmup = args.warmup(total_steps);
                Box::new(ScheduleFree::adamw(betas, epsilon, warmup, &mut options)?)
            }
            "schedule_free_radam" => Box::new(ScheduleFree::radam(betas, epsilon, &mut options)?),
            "schedule_free_sgd" => {
                Box::new(ScheduleFree::sgd(args.warmup(total_steps), &mut options)?)
            }
            "muon" => Box::new(Muon::new(AdamW { betas, epsilon }, &mut options)?),
            other => return Err(unsupported(&format!("`{other}` has no rule"))),
        };
        options.finish()?;
        Ok(Self {
            name: name.to_owned(),
            rule,
            states: BTreeMap::new(),
            shared: Shared::new(),
        })
    }

    /// Makes room for the states of parameters of these names and shapes.
    pub fn prepare(&mut self, shapes: &BTreeMap<String, Vec<usize>>) {
        for (name, shape) in shapes {
            let state = self.states.entry(name.clone()).or_default();
            self.rule.prepare(shape, state);
        }
    }

    /// A step of all parameters begins.
    pub fn begin_step(&mut self, learning_rate: f64) {
        self.rule.begin(learning_rate, &mut self.shared);
    }

    /// Takes a step of one parameter.
    pub fn update(&mut self, update: Update<'_>) {
        let state = self.states.entry(update.name.to_owned()).or_default();
        state.step += 1;
        self.rule.update(update, state, &self.shared);
    }

    /// Whether evaluation and training have different weights, as under schedule-free optimizers.
    pub fn has_two_faces(&self) -> bool {
        self.rule.has_two_faces()
    }

    /// Turns trained weights of a parameter into evaluated ones, or back; says whether anything changed.
    pub fn swap(&self, name: &str, weight: &mut [f32], to_evaluated: bool) -> bool {
        self.states
            .get(name)
            .is_some_and(|state| self.rule.swap(weight, state, to_evaluated))
    }

    /// Everything that a resumed training needs, as a safetensors file: `<buffer>.<parameter>` beside numbers in its
    /// metadata.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let trained = || self.states.iter().filter(|(_, state)| state.step > 0);
        let numbers = Numbers {
            optimizer: self.name.clone(),
            steps: trained()
                .map(|(name, state)| (name.clone(), state.step))
                .collect(),
            shared: self
                .shared
                .iter()
                .map(|(name, value)| (name.clone(), value.to_string()))
                .collect(),
        };
        let numbers = serde_json::to_string(&numbers).map_err(invalid)?;
        let mut views = Vec::new();
        for (parameter, state) in trained() {
            for (name, buffer) in &state.buffers {
                let bytes: &[u8] = bytemuck::cast_slice(&buffer.values);
                let shape = buffer.shape.clone();
                let view =
                    safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, bytes);
                views.push((format!("{name}.{parameter}"), view.map_err(invalid)?));
            }
        }
        let metadata = [("state".to_owned(), numbers)].into_iter().collect();
        safetensors::serialize(views, Some(metadata)).map_err(invalid)
    }

    /// Goes on with the state of [`to_safetensors`](Self::to_safetensors). `shapes` are those of the parameters.
    ///
    /// # Errors
    /// It is damaged, of another optimizer, or of another model.
    pub fn restore(&mut self, bytes: &[u8], shapes: &BTreeMap<String, Vec<usize>>) -> Result<()> {
        let file = safetensors::SafeTensors::deserialize(bytes).map_err(invalid)?;
        let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).map_err(invalid)?;
        let numbers = metadata
            .metadata()
            .as_ref()
            .and_then(|map| map.get("state"));
        let numbers = numbers.ok_or_else(|| invalid("it has no `state` in its metadata"))?;
        let numbers: Numbers = serde_json::from_str(numbers).map_err(invalid)?;
        if numbers.optimizer != self.name {
            let (saved, asked) = (&numbers.optimizer, &self.name);
            return Err(invalid(format!(
                "it was saved by `{saved}` and `optim` is `{asked}`"
            )));
        }
        let mut states = BTreeMap::new();
        for (name, step) in numbers.steps {
            if !shapes.contains_key(&name) {
                return Err(invalid(format!(
                    "the model has no parameter `{name}`: is the checkpoint of another model?"
                )));
            }
            let buffers = BTreeMap::new();
            states.insert(name, ParameterState { step, buffers });
        }
        for (key, view) in file.tensors() {
            let parts = key.split_once('.');
            let (buffer, name) = parts.ok_or_else(|| invalid(format!("what is `{key}`?")))?;
            let state = states
                .get_mut(name)
                .ok_or_else(|| invalid(format!("what is `{key}`?")))?;
            let shape = &shapes[name];
            let fits = view.dtype() == safetensors::Dtype::F32
                && view.shape().iter().product::<usize>() <= shape.iter().product::<usize>().max(1);
            if !fits || (view.shape().len() == shape.len() && view.shape() != shape) {
                let found = view.shape();
                return Err(invalid(format!(
                    "`{key}` is {found:?} and the parameter {shape:?}"
                )));
            }
            let values = bytemuck::pod_collect_to_vec(view.data());
            let shape = view.shape().to_vec();
            state
                .buffers
                .insert(buffer.to_owned(), Buffer { values, shape });
        }
        let shared = numbers
            .shared
            .into_iter()
            .map(|(name, value)| Some((name, value.parse().ok()?)));
        self.shared = shared
            .collect::<Option<_>>()
            .ok_or_else(|| invalid("a number is none"))?;
        self.states = states;
        Ok(())
    }
}

fn unsupported(reason: &str) -> TrainerError {
    TrainerError::InvalidOption {
        name: "optim",
        reason: reason.to_owned(),
    }
}

fn invalid(reason: impl ToString) -> TrainerError {
    TrainerError::InvalidState {
        what: "the optimizer",
        reason: reason.to_string(),
    }
}

/// `key=value,key=value`.
fn optim_args(text: &str) -> Result<Map<String, Value>> {
    let pairs = text
        .split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.trim().into())),
            None => Err(TrainerError::InvalidOption {
                name: "optim_args",
                reason: format!("`{pair}` is not of the form key=value"),
            }),
        })
        .collect()
}
