//! Writes a tokenizer: its vocabulary, `tokenizer_config.json` and the chat templates.

use std::path::Path;

use serde_json::{Map, Value, json};
use tokenizers::AddedToken;

use crate::tokenizer::Kind;
use crate::{Result, Side, TokenizationError, Tokenizer, TokenizerClass, files};

impl Tokenizer {
    /// Writes the tokenizer into a folder, which is made if need be. Files appear whole or not at all.
    ///
    /// That is `tokenizer.json`, or the SentencePiece model or Mistral's own file that the tokenizer is of;
    /// `tokenizer_config.json`; and the chat templates, as `chat_template.jinja` and `additional_chat_templates/*.jinja`.
    /// The files of before version 5 (`special_tokens_map.json`, `added_tokens.json`, `vocab.txt`, …) are read, but never
    /// written. A plain function cannot be written: of it, only the settings are.
    ///
    /// Python reads the folder and gives the same ids. It builds some classes anew instead of following
    /// `tokenizer.json`, so a class stays named in the settings only if it is built as `tokenizer.json` says.
    pub fn save_pretrained(&self, folder: &Path) -> Result<()> {
        files::make_folder(folder)?;
        match (&self.source, self.kind) {
            (Some(source), _) => files::write(folder, &source.name, &source.bytes)?,
            (None, Kind::Tokenizers) => {
                files::write(folder, "tokenizer.json", self.backend_json()?.as_bytes())?;
            }
            (None, _) => {}
        }
        files::write(
            folder,
            "tokenizer_config.json",
            self.config_json()?.as_bytes(),
        )?;
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

    /// The class to name: one that Python would build otherwise than this pipeline is not.
    fn class_name(&self, values: &Map<String, Value>) -> Result<String> {
        const GENERAL: &str = "TokenizersBackend";
        let name = values.get("tokenizer_class").and_then(Value::as_str);
        let name = name.map_or(GENERAL, |name| name.strip_suffix("Fast").unwrap_or(name));
        let same = match TokenizerClass::named(name) {
            Some(class) => class.builds(&self.backend_json()?),
            None => name != "PreTrainedTokenizer",
        };
        Ok(if same { name } else { GENERAL }.to_owned())
    }

    /// The added tokens with their attributes, by id.
    fn added_tokens_json(&self) -> Value {
        let tokens = self.added_tokens_decoder().into_iter();
        let entry = |(id, token): (u32, AddedToken)| (id.to_string(), json!(token));
        tokens.map(entry).collect::<Map<_, _>>().into()
    }

    /// The settings as they were read, with what was changed since, keys in order.
    fn config_json(&self) -> Result<String> {
        let mut values = self.settings.values.clone();
        for key in ["add_bos_token", "add_eos_token", "added_tokens_decoder"] {
            values.remove(key);
        }
        if self.kind == Kind::Tokenizers {
            values.insert(
                "tokenizer_class".to_owned(),
                self.class_name(&values)?.into(),
            );
        } else {
            // Of a pipeline, they are in tokenizer.json.
            values.insert("added_tokens_decoder".to_owned(), self.added_tokens_json());
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
