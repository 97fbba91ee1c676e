//! Methods of Python's strings, lists and dictionaries that templates call: those of `minijinja-contrib` and a few more.

use minijinja::value::{Kwargs, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return unknown_method_callback(state, value, method, args);
    };
    match method {
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
            let separator = separator.as_str().filter(|text| !text.is_empty());
            let separator = separator.ok_or_else(|| {
                Error::new(ErrorKind::InvalidOperation, "rsplit: give a separator")
            })?;
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
            let limit = limit.map_or(Value::from(()), Value::from);
            unknown_method_callback(state, value, method, &[separator, limit])
        }
        _ => unknown_method_callback(state, value, method, args),
    }
}

/// What `partition` gives: the separator stands between the parts if it was found.
fn three_parts(text: &str, separator: &str, head: &str, tail: &str) -> Value {
    let found = head.len() + tail.len() < text.len();
    Value::from_iter([head, if found { separator } else { "" }, tail])
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
