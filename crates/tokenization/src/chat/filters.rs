//! Filters, tests and functions of templates: those of Jinja that the engine has and that do paid work only, and our own
//! for the rest (those of lists are in `lists`).

use minijinja::value::{Kwargs, Rest, StringInput, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State, Value};

use super::arithmetic::{compared, contains};
use super::json;
use super::values::{self, Number, invalid, is_list, number, pay, pay_items, text};

/// What the engine has and Jinja has not, or what is of no use in a text.
const REMOVED: [&str; 8] = [
    "bool",
    "chain",
    "lines",
    "pprint",
    "split",
    "urlencode",
    "zip",
    "safe",
];

pub(super) fn add_to(environment: &mut Environment<'_>) {
    for name in REMOVED {
        environment.remove_filter(name);
    }
    for name in ["startingwith", "endingwith"] {
        environment.remove_test(name);
    }
    environment.remove_global("debug");
    environment.add_function("range", range);
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("string", text);
    for name in ["e", "escape", "forceescape"] {
        environment.add_filter(name, escape);
    }
    environment.add_filter("safe", |value: Value| value);
    environment.add_filter("upper", |state: &State, value: Value| {
        text(state, &value).map(|text| text.to_uppercase())
    });
    environment.add_filter("lower", |state: &State, value: Value| {
        text(state, &value).map(|text| text.to_lowercase())
    });
    environment.add_filter("title", |state: &State, value: Value| {
        text(state, &value).map(|text| minijinja::filters::title(text.into()))
    });
    environment.add_filter("capitalize", capitalize);
    environment.add_filter("wordcount", |state: &State, value: Value| {
        text(state, &value).map(|text| words(&text))
    });
    environment.add_filter(
        "center",
        |state: &State, value: Value, width: Option<usize>| {
            let width = Value::from(width.unwrap_or(80));
            super::methods::padded(state, &text(state, &value)?, "center", &[width])
        },
    );
    environment.add_filter("trim", trim);
    environment.add_filter("replace", replace);
    environment.add_filter("indent", indent);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter(
        "format",
        |state: &mut State, value: Value, arguments: Rest<ValueOrKwargs>| {
            printf(state, &value, arguments.into_values())
        },
    );
    for (names, sign) in [
        (&["eq", "equalto", "=="][..], "=="),
        (&["ne", "!="][..], "!="),
        (&["lt", "lessthan", "<"][..], "<"),
        (&["le", "<="][..], "<="),
        (&["gt", "greaterthan", ">"][..], ">"),
        (&["ge", ">="][..], ">="),
    ] {
        for name in names {
            environment.add_test(*name, move |state: &State, value: Value, other: Value| {
                compared(state, &value, sign, &other)
            });
        }
    }
    environment.add_test("in", |state: &State, value: Value, container: Value| {
        contains(state, &container, &value)
    });
    // As in Python, where texts and dictionaries have a length and items too.
    environment.add_test("sequence", |value: &Value| {
        value.len().is_some() || value.is_undefined()
    });
    environment.add_test("iterable", |value: &Value| {
        !value.is_none() && value.try_iter().is_ok()
    });
    environment.add_test("callable", |value: &Value| {
        let kind = value.as_object().map_or("", |object| object.type_name());
        kind.ends_with("Macro") || kind.ends_with("Function")
    });
}

fn range(
    state: &State,
    first: i64,
    second: Option<i64>,
    step: Option<i64>,
) -> Result<Value, Error> {
    let (start, stop) = second.map_or((0, first), |stop| (first, stop));
    let step = step.unwrap_or(1);
    let distance = if step > 0 {
        stop.saturating_sub(start)
    } else {
        start.saturating_sub(stop)
    };
    if step == 0 {
        return Err(invalid("range: the step is zero"));
    }
    let count = u64::try_from(distance.max(0))
        .unwrap_or(0)
        .div_ceil(step.unsigned_abs());
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    pay_items(state, count)?;
    Ok((0..count as i64)
        .map(|index| Value::from(start + index * step))
        .collect())
}

/// How many runs of letters, digits and underscores there are.
fn words(text: &str) -> usize {
    let parts = text.split(|character: char| character != '_' && !character.is_alphanumeric());
    parts.filter(|part| !part.is_empty()).count()
}

fn capitalize(state: &State, value: Value) -> Result<Value, Error> {
    let text = Value::from(text(state, &value)?);
    Ok(minijinja::filters::capitalize(StringInput::new(
        state, &text,
    )?))
}

/// `trim(chars=None)`.
fn trim(
    state: &State,
    value: Value,
    chars: Option<&str>,
    options: Kwargs,
) -> Result<String, Error> {
    let chars = chars.or(options.get("chars")?);
    options.assert_all_used()?;
    let text = text(state, &value)?;
    let trimmed = match chars {
        Some(chars) => text.trim_matches(|c| chars.contains(c)),
        None => text.trim(),
    };
    Ok(trimmed.to_owned())
}

