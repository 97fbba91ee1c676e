//! The templates of one tokenizer, and what is done to a conversation before one of them renders it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::render::{Marks, render};
use crate::{ChatMessage, Result, TokenizationError};

/// What a chat template is rendered with, besides the messages.
///
/// A template comes from the model's files and is not trusted: it reads only these values, has a budget of work and of
/// text, and cannot reach files, the network or the environment. The local date and time it can ask for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatTemplateOptions {
    /// Ends the text with the beginning of the model's answer.
    pub add_generation_prompt: bool,
    /// Ends the text with the end of the last message's content, so that the model goes on with it.
    pub continue_final_message: bool,
    /// What of the last message goes on: its `content`, or for instance its `reasoning_content`. The template has to read it.
    pub continue_field: Option<String>,
    /// JSON schemas of functions that the model may call.
    pub tools: Option<Vec<Value>>,
    /// Documents for the model to draw on, objects with `title` and `text`.
    pub documents: Option<Vec<Value>>,
    /// The name of one of the tokenizer's templates, or a Jinja template; `None` is `tool_use` where there are tools and
    /// such a template, and `default` otherwise.
    pub template: Option<String>,
    /// Whether [`Tokenizer::apply_chat_template`](crate::Tokenizer::apply_chat_template) says which tokens the assistant wrote: those
    /// that the template puts between `{% generation %}` and `{% endgeneration %}`.
    pub return_assistant_tokens_mask: bool,
    /// Whether [`Tokenizer::apply_chat_template`](crate::Tokenizer::apply_chat_template) encodes as plain text what users wrote that looks
    /// like a control token: in messages, tools, documents and `extra`.
    pub sanitize_control_tokens: bool,
    /// Further variables of the template, such as `enable_thinking`. They go before special tokens of the same name.
    pub extra: Map<String, Value>,
}

/// Chat templates by name; a single one is called `default`.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChatTemplates(BTreeMap<String, String>);

/// Stands for the end of the content while the template is rendered. The space shows whether the template trims.
const END_OF_CONTENT: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

/// The names that templates read a message's reasoning under, the usual one first.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

impl ChatTemplates {
    pub fn new(templates: BTreeMap<String, String>) -> Self {
        Self(templates)
    }

    pub fn single(template: String) -> Self {
        Self(BTreeMap::from([("default".to_owned(), template)]))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }

    pub fn render(
        &self,
        messages: &[ChatMessage],
        options: &ChatTemplateOptions,
        special_tokens: &BTreeMap<String, String>,
    ) -> Result<String> {
        if options.sanitize_control_tokens {
            return Err(TokenizationError::InvalidOptions(
                "`sanitize_control_tokens` makes ids, not a text; use `apply_chat_template`"
                    .to_owned(),
            ));
        }
        self.render_marked(messages, options, special_tokens, None)
    }

    /// The rendered text, and which characters of it the assistant wrote, from where to where.
    pub fn render_with_spans(
        &self,
        messages: &[ChatMessage],
        options: &ChatTemplateOptions,
        special_tokens: &BTreeMap<String, String>,
    ) -> Result<(String, Vec<(usize, usize)>)> {
        if options.continue_final_message {
            return Err(TokenizationError::InvalidOptions(
                "`return_assistant_tokens_mask` does not go with `continue_final_message`; set only one of the two"
                    .to_owned(),
            ));
        }
        let marks = Marks::new();
        let (begin, end) = (marks.begin.clone(), marks.end.clone());
        let marked = self.render_marked(messages, options, special_tokens, Some(marks))?;
        let mut text = String::with_capacity(marked.len());
        let mut characters = 0;
        let mut spans = Vec::new();
        for part in marked.split(&begin) {
            let (inside, outside) = match part.split_once(&end) {
                Some((inside, outside)) => (inside, outside.replace(&end, "")),
                None => ("", part.to_owned()),
            };
            let length = inside.chars().count();
            if length > 0 {
                spans.push((characters, characters + length));
            }
            characters += length + outside.chars().count();
            text.push_str(inside);
            text.push_str(&outside);
        }
        Ok((text, spans))
    }

