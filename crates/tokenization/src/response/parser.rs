//! Parses an answer as it comes.

use std::cmp::Reverse;

use serde_json::{Map, Value};

use super::delimiter::Found;
use super::template::{Field, ResponseTemplate};
use super::tools::ToolTypes;
use super::{content, invalid};
use crate::{ChatMessage, Result};

/// What happens to a field of the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum ResponseEvent {
    /// The model begins to write it.
    Open {
        /// Its name, such as `content` or `tool_calls`.
        field: String,
    },
    /// More of it.
    Chunk {
        /// Its name.
        field: String,
        /// What the model wrote.
        text: String,
        /// Whether the value is made of the text only when it is whole, as JSON is.
        dirty: bool,
    },
    /// It is whole.
    Close {
        /// Its name.
        field: String,
        /// Its value.
        value: Value,
    },
}

/// Parses an answer as it comes: text goes in, events come out, and at the end the message.
///
/// ```
/// use transformers_tokenization::{ResponseEvent, ResponseParser, ResponseTemplate};
///
/// let template = ResponseTemplate::of_model_type("qwen3").expect("a known model");
/// let mut parser = ResponseParser::new(&template, "<|im_start|>assistant\n<think>\n", &[])?;
/// for piece in ["Eas", "y.</th", "ink>\n\nPar", "is.<|im_end|>"] {
///     for event in parser.feed(piece)? {
///         if let ResponseEvent::Chunk { field, text, .. } = event {
///             println!("{field}: {text}");
///         }
///     }
/// }
/// let (message, _) = parser.finalize()?;
/// assert_eq!(message.content(), Some("Paris."));
/// # Ok::<(), transformers_tokenization::TokenizationError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ResponseParser {
    template: ResponseTemplate,
    tools: ToolTypes,
    /// What is not given out yet.
    buffer: String,
    output: Map<String, Value>,
    /// The field that is being written.
    current: Option<usize>,
    captures: Map<String, Value>,
    body: String,
    opened: bool,
    initial_events: Vec<ResponseEvent>,
}

/// Where a delimiter begins, how long it is (the longest first), whether it closes, and the name of its field.
type Rank<'a> = (usize, Reverse<usize>, bool, &'a str);

/// A delimiter in the buffer.
struct Hit {
    start: usize,
    end: usize,
    /// The field that it opens; `None` where it closes the current one.
    opens: Option<usize>,
    captures: Map<String, Value>,
}

impl ResponseParser {
    /// Begins after the prompt, whose end may hold the beginning of the answer. With `tools`, arguments of tool calls get
    /// the types that the tools' schemas name.
    pub fn new(template: &ResponseTemplate, prefix: &str, tools: &[Value]) -> Result<Self> {
        let spec = &template.0;
        let begun = spec.anchor.last_end(prefix).unwrap_or(0);
        let mut parser = Self {
            template: template.clone(),
            tools: ToolTypes::new(tools),
            buffer: prefix[begun..].to_owned(),
            output: spec.defaults.clone(),
            current: spec.implicit,
            captures: Map::new(),
            body: String::new(),
            opened: false,
            initial_events: Vec::new(),
        };
        let mut events = Vec::new();
        parser.process(&mut events, false)?;
        parser.initial_events = events;
        Ok(parser)
    }

    /// What the prompt's end gave already.
    pub fn initial_events(&self) -> &[ResponseEvent] {
        &self.initial_events
    }

    /// Takes more of the answer.
    pub fn feed(&mut self, text: &str) -> Result<Vec<ResponseEvent>> {
        self.buffer.push_str(text);
        let mut events = Vec::new();
        self.process(&mut events, false)?;
        Ok(events)
    }

    /// Ends the answer; gives the message and the last events.
    pub fn finalize(mut self) -> Result<(ChatMessage, Vec<ResponseEvent>)> {
        let mut events = Vec::new();
        self.process(&mut events, true)?;
        let spec = &self.template.0;
        let missing = |field: &&Field| !field.optional && !self.output.contains_key(&field.name);
        if let Some(field) = spec.fields.iter().find(missing) {
            return Err(invalid(format!("the answer has no `{}`", field.name)));
        }
        let kept = self.output.into_iter();
        let message: Map<String, Value> = kept
            .filter(|(name, value)| spec.defaults.contains_key(name) || !is_empty(value))
            .collect();
        Ok((message.into(), events))
    }