/// `replace(old, new, count=None)`.
fn replace(
    state: &mut State,
    value: Value,
    old: Value,
    new: Value,
    count: Option<i64>,
) -> Result<Value, Error> {
    let arguments = [
        text(state, &old)?.into(),
        text(state, &new)?.into(),
        count.unwrap_or(-1).into(),
    ];
    let text = Value::from(text(state, &value)?);
    minijinja_contrib::pycompat::unknown_method_callback(state, &text, "replace", &arguments)
}

/// `indent(width=4, first=false, blank=false)`; the width may be a text.
fn indent(
    state: &State,
    value: Value,
    width: Option<Value>,
    first: Option<bool>,
    options: Kwargs,
) -> Result<String, Error> {
    let width = width
        .or(options.get("width")?)
        .unwrap_or_else(|| Value::from(4));
    let first = first.or(options.get("first")?).unwrap_or(false);
    let blank = options.get::<Option<bool>>("blank")?.unwrap_or(false);
    options.assert_all_used()?;
    let text = value
        .as_str()
        .ok_or_else(|| invalid("indent: this is no text"))?;
    let lines = text.matches('\n').count();
    let wide = |width: usize| values::pay_bytes(state, width.saturating_mul(lines + 1));
    let indent = match (width.as_str(), width.as_usize()) {
        (Some(indent), _) => {
            wide(indent.len())?;
            indent.to_owned()
        }
        (None, Some(width)) => {
            wide(width)?;
            " ".repeat(width)
        }
        _ => return Err(invalid("indent: the width is neither a number nor a text")),
    };
    let mut out = String::new();
    for (index, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line);
        out.push_str(if index > 0 { "\n" } else { "" });
        let is_indented = if index == 0 {
            first
        } else {
            blank || !line.is_empty()
        };
        out.push_str(if is_indented { &indent } else { "" });
        out.push_str(line);
    }
    Ok(out)
}

fn escape(state: &State, value: Value) -> Result<String, Error> {
    let text = text(state, &value)?;
    values::pay_bytes(state, text.len() * 5)?;
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    Ok(out)
}

/// `int(default=0, base=10)`.
fn int(
    value: Value,
    default: Option<Value>,
    base: Option<u32>,
    options: Kwargs,
) -> Result<Value, Error> {
    let default = default
        .or(options.get("default")?)
        .unwrap_or_else(|| Value::from(0));
    let base = base.or(options.get("base")?).unwrap_or(10);
    options.assert_all_used()?;
    let found = match (number(&value), value.as_str()) {
        (Some(Number::Whole(whole)), _) => Some(whole),
        (Some(Number::Float(float)), _) => float.is_finite().then_some(float as i128),
        (None, Some(text)) => {
            let text = text.trim();
            let digits = match base {
                2 => text.trim_start_matches("0b"),
                8 => text.trim_start_matches("0o"),
                16 => text.trim_start_matches("0x"),
                _ => text,
            };
            let whole = (2..=36)
                .contains(&base)
                .then(|| i128::from_str_radix(digits, base).ok())
                .flatten();
            whole.or_else(|| {
                python_number(text)
                    .filter(|float| float.is_finite())
                    .map(|float| float as i128)
            })
        }
        _ => None,
    };
    Ok(found.map_or(default, |whole| Number::Whole(whole).into()))
}

/// `float(default=0.0)`.
fn float(value: Value, default: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    let default = default
        .or(options.get("default")?)
        .unwrap_or_else(|| Value::from(0.0));
    options.assert_all_used()?;
    let found = match number(&value) {
        Some(number) => Some(number.float()),
        None => value.as_str().and_then(|text| python_number(text.trim())),
    };
    Ok(found.map_or(default, Value::from))
}

fn python_number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// `'%s' % value`.
pub(super) fn printf(state: &State, format: &Value, arguments: Vec<Value>) -> Result<Value, Error> {
    arguments
        .iter()
        .try_for_each(|value| pay(state, value, false))?;
    let format = format
        .as_str()
        .ok_or_else(|| invalid("only a text is a format"))?;
    let by_name = format.contains("%(");
    let holds = |value: &Value| is_list(value) || value.kind() == ValueKind::Map;
    // Python takes it for what names are looked up in, used or not.
    let is_container = matches!(arguments.as_slice(), [only] if holds(only));
    let mut shown = Vec::with_capacity(arguments.len());
    for value in arguments {
        // Containers as Python writes them.
        shown.push(match holds(&value) && !by_name {
            true => text(state, &value)?.into(),
            false => value,
        });
    }
    pay_width(state, format)?;
    let conversions = format.replace("%%", "").matches('%').count();
    if shown.len() > conversions && !is_container {
        return Err(invalid("the format does not use all of its arguments"));
    }
    minijinja::formatting::format(minijinja::formatting::FormatStyle::Printf, format, &shown)
        .map(Value::from)
}

/// Pays for the widths that a format may name.
pub(super) fn pay_width(state: &State, format: &str) -> Result<(), Error> {
    for digits in format
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| digits.len() > 2)
    {
        values::pay_bytes(state, digits.parse().unwrap_or(usize::MAX))?;
    }
    Ok(())
}
