//! The Trainer of a recipe.

use std::sync::Arc;

use serde_json::{Value, json};
use transformers_modeling::PreTrainedModel;
use transformers_tokenization::Tokenizer;

use super::{PreparedData, Recipe, Task};
use crate::data::{Array, Column};
use crate::reporting::{ModelCard, ModelCardReporter};
use crate::{EvalPrediction, Logs, Result, Trainer, TrainingArguments};

impl Recipe {
    /// The arguments, where the recipe says nothing by their defaults.
    ///
    /// # Errors
    /// Names or values that are not known.
    pub fn arguments(&self) -> Result<TrainingArguments> {
        let mut training = self.training.clone();
        let tokens = "include_num_input_tokens_seen";
        training
            .entry(tokens)
            .or_insert_with(|| "non_padding".into());
        TrainingArguments::from_json(&Value::Object(training))
    }

    /// A Trainer of a model on the data: with a model card in the end, and the accuracy
    /// of classifiers.
    ///
    /// # Errors
    /// Arguments that do not go together.
    pub fn trainer(
        &self,
        model: Box<dyn PreTrainedModel>,
        tokenizer: Tokenizer,
        data: PreparedData,
        args: TrainingArguments,
    ) -> Result<Trainer> {
        let card = ModelCardReporter::new(self.card(&args));
        let mut trainer = Trainer::new(model, args)?
            .with_train_dataset(Arc::new(data.train))
            .with_data_collator(data.collator)
            .with_processing_class(Arc::new(tokenizer))
            .with_callback(card);
        if let Some(validation) = data.validation {
            trainer = trainer.with_eval_dataset(Arc::new(validation));
        }
        Ok(match self.task {
            Task::TextClassification | Task::TokenClassification => trainer
                .with_preprocess_logits_for_metrics(Box::new(best))
                .with_compute_metrics(Box::new(|prediction| Ok(accuracy(prediction)))),
            _ => trainer,
        })
    }

    fn card(&self, args: &TrainingArguments) -> ModelCard {
        let name = args.output_dir.file_name().and_then(|name| name.to_str());
        let tag = match self.task {
            Task::CausalLm => "text-generation",
            Task::MaskedLm => "fill-mask",
            Task::TextClassification => "text-classification",
            Task::TokenClassification => "token-classification",
            Task::Seq2seq => "text2text-generation",
        };
        ModelCard {
            name: name.unwrap_or("model").to_owned(),
            base_model: self.model.clone(),
            dataset: Some(self.data.source().to_owned()),
            datasets: self.data.hub_dataset().into_iter().collect(),
            pipeline_tag: Some(tag.to_owned()),
            ..ModelCard::default()
        }
    }
}

/// The number of the largest logit of each row.
fn best(logits: Array<f32>) -> Array<f32> {
    let largest = |row: &[f32]| {
        let best = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b]));
        best.unwrap_or_default() as f32
    };
    let shape = logits.shape()[..logits.shape().len() - 1].to_vec();
    Array::new(logits.rows().map(largest).collect(), shape)
}

/// The share of the labels that were guessed; those of -100 do not count.
fn accuracy(prediction: &EvalPrediction) -> Logs {
    let (Some(guesses), Some(Column::Integers(labels))) =
        (prediction.predictions.first(), &prediction.label_ids)
    else {
        return Logs::new();
    };
    let pairs = guesses.values().iter().zip(labels.values());
    let counted: Vec<bool> = pairs
        .filter(|(_, label)| **label != -100)
        .map(|(guess, label)| *guess as i64 == *label)
        .collect();
    let right = counted.iter().filter(|right| **right).count();
    let share = right as f64 / counted.len().max(1) as f64;
    Logs::from_iter([("accuracy".to_owned(), json!(share))])
}
