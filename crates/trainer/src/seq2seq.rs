//! What the reference's `Seq2SeqTrainer` adds: evaluations that generate.

use serde_json::{Map, Value};
use transformers_config::GenerationConfig;
use transformers_modeling::PreTrainedModel;

use crate::{Result, Trainer, TrainerError, TrainingArguments};

/// `Seq2SeqTrainingArguments`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seq2SeqTrainingArguments {
    /// All other arguments.
    pub training: TrainingArguments,
    /// Evaluations generate: metrics see ids instead of logits.
    pub predict_with_generate: bool,
    /// The most tokens of a generated row; `None`: as the generation config says.
    pub generation_max_length: Option<usize>,
    /// Beams; `None`: as the generation config says.
    pub generation_num_beams: Option<usize>,
}

impl Seq2SeqTrainingArguments {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// As [`TrainingArguments::from_json`].
    pub fn from_json(json: &Value) -> Result<Self> {
        let mut map = json.as_object().cloned().unwrap_or_default();
        let wrong = |name: &str, reason: &str| TrainerError::Argument {
            name: name.to_owned(),
            reason: reason.to_owned(),
        };
        let mut take = |name: &str| map.remove(name).filter(|value| !value.is_null());
        if take("sortish_sampler").is_some_and(|value| value != false) {
            let reason = "it is not supported: use `train_sampling_strategy: group_by_length`";
            return Err(wrong("sortish_sampler", reason));
        }
        if take("generation_config").is_some() {
            let reason = "set the generation config of the model";
            return Err(wrong("generation_config", reason));
        }
        let generates = take("predict_with_generate").unwrap_or_default();
        let generates = match generates {
            Value::Null => false,
            value => value
                .as_bool()
                .ok_or_else(|| wrong("predict_with_generate", "it is true or false"))?,
        };
        let mut count = |name: &str| match take(name) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(count) if count > 0 => Ok(Some(count as usize)),
                _ => Err(wrong(name, "it is a whole number above 0")),
            },
        };
        let generation_max_length = count("generation_max_length")?;
        let generation_num_beams = count("generation_num_beams")?;
        Ok(Self {
            training: TrainingArguments::from_json(&Value::Object(map))?,
            predict_with_generate: generates,
            generation_max_length,
            generation_num_beams,
        })
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        let mut map: Map<String, Value> = self
            .training
            .to_json()
            .as_object()
            .cloned()
            .unwrap_or_default();
        let own = [
            ("sortish_sampler", Value::Bool(false)),
            ("predict_with_generate", self.predict_with_generate.into()),
            ("generation_max_length", self.generation_max_length.into()),
            ("generation_num_beams", self.generation_num_beams.into()),
            ("generation_config", Value::Null),
        ];
        map.extend(own.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(map)
    }
}

impl Trainer {
    /// A Trainer of an encoder–decoder (the reference's `Seq2SeqTrainer`).
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn seq2seq(
        model: Box<dyn PreTrainedModel>,
        args: Seq2SeqTrainingArguments,
    ) -> Result<Self> {
        let config = GenerationConfig {
            max_length: args.generation_max_length,
            num_beams: args.generation_num_beams,
            ..GenerationConfig::default()
        };
        let trainer = Self::new(model, args.training)?;
        Ok(match args.predict_with_generate {
            true => trainer.with_predict_with_generate(config),
            false => trainer,
        })
    }

    /// Evaluations and predictions generate: metrics see ids instead of logits.
    #[must_use]
    pub fn with_predict_with_generate(mut self, config: GenerationConfig) -> Self {
        self.generation = Some(config);
        self
    }
}
