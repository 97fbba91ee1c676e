//! Renders one template: Jinja as the reference sets it up, within a budget.
//!
//! The budget of instructions bounds what a template can do with texts and loops. It does not bound everything: lists that
//! hold each other are walked by recursion, and their walks are not paid for. So a template runs on a thread of its own,
//! whose stack holds the deepest list that the budget can build, and which is waited for a limited time.

use std::borrow::Cow;
use std::error::Error as _;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use chrono::format::StrftimeItems;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};
use regex::{Captures, Regex};
use serde_json::Map;

use super::budget::{self, LimitedText};
use super::{json, methods};
use crate::{Result, TokenizationError};

/// How errors name the template.
const NAME: &str = "chat template";

/// Longer than any conversation takes, shorter than anyone waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// Stack for each instruction that a template may do: a list within a list takes eight of them to make, and up to 3.3 kB
/// in an unoptimised build (0.8 kB otherwise) to write out. It is reserved, not used, unless a template does that.
const STACK_PER_INSTRUCTION: usize = 512;

/// Stack for each byte of a template: an expression within an expression takes one or two, and up to 1 kB to compile.
const STACK_PER_BYTE: usize = 1024;

/// Templates have some thousand bytes.
const MAX_TEMPLATE_BYTES: usize = 1 << 18;

/// What is written around the assistant's parts, where they are asked for.
pub(super) struct Marks {
    pub begin: String,
    pub end: String,
}

impl Marks {
    /// Marks that no message holds, since nobody knows them before.
    pub fn new() -> Self {
        let random = RandomState::new().hash_one(0);
        Self {
            begin: format!("\u{fdd0}{random:016x}\u{fdd1}"),
            end: format!("\u{fdd2}{random:016x}\u{fdd3}"),
        }
    }
}

/// Renders `template` with these variables.
pub(super) fn render(
    template: &str,
    variables: Map<String, serde_json::Value>,
    marks: Option<Marks>,
) -> Result<String> {
    if cfg!(target_family = "wasm") {
        return render_here(template, &variables, marks); // no threads, and overflowing the stack is an error there
    }
    render_within(PATIENCE, template, variables, marks)
}

fn render_within(
    patience: Duration,
    template: &str,
    variables: Map<String, serde_json::Value>,
    marks: Option<Marks>,
) -> Result<String> {
    if template.len() > MAX_TEMPLATE_BYTES {
        return Err(TokenizationError::ChatTemplateLimit {
            what: "is longer than 256 KiB",
        });
    }
    let template = template.to_owned();
    let fuel = budget::fuel(&variables) as usize; // at most some millions
    let (result, rendered) = mpsc::channel();
    std::thread::Builder::new()
        .name(NAME.to_owned())
        .stack_size(fuel * STACK_PER_INSTRUCTION + template.len() * STACK_PER_BYTE)
        .spawn(move || result.send(render_here(&template, &variables, marks)))
        .map_err(|error| TokenizationError::ChatTemplate {
            reason: format!("no thread to run it on: {error}"),
        })?;
    rendered.recv_timeout(patience).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => TokenizationError::ChatTemplateLimit {
                what: "takes too long",
            },
            RecvTimeoutError::Disconnected => TokenizationError::ChatTemplate {
                reason: "the template engine panicked".to_owned(),
            },
        })
    })
}

fn render_here(
    template: &str,
    variables: &Map<String, serde_json::Value>,
    marks: Option<Marks>,
) -> Result<String> {
    let mut text = LimitedText {
        bytes: Vec::new(),
        limit: budget::output_limit(variables),
    };
    let mut environment = environment(budget::fuel(variables)).map_err(failed)?;
    let source = without_generation_tags(template, marks.is_some());
    if let Some(marks) = marks {
        environment.add_function(GENERATION, move |state: &mut State, options: Kwargs| {
            let caller: Value = options.get("caller")?;
            let text = caller.call(state, &[])?;
            Ok::<_, Error>(format!("{}{text}{}", marks.begin, marks.end))
        });
    }
    environment
        .template_from_named_str(NAME, &source)
        .and_then(|template| {
            template
                .render_captured_to(json::object_to_value(variables), &mut text)
                .map(drop)
        })
        .map_err(failed)?;
    String::from_utf8(text.bytes).map_err(|_| TokenizationError::ChatTemplate {
        reason: "it wrote bytes that are not UTF-8".to_owned(),
    })
}

fn environment(fuel: u64) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_fuel(Some(fuel));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(methods::call);
    environment.add_filter("tojson", json::tojson);
    // As in Python, where texts and dictionaries have a length and items too.
    environment.add_test("sequence", |value: &Value| value.len().is_some());
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    Ok(environment)
}

/// The function that `{% generation %}` calls where the assistant's parts are marked.
const GENERATION: &str = "_mark_generation";

/// `{% generation %}` marks what the assistant wrote, for the loss mask of training. When rendering it is a block of its
/// own scope and nothing else, which is what `{% with %}` is. Where it is asked for, it is a call, whose text is marked.
fn without_generation_tags(template: &str, marked: bool) -> Cow<'_, str> {
    static TAG: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("the pattern is valid")
    });
    if !marked {
        return TAG.replace_all(template, "{%$1 ${2}with $3%}");
    }
    TAG.replace_all(template, |tag: &Captures<'_>| {
        let inner = match tag.get(2) {
            None => format!("call {GENERATION}()"),
            Some(_) => "endcall".to_owned(),
        };
        format!("{{%{} {inner} {}%}}", &tag[1], &tag[3])
    })
}

/// What a template raised on purpose.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

fn raise_exception(message: String) -> Result<Value, Error> {
    let error = Error::new(ErrorKind::InvalidOperation, message.clone());
    Err(error.with_source(Raised(message)))
}

/// The local date and time in this format.
fn strftime_now(format: &str) -> Result<String, Error> {
    let bad = |_| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("strftime_now: `{format}` is not a format for a date and time"),
        )
    };
    let items = StrftimeItems::new(format).parse().map_err(bad)?;
    let mut text = String::new();
    write!(
        text,
        "{}",
        chrono::Local::now().format_with_items(items.iter())
    )
    .map_err(|_| Error::new(ErrorKind::InvalidOperation, "strftime_now failed"))?;
    Ok(text)
}

fn failed(error: Error) -> TokenizationError {
    match error.kind() {
        ErrorKind::OutOfFuel => {
            return TokenizationError::ChatTemplateLimit {
                what: "does too much work",
            };
        }
        ErrorKind::WriteFailure => {
            return TokenizationError::ChatTemplateLimit {
                what: "writes too much text",
            };
        }
        _ => {}
    }
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(Raised(message)) = cause.downcast_ref() {
            return TokenizationError::ChatRefused {
                message: message.clone(),
            };
        }
        source = cause.source();
    }
    TokenizationError::ChatTemplate {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_budget_does_not_pay_for_is_given_up() {
        let doubling = "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}\
                        {{ ns.l | length }}";
        let result = render_within(Duration::from_millis(100), doubling, Map::new(), None);
        assert!(
            matches!(result, Err(TokenizationError::ChatTemplateLimit { .. })),
            "{result:?}"
        );
    }
}
