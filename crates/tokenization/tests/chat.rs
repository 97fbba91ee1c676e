//! Chat templates against the reference, and their options.
#![allow(clippy::unwrap_used)]

mod common;

use common::{golden, read, text, tokenizer};
use serde_json::{Map, Value, json};
use transformers_tokenization::{ChatMessage, ChatTemplateOptions, Result, TokenizationError};

fn template(source: &str) -> ChatTemplateOptions {
    ChatTemplateOptions {
        template: Some(source.to_owned()),
        ..Default::default()
    }
}

/// Renders one message with this template.
fn render(source: &str) -> Result<String> {
    tokenizer("byte_level").render_chat_template(&[ChatMessage::user("Hi")], &template(source))
}

/// The messages and options of a recorded conversation, from the keyword arguments of the reference.
fn conversation(arguments: &Map<String, Value>) -> (Vec<ChatMessage>, ChatTemplateOptions) {
    let mut arguments = arguments.clone();
    let list = |value: Option<Value>| {
        value
            .filter(|value| !value.is_null())
            .map(|value| serde_json::from_value(value).unwrap())
    };
    let flag =
        |value: Option<Value>, default| value.map_or(default, |value| value.as_bool().unwrap());
    let messages = serde_json::from_value(arguments.remove("messages").unwrap()).unwrap();
    let going_on = arguments.remove("continue_final_message");
    let options = ChatTemplateOptions {
        add_generation_prompt: flag(arguments.remove("add_generation_prompt"), true),
        continue_final_message: going_on != Some(Value::Bool(false)) && going_on.is_some(),
        continue_field: going_on.and_then(|field| Some(field.as_str()?.to_owned())),
        tools: list(arguments.remove("tools")),
        documents: list(arguments.remove("documents")),
        template: None,
        extra: arguments,
        ..Default::default()
    };
    (messages, options)
}

#[test]
fn conversations_are_rendered_as_in_the_reference() {
    let conversations: Map<String, Value> = read("chat/conversations.json");
    let tokenizer = tokenizer("byte_level");
    let entries = std::fs::read_dir(golden("templates")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "jinja")
    });
    assert!(files.len() >= 20);
    let mut different = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let source = std::fs::read_to_string(&path).unwrap();
        let cases: Vec<Value> = read(&format!("chat/{name}.json"));
        assert!(
            cases.len()
                >= if matches!(name, "python" | "filters") {
                    6
                } else {
                    30
                }
        );
        for case in &cases {
            let conversation_name = text(&case["name"]);
            let context = format!("{name}: {conversation_name}");
            let (messages, mut options) =
                conversation(conversations[conversation_name].as_object().unwrap());
            options.template = Some(source.clone());
            let result = tokenizer.render_chat_template(&messages, &options);
            let same = match (case["error"].as_str(), &result) {
                (None, Ok(rendered)) => rendered == text(&case["rendered"]),
                (Some("TemplateError"), Err(TokenizationError::ChatRefused { message })) => {
                    message == text(&case["message"])
                }
                (Some("TemplateError"), _) => false,
                (error, result) => error.is_some() == result.is_err(),
            };
            if !same {
                different.push(format!("{context}:\n{result:?}\n{case}"));
            }
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
}

#[test]
fn templates_are_chosen_by_name() {
    let message = [ChatMessage::user("Hi")];
    let several = tokenizer("byte_level");
    let tools = ChatTemplateOptions {
        tools: Some(vec![json!({"a": 1})]),
        ..Default::default()
    };
    assert_eq!(
        several.render_chat_template(&message, &tools).unwrap(),
        "tools: [{\"a\": 1}]"
    );
    assert_eq!(
        several
            .render_chat_template(&message, &template("tool_use"))
            .unwrap(),
        "tools: null"
    );
    assert_eq!(
        several
            .render_chat_template(&message, &template("{{ bos_token }}{{ image_token }}"))
            .unwrap(),
        "<|im_start|><image>"
    );

    // Files beside tokenizer_config.json replace the template in it.
    let files = tokenizer("word_piece");
    assert_eq!(
        files
            .render_chat_template(&message, &Default::default())
            .unwrap(),
        "Hi [CLS]"
    );
    assert_eq!(
        files
            .render_chat_template(&message, &template("loud"))
            .unwrap(),
        "HI"
    );

    let none = tokenizer("sentence_piece");
    assert!(!none.has_chat_template());
    let error = none
        .render_chat_template(&message, &Default::default())
        .unwrap_err();
    assert!(
        matches!(error, TokenizationError::NoChatTemplate(_)),
        "{error}"
    );
}

#[test]
fn a_conversation_needs_messages_that_are_objects() {
    let tokenizer = tokenizer("byte_level");
    let error = tokenizer
        .render_chat_template(&[], &Default::default())
        .unwrap_err();
    assert!(matches!(error, TokenizationError::EmptyConversation));
    assert_eq!(
        ChatMessage::try_from(json!({"role": "user", "content": "Hi"})).unwrap(),
        ChatMessage::user("Hi")
    );
    for wrong in [json!("Hi"), json!([1]), json!(null)] {
        let error = ChatMessage::try_from(wrong).unwrap_err();
        assert!(matches!(
            error,
            TokenizationError::MessageNotAnObject { .. }
        ));
    }
}

