//! The adapters of a recipe.

use serde_json::{Map, Value};
use transformers_modeling::{LoraConfig, PeftModel, PreTrainedModel};

use super::{Recipe, Task, invalid};
use crate::Result;

/// What a recipe may say of adapters.
const SETTINGS: [&str; 16] = [
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "exclude_modules",
    "target_parameters",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "bias",
    "use_rslora",
    "use_dora",
    "lora_bias",
    "init_lora_weights",
];

impl Recipe {
    /// The model with fresh adapters, if the recipe has some.
    pub(super) fn adapted(
        &self,
        mut model: Box<dyn PreTrainedModel>,
        seed: Option<u64>,
    ) -> Result<Box<dyn PreTrainedModel>> {
        if let Some(settings) = &self.lora {
            model.add_adapter("default", &self.adapter_config(settings)?, seed)?;
        }
        Ok(model)
    }

    fn adapter_config(&self, settings: &Map<String, Value>) -> Result<LoraConfig> {
        if let Some(name) = settings
            .keys()
            .find(|name| !SETTINGS.contains(&name.as_str()))
        {
            let known = SETTINGS.join(", ");
            return Err(invalid(format!(
                "`lora.{name}` is not known; there are {known}"
            )));
        }
        let task = match self.task {
            Task::CausalLm => Value::from("CAUSAL_LM"),
            Task::TextClassification => "SEQ_CLS".into(),
            Task::TokenClassification => "TOKEN_CLS".into(),
            Task::Seq2seq => "SEQ_2_SEQ_LM".into(),
            Task::MaskedLm => Value::Null,
        };
        let mut fields = settings.clone();
        fields.insert("peft_type".to_owned(), "LORA".into());
        fields.insert("task_type".to_owned(), task);
        fields.insert(
            "base_model_name_or_path".to_owned(),
            self.model.clone().into(),
        );
        Ok(LoraConfig::from_json(&fields)?)
    }
}
