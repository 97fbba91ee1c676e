//! What Python does with values, each step paid for: values may hold each other, so that a small one is endless to walk.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::sync::LazyLock;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};
use regex::Regex;

use super::json::python_float;

/// Values nest no deeper.
pub(super) const MAX_DEPTH: usize = 256;

pub(super) fn invalid(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, reason)
}

pub(super) fn too_deep() -> Error {
    invalid("a value is nested too deeply")
}

/// Pays for a text of so many bytes.
pub(super) fn pay_bytes(state: &State, bytes: usize) -> Result<(), Error> {
    state.consume_fuel((bytes / 64) as u64)
}

/// Pays for a list of so many values.
pub(super) fn pay_items(state: &State, items: usize) -> Result<(), Error> {
    state.consume_fuel((items as u64).div_ceil(2))
}

pub(super) fn is_list(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable)
}

/// Fails for none, which Python does not take for an empty list.
pub(super) fn iterable(value: &Value) -> Result<(), Error> {
    if value.is_none() {
        return Err(invalid("none is not iterable"));
    }
    Ok(())
}

/// The values of a list, the keys of a dictionary, the characters of a text.
pub(super) fn items(state: &State, value: &Value) -> Result<Vec<Value>, Error> {
    if value.is_undefined() {
        return Ok(Vec::new());
    }
    iterable(value)?;
    let mut items = Vec::new();
    if let Some(text) = value.as_str() {
        pay_items(state, text.len())?;
        items.extend(text.chars().map(Value::from));
        return Ok(items);
    }
    for item in value.try_iter()?.checked() {
        pay_items(state, 1)?;
        items.push(item?);
    }
    Ok(items)
}

/// Pays for a walk through all that a value holds. `keeps` refuses what could come to hold itself.
pub(super) fn pay(state: &State, value: &Value, keeps: bool) -> Result<(), Error> {
    pay_within(state, value, keeps, 0)
}

fn pay_within(state: &State, value: &Value, keeps: bool, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    match value.kind() {
        ValueKind::String => pay_bytes(state, value.as_str().map_or(0, str::len)),
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => {
            if keeps && holds_others(value) {
                return Err(invalid(
                    "a namespace or a loop cannot be kept in another value",
                ));
            }
            state.consume_fuel(1)?;
            let is_map = value.kind() == ValueKind::Map;
            for item in value.try_iter()?.checked() {
                let item = item?;
                pay_within(state, &item, keeps, depth + 1)?;
                if is_map {
                    pay_within(state, &value.get_item(&item)?, keeps, depth + 1)?;
                }
            }
            Ok(())
        }
        _ => state.consume_fuel(1),
    }
}

/// Whether what a value holds may change: that of the engine's own kinds does.
fn holds_others(value: &Value) -> bool {
    let name = value.as_object().map_or("", |object| object.type_name());
    ["Namespace", "Loop"]
        .iter()
        .any(|kind| name.ends_with(kind))
}

/// `==`.
pub(super) fn equal(state: &State, a: &Value, b: &Value) -> Result<bool, Error> {
    equal_within(state, a, b, 0)
}

fn equal_within(state: &State, a: &Value, b: &Value, depth: usize) -> Result<bool, Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    state.consume_fuel(1)?;
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return Ok(a.order(&b) == Some(Ordering::Equal));
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        pay_bytes(state, a.len().min(b.len()))?;
        return Ok(a == b);
    }
    if is_list(a) && is_list(b) && a.is_tuple() == b.is_tuple() {
        let mut others = b.try_iter()?.checked();
        for item in a.try_iter()?.checked() {
            let same = match others.next() {
                Some(other) => equal_within(state, &item?, &other?, depth + 1)?,
                None => false,
            };
            if !same {
                return Ok(false);
            }
        }
        return Ok(others.next().is_none());
    }
    if a.kind() == ValueKind::Map && b.kind() == ValueKind::Map {
        if a.len() != b.len() {
            return Ok(false);
        }
        for key in a.try_iter()?.checked() {
            let key = key?;
            let other = b.get_item(&key)?;
            if other.is_undefined() || !equal_within(state, &a.get_item(&key)?, &other, depth + 1)?
            {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    Ok(match (a.kind(), b.kind()) {
        (ValueKind::Plain, ValueKind::Plain) => a == b,
        (ValueKind::None | ValueKind::Undefined, _) => a.kind() == b.kind(),
        _ => false,
    })
}

/// The order of two values. Fails where Python has none.
pub(super) fn order(state: &State, a: &Value, b: &Value) -> Result<Ordering, Error> {
    order_within(state, a, b, 0)
}

fn order_within(state: &State, a: &Value, b: &Value, depth: usize) -> Result<Ordering, Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    state.consume_fuel(1)?;
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return Ok(a.order(&b).unwrap_or(Ordering::Greater)); // nothing is less than NaN
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        pay_bytes(state, a.len().min(b.len()))?;
        return Ok(a.cmp(b));
    }
    if is_list(a) && is_list(b) && a.is_tuple() == b.is_tuple() {
        let (mut left, mut right) = (a.try_iter()?.checked(), b.try_iter()?.checked());
        loop {
            match (left.next(), right.next()) {
                (Some(a), Some(b)) => {
                    let (a, b) = (a?, b?);
                    if !equal_within(state, &a, &b, depth + 1)? {
                        return order_within(state, &a, &b, depth + 1);
                    }
                }
                (left, right) => return Ok(left.is_some().cmp(&right.is_some())),
            }
        }
    }
    Err(invalid(format!(
        "{} and {} have no order",
        a.kind(),
        b.kind()
    )))
}

