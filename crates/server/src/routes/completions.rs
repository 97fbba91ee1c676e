//! `POST /v1/completions`: texts to continue.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::future::try_join_all;
use futures_util::stream::{self, StreamExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use transformers_generation::TokenLogprob;

use super::chat::failed;
use super::chat::request::StreamOptions;
use super::chat::response::{Head, UsageField, finish_reason};
use crate::answer::{
    self, Answer, Ask, GenerationConfigField, OneOrMany, Piece, Sampling, Shape, Text, Usage,
    collect,
};
use crate::app::Shared;
use crate::context::Context;
use crate::extract::{Body, Json};
use crate::store::TextModel;
use crate::{Result, ServerError, sse};

/// The most prompts of one request.
const MAX_PROMPTS: usize = 128;

/// Texts to continue.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CompletionRequest {
    /// One of `GET /v1/models`. May be left out where the server serves one model alone.
    pub model: Option<String>,
    /// A text, its token ids, or a list of either.
    pub prompt: Prompts,
    /// The most new tokens.
    pub max_tokens: Option<u64>,
    /// Begin each text with its prompt.
    pub echo: Option<bool>,
    /// Log-probabilities of the tokens, and of so many of the likeliest each time.
    pub logprobs: Option<usize>,
    /// How many texts for each prompt.
    pub n: Option<usize>,
    /// Texts that end the text.
    pub stop: Option<OneOrMany>,
    /// Send the text as it comes.
    pub stream: Option<bool>,
    /// What a stream holds.
    pub stream_options: Option<StreamOptions>,
    /// 0 takes the likeliest token each time; up to 2.
    pub temperature: Option<f64>,
    /// Draw from the likeliest tokens that together have this probability.
    pub top_p: Option<f64>,
    /// Draw from so many of the likeliest tokens (not in OpenAI's schema).
    pub top_k: Option<u32>,
    /// Draw from tokens with at least this part of the likeliest one's probability (not in OpenAI's schema).
    pub min_p: Option<f64>,
    /// Above 1 makes tokens that were there less likely (not in OpenAI's schema).
    pub repetition_penalty: Option<f64>,
    /// Taken off a token's score for each time that it was generated.
    pub frequency_penalty: Option<f64>,
    /// Taken off a token's score if it was generated.
    pub presence_penalty: Option<f64>,
    /// Additions to the scores of tokens, by their ids.
    pub logit_bias: Option<BTreeMap<String, f64>>,
    /// The same seed draws the same tokens.
    pub seed: Option<i64>,
    /// A generation config of the reference's, below the fields above (not in OpenAI's schema).
    pub generation_config: Option<GenerationConfigField>,
}

impl Body for CompletionRequest {
    const WITHOUT_EFFECT: &'static [&'static str] = &[
        "best_of",
        "stream_options.include_obfuscation",
        "suffix",
        "user",
    ];
}

/// What is continued.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a text, token ids, or a list of either"
)]
pub enum Prompts {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<u32>),
    IdLists(Vec<Vec<u32>>),
}

impl From<Prompts> for Vec<Text> {
    fn from(prompts: Prompts) -> Self {
        match prompts {
            Prompts::Text(text) => vec![Text::Raw(text)],
            Prompts::Texts(texts) => texts.into_iter().map(Text::Raw).collect(),
            Prompts::Ids(ids) => vec![Text::Ids(ids)],
            Prompts::IdLists(lists) => lists.into_iter().map(Text::Ids).collect(),
        }
    }
}

impl CompletionRequest {
    fn sampling(&self) -> Sampling {
        Sampling {
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            min_p: self.min_p,
            repetition_penalty: self.repetition_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            logit_bias: self.logit_bias.clone().unwrap_or_default(),
            seed: self.seed,
            n: self.n,
            stop: self.stop.clone().map(Vec::from).unwrap_or_default(),
            logprobs: self.logprobs,
            generation_config: self.generation_config.clone(),
        }
    }
}

