//! Methods of Python's strings, lists and dictionaries that templates call: those of `minijinja-contrib` and a few more.

use minijinja::value::{Kwargs, Tuple, ValueKind, from_args};
use minijinja::{Error, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::values::{equal, invalid, items, pay, pay_items};
use super::{arithmetic, filters, lists, operators};

pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    // Arguments are compared, hashed and written.
    args.iter()
        .try_for_each(|argument| pay(state, argument, false))?;
    if method == operators::names::SLICE {
        let (start, stop, step) = from_args::<(Option<i64>, Option<i64>, Option<i64>)>(args)?;
        let bounds = [start, stop, step];
        return arithmetic::slice(state, value, bounds);
    }
    match (value.as_str(), value.kind()) {
        (Some(text), _) => text_method(state, value, text, method, args),
        (None, ValueKind::Seq | ValueKind::Iterable) => list_method(state, value, method, args),
        (None, ValueKind::Map) => map_method(state, value, method, args),
        _ => unknown_method_callback(state, value, method, args),
    }
}

fn text_method(
    state: &mut State,
    value: &Value,
    text: &str,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match method {
        "title" => {
            let () = from_args(args)?;
            let mut inside = false;
            let mut title = String::with_capacity(text.len());
            for character in text.chars() {
                match inside {
                    true => title.extend(character.to_lowercase()),
                    false => title.extend(character.to_uppercase()),
                }
                inside = character.is_alphabetic();
            }
            Ok(title.into())
        }
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            Ok(text.strip_prefix(prefix).unwrap_or(text).into())
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            Ok(text.strip_suffix(suffix).unwrap_or(text).into())
        }
        "partition" => {
            let (separator,): (&str,) = from_args(args)?;
            let (head, tail) = text.split_once(separator).unwrap_or((text, ""));
            Ok(three_parts(text, separator, head, tail))
        }
        "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let (head, tail) = text.rsplit_once(separator).unwrap_or(("", text));
            Ok(three_parts(text, separator, head, tail))
        }
        "rsplit" => {
            let (separator, limit) = split_arguments(args)?;
            pay_items(state, text.len())?;
            let separator = separator.as_str().filter(|text| !text.is_empty());
            let separator = separator.ok_or_else(|| invalid("rsplit: give a separator"))?;
            let limit = limit.and_then(|limit| usize::try_from(limit).ok());
            let mut parts: Vec<&str> = match limit {
                Some(limit) => text.rsplitn(limit.saturating_add(1), separator).collect(),
                None => text.rsplit(separator).collect(),
            };
            parts.reverse();
            Ok(Value::from_iter(parts))
        }
        "split" => {
            let (separator, limit) = split_arguments(args)?;
            if separator.as_str() == Some("") {
                return Err(invalid("split: the separator is empty"));
            }
            pay_parts(state, text, separator.as_str())?;
            let limit = limit
                .filter(|limit| *limit >= 0)
                .map_or(Value::from(()), Value::from);
            unknown_method_callback(state, value, method, &[separator, limit])
        }
        "splitlines" => {
            pay_parts(state, text, Some("\n"))?;
            unknown_method_callback(state, value, method, args)
        }
        "join" => {
            let (values,): (&Value,) = from_args(args)?;
            let values = items(state, values)?;
            if let Some(other) = values.iter().find(|value| value.as_str().is_none()) {
                return Err(invalid(format!("join: {} is no text", other.kind())));
            }
            lists::joined(state, &Value::from(values), text, None).map(Value::from)
        }
        "format" => {
            filters::pay_width(state, text)?;
            unknown_method_callback(state, value, method, args)
        }
        "index" | "rindex" => {
            let find = if method == "index" { "find" } else { "rfind" };
            let found = unknown_method_callback(state, value, find, args)?;
            match found.as_i64() {
                Some(-1) => Err(invalid(format!("{method}: the text is not found"))),
                _ => Ok(found),
            }
        }
        "swapcase" | "casefold" | "zfill" | "ljust" | "rjust" | "center" => {
            padded(state, text, method, args)
        }
        _ => unknown_method_callback(state, value, method, args),
    }
}

