//! The model of a recipe.

use serde_json::{Map, Value};
use transformers_config::AutoConfig;
use transformers_hub::HubOptions;
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification, AutoModelForTokenClassification, Dtype, LoadOptions,
    PreTrainedModel,
};
use transformers_tokenization::{AutoTokenizer, Tokenizer};

use super::{Recipe, Task};
use crate::Result;

impl Recipe {
    /// The tokenizer.
    ///
    /// # Errors
    /// There is none.
    pub fn tokenizer(&self, hub: &HubOptions) -> Result<Tokenizer> {
        let source = self.tokenizer.as_ref().or(self.model.as_ref());
        let source = source.map(String::as_str).unwrap_or_default();
        Ok(AutoTokenizer::from_pretrained_with(source, hub)?)
    }

    /// The model with the head of the task, and with adapters where the recipe has some; what the checkpoint lacks is drawn from `options.seed`. `classes` names what a
    /// classifier tells apart.
    ///
    /// # Errors
    /// A model that cannot be loaded, or has no such head.
    pub fn load_model(
        &self,
        tokenizer: &Tokenizer,
        classes: Option<&[String]>,
        options: &LoadOptions,
    ) -> Result<Box<dyn PreTrainedModel>> {
        let mut config = match (&self.model, &self.config) {
            (_, Some(config)) => {
                let mut config = config.clone();
                let size = Value::from(tokenizer.get_vocab().values().max().map_or(0, |id| id + 1));
                config.entry("vocab_size").or_insert(size);
                AutoConfig::from_value(Value::Object(config))?
            }
            (model, None) => {
                let model = model.as_deref().unwrap_or_default();
                AutoConfig::from_pretrained_with(model, &options.hub)?
            }
        };
        if let Some(classes) = classes {
            name_classes(&mut config, classes);
        }
        let dtype: Dtype = self.dtype.parse()?;
        let options = LoadOptions {
            dtype,
            config: Some(config.clone()),
            // The head of another classifier is not this one's.
            ignore_mismatched_sizes: classes.is_some(),
            ..options.clone()
        };
        macro_rules! load {
            ($auto:ident) => {
                match &self.model {
                    Some(model) => {
                        $auto::from_pretrained_with(model.as_str(), &options)?.into_inner()
                    }
                    None => $auto::from_config_with(&config, &options)?
                        .to_dtype(dtype)?
                        .into_inner(),
                }
            };
        }
        let model = match self.task {
            Task::CausalLm => load!(AutoModelForCausalLM),
            Task::MaskedLm => load!(AutoModelForMaskedLM),
            Task::TextClassification => load!(AutoModelForSequenceClassification),
            Task::TokenClassification => load!(AutoModelForTokenClassification),
            Task::Seq2seq => load!(AutoModelForSeq2SeqLM),
        };
        self.adapted(model, options.seed)
    }
}

fn name_classes(config: &mut AutoConfig, classes: &[String]) {
    let names = classes.iter().enumerate();
    let id2label: Map<_, _> = names
        .clone()
        .map(|(id, name)| (id.to_string(), Value::from(name.as_str())))
        .collect();
    let label2id: Map<_, _> = names
        .map(|(id, name)| (name.clone(), Value::from(id)))
        .collect();
    config.set("id2label", id2label);
    config.set("label2id", label2id);
}
