//! The loop: a model, its data, and how to train it.

mod batch_size;
mod evaluate;
mod events;
mod halves;
mod push;
mod resume;
mod room;
mod run;
mod source;
mod step;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use transformers_config::GenerationConfig;
use transformers_hub::HubOptions;
use transformers_modeling::{CancelToken, ModelInputs, ModelOutput, PreTrainedModel};
use transformers_tokenization::Tokenizer;

pub use evaluate::{EvalPrediction, PredictionOutput};
pub use run::TrainOutput;

use crate::callbacks::{DefaultFlowCallback, TrainerCallback};
use crate::data::{Array, Collator, Dataset, DefaultDataCollator, IterableDataset};
use crate::loss::StepLoss;
use crate::optimizers::Optimizer;
use crate::parameters::Named;
use crate::reporting::{JsonlReporter, TensorBoardReporter};
use crate::state::Logs;
use crate::{Result, Schedule, TrainerControl, TrainerError, TrainerState, TrainingArguments};

/// A loss of your own: of a micro-batch's inputs and outputs, and the number of labels of its step where that is known. It
/// is taken as it is: a step's gradient is the sum of its micro-batches' gradients.
pub type ComputeLoss =
    Box<dyn Fn(&ModelInputs, &ModelOutput, Option<usize>) -> Result<Tensor<1>> + Send + Sync>;
/// Metrics of the predictions for a whole set.
pub type ComputeMetrics = Box<dyn Fn(&EvalPrediction) -> Result<Logs> + Send>;
/// Makes less of a batch's logits before they are kept.
pub type PreprocessLogits = Box<dyn Fn(Array<f32>) -> Array<f32> + Send>;
/// Makes the model anew for every training.
pub type ModelInit = Box<dyn Fn() -> Result<Box<dyn PreTrainedModel>> + Send>;

/// Examples to train on.
#[derive(Clone)]
pub(crate) enum TrainData {
    /// By index.
    Map(Arc<dyn Dataset>),
    /// One after the other.
    Stream(Arc<dyn IterableDataset>),
}

/// Trains, evaluates and predicts as the reference's `Trainer` does.
///
/// ```no_run
/// use std::sync::Arc;
/// use transformers_modeling::AutoModelForCausalLM;
/// use transformers_trainer::data::{Example, Value};
/// use transformers_trainer::{Trainer, TrainingArguments};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let model = AutoModelForCausalLM::from_pretrained("org/model")?;
/// let ids = Value::Integers(vec![1, 5, 9, 2]);
/// let example = Example::new().with("input_ids", ids.clone()).with("labels", ids);
/// let args = TrainingArguments {
///     max_steps: 10,
///     ..TrainingArguments::new("out")
/// };
/// let mut trainer = Trainer::new(model.into_inner(), args)?.with_train_dataset(Arc::new(vec![example]));
/// let output = trainer.train()?;
/// println!("loss {}", output.training_loss);
/// trainer.save_model("out/final".as_ref())?;
/// # Ok(())
/// # }
/// ```
pub struct Trainer {
    pub(crate) model: Option<Box<dyn PreTrainedModel>>,
    pub(crate) args: TrainingArguments,
    pub(crate) collator: Box<dyn Collator>,
    pub(crate) train_data: Option<TrainData>,
    pub(crate) eval_data: Vec<(Option<String>, Arc<dyn Dataset>)>,
    pub(crate) processing_class: Option<Arc<Tokenizer>>,
    pub(crate) callbacks: Vec<Box<dyn TrainerCallback>>,
    pub(crate) compute_loss: Option<ComputeLoss>,
    pub(crate) compute_metrics: Option<ComputeMetrics>,
    pub(crate) preprocess_logits: Option<PreprocessLogits>,
    pub(crate) model_init: Option<ModelInit>,
    pub(crate) loss: StepLoss,
    pub(crate) optimizer: Option<Optimizer>,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) cancel: CancelToken,
    pub(crate) state: TrainerState,
    pub(crate) control: TrainerControl,
    pub(crate) devices: Vec<Device>,
    pub(crate) generation: Option<GenerationConfig>,
    pub(crate) progress: run::Progress,
    /// With `bf16`, while it trains: the weights in f32.
    pub(crate) masters: Option<Named<Vec<f32>>>,
    pub(crate) hub: HubOptions,
    pub(crate) uploads: Option<push::Uploads>,
    /// Bytes that are free where a folder is.
    free_disk: fn(&std::path::Path) -> Option<u64>,
    trial: Option<(usize, Logs)>,
}

impl Trainer {
    /// A Trainer of a model.
    ///
    /// # Errors
    /// Arguments that do not go together.
    pub fn new(mut model: Box<dyn PreTrainedModel>, args: TrainingArguments) -> Result<Self> {
        let args = args.validated()?;
        model.info_mut().config.set("use_cache", args.use_cache);
        Ok(Self {
            loss: StepLoss::of(model.as_ref(), args.label_smoothing_factor),
            model: Some(model),
            collator: Box::new(DefaultDataCollator),
            train_data: None,
            eval_data: Vec::new(),
            processing_class: None,
            callbacks: callbacks(&args),
            args,
            compute_loss: None,
            compute_metrics: None,
            preprocess_logits: None,
            model_init: None,
            optimizer: None,
            schedule: None,
            cancel: CancelToken::default(),
            state: TrainerState::default(),
            control: TrainerControl::default(),
            devices: Vec::new(),
            generation: None,
            progress: run::Progress::default(),
            masters: None,
            hub: HubOptions::default(),
            uploads: None,
            free_disk: crate::disk::free,
            trial: None,
        })
    }