/// Continues texts.
pub async fn create(
    State(app): Shared,
    context: Context,
    Json(request): Json<CompletionRequest>,
) -> Result<Response> {
    let model = app.store.text(request.model.as_deref()).await?;
    let head = Head::new("cmpl", &context, request.model.as_deref(), &app);
    let prompts: Vec<Text> = request.prompt.clone().into();
    if !(1..=MAX_PROMPTS).contains(&prompts.len()) {
        let message = format!("{} prompts; 1 to {MAX_PROMPTS} are allowed", prompts.len());
        return Err(ServerError::invalid("prompt", message));
    }
    let mut answers: Vec<Answer> = Vec::new();
    let mut echoes = Vec::new();
    for text in prompts {
        let echo = match (request.echo.unwrap_or(false), &text) {
            (false, _) | (_, Text::Chat(_)) => String::new(),
            (true, Text::Raw(text)) => text.clone(),
            (true, Text::Ids(ids)) => model.tokenizer.decode(ids.as_slice(), true)?,
        };
        let ask = Ask {
            text,
            sampling: request.sampling(),
            shape: Shape::default(),
        };
        let more = answer::start(&app, &context, model.clone(), ask).await?;
        echoes.extend(std::iter::repeat_n(echo, more.len()));
        answers.extend(more);
    }
    let prompts = echoes.len() / request.n.unwrap_or(1).max(1);
    let mut writer = Writer {
        head,
        model,
        offsets: vec![0; answers.len()],
        usages: Vec::new(),
        prompts,
        usage_chunk: request
            .stream_options
            .as_ref()
            .is_some_and(|options| options.include_usage == Some(true)),
    };
    if !request.stream.unwrap_or(false) {
        let all = try_join_all(answers.into_iter().map(collect)).await?;
        return Ok(axum::Json(writer.whole(all, echoes)).into_response());
    }
    let echoes: Vec<(usize, String)> = echoes.into_iter().enumerate().collect();
    let echoes: Vec<Result<Event>> = echoes
        .into_iter()
        .filter(|(_, echo)| !echo.is_empty())
        .map(|(index, echo)| sse::data(&writer.piece(index, echo, &[], None)))
        .collect();
    let streams = answers.into_iter().enumerate();
    let streams = streams.map(|(index, answer)| Box::pin(answer.into_stream(index)));
    let pieces = stream::select_all(streams).flat_map(move |piece| {
        stream::iter(match piece {
            Ok((index, piece)) => writer.next(index, piece),
            Err(error) => vec![Err(error)],
        })
    });
    let done = app.options.done.then(|| Ok(sse::text("[DONE]")));
    let events = stream::iter(echoes).chain(pieces).chain(stream::iter(done));
    Ok(sse::response(events, failed))
}

/// A whole response, or a chunk of one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TextCompletion {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    choices: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageField>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Choice {
    index: usize,
    text: String,
    finish_reason: Option<&'static str>,
    logprobs: Option<Logprobs>,
}

/// The legacy form of log-probabilities: lists side by side.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Logprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f32>,
    top_logprobs: Vec<BTreeMap<String, f32>>,
    text_offset: Vec<usize>,
}

struct Writer {
    head: Head,
    model: Arc<TextModel>,
    /// Characters so far, by choice.
    offsets: Vec<usize>,
    usages: Vec<(usize, Usage)>,
    prompts: usize,
    usage_chunk: bool,
}

impl Writer {
    fn response(&self, choices: Vec<Choice>) -> TextCompletion {
        TextCompletion {
            id: self.head.id.clone(),
            object: "text_completion",
            created: self.head.created,
            model: self.head.model.clone(),
            choices,
            usage: None,
        }
    }