#[test]
fn the_current_time_is_formatted_as_by_strftime() {
    assert_eq!(render("{{ strftime_now('%%') }}").unwrap(), "%");
    let year: u32 = render("{{ strftime_now('%Y') }}").unwrap().parse().unwrap();
    assert!(year >= 2024);
    assert_eq!(
        render("{{ strftime_now('%d %b %Y') }}")
            .unwrap()
            .split(' ')
            .count(),
        3
    );
    assert!(render("{{ strftime_now('%!') }}").is_err());
}

#[test]
fn errors_say_what_the_template_says() {
    let message = |source: &str| render(source).unwrap_err().to_string();
    assert_eq!(
        message("{{ raise_exception('no ' ~ messages[0].role) }}"),
        "the chat template refuses this conversation: no user"
    );
    // Also from within a macro, a loop and a block.
    let nested = "{% macro m() %}{% for x in [1] %}{{ raise_exception('deep') }}{% endfor %}{% endmacro %}{% set y %}{{ m() }}{% endset %}";
    assert!(message(nested).ends_with(": deep"));
    for (source, expected) in [
        ("{% if %}", "syntax error"),
        ("line\n{{ nothing.of.that }}", ":2)"),
        ("{{ messages | nosuch }}", "nosuch"),
        ("{{ nosuch() }}", "nosuch"),
        ("{% include 'other' %}", "`include`"),
        ("{{ missing | tojson }}", "tojson"),
    ] {
        let message = message(source);
        assert!(
            message.starts_with("the chat template failed: ") && message.contains(expected),
            "{source}: {message}"
        );
    }
}

#[test]
fn a_long_conversation_is_within_the_budget() {
    let tokenizer = tokenizer("byte_level");
    let mut messages = vec![ChatMessage::system("You are kind.")];
    for turn in 0..2_000 {
        messages.push(ChatMessage::user(format!("Question {turn}? ").repeat(20)));
        messages.push(ChatMessage::assistant(
            format!("Answer {turn}. ").repeat(40),
        ));
    }
    for name in ["smollm2", "qwen3", "functions"] {
        let source = std::fs::read_to_string(golden(&format!("templates/{name}.jinja"))).unwrap();
        let rendered = tokenizer
            .render_chat_template(&messages, &template(&source))
            .unwrap();
        assert!(rendered.len() > 1_500_000, "{name}: {}", rendered.len());
    }
}

#[test]
fn the_assistants_tokens_are_those_of_the_reference() {
    let golden: Value = read("chat/masks.json");
    let tokenizer = tokenizer("byte_level");
    let masked = |template: &Value| ChatTemplateOptions {
        template: template.as_str().map(str::to_owned),
        return_assistant_tokens_mask: true,
        ..Default::default()
    };
    let rows = golden["rows"].as_array().unwrap();
    assert!(rows.len() > 15);
    for row in rows {
        let messages: Vec<ChatMessage> = serde_json::from_value(row["messages"].clone()).unwrap();
        let options = masked(&row["template"]);
        let text = tokenizer.render_chat_template(&messages, &options).unwrap();
        assert_eq!(text, row["text"].as_str().unwrap(), "{row}");
        let batch = tokenizer.apply_chat_template(&messages, &options).unwrap();
        assert_eq!(
            serde_json::to_value(&batch.input_ids[0]).unwrap(),
            row["input_ids"],
            "{row}"
        );
        let masks = batch.assistant_masks.unwrap();
        assert_eq!(
            serde_json::to_value(&masks[0]).unwrap(),
            row["assistant_masks"],
            "{row}"
        );
    }
    let batch = &golden["batch"];
    let conversations: Vec<Vec<ChatMessage>> =
        serde_json::from_value(batch["conversations"].clone()).unwrap();
    let encode = transformers_tokenization::EncodeOptions {
        padding: transformers_tokenization::Padding::Longest,
        truncation: transformers_tokenization::Truncation::LongestFirst,
        max_length: Some(60),
        ..Default::default()
    };
    let options = masked(&batch["template"]);
    let found = tokenizer
        .apply_chat_template_batch(&conversations, &options, &encode)
        .unwrap();
    assert_eq!(
        serde_json::to_value(&found.input_ids).unwrap(),
        batch["input_ids"]
    );
    assert_eq!(
        serde_json::to_value(found.assistant_masks).unwrap(),
        batch["assistant_masks"]
    );
    let both = ChatTemplateOptions {
        continue_final_message: true,
        ..options
    };
    assert!(
        tokenizer
            .apply_chat_template(&conversations[0], &both)
            .is_err()
    );
}