/// A number; truth values are numbers too.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(i128),
    Float(f64),
}

pub(super) fn number(value: &Value) -> Option<Number> {
    match value.kind() {
        ValueKind::Bool => Some(Number::Whole(value.is_true().into())),
        ValueKind::Number if value.is_integer() => match i128::try_from(value.clone()) {
            Ok(whole) => Some(Number::Whole(whole)),
            Err(_) => f64::try_from(value.clone()).ok().map(Number::Float),
        },
        ValueKind::Number => f64::try_from(value.clone()).ok().map(Number::Float),
        _ => None,
    }
}

impl Number {
    pub fn float(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Float(float) => float,
        }
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => Some(a.cmp(b)),
            (a, b) => a.float().partial_cmp(&b.float()),
        }
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        match number {
            Number::Whole(whole) => match i64::try_from(whole) {
                Ok(whole) => whole.into(),
                Err(_) => whole.into(),
            },
            Number::Float(float) => float.into(),
        }
    }
}

/// `str(value)`.
pub(super) fn text(state: &State, value: &Value) -> Result<String, Error> {
    let mut out = String::new();
    write(state, value, &mut out)?;
    Ok(out)
}

/// Writes `str(value)`.
pub(super) fn write(state: &State, value: &Value, out: &mut String) -> Result<(), Error> {
    match value.as_str() {
        Some(text) => {
            pay_bytes(state, text.len())?;
            out.push_str(text);
            Ok(())
        }
        None if value.is_undefined() => Ok(()),
        None => write_inner(state, value, out, 0),
    }
}

/// Writes `repr(value)`.
fn write_inner(state: &State, value: &Value, out: &mut String, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    state.consume_fuel(1)?;
    match value.kind() {
        ValueKind::String => quoted(state, value.as_str().unwrap_or_default(), out)?,
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => match number(value) {
            Some(Number::Float(float)) if float.is_nan() => out.push_str("nan"),
            Some(Number::Float(float)) if float.is_infinite() => {
                out.push_str(if float > 0.0 { "inf" } else { "-inf" });
            }
            Some(Number::Float(float)) if !value.is_integer() => out.push_str(&python_float(float)),
            _ => write!(out, "{value}").map_err(|_| invalid("a number could not be written"))?,
        },
        ValueKind::Seq | ValueKind::Iterable => {
            let (open, close) = if value.is_tuple() {
                ('(', ')')
            } else {
                ('[', ']')
            };
            out.push(open);
            let mut count = 0;
            for item in value.try_iter()?.checked() {
                out.push_str(if count > 0 { ", " } else { "" });
                write_inner(state, &item?, out, depth + 1)?;
                count += 1;
            }
            out.push_str(if value.is_tuple() && count == 1 {
                ","
            } else {
                ""
            });
            out.push(close);
        }
        ValueKind::Map => {
            out.push('{');
            for (index, key) in value.try_iter()?.checked().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                let key = key?;
                write_inner(state, &key, out, depth + 1)?;
                out.push_str(": ");
                write_inner(state, &value.get_item(&key)?, out, depth + 1)?;
            }
            out.push('}');
        }
        // What the engine itself made, such as a macro.
        _ => write!(out, "{value}").map_err(|_| invalid("a value could not be written"))?,
    }
    Ok(())
}

/// A text in quotes, with escapes for what Python does not print.
fn quoted(state: &State, text: &str, out: &mut String) -> Result<(), Error> {
    static UNPRINTABLE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"[[\p{C}\p{Z}]--[ ]]").expect("the pattern is valid"));
    pay_bytes(state, text.len() * 4)?;
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    let mut buffer = [0; 4];
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if character == quote => out.extend(['\\', quote]),
            ' '..='~' => out.push(character),
            _ if !UNPRINTABLE.is_match(character.encode_utf8(&mut buffer)) => out.push(character),
            _ => out.push_str(&match u32::from(character) {
                code @ ..=0xff => format!("\\x{code:02x}"),
                code @ ..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push(quote);
    Ok(())
}