    fn choice(
        &mut self,
        index: usize,
        text: String,
        logprobs: &[TokenLogprob],
        finish_reason: Option<&'static str>,
    ) -> Choice {
        let logprobs = self.logprobs(index, logprobs);
        Choice {
            index,
            text,
            finish_reason,
            logprobs,
        }
    }

    fn logprobs(&mut self, index: usize, logprobs: &[TokenLogprob]) -> Option<Logprobs> {
        let text = |id: u32| String::from_utf8_lossy(&self.model.bytes_of(id)).into_owned();
        let mut fields = Logprobs::default();
        for logprob in logprobs {
            let token = text(logprob.token);
            fields.text_offset.push(self.offsets[index]);
            self.offsets[index] += token.chars().count();
            fields.tokens.push(token);
            fields.token_logprobs.push(logprob.logprob.max(-9999.0));
            let top = logprob
                .top
                .iter()
                .map(|(id, value)| (text(*id), value.max(-9999.0)));
            fields.top_logprobs.push(top.collect());
        }
        (!logprobs.is_empty()).then_some(fields)
    }

    fn piece(
        &mut self,
        index: usize,
        text: String,
        logprobs: &[TokenLogprob],
        finish_reason: Option<&'static str>,
    ) -> TextCompletion {
        let choice = self.choice(index, text, logprobs, finish_reason);
        self.response(vec![choice])
    }

    fn next(&mut self, index: usize, piece: Piece) -> Vec<Result<Event>> {
        match piece {
            Piece::Content(text, logprobs) => {
                vec![sse::data(&self.piece(index, text, &logprobs, None))]
            }
            Piece::End(end) => {
                self.usages.push((index, end.usage));
                let reason = Some(finish_reason(&end.reason));
                let mut last = self.piece(index, String::new(), &end.logprobs, reason);
                let ended = self.usages.len() == self.offsets.len();
                let usage = ended.then(|| self.usage());
                if !self.usage_chunk {
                    last.usage = usage;
                    return vec![sse::data(&last)];
                }
                let alone = usage.map(|usage| TextCompletion {
                    usage: Some(usage),
                    ..self.response(Vec::new())
                });
                let alone = alone.map(|chunk| sse::data(&chunk));
                [sse::data(&last)].into_iter().chain(alone).collect()
            }
            Piece::Reasoning(_) | Piece::Call { .. } => Vec::new(),
        }
    }

    fn whole(&mut self, all: Vec<Vec<Piece>>, echoes: Vec<String>) -> TextCompletion {
        let mut choices = Vec::new();
        for (index, (pieces, mut text)) in all.into_iter().zip(echoes).enumerate() {
            let mut logprobs = Vec::new();
            let mut reason = None;
            for piece in pieces {
                match piece {
                    Piece::Content(more, of_it) => {
                        text += &more;
                        logprobs.extend(of_it);
                    }
                    Piece::End(end) => {
                        reason = Some(finish_reason(&end.reason));
                        logprobs.extend(end.logprobs);
                        self.usages.push((index, end.usage));
                    }
                    Piece::Reasoning(_) | Piece::Call { .. } => {}
                }
            }
            choices.push(self.choice(index, text, &logprobs, reason));
        }
        TextCompletion {
            usage: Some(self.usage()),
            ..self.response(choices)
        }
    }

    /// Of all prompts: each is read once, however often it is continued.
    fn usage(&self) -> UsageField {
        let mut usages = self.usages.clone();
        usages.sort_by_key(|(index, _)| *index);
        let each = (usages.len() / self.prompts.max(1)).max(1);
        let firsts = usages.iter().step_by(each).map(|(_, usage)| usage);
        let all = usages.iter().map(|(_, usage)| usage);
        UsageField::new(&[Usage {
            prompt: firsts.clone().map(|usage| usage.prompt).sum(),
            cached: firsts.map(|usage| usage.cached).sum(),
            generated: all.map(|usage| usage.generated).sum(),
            reasoning: 0,
        }])
    }
}
