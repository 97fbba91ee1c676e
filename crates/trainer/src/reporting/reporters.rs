//! Reporters: callbacks that write down what is logged.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{EventWriter, ModelCard, ModelCardRow};
use crate::{Event, Logs, Result, TrainerCallback, TrainerControl, TrainerError, TrainerState};

/// Writes what is logged to a file, an object on each line: `step`, and the numbers by name.
///
/// A resumed training goes on in the same file, without the lines of steps that it does again.
#[derive(Debug)]
pub struct JsonlReporter {
    path: PathBuf,
    file: Option<File>,
}

impl JsonlReporter {
    /// A file, made if need be.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            file: None,
        }
    }

    fn open(&self, step: u64) -> Result<File> {
        let failed = |error| TrainerError::io("writing", &self.path)(error);
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let kept = kept_lines(&self.path, step).map_err(TrainerError::io("reading", &self.path))?;
        let temporary = self
            .path
            .with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&temporary, kept)
            .and_then(|()| fs::rename(&temporary, &self.path))
            .and_then(|()| OpenOptions::new().append(true).open(&self.path))
            .map_err(failed)
    }
}

/// The lines of steps up to `step`; none for a training that begins.
fn kept_lines(path: &Path, step: u64) -> std::io::Result<String> {
    if step == 0 || !path.is_file() {
        return Ok(String::new());
    }
    let mut kept = String::new();
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        let value: Option<Value> = serde_json::from_str(&line).ok();
        if value.is_some_and(|value| value["step"].as_u64().is_some_and(|at| at <= step)) {
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

impl TrainerCallback for JsonlReporter {
    fn name(&self) -> &str {
        "JsonlReporter"
    }

    fn on_train_begin(&mut self, event: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        self.file = Some(self.open(event.state.global_step)?);
        Ok(())
    }

    fn on_log(&mut self, event: Event<'_>, _: &mut TrainerControl, logs: &Logs) -> Result<()> {
        let mut line = Map::from_iter([("step".to_owned(), Value::from(event.state.global_step))]);
        line.extend(
            logs.iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.open(event.state.global_step)?,
        };
        writeln!(file, "{}", Value::Object(line))
            .map_err(TrainerError::io("writing", &self.path))?;
        self.file = Some(file);
        Ok(())
    }
}

/// Writes what is logged to an event file for TensorBoard, under the reference's names: `train/loss`, `eval/loss`, and the
/// arguments and the config as texts.
///
/// The folder is that of the variable `TENSORBOARD_LOGGING_DIR`, or else `runs/<time>` in the output folder.
#[derive(Debug, Default)]
pub struct TensorBoardReporter {
    folder: Option<PathBuf>,
    writer: Option<EventWriter>,
}

impl TensorBoardReporter {
    /// By the variable, or in the output folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// In this folder.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: Some(folder.into()),
            writer: None,
        }
    }

    fn writer(&mut self, event: Event<'_>) -> Result<&mut EventWriter> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let variable = std::env::var_os("TENSORBOARD_LOGGING_DIR").map(PathBuf::from);
                let folder = self.folder.clone().or(variable).unwrap_or_else(|| {
                    let time = chrono::Local::now().format("%b%d_%H-%M-%S");
                    event.args.output_dir.join("runs").join(time.to_string())
                });
                EventWriter::create(folder)?
            }
        };
        Ok(self.writer.insert(writer))
    }
}

impl TrainerCallback for TensorBoardReporter {
    fn name(&self) -> &str {
        "TensorBoardCallback"
    }

    fn on_train_begin(&mut self, event: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        let args = serde_json::to_string_pretty(&event.args.to_json()).unwrap_or_default();
        let config = event.model.info().config.to_json_string();
        let writer = self.writer(event)?;
        writer.text("args", &args, 0)?;
        writer.text("model_config", &config, 0)
    }

    fn on_log(&mut self, event: Event<'_>, _: &mut TrainerControl, logs: &Logs) -> Result<()> {
        let writer = self.writer(event)?;
        for (name, value) in logs {
            if let Some(value) = value.as_f64() {
                writer.scalar(&tag(name), value, event.state.global_step)?;
            }
        }
        Ok(())
    }
}

/// `eval_loss` as `eval/loss`, `test_loss` as `test/loss`, all else as of training.
fn tag(name: &str) -> String {
    for prefix in ["eval", "test"] {
        if let Some(rest) = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('_'))
        {
            return format!("{prefix}/{rest}");
        }
    }
    format!("train/{name}")
}

