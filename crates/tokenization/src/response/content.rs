//! From the text of a field to its value.

use std::sync::LazyLock;

use regex::{Captures, Regex, RegexBuilder};
use serde_json::{Map, Value, json};

use super::invalid;
use super::template::Field;
use crate::Result;

/// The parsers, by name.
pub(super) const PARSERS: [&str; 7] = [
    "text",
    "int",
    "float",
    "bool",
    "json",
    "xml-inline",
    "kv-lines",
];

/// Whether the value is the text as it stands, so that it may be shown as it comes.
pub(super) fn is_streamable(parser: &str) -> bool {
    matches!(parser, "text" | "int" | "float" | "bool")
}

/// The value of a field: its content, put into the field's form.
pub(super) fn value(body: &str, field: &Field, captures: &Map<String, Value>) -> Result<Value> {
    let value = parse(body, &field.content, &field.content_args)?;
    let Some(transform) = &field.transform else {
        return Ok(value);
    };
    let scope_of = |own: Map<String, Value>| {
        let mut scope = captures.clone();
        scope.extend(own);
        scope
    };
    if !field.transform_each {
        let content = Map::from_iter([("content".to_owned(), value)]);
        return transformed(transform, &scope_of(content));
    }
    let Value::Array(items) = value else {
        return Err(invalid(format!("the field `{}` is not a list", field.name)));
    };
    let each = items.into_iter().map(|item| match item {
        Value::Object(item) => transformed(transform, &scope_of(item)),
        _ => Err(invalid(format!(
            "an entry of the field `{}` is not an object",
            field.name
        ))),
    });
    each.collect::<Result<Vec<_>>>().map(Value::from)
}

fn parse(text: &str, parser: &str, args: &Value) -> Result<Value> {
    let stripped = strip(text, args);
    match parser {
        "int" => stripped
            .parse::<i64>()
            .map(Value::from)
            .map_err(|_| invalid(format!("`{stripped}` is not a whole number"))),
        "float" => stripped
            .parse::<f64>()
            .map(Value::from)
            .map_err(|_| invalid(format!("`{stripped}` is not a number"))),
        "bool" => Ok(matches!(stripped.to_lowercase().as_str(), "true" | "1").into()),
        "json" => json_of(text, args),
        "xml-inline" => xml_inline(text, args),
        "kv-lines" => kv_lines(text, args),
        _ => Ok(stripped.into()),
    }
}

fn strip<'t>(text: &'t str, args: &Value) -> &'t str {
    if args["strip"] == false {
        text
    } else {
        text.trim()
    }
}

/// JSON, or a dialect of it: keys without quotes, and texts between other signs.
fn json_of(text: &str, args: &Value) -> Result<Value> {
    static KEY: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"([{,])(\w+):").expect("the pattern is valid"));
    const MARKS: [char; 2] = ['\u{1}', '\u{2}'];
    let pairs = args["string_delims"].as_array();
    if pairs.is_some() && text.contains(MARKS) {
        return Err(invalid("a field of JSON holds control characters"));
    }
    let mut working = text.to_owned();
    let mut strings: Vec<String> = Vec::new();
    for pair in pairs.into_iter().flatten() {
        let (Some(open), Some(close)) = (pair[0].as_str(), pair[1].as_str()) else {
            return Err(invalid("`string_delims` is not a list of pairs"));
        };
        let pattern = format!("{}(.*?){}", regex::escape(open), regex::escape(close));
        let replaced = compiled(&pattern)?.replace_all(&working, |found: &Captures<'_>| {
            strings.push(found[1].to_owned());
            format!("{}{}{}", MARKS[0], strings.len() - 1, MARKS[1])
        });
        working = replaced.into_owned();
    }
    if args["unquoted_keys"] == true {
        working = KEY.replace_all(&working, "$1\"$2\":").into_owned();
    }
    for (index, string) in strings.iter().enumerate() {
        let mark = format!("{}{index}{}", MARKS[0], MARKS[1]);
        working = working.replace(&mark, &Value::from(string.as_str()).to_string());
    }
    match serde_json::from_str(&working) {
        Ok(value) => Ok(value),
        Err(_) if args["allow_non_json"] == true => Ok(strip(text, args).into()),
        Err(error) => Err(invalid(format!("`{text}` is not JSON: {error}"))),
    }
}

