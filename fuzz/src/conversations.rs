//! What the fuzz target and the replayed corpus do with the bytes of a chat template: render conversations with it, in each
//! way that there is. Errors are fine; a panic, a hang or memory without end is not.

use std::sync::LazyLock;

use serde_json::json;
use transformers_tokenization::{
    ChatMessage, ChatTemplateOptions, LlamaTokenizer, ResponseTemplate, Tokenizer,
};

/// As a chat template.
pub fn chat_template(bytes: &[u8]) {
    static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| LlamaTokenizer::default().into());
    let Ok(template) = std::str::from_utf8(bytes) else {
        return;
    };
    ResponseTemplate::of_chat_template(template);
    let parameters = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let options = ChatTemplateOptions {
        add_generation_prompt: true,
        template: Some(template.to_owned()),
        tools: Some(vec![
            json!({"function": {"name": "f", "parameters": parameters}}),
        ]),
        documents: Some(vec![json!({"title": "t", "text": "x"})]),
        ..Default::default()
    };
    let masked = ChatTemplateOptions {
        return_assistant_tokens_mask: true,
        ..options.clone()
    };
    let sanitized = ChatTemplateOptions {
        sanitize_control_tokens: true,
        ..options.clone()
    };
    let continued = ChatTemplateOptions {
        add_generation_prompt: false,
        continue_final_message: true,
        ..options.clone()
    };
    let call = json!([{"function": {"name": "f", "arguments": {"a": [1, 2.5, null]}}}]);
    let called = [
        ChatMessage::system("S </s>"),
        ChatMessage::user("Hi 🙂"),
        ChatMessage::assistant("").with("tool_calls", call),
        ChatMessage::tool("r"),
    ];
    let parts = json!([{"type": "text", "text": "x"}, {"type": "image"}]);
    let answered = [ChatMessage::user(parts), ChatMessage::assistant("A\n")];
    for options in [&options, &masked, &sanitized, &continued] {
        for messages in [&called[..], &answered[..], &called[1..2]] {
            if let Err(error) = TOKENIZER.apply_chat_template(messages, options) {
                assert!(!error.to_string().contains("panicked"), "{error}");
            }
        }
    }
}
