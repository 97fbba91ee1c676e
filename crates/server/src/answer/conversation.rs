//! Conversations, as chat templates read them.

use serde_json::{Map, Value, json};
use transformers_tokenization::{ChatMessage, ChatTemplateOptions};

use crate::options::Reasoning;
use crate::store::TextModel;
use crate::{Result, ServerError, ServerOptions};

/// A conversation.
#[derive(Debug, Default)]
pub struct Conversation {
    /// The messages, each a JSON object as chat templates read it.
    pub messages: Vec<Map<String, Value>>,
    /// Further variables of the template.
    pub kwargs: Map<String, Value>,
}

/// What the model reads.
#[derive(Debug)]
pub struct Prompt {
    /// In ids.
    pub ids: Vec<u32>,
    /// As the template wrote it, where one did: its end may hold the beginning of the answer.
    pub text: String,
}

impl Conversation {
    /// Sets what the server's options say of templates' variables, where the request does not.
    pub fn set_defaults(&mut self, options: &ServerOptions, effort: Option<&str>) {
        self.set_reasoning(options.reasoning, effort);
        for (name, value) in &options.chat_template_kwargs {
            self.kwargs.entry(name).or_insert_with(|| value.clone());
        }
    }

    /// Whether no variable forbids it.
    pub fn may_reason(&self) -> bool {
        self.kwargs.get("enable_thinking") != Some(&Value::Bool(false))
    }

    /// Sets the variables by which templates know whether to reason, and how much. What is set already stays.
    fn set_reasoning(&mut self, reasoning: Reasoning, effort: Option<&str>) {
        let mut set = |name: &str, value: Value| {
            self.kwargs.entry(name).or_insert(value);
        };
        match (effort, reasoning) {
            (Some("none"), _) | (None, Reasoning::Off) => set("enable_thinking", false.into()),
            (Some(effort), _) => {
                set("enable_thinking", true.into());
                set("reasoning_effort", effort.into());
            }
            (None, Reasoning::On) => set("enable_thinking", true.into()),
            (None, Reasoning::Auto) => {}
        }
    }

    /// Renders and encodes the conversation, with a call to answer at its end.
    ///
    /// # Errors
    /// A model without a chat template, or a conversation that it refuses.
    pub fn encode(self, model: &TextModel, tools: &[Value]) -> Result<Prompt> {
        let Self { messages, kwargs } = self;
        let messages = match model.form.is_none() {
            true => told(messages, tools),
            false => messages,
        };
        let messages: Vec<ChatMessage> = messages.into_iter().map(ChatMessage::from).collect();
        let options = ChatTemplateOptions {
            add_generation_prompt: true,
            tools: (!tools.is_empty()).then(|| tools.to_vec()),
            extra: kwargs,
            ..ChatTemplateOptions::default()
        };
        let tokenizer = &model.tokenizer;
        if tokenizer.has_chat_template() {
            let text = tokenizer.render_chat_template(&messages, &options)?;
            // The template writes the special tokens itself.
            let ids = tokenizer.encode(text.as_str(), false)?;
            return Ok(Prompt { ids, text });
        }
        if model.form.is_none() {
            let message =
                "the model has no chat template, so it is not a chat model: use /v1/completions";
            return Err(ServerError::Invalid {
                param: None,
                message: message.to_owned(),
            });
        }
        // Mistral's own rules make ids, and no text.
        let mut batch = tokenizer.apply_chat_template(&messages, &options)?;
        let ids = batch.input_ids.remove(0);
        let text = tokenizer.decode(ids.as_slice(), false)?;
        Ok(Prompt { ids, text })
    }
}