/// Flat tags: the groups `key` and `value` of a pattern.
fn xml_inline(text: &str, args: &Value) -> Result<Value> {
    let pattern = args["tag_pattern"]
        .as_str()
        .ok_or_else(|| invalid("`xml-inline` needs a `tag_pattern`"))?;
    let mut values = Map::new();
    for found in compiled(pattern)?.captures_iter(text) {
        let key = found
            .name("key")
            .ok_or_else(|| invalid(format!("the `tag_pattern` `{pattern}` has no group `key`")))?;
        let value = found.name("value").map_or("", |value| value.as_str());
        let value = inner(value, args)?;
        match values.get_mut(key.as_str()) {
            Some(Value::Array(earlier)) if args["merge_duplicates"] == true => earlier.push(value),
            Some(earlier) if args["merge_duplicates"] == true => {
                *earlier = json!([earlier.take(), value]);
            }
            _ => {
                values.insert(key.as_str().to_owned(), value);
            }
        }
    }
    Ok(values.into())
}

/// A key and a value per line.
fn kv_lines(text: &str, args: &Value) -> Result<Value> {
    let line_separator = args["line_sep"]
        .as_str()
        .filter(|sep| !sep.is_empty())
        .unwrap_or("\n");
    let separator = args["kv_sep"]
        .as_str()
        .filter(|sep| !sep.is_empty())
        .unwrap_or(":");
    let mut values = Map::new();
    for line in text.split(line_separator) {
        if let Some((key, value)) = strip(line, args).split_once(separator) {
            let value = inner(strip(value, args), args)?;
            values.insert(strip(key, args).to_owned(), value);
        }
    }
    Ok(values.into())
}

/// What `value_parser` makes of a value; without one, the text.
fn inner(text: &str, args: &Value) -> Result<Value> {
    let parser = &args["value_parser"];
    if parser.is_null() {
        return Ok(text.into());
    }
    let name = parser["name"].as_str().unwrap_or("text");
    if !PARSERS.contains(&name) {
        return Err(invalid(format!(
            "`{name}` is none of {}",
            PARSERS.join(", ")
        )));
    }
    parse(text, name, &parser["args"])
}

fn compiled(pattern: &str) -> Result<Regex> {
    // `</\w+>` and the like: a slash needs no escape, and Python takes one.
    RegexBuilder::new(pattern)
        .dot_matches_new_line(true)
        .build()
        .map_err(|error| invalid(format!("the pattern `{pattern}` cannot be used: {error}")))
}

static PLACEHOLDER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\{(\w+(?:\.\w+)*)\}").expect("the pattern is valid"));

/// The name in a text that is nothing but a placeholder.
fn placeholder(text: &str) -> Option<&str> {
    let captures = PLACEHOLDER.captures(text)?;
    let whole = captures.get_match().len() == text.len();
    captures.get(1).filter(|_| whole).map(|name| name.as_str())
}

/// A text of a form is a placeholder or none of it.
pub(super) fn check_transform(scope: &str, transform: &Value) -> Result<()> {
    match transform {
        Value::Object(map) => map
            .values()
            .try_for_each(|value| check_transform(scope, value)),
        Value::Array(values) => values
            .iter()
            .try_for_each(|value| check_transform(scope, value)),
        Value::String(text) if PLACEHOLDER.is_match(text) && placeholder(text).is_none() => {
            Err(invalid(format!(
                "{scope}: `{text}` mixes a placeholder with other text; use one alone"
            )))
        }
        _ => Ok(()),
    }
}

fn transformed(transform: &Value, scope: &Map<String, Value>) -> Result<Value> {
    match transform {
        Value::Object(map) => {
            let entries = map.iter();
            let entries = entries.map(|(key, value)| Ok((key.clone(), transformed(value, scope)?)));
            entries.collect::<Result<Map<_, _>>>().map(Value::from)
        }
        Value::Array(values) => values
            .iter()
            .map(|value| transformed(value, scope))
            .collect::<Result<_>>(),
        Value::String(text) => match placeholder(text) {
            Some(path) => look_up(path, scope),
            None => Ok(transform.clone()),
        },
        other => Ok(other.clone()),
    }
}

fn look_up(path: &str, scope: &Map<String, Value>) -> Result<Value> {
    let mut keys = path.split('.');
    let mut value = keys.next().and_then(|root| scope.get(root));
    for key in keys {
        value = value.and_then(|value| value.get(key));
    }
    value.cloned().ok_or_else(|| {
        invalid(format!(
            "`{{{path}}}` of a `transform` is not in the answer"
        ))
    })
}
