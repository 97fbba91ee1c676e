//! Renders one template: Jinja as the reference sets it up, within a budget.
//!
//! The budget of instructions bounds what a template can do: the template engine charges for texts and loops, and what it
//! does not charge for is replaced (see `operators` and `filters`). A template runs on a thread of its own, whose stack
//! holds the deepest expression and the deepest recursion of macros that there may be.

use std::error::Error as _;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};

use chrono::format::StrftimeItems;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, State, Value};
use serde_json::Map;

use super::budget::{self, LimitedText};
use super::operators::{Refused, rewrite};
use super::{arithmetic, filters, json, lists, methods, values};
use crate::{Result, TokenizationError};

/// How errors name the template.
const NAME: &str = "chat template";

/// Reserved, not used, unless a template is as deep as it may be.
const STACK: usize = 64 << 20;

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
    if template.len() > MAX_TEMPLATE_BYTES {
        return Err(TokenizationError::ChatTemplateLimit {
            what: "is longer than 256 KiB",
        });
    }
    if cfg!(target_family = "wasm") {
        return render_here(template, &variables, marks); // no threads, and overflowing the stack is an error there
    }
    let failed = |reason: String| TokenizationError::ChatTemplate { reason };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name(NAME.to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, || render_here(template, &variables, marks))
            .map_err(|error| failed(format!("no thread to run it on: {error}")))?
            .join()
            .unwrap_or_else(|_| Err(failed("the template engine panicked".to_owned())))
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
    let source = rewritten(template, &environment, marks.is_some())?;
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
    environment.set_formatter(|out, state, value| {
        let mut text = String::new();
        match value.as_str() {
            Some(text) => out.write_str(text)?,
            None => {
                values::write(state, value, &mut text)?;
                out.write_str(&text)?;
            }
        }
        Ok(())
    });
    environment.set_unknown_method_callback(methods::call);
    filters::add_to(&mut environment);
    lists::add_to(&mut environment);
    arithmetic::add_to(&mut environment);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    Ok(environment)
}

/// The function that `{% generation %}` calls where the assistant's parts are marked.
const GENERATION: &str = "_mark_generation";

/// The template as the engine runs it. `{% generation %}` marks what the assistant wrote, for the loss mask of training.
/// When rendering it is a block of its own scope and nothing else, which is what `{% with %}` is. Where it is asked for,
/// it is a call, whose text is marked.
fn rewritten(template: &str, environment: &Environment<'_>, marked: bool) -> Result<String> {
    let call = format!("call {GENERATION}()");
    let generation = if marked {
        [call.as_str(), "endcall"]
    } else {
        ["with", "endwith"]
    };
    rewrite(template, generation).map_err(|refused| {
        let reason = match &refused {
            Refused::Tag => "a tag or a comment does not end, or holds what is not Jinja".to_owned(),
            Refused::Length(line) => format!("an expression is too long (in {NAME}:{line})"),
            Refused::Syntax(word, line) => format!(
                "`{word}` cannot stand here in a chat template, or nests too deeply (in {NAME}:{line})"
            ),
        };
        // The engine says what is wrong, if it sees it too.
        let seen = matches!(refused, Refused::Syntax(..))
            .then(|| environment.template_from_named_str(NAME, template).err())
            .flatten();
        seen.map_or(TokenizationError::ChatTemplate { reason }, failed)
    })
}

/// What a template raised on purpose.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Raised(String);

fn raise_exception(state: &State, message: Value) -> Result<Value, Error> {
    let message = values::text(state, &message)?;
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