/// The conversation for a template that knows no tools: a system message tells of them, and calls and their results are
/// texts, in the form of Hermes' models.
fn told(messages: Vec<Map<String, Value>>, tools: &[Value]) -> Vec<Map<String, Value>> {
    let mut told: Vec<Map<String, Value>> = messages.into_iter().map(as_text).collect();
    if tools.is_empty() {
        return told;
    }
    let tools: Vec<String> = tools.iter().map(Value::to_string).collect();
    let instructions = format!(
        "You can call functions to help the user. Their signatures, one JSON object on each line:\n<tools>\n{}\n</tools>\n\
         To call one, write a JSON object of its name and its arguments between these tags:\n<tool_call>\n\
         {{\"name\": <name>, \"arguments\": <arguments>}}\n</tool_call>",
        tools.join("\n")
    );
    let content = |text: &str| {
        Map::from_iter([
            ("role".to_owned(), json!("system")),
            ("content".to_owned(), json!(text)),
        ])
    };
    match told
        .first_mut()
        .filter(|message| message["role"] == "system")
    {
        Some(system) => {
            let before = system["content"].as_str().unwrap_or_default();
            *system = content(&format!("{before}\n\n{instructions}"));
        }
        None => told.insert(0, content(&instructions)),
    }
    told
}

/// A message without the fields that such a template does not read.
fn as_text(mut message: Map<String, Value>) -> Map<String, Value> {
    let text = |message: &Map<String, Value>| {
        let content = message.get("content").and_then(Value::as_str);
        content.unwrap_or_default().to_owned()
    };
    if let Some(Value::Array(calls)) = message.remove("tool_calls") {
        let calls = calls.iter().map(|call| {
            let function = &call["function"];
            format!("<tool_call>\n{function}\n</tool_call>")
        });
        let parts: Vec<String> = [text(&message)]
            .into_iter()
            .filter(|text| !text.is_empty())
            .chain(calls)
            .collect();
        message.insert("content".to_owned(), parts.join("\n").into());
    }
    if message.get("role") == Some(&json!("tool")) {
        let result = format!("<tool_response>\n{}\n</tool_response>", text(&message));
        message.insert("role".to_owned(), json!("user"));
        message.insert("content".to_owned(), result.into());
    }
    message
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn message(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn tools_are_told_of_where_a_template_knows_none() {
        let call = json!({"function": {"name": "f", "arguments": {"a": 1}}});
        let messages = vec![
            message(json!({"role": "system", "content": "Be brief."})),
            message(json!({"role": "assistant", "content": null, "tool_calls": [call]})),
            message(json!({"role": "tool", "content": "42", "tool_call_id": "x"})),
        ];
        let tools = [json!({"type": "function", "function": {"name": "f"}})];
        let told = told(messages, &tools);
        let contents: Vec<&str> = told
            .iter()
            .map(|message| message["content"].as_str().unwrap())
            .collect();
        assert!(
            contents[0].starts_with("Be brief.\n\nYou can call"),
            "{}",
            contents[0]
        );
        assert!(contents[0].contains(r#"{"type":"function","function":{"name":"f"}}"#));
        assert_eq!(
            contents[1],
            "<tool_call>\n{\"name\":\"f\",\"arguments\":{\"a\":1}}\n</tool_call>"
        );
        assert_eq!(contents[2], "<tool_response>\n42\n</tool_response>");
        assert_eq!(told[2]["role"], "user");
    }

    #[test]
    fn effort_sets_what_templates_read() {
        let kwargs = |reasoning, effort| {
            let mut conversation = Conversation::default();
            conversation.set_reasoning(reasoning, effort);
            Value::Object(conversation.kwargs)
        };
        assert_eq!(kwargs(Reasoning::Auto, None), json!({}));
        assert_eq!(
            kwargs(Reasoning::Off, None),
            json!({"enable_thinking": false})
        );
        assert_eq!(
            kwargs(Reasoning::On, Some("none")),
            json!({"enable_thinking": false})
        );
        let high = json!({"enable_thinking": true, "reasoning_effort": "high"});
        assert_eq!(kwargs(Reasoning::Off, Some("high")), high);
    }
}