    /// A Trainer that makes its model anew for every training.
    ///
    /// # Errors
    /// As [`new`](Self::new), and what `init` gives.
    pub fn with_model_init(init: ModelInit, args: TrainingArguments) -> Result<Self> {
        let mut trainer = Self::new(init()?, args)?;
        trainer.model_init = Some(init);
        Ok(trainer)
    }

    /// Trains on these examples.
    #[must_use]
    pub fn with_train_dataset(mut self, dataset: Arc<dyn Dataset>) -> Self {
        self.train_data = Some(TrainData::Map(dataset));
        self
    }

    /// Trains on a stream, which needs `max_steps`; it begins anew when it ends.
    #[must_use]
    pub fn with_train_stream(mut self, dataset: Arc<dyn IterableDataset>) -> Self {
        self.train_data = Some(TrainData::Stream(dataset));
        self
    }

    /// Evaluates on these examples.
    #[must_use]
    pub fn with_eval_dataset(mut self, dataset: Arc<dyn Dataset>) -> Self {
        self.eval_data.push((None, dataset));
        self
    }

    /// Evaluates on these examples too; the names of their metrics begin with `eval_<name>_`.
    #[must_use]
    pub fn with_named_eval_dataset(
        mut self,
        name: impl Into<String>,
        dataset: Arc<dyn Dataset>,
    ) -> Self {
        self.eval_data.push((Some(name.into()), dataset));
        self
    }

    /// Makes batches with this collator; the default one pads nothing.
    #[must_use]
    pub fn with_data_collator(mut self, collator: impl Collator + 'static) -> Self {
        self.collator = Box::new(collator);
        self
    }

    /// Saves this tokenizer beside the model.
    #[must_use]
    pub fn with_processing_class(mut self, tokenizer: Arc<Tokenizer>) -> Self {
        self.processing_class = Some(tokenizer);
        self
    }

    /// Calls this, after those before.
    #[must_use]
    pub fn with_callback(mut self, callback: impl TrainerCallback + 'static) -> Self {
        self.callbacks.push(Box::new(callback));
        self
    }

    /// Trains by this loss (`compute_loss_func`).
    #[must_use]
    pub fn with_compute_loss(mut self, loss: ComputeLoss) -> Self {
        self.compute_loss = Some(loss);
        self
    }

    /// Computes metrics of evaluations.
    #[must_use]
    pub fn with_compute_metrics(mut self, metrics: ComputeMetrics) -> Self {
        self.compute_metrics = Some(metrics);
        self
    }

    /// Makes less of logits before they are kept for the metrics.
    #[must_use]
    pub fn with_preprocess_logits_for_metrics(mut self, preprocess: PreprocessLogits) -> Self {
        self.preprocess_logits = Some(preprocess);
        self
    }

    /// Trains on these devices side by side, each with a micro-batch of its own: a step has so many times more examples.
    #[must_use]
    pub fn with_devices(mut self, devices: Vec<Device>) -> Self {
        self.devices = devices;
        self
    }

    /// How the hub is reached where `push_to_hub` is on: its address, and the token unless `hub_token` is one.
    #[must_use]
    pub fn with_hub(mut self, options: HubOptions) -> Self {
        self.hub = options;
        self
    }

    /// Saves and stops after the step in which this token is cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// The number and the arguments of a trial, of which the state tells.
    pub(crate) fn set_trial(&mut self, trial: Option<(usize, Logs)>) {
        self.trial = trial;
    }

    /// How it trains.
    pub fn args(&self) -> &TrainingArguments {
        &self.args
    }

    /// How far it is.
    pub fn state(&self) -> &TrainerState {
        &self.state
    }

    /// The model.
    ///
    /// # Panics
    /// Never: it is away only within a step.
    pub fn model(&self) -> &dyn PreTrainedModel {
        self.model
            .as_deref()
            .expect("the model is here between steps")
    }

    /// The model, without the Trainer and without gradients.
    ///
    /// # Panics
    /// Never, as [`model`](Self::model).
    pub fn into_model(self) -> Box<dyn PreTrainedModel> {
        self.model().valid()
    }

    /// Writes the model, with its tokenizer, into a folder; with `push_to_hub`, into `output_dir` too, which is uploaded.
    ///
    /// # Errors
    /// What cannot be written; and as [`push_to_hub`](Self::push_to_hub).
    pub fn save_model(&mut self, folder: &std::path::Path) -> Result<()> {
        self.write_model(folder)?;
        if self.args.push_to_hub {
            self.push_to_hub("Model save")?;
        }
        Ok(())
    }

    fn write_model(&self, folder: &std::path::Path) -> Result<()> {
        match self.whole()? {
            Some(model) => model.save_pretrained(folder)?,
            None => self.model().save_pretrained(folder)?,
        }
        match &self.processing_class {
            Some(tokenizer) => Ok(tokenizer.save_pretrained(folder)?),
            None => Ok(()),
        }
    }
}

/// Those that every Trainer has: the flow of events, and the reporters of `report_to`.
fn callbacks(args: &TrainingArguments) -> Vec<Box<dyn TrainerCallback>> {
    let mut callbacks: Vec<Box<dyn TrainerCallback>> = vec![Box::new(DefaultFlowCallback)];
    if args.reports_to("tensorboard") {
        callbacks.push(Box::new(TensorBoardReporter::new()));
    }
    if args.reports_to("jsonl") {
        callbacks.push(Box::new(JsonlReporter::new(
            args.output_dir.join("log.jsonl"),
        )));
    }
    callbacks
}

/// An argument of the Trainer that is missing.
pub(crate) fn missing(name: &str, reason: &str) -> TrainerError {
    TrainerError::Argument {
        name: name.to_owned(),
        reason: reason.to_owned(),
    }
}