#[test]
fn control_tokens_of_users_are_plain_text_as_in_the_reference() {
    let rows: Vec<Value> = read("chat/sanitized.json");
    assert!(rows.len() > 90);
    let encode = transformers_tokenization::EncodeOptions {
        truncation: transformers_tokenization::Truncation::LongestFirst,
        max_length: Some(100),
        ..Default::default()
    };
    let mut different = Vec::new();
    for row in &rows {
        let mut arguments = row["options"].as_object().unwrap().clone();
        arguments.insert("messages".to_owned(), row["messages"].clone());
        arguments
            .entry("add_generation_prompt")
            .or_insert(false.into());
        let (messages, options) = conversation(&arguments);
        let options = ChatTemplateOptions {
            template: row["template"].as_str().map(str::to_owned),
            sanitize_control_tokens: true,
            ..options
        };
        let tokenizer = tokenizer(text(&row["folder"]));
        let result = tokenizer.apply_chat_template_batch(&[messages], &options, &encode);
        let same = match &result {
            Ok(batch) => json!(batch.input_ids[0]) == row["input_ids"],
            Err(_) => row["error"].is_string(),
        };
        if !same {
            let found = result.map(|batch| batch.input_ids[0].clone());
            different.push(format!("{row}\n{found:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n\n"));
    let options = ChatTemplateOptions {
        sanitize_control_tokens: true,
        ..Default::default()
    };
    let text = tokenizer("byte_level").render_chat_template(&[ChatMessage::user("Hi")], &options);
    assert!(matches!(text, Err(TokenizationError::InvalidOptions(_))));
}

/// What the functions of `tests/oracle/golden_chat.py` take, as Rust says it.
#[allow(dead_code)]
mod functions {
    use std::collections::{BTreeMap, HashMap};

    use schemars::JsonSchema;
    use serde::Deserialize;

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    pub enum Unit {
        Celsius,
        Fahrenheit,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(untagged)]
    pub enum IntegerOrText {
        Integer(i64),
        Text(String),
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(untagged)]
    pub enum IntegerOrList {
        Integer(i64),
        List(Vec<String>),
    }

    /// What the function takes.
    #[derive(Deserialize, JsonSchema)]
    pub struct GetWeather {
        /// Which city.
        pub city: String,
        /// Which days from now.
        pub days: Vec<u32>,
        /// The scale.
        pub unit: Unit,
        /// Whether to tell everything.
        #[serde(default)]
        pub detailed: bool,
    }

    #[derive(Deserialize, JsonSchema)]
    pub struct Everything {
        /// A whole number.
        pub integer: i64,
        /// A number.
        pub number: f64,
        /// A text.
        pub text: String,
        /// A truth value.
        pub truth: bool,
        /// Anything.
        pub anything: serde_json::Value,
        /// Texts.
        pub texts: Vec<String>,
        /// Lists of lists.
        pub lists: Vec<Vec<f32>>,
        /// Anything, many times.
        pub bare: Vec<serde_json::Value>,
        /// A pair.
        pub pair: (i32, String),
        /// By name.
        pub map: HashMap<String, u8>,
        /// Lists by name.
        pub lists_by_name: BTreeMap<String, Vec<bool>>,
        /// One of two.
        pub either: IntegerOrText,
        /// A number or a list.
        pub mixed: IntegerOrList,
        /// Scales.
        pub units: Vec<Unit>,
        /// Perhaps a number.
        pub perhaps: Option<u64>,
        /// Perhaps a list.
        pub perhaps_list: Option<Vec<String>>,
        /// Perhaps a scale.
        pub perhaps_unit: Option<Unit>,
        /// Perhaps one of two.
        pub perhaps_either: Option<IntegerOrText>,
    }

    #[derive(Deserialize, JsonSchema)]
    pub struct Nothing {}
}

#[test]
fn types_give_the_schemas_that_functions_give_in_the_reference() {
    use transformers_tokenization::function_schema;

    let expected: Map<String, Value> = read("chat/tool.json");
    let mut weather =
        function_schema::<functions::GetWeather>("get_weather", "The weather of a city.");
    // A default is said here, and left out there.
    let detailed = &mut weather["function"]["parameters"]["properties"]["detailed"];
    assert_eq!(
        detailed.as_object_mut().unwrap().shift_remove("default"),
        Some(false.into())
    );
    assert_eq!(weather.to_string(), expected["get_weather"].to_string());
    let nothing = function_schema::<functions::Nothing>("nothing", "Does nothing.");
    assert_eq!(nothing.to_string(), expected["nothing"].to_string());
    let everything = function_schema::<functions::Everything>("everything", "Takes everything.");
    let parameters = &expected["everything"]["function"]["parameters"];
    for (name, schema) in parameters["properties"].as_object().unwrap() {
        let found = &everything["function"]["parameters"]["properties"][name];
        assert_eq!(found.to_string(), schema.to_string(), "{name}");
    }
    assert_eq!(everything.to_string(), expected["everything"].to_string());
}
