//! Filters, tests and functions of templates: those of Jinja that the engine has and that do paid work only, and our own
//! for the rest.

use std::cmp::Ordering;

use minijinja::value::{Kwargs, Rest, StringInput, Tuple, ValueKind};
use minijinja::{Environment, Error, State, Value};

use super::arithmetic::{compared, contains, sum as added};
use super::json;
use super::values::{self, Number, equal, invalid, items, number, order, pay, pay_items, text};

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
    environment.add_filter("trim", trim);
    environment.add_filter("replace", replace);
    environment.add_filter("indent", indent);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("list", |state: &State, value: Value| items(state, &value));
    environment.add_filter("reverse", reverse);
    environment.add_filter("join", join);
    for (name, has_attribute, keeps) in [
        ("select", false, true),
        ("reject", false, false),
        ("selectattr", true, true),
        ("rejectattr", true, false),
    ] {
        environment.add_filter(
            name,
            move |state: &mut State, value: Value, arguments: Rest<Value>| {
                chosen(state, &value, has_attribute, keeps, &arguments)
            },
        );
    }
    environment.add_filter("sort", sort);
    environment.add_filter("dictsort", dictsort);
    environment.add_filter("unique", unique);
    environment.add_filter("groupby", groupby);
    environment.add_filter("sum", sum);
    environment.add_filter("min", |state: &State, value: Value, options: Kwargs| {
        extreme(state, &value, &options, Ordering::Less)
    });
    environment.add_filter("max", |state: &State, value: Value, options: Kwargs| {
        extreme(state, &value, &options, Ordering::Greater)
    });
    environment.add_filter(
        "format",
        |state: &mut State, value: Value, arguments: Rest<Value>| {
            printf(state, &value, arguments.0)
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
    environment.add_test("sequence", |value: &Value| value.len().is_some());
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
    let text = text(state, &value)?;
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

fn reverse(state: &State, value: Value) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.chars().rev().collect::<String>().into());
    }
    let mut all = items(state, &value)?;
    all.reverse();
    Ok(all.into())
}

/// `join(d='', attribute=None)`.
fn join(
    state: &State,
    value: Value,
    separator: Option<Value>,
    attribute: Option<Value>,
    options: Kwargs,
) -> Result<String, Error> {
    let separator = separator
        .or(options.get("d")?)
        .filter(|separator| !separator.is_none());
    let separator = separator.map_or(Ok(String::new()), |separator| text(state, &separator))?;
    let attribute = attribute.or(options.get("attribute")?);
    options.assert_all_used()?;
    joined(state, &value, &separator, attribute.as_ref())
}

pub(super) fn joined(
    state: &State,
    value: &Value,
    separator: &str,
    attribute: Option<&Value>,
) -> Result<String, Error> {
    let mut out = String::new();
    for (index, item) in items(state, value)?.iter().enumerate() {
        if index > 0 {
            values::pay_bytes(state, separator.len())?;
            out.push_str(separator);
        }
        values::write(state, &attribute_of(item, attribute)?, &mut out)?;
    }
    Ok(out)
}

/// The value at a path such as `function.name`; without one, the value itself.
fn attribute_of(value: &Value, path: Option<&Value>) -> Result<Value, Error> {
    let Some(path) = path.filter(|path| !path.is_none()) else {
        return Ok(value.clone());
    };
    let Some(path) = path.as_str() else {
        return value.get_item(path);
    };
    path.split('.')
        .try_fold(value.clone(), |value, key| match key.parse::<usize>() {
            Ok(index) => value.get_item(&Value::from(index)),
            Err(_) => value.get_item(&Value::from(key)),
        })
}

/// The items, or an attribute of which, pass a test, or do not.
fn chosen(
    state: &mut State,
    value: &Value,
    has_attribute: bool,
    keeps: bool,
    arguments: &[Value],
) -> Result<Vec<Value>, Error> {
    let (attribute, test) = arguments.split_at(usize::from(has_attribute && !arguments.is_empty()));
    let test = match test.split_first() {
        Some((name, arguments)) => {
            let name = name
                .as_str()
                .ok_or_else(|| invalid("the name of a test is a text"))?;
            Some((name, arguments))
        }
        None => None,
    };
    let mut found = Vec::new();
    for item in items(state, value)? {
        let tested = attribute_of(&item, attribute.first())?;
        let passes = match test {
            Some((name, arguments)) => {
                let arguments: Vec<Value> = [&[tested], arguments].concat();
                state.perform_test(name, &arguments)?
            }
            None => tested.is_true(),
        };
        if passes == keeps {
            found.push(item);
        }
    }
    Ok(found)
}

