//! Answers as Rust values.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use transformers_config::GenerationConfig;
use transformers_tokenization::Tokenizer;

use crate::{
    FinishReason, Generate, GenerateError, GenerateOptions, Grammar, GrammarCompiler, Prompt,
};

/// Generation of values of a type.
pub trait GenerateAs: Generate {
    /// A value of `T`: what follows `prompt` is constrained to `T`'s JSON Schema, and parsed.
    ///
    /// # Errors
    /// As [`Generate::generate`]; a schema that cannot be a grammar, and [`GenerateError::Incomplete`] where the value
    /// does not end within the limit on new tokens.
    fn generate_as<T: JsonSchema + DeserializeOwned>(
        &self,
        prompt: impl Into<Prompt>,
        config: &GenerationConfig,
        tokenizer: &Tokenizer,
    ) -> Result<T, GenerateError>;
}

impl<M: Generate + transformers_modeling::PreTrainedModel + ?Sized> GenerateAs for M {
    fn generate_as<T: JsonSchema + DeserializeOwned>(
        &self,
        prompt: impl Into<Prompt>,
        config: &GenerationConfig,
        tokenizer: &Tokenizer,
    ) -> Result<T, GenerateError> {
        let resolved = config.clone().or(&self.info().generation_config);
        let grammars = GrammarCompiler::new(tokenizer, resolved.eos_token_ids())?;
        let mut schema = schemars::schema_for!(T).to_value();
        close(&mut schema);
        let constraint = grammars.compile(&Grammar::JsonSchema(schema))?;
        let options = GenerateOptions {
            tokenizer: Some(tokenizer),
            processors: vec![Box::new(constraint)],
            ..GenerateOptions::default()
        };
        let generated = self.generate_with(prompt, config, options)?;
        if generated.finish_reasons[0] != FinishReason::Eos {
            return Err(GenerateError::Incomplete);
        }
        let text = tokenizer.decode(generated.new_tokens(0), true)?;
        serde_json::from_str(&text).map_err(GenerateError::NotOfType)
    }
}

/// No properties but those that are listed: a model could go on adding others, which the type then drops.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            if fields.get("properties").is_some_and(Value::is_object) {
                let closed = fields.entry("additionalProperties");
                closed.or_insert(Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
