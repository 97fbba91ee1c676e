//! Filters of lists.

use std::cmp::Ordering;
use std::sync::Arc;

use minijinja::value::{
    Enumerator, Kwargs, Object, ObjectRepr, Rest, Tuple, ValueKind, ValueOrKwargs, from_args,
};
use minijinja::{Environment, Error, State, Value};

use super::arithmetic::sum as added;
use super::values::{self, equal, invalid, items, order, text};

pub(super) fn add_to(environment: &mut Environment<'_>) {
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
    environment.add_filter("map", map);
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
    if !value.is_true() {
        return Ok(found);
    }
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

/// `map('filter', …)` or `map(attribute=…, default=…)`.
fn map(
    state: &mut State,
    value: Value,
    arguments: Rest<ValueOrKwargs>,
) -> Result<Vec<Value>, Error> {
    let arguments = arguments.into_values();
    let (arguments, options): (&[Value], Kwargs) = from_args(&arguments)?;
    let attribute: Option<Value> = options.get("attribute")?;
    let mut found = Vec::new();
    if !value.is_true() {
        return Ok(found);
    }
    let Some(attribute) = attribute else {
        let (filter, arguments) = arguments
            .split_first()
            .ok_or_else(|| invalid("map: which filter?"))?;
        let filter = filter
            .as_str()
            .ok_or_else(|| invalid("the name of a filter is a text"))?;
        for item in items(state, &value)? {
            let mut all = vec![item];
            all.extend_from_slice(arguments);
            all.extend(options.args().next().map(|_| Value::from(options.clone())));
            let item = state.apply_filter(filter, &all)?;
            state.consume_fuel(1)?;
            found.push(item);
        }
        return Ok(found);
    };
    let default: Option<Value> = options.get("default")?;
    options.assert_all_used()?;
    for item in items(state, &value)? {
        found.push(match (attribute_of(&item, Some(&attribute)), &default) {
            (Ok(item), Some(default)) if item.is_undefined() => default.clone(),
            (Ok(item), _) => item,
            (Err(_), Some(default)) => default.clone(),
            (Err(error), None) => return Err(error),
        });
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

impl Object for Group {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match (key.as_usize(), key.as_str()) {
            (Some(0), _) | (_, Some("grouper")) => Some(self.key.clone()),
            (Some(1), _) | (_, Some("list")) => Some(self.items.clone()),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(2)
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
