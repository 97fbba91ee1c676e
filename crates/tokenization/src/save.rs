//! Writes a tokenizer: `tokenizer.json`, `tokenizer_config.json` and the chat templates.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::{Result, Side, TokenizationError, Tokenizer, files};

impl Tokenizer {
    /// Writes the tokenizer into a folder, which is made if need be. Files appear whole or not at all.
    pub fn save_pretrained(&self, folder: &Path) -> Result<()> {
        files::make_folder(folder)?;
        files::write(folder, "tokenizer.json", self.backend_json()?.as_bytes())?;
        files::write(folder, "tokenizer_config.json", self.config_json()?.as_bytes())?;
        for (name, template) in self.chat_templates().iter() {
            if name == "default" {
                files::write(folder, "chat_template.jinja", template.as_bytes())?;
                continue;
            }
            if name.is_empty() || name.contains(['/', '\\']) {
                return Err(TokenizationError::InvalidOptions(format!(
                    "the chat template `{name}` cannot be written, because its name is not one of a file; rename it"
                )));
            }
            let folder = folder.join("additional_chat_templates");
            files::make_folder(&folder)?;
            files::write(&folder, &format!("{name}.jinja"), template.as_bytes())?;
        }
        Ok(())
    }

    pub(crate) fn backend_json(&self) -> Result<String> {
        let mut backend = (*self.backend).clone();
        backend.with_post_processor(Some(self.post_processor.clone()));
        backend
            .with_truncation(self.saved_truncation.clone())
            .map(|backend| backend.with_padding(self.saved_padding.clone()))
            .and_then(|backend| backend.to_string(true))
            .map_err(|error| TokenizationError::Backend {
                operation: "writing",
                reason: error.to_string(),
            })
    }

    /// The settings as they were read, with what was changed since, keys in order.
    fn config_json(&self) -> Result<String> {
        let mut values = self.settings.values.clone();
        // Written into tokenizer.json, where they count.
        for key in ["add_bos_token", "add_eos_token", "added_tokens_decoder"] {
            values.remove(key);
        }
        for key in ["additional_special_tokens", "extra_special_tokens"] {
            values.remove(key);
        }
        if !self.settings.extra_special_tokens.is_empty() {
            let extra = json!(self.settings.extra_special_tokens);
            values.insert("extra_special_tokens".to_owned(), extra);
        }
        for (name, token) in &self.settings.special_tokens {
            values.insert(name.clone(), token.clone().into());
        }
        let side = |side| match side {
            Side::Left => "left",
            Side::Right => "right",
        };
        values.insert("padding_side".to_owned(), side(self.padding_side).into());
        values.insert(
            "truncation_side".to_owned(),
            side(self.truncation_side).into(),
        );
        // Python reads this number as "none", and fails without one that is a number.
        let unlimited = json!(1e30);
        values.insert(
            "model_max_length".to_owned(),
            self.model_max_length.map_or(unlimited, Value::from),
        );
        let mut entries: Vec<_> = values.into_iter().collect();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        let sorted: Map<String, Value> = entries.into_iter().collect();
        serde_json::to_string_pretty(&sorted).map_err(|error| TokenizationError::Backend {
            operation: "writing",
            reason: error.to_string(),
        })
    }
}
