//! What an answer looks like: free text, JSON of a schema, or calls of tools.

use std::collections::HashSet;

use serde_json::{Value, json};
use transformers_generation::Grammar;
use transformers_tokenization::{AnswerForm, ResponseEvent, ResponseParser, ResponseTemplate};

use super::Prompt;
use super::lark::{Function, Lark, Reasoning};
use crate::store::TextModel;
use crate::{Result, ServerError};

/// The most tools of one request.
const MAX_TOOLS: usize = 128;

/// A tool that the model may call.
#[derive(Debug, Clone)]
pub struct Tool {
    pub name: String,
    pub description: Option<String>,
    /// The schema of its arguments.
    pub parameters: Option<Value>,
    /// Whether every keyword of the schema must be followed.
    pub strict: bool,
}

/// Whether tools are called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    /// They are not.
    None,
    /// At least one is.
    Required,
    /// This one is.
    Named(String),
}

/// The form of an answer's text.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Format {
    /// Any.
    #[default]
    Text,
    /// JSON of a schema.
    Json { schema: Value, strict: bool },
}

/// What an answer looks like.
#[derive(Debug, Default)]
pub struct Shape {
    pub tools: Vec<Tool>,
    pub choice: ToolChoice,
    /// Whether several tools may be called at once.
    pub parallel: bool,
    pub format: Format,
}

impl Shape {
    /// Checks names and numbers.
    ///
    /// # Errors
    /// A name that is none, is there twice, or is chosen and not there.
    pub fn check(&self) -> Result<()> {
        if self.tools.len() > MAX_TOOLS {
            let message = format!("{} are more than {MAX_TOOLS}", self.tools.len());
            return Err(ServerError::invalid("tools", message));
        }
        let mut names = HashSet::new();
        for Tool { name, .. } in &self.tools {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
            if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
                let message = "a name has 1 to 64 letters, digits, `_`, `-` and `.`";
                return Err(ServerError::invalid("tools", message));
            }
            if !names.insert(name) {
                let message = format!("the name `{name}` is there twice");
                return Err(ServerError::invalid("tools", message));
            }
        }
        let invalid = |message: String| Err(ServerError::invalid("tool_choice", message));
        match &self.choice {
            ToolChoice::Named(name) if !names.contains(name) => {
                let name: String = name.chars().take(64).collect();
                invalid(format!("there is no tool `{name}` among `tools`"))
            }
            ToolChoice::Required if self.tools.is_empty() => {
                invalid("a tool is required, and `tools` has none".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Whether the answer must not be without its grammar: a form was asked for, a call, or strict arguments.
    pub fn is_binding(&self) -> bool {
        let is_free = self.format == Format::Text && self.choice == ToolChoice::Auto;
        !is_free || self.tools.iter().any(|tool| tool.strict)
    }

    /// The tools as chat templates read them: none where none may be called.
    pub fn tools_to_show(&self) -> Vec<Value> {
        if self.choice == ToolChoice::None {
            return Vec::new();
        }
        let show = |tool: &Tool| {
            let mut function = json!({"name": tool.name});
            if let Some(description) = &tool.description {
                function["description"] = json!(description);
            }
            function["parameters"] = parameters(tool);
            json!({"type": "function", "function": function})
        };
        self.tools.iter().map(show).collect()
    }

    /// The functions that may be called.
    fn functions(&self) -> Vec<Function> {
        let allowed = |tool: &&Tool| match &self.choice {
            ToolChoice::None => false,
            ToolChoice::Named(name) => tool.name == *name,
            ToolChoice::Auto | ToolChoice::Required => true,
        };
        let function = |tool: &Tool| Function {
            name: tool.name.clone(),
            parameters: parameters(tool),
            strict: tool.strict,
        };
        self.tools.iter().filter(allowed).map(function).collect()
    }

    /// What reads the answer; `None`: it is text and nothing else.
    ///
    /// # Errors
    /// A template of answers that does not go with the prompt.
    pub fn parser(&self, model: &TextModel, prompt: &Prompt) -> Result<Option<ResponseParser>> {
        let shown = self.tools_to_show();
        let parser = match &model.response {
            Some(template) if model.form.is_some() || shown.is_empty() => {
                ResponseParser::new(template, &prompt.text, &shown)?
            }
            // The form that the model was told of.
            _ if !shown.is_empty() => {
                let hermes = ResponseTemplate::of_model_type("qwen3");
                let hermes =
                    hermes.ok_or_else(|| ServerError::internal("no template of Qwen 3"))?;
                ResponseParser::new(&hermes, "", &shown)?
            }
            _ => return Ok(None),
        };
        Ok(Some(parser))
    }

    /// What the answer must follow, if anything; `may_reason`: the request does not forbid reasoning before it.
    pub fn grammar(
        &self,
        model: &TextModel,
        parser: Option<&ResponseParser>,
        may_reason: bool,
    ) -> Option<Grammar> {
        let functions = self.functions();
        let hermes = AnswerForm {
            reasoning: None,
            ..AnswerForm::hermes()
        };
        let form = model.form.as_ref().unwrap_or(&hermes);
        let lark = || Lark::new(form, &model.tokenizer);
        let reasoning = match parser.is_some_and(reasons) {
            true => Reasoning::Opened,
            false if may_reason => Reasoning::Maybe,
            false => Reasoning::No,
        };
        let must_call = matches!(self.choice, ToolChoice::Required | ToolChoice::Named(_));
        let parallel = self.parallel && !matches!(self.choice, ToolChoice::Named(_));
        match (&self.format, functions.as_slice()) {
            (Format::Text, []) => None,
            (_, functions) if must_call => Some(lark().calls(functions, parallel, reasoning)),
            (Format::Text, functions) => Some(lark().text_or_calls(functions, parallel)),
            (Format::Json { schema, strict }, functions) => {
                Some(lark().json(schema, *strict, functions, parallel, reasoning))
            }
        }
    }
}

/// The schema of a tool's arguments; a tool that says nothing of them takes none.
fn parameters(tool: &Tool) -> Value {
    let none = || json!({"type": "object", "properties": {}});
    tool.parameters.clone().unwrap_or_else(none)
}

/// Whether the prompt's end opened the reasoning.
fn reasons(parser: &ResponseParser) -> bool {
    let is_reasoning =
        |field: &str| matches!(field, "reasoning_content" | "thinking" | "reasoning");
    let last = parser
        .initial_events()
        .iter()
        .rev()
        .find_map(|event| match event {
            ResponseEvent::Open { field } => Some(is_reasoning(field)),
            ResponseEvent::Close { field, .. } if is_reasoning(field) => Some(false),
            _ => None,
        });
    last.unwrap_or(false)
}
