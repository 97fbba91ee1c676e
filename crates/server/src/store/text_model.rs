//! A model that writes, with all that stands between its text and its tokens.

use std::sync::{Arc, OnceLock};

use transformers_config::GenerationConfig;
use transformers_generation::{Constraint, GenerateError, Grammar, GrammarCompiler};
use transformers_tokenization::{AnswerForm, ResponseTemplate, TokenizationError, Tokenizer};

use crate::engine::Engine;
use crate::{Result, ServerError};

/// A model that writes.
#[derive(Debug)]
pub struct TextModel {
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    /// What the model's files say of generation.
    pub generation: GenerationConfig,
    /// The most tokens that it can attend to.
    pub context: Option<usize>,
    /// What generates.
    pub engine: Box<dyn Engine>,
    /// How its answers are read; `None`: they are text and nothing else.
    pub response: Option<ResponseTemplate>,
    /// How its answers are written; `None`: its chat template knows no tools.
    pub form: Option<AnswerForm>,
    grammars: OnceLock<std::result::Result<GrammarCompiler, String>>,
    token_bytes: OnceLock<Vec<Option<Vec<u8>>>>,
    /// The size of its weights.
    pub(super) bytes: u64,
}

impl TextModel {
    /// A model of these parts.
    ///
    /// # Errors
    /// A template of answers in the model's files that cannot be read.
    pub fn new(
        tokenizer: Tokenizer,
        generation: GenerationConfig,
        context: Option<usize>,
        engine: Box<dyn Engine>,
    ) -> std::result::Result<Self, TokenizationError> {
        Ok(Self {
            response: tokenizer.response_template()?,
            form: tokenizer.answer_form(),
            tokenizer,
            generation,
            context,
            engine,
            grammars: OnceLock::new(),
            token_bytes: OnceLock::new(),
            bytes: 0,
        })
    }

    /// A constraint of a grammar. Blocks for as long as compiling takes.
    fn compile(&self, grammar: &Grammar) -> Result<Constraint> {
        let grammars = self.grammars.get_or_init(|| {
            let eos = self.generation.eos_token_ids();
            GrammarCompiler::new(&self.tokenizer, eos).map_err(|error| error.to_string())
        });
        let grammars = grammars.as_ref().map_err(|message| ServerError::Invalid {
            param: None,
            message: message.clone(),
        })?;
        grammars
            .compile(grammar)
            .map_err(|error: GenerateError| error.into())
    }

    /// A constraint of a grammar.
    ///
    /// # Errors
    /// A grammar that is not one, or costs too much.
    pub async fn constrain(self: &Arc<Self>, grammar: Grammar) -> Result<Constraint> {
        let model = self.clone();
        let compiled = tokio::task::spawn_blocking(move || model.compile(&grammar)).await;
        compiled.map_err(ServerError::internal)?
    }

    /// The bytes that a token adds to a text: those of its name where it is a special one.
    pub fn bytes_of(&self, id: u32) -> Vec<u8> {
        let all = self
            .token_bytes
            .get_or_init(|| self.tokenizer.token_bytes());
        let plain = all.get(id as usize).and_then(Option::clone);
        plain.unwrap_or_else(|| {
            let name = self.tokenizer.id_to_token(id);
            name.map(|name| name.to_string().into_bytes())
                .unwrap_or_default()
        })
    }
}