/// Pays for the parts of a split text before they are made.
fn pay_parts(state: &State, text: &str, separator: Option<&str>) -> Result<(), Error> {
    let parts = match separator {
        Some(separator) => text.matches(separator).count(),
        None => text.split_whitespace().count(),
    };
    pay_items(state, parts)
}

pub(super) fn padded(
    state: &State,
    text: &str,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if method == "casefold" {
        return Ok(text.to_lowercase().into());
    }
    if method == "swapcase" {
        let swap = |c: char| {
            if c.is_uppercase() {
                c.to_lowercase().to_string()
            } else {
                c.to_uppercase().to_string()
            }
        };
        return Ok(text.chars().map(swap).collect::<String>().into());
    }
    let (width, fill): (usize, Option<char>) = from_args(args)?;
    let missing = width.saturating_sub(text.chars().count());
    super::values::pay_bytes(state, missing.saturating_mul(4))?;
    let fill = |count: usize| String::from(fill.unwrap_or(' ')).repeat(count);
    Ok(match method {
        "zfill" => {
            let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            format!("{sign}{}{digits}", "0".repeat(missing))
        }
        "ljust" => format!("{text}{}", fill(missing)),
        "rjust" => format!("{}{text}", fill(missing)),
        _ => {
            // Where Python puts the odd one.
            let left = missing / 2 + (missing & width & 1);
            format!("{}{text}{}", fill(left), fill(missing - left))
        }
    }
    .into())
}

fn list_method(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match method {
        "count" | "index" => {
            let (wanted,): (&Value,) = from_args(args)?;
            let mut count = 0;
            for (index, item) in items(state, value)?.iter().enumerate() {
                if equal(state, item, wanted)? {
                    if method == "index" {
                        return Ok(index.into());
                    }
                    count += 1;
                }
            }
            match method {
                "count" => Ok(count.into()),
                _ => Err(invalid("index: the value is not in the list")),
            }
        }
        "copy" => items(state, value).map(Value::from),
        _ => unknown_method_callback(state, value, method, args),
    }
}

fn map_method(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match method {
        "items" => {
            let pairs = items(state, value)?.into_iter();
            let pairs = pairs.map(|key| {
                let item = value.get_item(&key)?;
                Ok(Value::from(Tuple::from([key, item])))
            });
            pairs.collect::<Result<Vec<_>, Error>>().map(Value::from)
        }
        "values" => {
            let keys = items(state, value)?.into_iter();
            keys.map(|key| value.get_item(&key))
                .collect::<Result<Vec<_>, _>>()
                .map(Value::from)
        }
        "keys" => items(state, value).map(Value::from),
        "copy" => Ok(value.clone()),
        _ => unknown_method_callback(state, value, method, args),
    }
}

/// What `partition` gives: the separator stands between the parts if it was found.
fn three_parts(text: &str, separator: &str, head: &str, tail: &str) -> Value {
    let found = head.len() + tail.len() < text.len();
    Value::from(Tuple::new(vec![
        head.into(),
        if found { separator } else { "" }.into(),
        tail.into(),
    ]))
}

/// `sep` and `maxsplit`, by position or by name.
fn split_arguments(args: &[Value]) -> Result<(Value, Option<i64>), Error> {
    let (separator, limit, named): (Option<Value>, Option<i64>, Kwargs) = from_args(args)?;
    let separator = match separator {
        Some(separator) => separator,
        None => named
            .get::<Option<Value>>("sep")?
            .unwrap_or(Value::from(())),
    };
    let limit = limit.or(named.get::<Option<i64>>("maxsplit")?);
    named.assert_all_used()?;
    Ok((separator, limit))
}