    fn render_marked(
        &self,
        messages: &[ChatMessage],
        options: &ChatTemplateOptions,
        special_tokens: &BTreeMap<String, String>,
        marks: Option<Marks>,
    ) -> Result<String> {
        if messages.is_empty() {
            return Err(TokenizationError::EmptyConversation);
        }
        let template = self.select(options)?;
        let mut messages: Vec<Value> = messages
            .iter()
            .map(|message| Value::Object(prepare(message)))
            .collect();
        let ending = if options.continue_final_message {
            Some(mark_end(&mut messages, options, template)?)
        } else {
            None
        };
        let mut variables = Map::new();
        for (name, token) in special_tokens {
            variables.insert(name.clone(), token.clone().into());
        }
        variables.extend(options.extra.clone());
        variables.extend([
            ("messages".to_owned(), messages.into()),
            ("tools".to_owned(), json!(options.tools)),
            ("documents".to_owned(), json!(options.documents)),
            (
                "add_generation_prompt".to_owned(),
                options.add_generation_prompt.into(),
            ),
        ]);
        let rendered = render(template, variables, marks)?;
        match ending {
            Some(content) => cut_after_content(&rendered, &content),
            None => Ok(rendered),
        }
    }

    /// The template that the options name.
    pub fn select<'a>(&'a self, options: &'a ChatTemplateOptions) -> Result<&'a str> {
        let wanted = options.template.as_deref();
        if let Some(template) = wanted {
            return Ok(self.0.get(template).map_or(template, String::as_str));
        }
        let tool_use = options.tools.as_ref().and_then(|_| self.0.get("tool_use"));
        tool_use
            .or_else(|| self.0.get("default"))
            .map(String::as_str)
            .ok_or_else(|| TokenizationError::NoChatTemplate(self.no_default()))
    }

    fn no_default(&self) -> String {
        if self.is_empty() {
            return "this tokenizer has no chat template: the model may not be made for conversations; give one in \
                    `ChatTemplateOptions::template`, or encode the text itself"
                .to_owned();
        }
        let names: Vec<_> = self.0.keys().map(String::as_str).collect();
        format!(
            "this tokenizer has no default chat template; name one of {} in `ChatTemplateOptions::template`",
            names.join(", ")
        )
    }
}

/// Drops what is null, because templates take a key that is there for a value, and gives the reasoning every name that
/// templates know.
fn prepare(message: &ChatMessage) -> Map<String, Value> {
    let message: Map<String, Value> = message
        .as_map()
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let Some(reasoning) = REASONING.iter().find_map(|name| message.get(*name)) else {
        return message;
    };
    let mut named = Map::from_iter([("thinking".to_owned(), reasoning.clone())]);
    let reasoning = reasoning.clone();
    named.extend(message);
    named.insert("reasoning_content".to_owned(), reasoning);
    named
}

/// Puts the mark after what goes on of the last message, or after its last part that is a text; gives that text.
fn mark_end(
    messages: &mut [Value],
    options: &ChatTemplateOptions,
    template: &str,
) -> Result<String> {
    let failed = |reason: String| TokenizationError::ContinueFinalMessage { reason };
    if options.add_generation_prompt {
        return Err(failed(
            "`add_generation_prompt` begins a new message; set only one of the two".to_owned(),
        ));
    }
    let field = options.continue_field.as_deref().unwrap_or("content");
    let nothing = || failed(format!("it has no text in its `{field}`"));
    let message = messages.last_mut().ok_or_else(nothing)?;
    let wanted = message.get(field).cloned().ok_or_else(nothing)?;
    // Reasoning has several names; the template reads one of them.
    let names: Vec<&str> = match REASONING.contains(&field) {
        true => REASONING
            .into_iter()
            .filter(|name| message.get(*name) == Some(&wanted))
            .collect(),
        false => vec![field],
    };
    if !names.iter().any(|name| template.contains(name)) {
        return Err(failed(format!("the template does not read `{field}`")));
    }
    let mut content = None;
    for name in names {
        let text = match message.get_mut(name) {
            Some(Value::Array(parts)) => {
                parts.iter_mut().rev().find_map(|part| part.get_mut("text"))
            }
            value => value,
        };
        if let Some(Value::String(text)) = text {
            content = Some(text.clone());
            text.push_str(END_OF_CONTENT);
        }
    }
    content.ok_or_else(nothing)
}

/// Cuts the text at the mark, and the space before it where the template trims the content.
fn cut_after_content(rendered: &str, content: &str) -> Result<String> {
    let mark = END_OF_CONTENT.trim_end();
    match rendered.rfind(mark) {
        Some(end) if rendered.contains(content.trim()) => {
            let text = &rendered[..end];
            let trims = !rendered[end..].starts_with(END_OF_CONTENT);
            Ok(if trims { text.trim_end() } else { text }.to_owned())
        }
        _ => Err(TokenizationError::ContinueFinalMessage {
            reason: "the template changes or drops its content; render the conversation without \
                     `continue_final_message`"
                .to_owned(),
        }),
    }
}
