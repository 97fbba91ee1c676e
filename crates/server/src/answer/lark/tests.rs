//! Which texts a grammar takes, for the forms of several families.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde_json::json;
use transformers_generation::{Constraint, GrammarCompiler, LogitsProcessor as _, Step};
use transformers_tokenization::AutoTokenizer;

use super::*;

fn tokenizer() -> Tokenizer {
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transformers/tests/tiny");
    AutoTokenizer::from_pretrained(tiny).unwrap()
}

/// Calls in JSON between tags, as Hermes' models write them.
fn hermes() -> AnswerForm {
    AnswerForm::hermes()
}

/// Calls in one list after a special token, and reasoning between special tokens.
fn listed() -> AnswerForm {
    AnswerForm {
        reasoning: Some(("<|system|>".to_owned(), "<|user|>".to_owned())),
        begin: "<|assistant|>[".to_owned(),
        open: "{\"name\": \"{name}\", \"arguments\": ".to_owned(),
        close: "}".to_owned(),
        separator: ", ".to_owned(),
        end: "]".to_owned(),
        ..AnswerForm::default()
    }
}

/// Special tokens with text between them around all parts, as gpt-oss has it.
fn channels() -> AnswerForm {
    AnswerForm {
        reasoning: Some((
            "<|system|>think".to_owned(),
            "<|user|><|assistant|>x".to_owned(),
        )),
        content: "<|system|>final".to_owned(),
        open: "<|system|>to={name} <|assistant|>".to_owned(),
        close: "<|user|>".to_owned(),
        ..AnswerForm::default()
    }
}

/// Arguments that are no JSON.
fn free() -> AnswerForm {
    AnswerForm {
        open: "<tool_call>{name}\n".to_owned(),
        close: "</tool_call>".to_owned(),
        separator: "\n".to_owned(),
        free: true,
        ..AnswerForm::default()
    }
}

/// One call is an answer.
fn single() -> AnswerForm {
    AnswerForm {
        open: "{\"name\": \"{name}\", \"parameters\": ".to_owned(),
        close: "}".to_owned(),
        single: true,
        ..AnswerForm::default()
    }
}

fn functions() -> Vec<Function> {
    let function = |name: &str, value: u8| Function {
        name: name.to_owned(),
        parameters: json!({
            "type": "object", "properties": {"x": {"enum": [value]}}, "required": ["x"],
        }),
        strict: true,
    };
    vec![function("one", 1), function("two", 2)]
}

/// Whether a grammar takes a text and lets it end there.
fn takes(grammar: &Grammar, text: &str) -> bool {
    let tokenizer = tokenizer();
    let compiler = GrammarCompiler::new(&tokenizer, &[0]).unwrap();
    let mut constraint: Constraint = compiler.compile(grammar).unwrap();
    let mut ids = vec![9]; // a prompt
    let rest = tokenizer.encode(text, false).unwrap();
    for id in rest.into_iter().chain([0]) {
        let mut scores = vec![0.0; 304];
        let step = Step {
            ids: &ids,
            prompt_len: 1,
            prompt: 0,
        };
        constraint.process(&step, &mut scores);
        if scores[id as usize] == f32::NEG_INFINITY {
            return false;
        }
        ids.push(id);
    }
    true
}

#[track_caller]
fn check(grammar: &Grammar, taken: &[&str], refused: &[&str]) {
    for text in taken {
        assert!(takes(grammar, text), "{text:?} is refused");
    }
    for text in refused {
        assert!(!takes(grammar, text), "{text:?} is taken");
    }
}

fn lark(form: &AnswerForm) -> Lark<'_> {
    Lark::new(form, &tokenizer())
}

const ONE: &str = "<tool_call>\n{\"name\": \"one\", \"arguments\": {\"x\":1}}\n</tool_call>";
const TWO: &str = "<tool_call>\n{\"name\": \"two\", \"arguments\": {\"x\":2}}\n</tool_call>";

#[test]
fn calls_are_calls_and_nothing_else() {
    let form = hermes();
    let both = format!("{ONE}\n{TWO}");
    let thought = format!("<think>\nHm.</think>\n\n{ONE}");
    let parallel = lark(&form).calls(&functions(), true, Reasoning::Maybe);
    let wrong = ONE.replace("1}}", "3}}");
    check(
        &parallel,
        &[ONE, TWO, &both, &thought],
        &["", "text", &wrong, &format!("{ONE} text"), "<think>only"],
    );
    let one = lark(&form).calls(&functions(), false, Reasoning::No);
    check(&one, &[ONE, TWO], &[&both, &thought]);
    let opened = lark(&form).calls(&functions(), false, Reasoning::Opened);
    check(&opened, &[&format!("Hm.</think>\n{ONE}")], &[ONE]);
}

