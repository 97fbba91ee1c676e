//! From a request to sequences that can run: everything that may be wrong with it is found out here, on the caller's
//! thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use transformers_config::GenerationConfig;
use transformers_modeling::{PreTrainedModel, Rows};
use transformers_tokenization::Tokenizer;

use super::request::{EventSink, Request, RequestId};
use super::setup::Setup;
use crate::processor_list::Custom;
use crate::sequence::Sequence;
use crate::settings::Settings;
use crate::{GenerateError, Prompt};

/// What requests are checked against.
#[derive(Debug)]
pub(super) struct Intake {
    of_model: GenerationConfig,
    context: Option<usize>,
    capacity: usize,
    tokenizer: Option<Tokenizer>,
    next: AtomicU64,
}

/// A request that is fine.
pub(super) struct Accepted {
    pub id: RequestId,
    pub prompt: Vec<u32>,
    pub settings: Arc<Settings>,
    pub rows: Vec<Sequence>,
    pub priority: i32,
    pub logprobs: Option<usize>,
    pub sink: Option<EventSink>,
    pub created: Instant,
}

impl Intake {
    pub fn new(model: &dyn PreTrainedModel, tokenizer: Option<Tokenizer>, setup: &Setup) -> Self {
        Self {
            of_model: model.info().generation_config.clone(),
            context: model.position_limit(),
            capacity: setup.capacity(),
            tokenizer,
            next: AtomicU64::new(0),
        }
    }

    /// The next request's number.
    pub fn number(&self) -> RequestId {
        RequestId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub fn accept(&self, request: Request) -> Result<Accepted, GenerateError> {
        let created = Instant::now();
        let len = request.prompt.len();
        if len > self.capacity {
            let max = self.capacity;
            return Err(GenerateError::CacheTooSmall { len, max });
        }
        let context = self.context.unwrap_or(usize::MAX).min(self.capacity);
        let prompt = Prompt {
            attention_mask: Some(Rows::row_of(vec![1; len])),
            input_ids: request.prompt.clone().into(),
        };
        let custom = Custom {
            processors: request.processors,
            filters: request.filters,
            stopping_criteria: request.stopping_criteria,
        };
        let settings = Settings::new(
            &request.config,
            &self.of_model,
            Some(context),
            &prompt,
            custom,
            request.seed.unwrap_or(0),
        )?;
        let cache = settings.config().cache_implementation.as_deref();
        let config = settings.config();
        let unsupported = [
            (
                "guidance_scale",
                config.guidance_scale.is_some_and(|scale| scale != 1.0),
            ),
            ("token_healing", config.token_healing == Some(true)),
            ("output_attentions", config.output_attentions == Some(true)),
            (
                "output_hidden_states",
                config.output_hidden_states == Some(true),
            ),
            ("cache_implementation", cache == Some("quantized")),
            ("num_beams", settings.num_beams > 1),
            ("output_scores", settings.output_scores),
            ("output_logits", settings.output_logits),
        ];
        if let Some((field, _)) = unsupported.into_iter().find(|(_, set)| *set) {
            return Err(GenerateError::NotInBatches { field });
        }
        let (tokenizer, rows) = (self.tokenizer.as_ref(), settings.rows());
        let rows = Sequence::of_prompt(&settings, &prompt, &prompt, tokenizer, rows)?;
        Ok(Accepted {
            id: self.number(),
            prompt: request.prompt,
            settings: Arc::new(settings),
            rows,
            priority: request.priority,
            logprobs: request.logprobs,
            sink: request.sink,
            created,
        })
    }
}
