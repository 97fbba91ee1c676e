//! From what a request asks to the pieces of its answer, whatever the form of either.

mod conversation;
mod lark;
mod pieces;
mod sampling;
mod shape;
mod stops;

use std::sync::Arc;

use transformers_generation::LogitsProcessor;

pub use conversation::{Conversation, Prompt};
pub use pieces::{Answer, End, EndReason, Piece, Usage, collect};
pub use sampling::{GenerationConfigField, OneOrMany, Sampling};
pub use shape::{Format, Shape, Tool, ToolChoice};

use crate::app::App;
use crate::context::Context;
use crate::engine::{Job, events};
use crate::store::TextModel;
use crate::{Result, ServerError};

/// What a request asks for.
#[derive(Debug)]
pub struct Ask {
    /// What the model reads.
    pub text: Text,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// What the answer looks like.
    pub shape: Shape,
}

/// What the model reads.
#[derive(Debug)]
pub enum Text {
    /// A conversation, which a chat template renders.
    Chat(Conversation),
    /// A text to continue, as it is.
    Raw(String),
    /// The same in ids.
    Ids(Vec<u32>),
}

/// Begins to answer: one answer for each of `n`.
///
/// # Errors
/// What is asked for is not possible, or too much waits already.
pub async fn start(
    app: &Arc<App>,
    context: &Context,
    model: Arc<TextModel>,
    ask: Ask,
) -> Result<Vec<Answer>> {
    let Ask {
        text,
        sampling,
        shape,
    } = ask;
    app.check_running()?;
    shape.check()?;
    let (is_chat, may_reason) = match &text {
        Text::Chat(conversation) => (true, conversation.may_reason()),
        Text::Raw(_) | Text::Ids(_) => (false, false),
    };
    let prompt = encode(&model, text, &shape).await?;
    let settings = sampling.settings(&model, prompt.ids.len(), app.options.default_seed)?;
    let parser = match is_chat {
        true => shape.parser(&model, &prompt)?,
        false => None,
    };
    let mut processors: Vec<Box<dyn LogitsProcessor>> = settings.processors;
    if let Some(grammar) = shape.grammar(&model, parser.as_ref(), may_reason) {
        match model.constrain(grammar).await {
            Ok(constraint) => processors.push(Box::new(constraint)),
            Err(error) if shape.is_binding() => return Err(error),
            Err(error) => log::info!("tools are offered without a grammar: {error}"),
        }
    }
    let mut answers = Vec::new();
    for index in 0..settings.n {
        let (sender, receiver) = events();
        let ticket = model.engine.submit(Job {
            prompt: prompt.ids.clone(),
            config: settings.config.clone(),
            processors: processors.clone(),
            logprobs: settings.logprobs,
            seed: settings.seed.wrapping_add(index as u64),
            events: sender,
        })?;
        answers.push(Answer::new(
            app.clone(),
            context,
            model.clone(),
            (receiver, ticket),
            parser.clone(),
            settings.stop.clone(),
            prompt.ids.len(),
        ));
    }
    Ok(answers)
}

/// Renders and encodes, beside the threads that serve.
async fn encode(model: &Arc<TextModel>, text: Text, shape: &Shape) -> Result<Prompt> {
    let model = model.clone();
    let tools = shape.tools_to_show();
    let work = move || match text {
        Text::Chat(conversation) => conversation.encode(&model, &tools),
        Text::Raw(text) => Ok(Prompt {
            ids: model.tokenizer.encode(text.as_str(), true)?,
            text: String::new(),
        }),
        Text::Ids(ids) => match ids.iter().find(|id| model.bytes_of(**id).is_empty()) {
            Some(id) => Err(ServerError::invalid(
                "prompt",
                format!("the id {id} is not in the model's vocabulary"),
            )),
            None => Ok(Prompt {
                ids,
                text: String::new(),
            }),
        },
    };
    let encoded = tokio::task::spawn_blocking(work).await;
    let prompt = encoded.map_err(ServerError::internal)??;
    match prompt.ids.is_empty() {
        true => Err(ServerError::Invalid {
            param: None,
            message: "the prompt has no tokens: give at least one".to_owned(),
        }),
        false => Ok(prompt),
    }
}

/// How many tokens a conversation has with these tools.
///
/// # Errors
/// A conversation that the model's template refuses.
pub async fn count(model: &Arc<TextModel>, text: Text, shape: &Shape) -> Result<Vec<u32>> {
    Ok(encode(model, text, shape).await?.ids)
}