#[test]
fn every_form_has_its_calls() {
    let call =
        |name: &str, x: u8| format!("{{\"name\": \"{name}\", \"arguments\": {{\"x\":{x}}}}}");
    let list = |calls: &str| format!("<|assistant|>[{calls}]");
    let both = format!("{}, {}", call("one", 1), call("two", 2));
    check(
        &lark(&listed()).calls(&functions(), true, Reasoning::Maybe),
        &[
            &list(&call("one", 1)),
            &list(&both),
            &format!("<|system|>Hm.<|user|>{}", list(&both)),
        ],
        &[&list(""), &call("one", 1), &list(&call("one", 2))],
    );
    check(
        &lark(&channels()).calls(&functions(), true, Reasoning::Maybe),
        &[
            "<|system|>to=one <|assistant|>{\"x\":1}<|user|>",
            "<|system|>thinkHm.<|user|><|assistant|>x<|system|>to=two <|assistant|>{\"x\":2}<|user|>",
        ],
        &[
            "<|system|>to=one <|assistant|>{\"x\":2}<|user|>",
            "<|system|>final",
        ],
    );
    check(
        &lark(&free()).calls(&functions(), true, Reasoning::Maybe),
        &[
            "<tool_call>one\nwhatever</tool_call>",
            "<tool_call>two\n</tool_call>\n<tool_call>one\n1</tool_call>",
        ],
        &["<tool_call>three\nx</tool_call>", "<tool_call>one\nx"],
    );
    check(
        &lark(&single()).calls(&functions(), true, Reasoning::Maybe),
        &["{\"name\": \"two\", \"parameters\": {\"x\":2}}"],
        &[
            "{\"name\": \"two\", \"parameters\": {\"x\":2}}{\"name\": \"two\", \"parameters\": {\"x\":2}}",
        ],
    );
}

#[test]
fn json_may_follow_reasoning() {
    let schema = json!({"enum": [7, 8]});
    let form = hermes();
    let grammar = |reasoning| lark(&form).json(&schema, true, &[], false, reasoning);
    check(
        &grammar(Reasoning::No),
        &["7", "8", "\n7"],
        &["9", "", "<think>x</think>7"],
    );
    check(
        &grammar(Reasoning::Maybe),
        &["7", "<think>x</think>\n7"],
        &["<think>7"],
    );
    check(&grammar(Reasoning::Opened), &["x</think>\n7"], &["7"]);
    let form = channels();
    let of_channels = lark(&form).json(&schema, true, &[], false, Reasoning::Maybe);
    check(&of_channels, &["<|system|>final7"], &["7"]);
    let form = hermes();
    let with_calls = lark(&form).json(&schema, true, &functions(), true, Reasoning::No);
    check(&with_calls, &["7", ONE], &["text"]);
}

#[test]
fn text_is_free_until_it_calls() {
    let form = hermes();
    let grammar = lark(&form).text_or_calls(&functions(), true);
    let wrong = ONE.replace("\"one\"", "\"none\"");
    check(
        &grammar,
        &[
            "",
            "Some text.\nMore.",
            ONE,
            &format!("Text. {ONE}\n{TWO}"),
            &format!("{ONE} and text"),
        ],
        &[&wrong, &format!("Text {wrong}"), "<tool_call>\nnothing"],
    );
    let one = lark(&form).text_or_calls(&functions(), false);
    check(
        &one,
        &["text", "", ONE, &format!("Text. {ONE}")],
        &[&format!("{ONE}\n{TWO}"), &wrong],
    );
    let form = listed();
    let grammar = lark(&form).text_or_calls(&functions(), true);
    let call = "<|assistant|>[{\"name\": \"one\", \"arguments\": {\"x\":1}}]";
    check(
        &grammar,
        &[
            "text",
            "",
            call,
            &format!("text{call}"),
            &format!("<|system|>Hm.<|user|>text{call}"),
        ],
        &["<|assistant|>[]", "<|assistant|>text"],
    );
}
