//! Renders one template: Jinja as the reference sets it up, within a budget.

use std::borrow::Cow;
use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::LazyLock;

use chrono::format::StrftimeItems;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use regex::Regex;
use serde_json::Map;

use super::budget::{self, LimitedText};
use super::{json, methods};
use crate::{Result, TokenizationError};

/// How errors name the template.
const NAME: &str = "chat template";

/// Renders `template` with these variables.
pub(super) fn render(template: &str, variables: &Map<String, serde_json::Value>) -> Result<String> {
    let output_limit = budget::output_limit(variables);
    let mut text = LimitedText {
        bytes: Vec::new(),
        limit: output_limit,
    };
    let environment = environment(budget::fuel(variables)).map_err(failed)?;
    let source = without_generation_tags(template);
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
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    Ok(environment)
}

/// `{% generation %}` marks what the assistant wrote, for the loss mask of training. When rendering it is a block of its
/// own scope and nothing else, which is what `{% with %}` is.
fn without_generation_tags(template: &str) -> Cow<'_, str> {
    static TAG: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}").expect("the pattern is valid")
    });
    TAG.replace_all(template, "{%$1 ${2}with $3%}")
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