    fn process(&mut self, events: &mut Vec<ResponseEvent>, ended: bool) -> Result<()> {
        loop {
            let (hit, hold) = self.scan(ended);
            let Some(hit) = hit else {
                let rest = if ended { self.buffer.len() } else { hold };
                self.accumulate(events, rest);
                if ended {
                    self.close(events)?;
                }
                return Ok(());
            };
            self.accumulate(events, hit.start);
            let length = hit.end - hit.start;
            self.buffer.drain(..length);
            let had_content = self.opened;
            self.close(events)?;
            if let Some(index) = hit.opens {
                self.current = Some(index);
                self.captures = hit.captures;
                self.opened = true;
                let field = self.template.0.fields[index].name.clone();
                events.push(ResponseEvent::Open { field });
            } else if !had_content && length == 0 {
                return Ok(()); // it would be found again
            }
        }
    }

    /// The first delimiter that is certain, the longest of several, and where the first uncertain one begins.
    fn scan(&self, ended: bool) -> (Option<Hit>, usize) {
        let spec = &self.template.0;
        let mut best: Option<(Rank<'_>, Hit)> = None;
        let mut hold = self.buffer.len();
        for (index, field) in spec.fields.iter().enumerate() {
            let explicit = self
                .current
                .filter(|current| Some(*current) != spec.implicit);
            let opens = explicit.is_none().then_some(field.open.as_ref()).flatten();
            let closes = (self.current == Some(index))
                .then_some(field.close.as_ref())
                .flatten();
            for (delimiter, is_close) in [(opens, false), (closes, true)] {
                let Some(delimiter) = delimiter else {
                    continue;
                };
                let found = if ended {
                    delimiter.find(&self.buffer, 0)
                } else {
                    delimiter.find_partial(&self.buffer, 0)
                };
                let captures = match found {
                    Found::Match(captures) => captures,
                    Found::Pending(start) => {
                        hold = hold.min(start);
                        continue;
                    }
                    Found::Nothing => continue,
                };
                let range = captures.get_match().range();
                let key = (
                    range.start,
                    Reverse(range.len()),
                    is_close,
                    field.name.as_str(),
                );
                if best.as_ref().is_none_or(|(other, _)| key < *other) {
                    let group = |name: &str| {
                        Some((name.to_owned(), Value::from(captures.name(name)?.as_str())))
                    };
                    let hit = Hit {
                        start: range.start,
                        end: range.end,
                        opens: (!is_close).then_some(index),
                        captures: delimiter.names().filter_map(group).collect(),
                    };
                    best = Some((key, hit));
                }
            }
        }
        let certain = best
            .map(|(_, hit)| hit)
            .filter(|hit| ended || hit.start < hold);
        (certain, hold)
    }

    /// Moves the beginning of the buffer into the current field; without one, it is dropped.
    fn accumulate(&mut self, events: &mut Vec<ResponseEvent>, length: usize) {
        let text: String = self.buffer.drain(..length).collect();
        let Some(current) = self.current.filter(|_| !text.is_empty()) else {
            return;
        };
        let field = &self.template.0.fields[current];
        if !self.opened {
            let field = field.name.clone();
            events.push(ResponseEvent::Open { field });
            self.opened = true;
        }
        self.body.push_str(&text);
        events.push(ResponseEvent::Chunk {
            field: field.name.clone(),
            text,
            dirty: !content::is_streamable(&field.content),
        });
    }

    /// Ends the current field, if it was begun, and goes back to the one without a beginning.
    fn close(&mut self, events: &mut Vec<ResponseEvent>) -> Result<()> {
        let template = self.template.clone();
        let body = std::mem::take(&mut self.body);
        let captures = std::mem::take(&mut self.captures);
        let current = std::mem::replace(&mut self.current, template.0.implicit);
        if let Some(current) = current.filter(|_| std::mem::take(&mut self.opened)) {
            let field = &template.0.fields[current];
            let mut value = content::value(&body, field, &captures)?;
            self.tools.cast(&mut value);
            self.store(field, value.clone())?;
            let field = field.name.clone();
            events.push(ResponseEvent::Close { field, value });
        }
        Ok(())
    }

    fn store(&mut self, field: &Field, value: Value) -> Result<()> {
        let stored = self.output.get_mut(&field.name);
        match (&field.join, field.repeats, stored) {
            (Some(join), ..) => {
                let Value::String(text) = &value else {
                    return Err(invalid(format!(
                        "the field `{}` is joined, but a part of it is not a text",
                        field.name
                    )));
                };
                let before = self.output.get(&field.name).and_then(Value::as_str);
                let joined = before.map_or(text.clone(), |before| format!("{before}{join}{text}"));
                self.output.insert(field.name.clone(), joined.into());
            }
            (None, true, Some(Value::Array(values))) => values.push(value),
            (None, true, _) => {
                self.output.insert(field.name.clone(), vec![value].into());
            }
            (None, false, _) => {
                self.output.insert(field.name.clone(), value);
            }
        }
        Ok(())
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}