/// What is compared of an item: an attribute of it or several, in small letters unless they count.
fn sort_key(item: &Value, attribute: Option<&Value>, case_sensitive: bool) -> Result<Value, Error> {
    let fold = |value: Value| match value.as_str() {
        Some(text) if !case_sensitive => Value::from(text.to_lowercase()),
        _ => value,
    };
    match attribute
        .and_then(Value::as_str)
        .filter(|paths| paths.contains(','))
    {
        Some(paths) => {
            let keys = paths
                .split(',')
                .map(|path| attribute_of(item, Some(&Value::from(path.trim()))));
            keys.map(|key| key.map(fold))
                .collect::<Result<Vec<_>, _>>()
                .map(Value::from)
        }
        None => attribute_of(item, attribute).map(fold),
    }
}

/// Sorts by keys, each with its item. The order of equals stays.
fn sorted(
    state: &State,
    mut keyed: Vec<(Value, Value)>,
    reverse: bool,
) -> Result<Vec<Value>, Error> {
    let mut failed = None;
    keyed.sort_by(|(a, _), (b, _)| {
        if failed.is_some() {
            return Ordering::Equal;
        }
        let order = order(state, a, b).unwrap_or_else(|error| {
            failed = Some(error);
            Ordering::Equal
        });
        if reverse { order.reverse() } else { order }
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(keyed.into_iter().map(|(_, item)| item).collect()),
    }
}

/// `sort(reverse=false, case_sensitive=false, attribute=None)`.
fn sort(
    state: &State,
    value: Value,
    reverse: Option<bool>,
    options: Kwargs,
) -> Result<Vec<Value>, Error> {
    let reverse = reverse.or(options.get("reverse")?).unwrap_or(false);
    let case_sensitive = options
        .get::<Option<bool>>("case_sensitive")?
        .unwrap_or(false);
    let attribute: Option<Value> = options.get("attribute")?;
    options.assert_all_used()?;
    let keyed = items(state, &value)?.into_iter();
    let keyed = keyed.map(|item| Ok((sort_key(&item, attribute.as_ref(), case_sensitive)?, item)));
    sorted(state, keyed.collect::<Result<_, Error>>()?, reverse)
}

/// `dictsort(case_sensitive=false, by='key', reverse=false)`.
fn dictsort(state: &State, value: Value, options: Kwargs) -> Result<Vec<Value>, Error> {
    let case_sensitive = options
        .get::<Option<bool>>("case_sensitive")?
        .unwrap_or(false);
    let by: Option<Value> = options.get("by")?;
    let reverse = options.get::<Option<bool>>("reverse")?.unwrap_or(false);
    options.assert_all_used()?;
    if value.kind() != ValueKind::Map {
        return Err(invalid("dictsort: this is no dictionary"));
    }
    let position = Value::from(usize::from(
        by.is_some_and(|by| by.as_str() == Some("value")),
    ));
    let mut keyed = Vec::new();
    for key in items(state, &value)? {
        let pair = Value::from(Tuple::from([key.clone(), value.get_item(&key)?]));
        keyed.push((sort_key(&pair, Some(&position), case_sensitive)?, pair));
    }
    sorted(state, keyed, reverse)
}

/// `unique(case_sensitive=false, attribute=None)`.
fn unique(state: &State, value: Value, options: Kwargs) -> Result<Vec<Value>, Error> {
    let case_sensitive = options
        .get::<Option<bool>>("case_sensitive")?
        .unwrap_or(false);
    let attribute: Option<Value> = options.get("attribute")?;
    options.assert_all_used()?;
    let mut seen: Vec<Value> = Vec::new();
    let mut found = Vec::new();
    for item in items(state, &value)? {
        let key = sort_key(&item, attribute.as_ref(), case_sensitive)?;
        let is_new = seen.iter().try_fold(true, |new, other| {
            Ok::<_, Error>(new && !equal(state, other, &key)?)
        })?;
        if is_new {
            seen.push(key);
            found.push(item);
        }
    }
    Ok(found)
}

/// `groupby(attribute, default=None, case_sensitive=false)`: tuples of a key and the items that have it, by key.
fn groupby(
    state: &State,
    value: Value,
    attribute: Option<Value>,
    options: Kwargs,
) -> Result<Vec<Value>, Error> {
    let attribute = attribute.or(options.get("attribute")?);
    let default: Option<Value> = options.get("default")?;
    let case_sensitive = options
        .get::<Option<bool>>("case_sensitive")?
        .unwrap_or(false);
    options.assert_all_used()?;
    let fill = |key: Value| match &default {
        Some(default) if key.is_undefined() => default.clone(),
        _ => key,
    };
    let mut keyed = Vec::new();
    for item in items(state, &value)? {
        let key = fill(sort_key(&item, attribute.as_ref(), case_sensitive)?);
        keyed.push((key.clone(), Value::from(Tuple::from([key, item]))));
    }
    let mut groups: Vec<(Value, Value, Vec<Value>)> = Vec::new();
    for pair in sorted(state, keyed, false)? {
        let (key, item) = (pair.get_item_by_index(0)?, pair.get_item_by_index(1)?);
        match groups.last_mut() {
            Some((last, _, items)) if equal(state, last, &key)? => items.push(item),
            _ => {
                let shown = fill(attribute_of(&item, attribute.as_ref())?);
                groups.push((key, shown, vec![item]));
            }
        }
    }
    let group = |(_, shown, items): (Value, Value, Vec<Value>)| {
        Value::from(Group {
            key: shown,
            items: items.into(),
        })
    };
    Ok(groups.into_iter().map(group).collect())
}

/// A named tuple: `grouper` and `list`.
#[derive(Debug)]
struct Group {
    key: Value,
    items: Value,
}

impl From<Group> for Value {
    fn from(group: Group) -> Self {
        Self::from_object(group)
    }
}

impl minijinja::value::Object for Group {
    fn repr(self: &std::sync::Arc<Self>) -> minijinja::value::ObjectRepr {
        minijinja::value::ObjectRepr::Seq
    }

    fn get_value(self: &std::sync::Arc<Self>, key: &Value) -> Option<Value> {
        match (key.as_usize(), key.as_str()) {
            (Some(0), _) | (_, Some("grouper")) => Some(self.key.clone()),
            (Some(1), _) | (_, Some("list")) => Some(self.items.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &std::sync::Arc<Self>) -> minijinja::value::Enumerator {
        minijinja::value::Enumerator::Seq(2)
    }
}

/// `sum(attribute=None, start=0)`.
fn sum(
    state: &State,
    value: Value,
    attribute: Option<Value>,
    start: Option<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    let attribute = attribute.or(options.get("attribute")?);
    let start = start
        .or(options.get("start")?)
        .unwrap_or_else(|| Value::from(0));
    options.assert_all_used()?;
    items(state, &value)?.iter().try_fold(start, |total, item| {
        added(state, &total, "+", &attribute_of(item, attribute.as_ref())?)
    })
}

/// `min` and `max`: the first item before which, or after which, no other is.
fn extreme(
    state: &State,
    value: &Value,
    options: &Kwargs,
    wanted: Ordering,
) -> Result<Value, Error> {
    let case_sensitive = options
        .get::<Option<bool>>("case_sensitive")?
        .unwrap_or(false);
    let attribute: Option<Value> = options.get("attribute")?;
    options.assert_all_used()?;
    let mut best: Option<(Value, Value)> = None;
    for item in items(state, value)? {
        let key = sort_key(&item, attribute.as_ref(), case_sensitive)?;
        let is_better = match &best {
            Some((other, _)) => order(state, &key, other)? == wanted,
            None => true,
        };
        if is_better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or(Value::UNDEFINED, |(_, item)| item))
}

/// `'%s' % value`.
pub(super) fn printf(state: &State, format: &Value, arguments: Vec<Value>) -> Result<Value, Error> {
    arguments
        .iter()
        .try_for_each(|value| pay(state, value, false))?;
    let mut shown = Vec::with_capacity(arguments.len());
    for value in arguments {
        // Containers as Python writes them.
        let is_container = matches!(
            value.kind(),
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map
        );
        shown.push(if is_container && !value.is_kwargs() {
            text(state, &value)?.into()
        } else {
            value
        });
    }
    let format = format
        .as_str()
        .ok_or_else(|| invalid("only a text is a format"))?;
    pay_width(state, format)?;
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