/// Arguments that a model card names, where they are not null.
const HYPERPARAMETERS: [&str; 14] = [
    "learning_rate",
    "per_device_train_batch_size",
    "per_device_eval_batch_size",
    "seed",
    "gradient_accumulation_steps",
    "optim",
    "optim_args",
    "weight_decay",
    "lr_scheduler_type",
    "warmup_steps",
    "num_train_epochs",
    "max_steps",
    "label_smoothing_factor",
    "neftune_noise_alpha",
];

impl ModelCard {
    /// Writes it into a folder, as `README.md`.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join("README.md");
        let failed = |error| TrainerError::io("writing", &path)(error);
        fs::create_dir_all(folder).map_err(failed)?;
        fs::write(&path, self.to_markdown()).map_err(failed)
    }

    /// With the arguments and the evaluations of a training.
    #[must_use]
    pub fn of_training(mut self, args: &crate::TrainingArguments, state: &TrainerState) -> Self {
        let args = serde_json::to_value(args).unwrap_or_default();
        let named = HYPERPARAMETERS.iter().filter_map(|name| {
            let value = args.get(*name).filter(|value| !value.is_null())?;
            Some(((*name).to_owned(), value.clone()))
        });
        self.hyperparameters = named.collect();
        self.results = results(&state.log_history);
        self
    }
}

/// The evaluations among what was logged.
fn results(history: &[Logs]) -> Vec<ModelCardRow> {
    let mut rows = Vec::new();
    let mut training_loss = None;
    for logs in history {
        training_loss = logs.get("loss").and_then(Value::as_f64).or(training_loss);
        let metrics = logs.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("eval_")?;
            let speed = name == "runtime" || name.ends_with("_per_second");
            Some((name.to_owned(), value.as_f64().filter(|_| !speed)?))
        });
        let metrics: Vec<(String, f64)> = metrics.collect();
        if !metrics.is_empty() {
            rows.push(ModelCardRow {
                training_loss,
                epoch: logs
                    .get("epoch")
                    .and_then(Value::as_f64)
                    .unwrap_or_default(),
                step: logs.get("step").and_then(Value::as_u64).unwrap_or_default(),
                metrics,
            });
        }
    }
    rows
}

/// Writes the model card into the output folder when the training ends, and again for every evaluation after that.
#[derive(Debug, Clone)]
pub struct ModelCardReporter {
    card: ModelCard,
    ended: bool,
}

impl ModelCardReporter {
    /// With what the training does not know: the model's name, what it was made of, its licence.
    pub fn new(card: ModelCard) -> Self {
        Self { card, ended: false }
    }

    fn write(&self, event: Event<'_>) -> Result<()> {
        let card = self.card.clone().of_training(event.args, event.state);
        card.write(&event.args.output_dir)
    }
}

impl TrainerCallback for ModelCardReporter {
    fn name(&self) -> &str {
        "ModelCardReporter"
    }

    fn on_train_begin(&mut self, _: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        self.ended = false;
        Ok(())
    }

    fn on_train_end(&mut self, event: Event<'_>, _: &mut TrainerControl) -> Result<()> {
        self.ended = true;
        self.write(event)
    }

    fn on_evaluate(&mut self, event: Event<'_>, _: &mut TrainerControl, _: &Logs) -> Result<()> {
        match self.ended {
            true => self.write(event),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tags_are_those_of_the_reference() {
        for (name, expect) in [
            ("loss", "train/loss"),
            ("eval_loss", "eval/loss"),
            ("eval_second_loss", "eval/second_loss"),
            ("test_accuracy", "test/accuracy"),
            ("evaluation", "train/evaluation"),
        ] {
            assert_eq!(tag(name), expect);
        }
    }

    #[test]
    fn lines_of_later_steps_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        fs::write(
            &path,
            "{\"step\":1}\n{\"step\":2,\"loss\":1}\n{\"step\":3}\n{\"st",
        )
        .unwrap();
        assert_eq!(
            kept_lines(&path, 2).unwrap(),
            "{\"step\":1}\n{\"step\":2,\"loss\":1}\n"
        );
        assert_eq!(kept_lines(&path, 0).unwrap(), "");
        assert_eq!(kept_lines(&folder.path().join("none"), 2).unwrap(), "");
    }

    #[test]
    fn evaluations_become_rows() {
        let logs = |value: Value| value.as_object().unwrap().clone();
        let history = [
            logs(serde_json::json!({"loss": 2.0, "step": 1})),
            logs(
                serde_json::json!({"eval_loss": 1.5, "eval_runtime": 3.0, "eval_steps_per_second": 1.0, "epoch": 0.5, "step": 1}),
            ),
        ];
        let row = ModelCardRow {
            training_loss: Some(2.0),
            epoch: 0.5,
            step: 1,
            metrics: vec![("loss".to_owned(), 1.5)],
        };
        assert_eq!(results(&history), [row]);
    }
}
