//! Python's operators, for the calls that a template is rewritten to (see `operators`).

use std::cmp::Ordering;

use minijinja::value::{Rest, Tuple, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::operators::names;
use super::values::{self, Number, invalid, is_list, items, number, pay_bytes, pay_items};

pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_function(names::COMPARE, compare);
    environment.add_function(names::SUM, |state: &State, chain: Rest<Value>| {
        fold(state, chain, sum)
    });
    environment.add_function(names::PRODUCT, |state: &State, chain: Rest<Value>| {
        fold(state, chain, product)
    });
    environment.add_function(names::POWER, |state: &State, chain: Rest<Value>| {
        fold(state, chain, power)
    });
    environment.add_function(names::TEXT, concatenate);
    environment.add_function(names::ITEMS, |value: Value| {
        values::iterable(&value)?;
        Ok::<_, Error>(value)
    });
    environment.add_function(names::PAID, |state: &State, value: Value| {
        values::pay(state, &value, false)?;
        Ok::<_, Error>(value)
    });
    environment.add_function(names::KEPT, |state: &State, value: Value| {
        values::pay(state, &value, true)?;
        Ok::<_, Error>(value)
    });
}

type Operator = fn(&State, &Value, &str, &Value) -> Result<Value, Error>;

/// A chain of operands with signs between them, from the left.
fn fold(state: &State, chain: Rest<Value>, operator: Operator) -> Result<Value, Error> {
    let mut value = chain.first().cloned().unwrap_or_default();
    for step in steps(&chain) {
        value = operator(
            state,
            &value,
            step[0].as_str().unwrap_or_default(),
            &step[1],
        )?;
    }
    Ok(value)
}

/// The signs of a chain, each with the operand behind it.
fn steps(chain: &[Value]) -> impl Iterator<Item = &[Value]> {
    chain.get(1..).unwrap_or_default().chunks_exact(2)
}

fn compare(state: &State, chain: Rest<Value>) -> Result<bool, Error> {
    let first = chain.first().cloned().unwrap_or_default();
    let mut left = &first;
    for step in steps(&chain) {
        let right = &step[1];
        if !compared(state, left, step[0].as_str().unwrap_or_default(), right)? {
            return Ok(false);
        }
        left = right;
    }
    Ok(true)
}

/// `left sign right`.
pub(super) fn compared(
    state: &State,
    left: &Value,
    sign: &str,
    right: &Value,
) -> Result<bool, Error> {
    match sign {
        "==" => values::equal(state, left, right),
        "!=" => values::equal(state, left, right).map(|same| !same),
        "in" => contains(state, right, left),
        "not in" => contains(state, right, left).map(|found| !found),
        _ => {
            defined(left)?;
            defined(right)?;
            let order = values::order(state, left, right)?;
            Ok(match sign {
                "<" => order == Ordering::Less,
                "<=" => order != Ordering::Greater,
                ">" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            })
        }
    }
}

pub(super) fn contains(state: &State, container: &Value, value: &Value) -> Result<bool, Error> {
    if let Some(text) = container.as_str() {
        pay_bytes(state, text.len())?;
        return match value.as_str() {
            Some(part) => Ok(text.contains(part)),
            None => Err(invalid(format!(
                "a text is in a text, not {}",
                value.kind()
            ))),
        };
    }
    if container.kind() == ValueKind::Map {
        values::pay(state, value, false)?;
        return Ok(!container.get_item(value)?.is_undefined());
    }
    if container.is_undefined() {
        return Ok(false);
    }
    values::iterable(container)?;
    for item in container.try_iter()?.checked() {
        if values::equal(state, &item?, value)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn defined(value: &Value) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(Error::new(
            ErrorKind::UndefinedError,
            "an operand is undefined",
        ));
    }
    Ok(())
}

fn refused(left: &Value, sign: &str, right: &Value) -> Error {
    invalid(format!(
        "{} {sign} {} is not possible",
        left.kind(),
        right.kind()
    ))
}

pub(super) fn sum(state: &State, left: &Value, sign: &str, right: &Value) -> Result<Value, Error> {
    defined(left)?;
    defined(right)?;
    if sign == "+" {
        if let (Some(left), Some(right)) = (left.as_str(), right.as_str()) {
            pay_bytes(state, left.len() + right.len())?;
            return Ok([left, right].concat().into());
        }
        if is_list(left) && is_list(right) && left.is_tuple() == right.is_tuple() {
            let mut all = items(state, left)?;
            all.extend(items(state, right)?);
            return Ok(list(all, left.is_tuple()));
        }
    }
    let (Some(a), Some(b)) = (number(left), number(right)) else {
        return Err(refused(left, sign, right));
    };
    if sign == "+" {
        return calculated(a, b, i128::checked_add, a.float() + b.float());
    }
    calculated(a, b, i128::checked_sub, a.float() - b.float())
}

fn calculated(
    left: Number,
    right: Number,
    whole: fn(i128, i128) -> Option<i128>,
    float: f64,
) -> Result<Value, Error> {
    match (left, right) {
        (Number::Whole(left), Number::Whole(right)) => whole(left, right)
            .map(|number| Number::Whole(number).into())
            .ok_or_else(|| invalid("a number is too large")),
        _ => Ok(Number::Float(float).into()),
    }
}

fn list(items: Vec<Value>, is_tuple: bool) -> Value {
    if is_tuple {
        Value::from(Tuple::from(items))
    } else {
        Value::from(items)
    }
}

fn product(state: &State, left: &Value, sign: &str, right: &Value) -> Result<Value, Error> {
    defined(left)?;
    defined(right)?;
    match (sign, number(left), number(right)) {
        ("*", Some(a), Some(b)) => calculated(a, b, i128::checked_mul, a.float() * b.float()),
        ("*", Some(Number::Whole(times)), None) => repeated(state, right, times),
        ("*", None, Some(Number::Whole(times))) => repeated(state, left, times),
        ("%", None, _) if left.as_str().is_some() => {
            let arguments = if right.is_tuple() {
                items(state, right)?
            } else {
                vec![right.clone()]
            };
            super::filters::printf(state, left, arguments)
        }
        (_, Some(_), Some(b)) if b.float() == 0.0 => Err(invalid("a division by zero")),
        ("/", Some(a), Some(b)) => Ok((a.float() / b.float()).into()),
        ("//", Some(a), Some(b)) => {
            calculated(a, b, floor_divided, (a.float() / b.float()).floor())
        }
        ("%", Some(a), Some(b)) => {
            let (x, y) = (a.float(), b.float());
            calculated(
                a,
                b,
                |a, b| a.checked_rem(b)?.checked_add(b)?.checked_rem(b),
                ((x % y) + y) % y,
            )
        }
        _ => Err(refused(left, sign, right)),
    }
}

fn floor_divided(left: i128, right: i128) -> Option<i128> {
    let quotient = left.checked_div(right)?;
    let rounds_up = left.checked_rem(right)? != 0 && (left < 0) != (right < 0);
    Some(quotient - i128::from(rounds_up))
}

fn repeated(state: &State, value: &Value, times: i128) -> Result<Value, Error> {
    let times = usize::try_from(times.max(0)).unwrap_or(usize::MAX);
    if let Some(text) = value.as_str() {
        pay_bytes(state, text.len().saturating_mul(times))?;
        return Ok(text.repeat(times).into());
    }
    if !is_list(value) {
        return Err(invalid(format!("{} cannot be repeated", value.kind())));
    }
    let once = items(state, value)?;
    let length = once.len().saturating_mul(times);
    pay_items(state, length)?;
    Ok(list(
        once.into_iter().cycle().take(length).collect(),
        value.is_tuple(),
    ))
}

fn power(_: &State, left: &Value, sign: &str, right: &Value) -> Result<Value, Error> {
    let (Some(a), Some(b)) = (number(left), number(right)) else {
        return Err(refused(left, sign, right));
    };
    match (a, b) {
        (Number::Whole(base), Number::Whole(exponent)) if exponent >= 0 => {
            let result = u32::try_from(exponent)
                .ok()
                .and_then(|exponent| base.checked_pow(exponent));
            let result = result.ok_or_else(|| invalid("a number is too large"))?;
            Ok(Number::Whole(result).into())
        }
        (a, b) if a.float() == 0.0 && b.float() < 0.0 => Err(invalid("a division by zero")),
        (a, b) => Ok(a.float().powf(b.float()).into()),
    }
}

/// `a ~ b ~ c`.
fn concatenate(state: &State, chain: Rest<Value>) -> Result<String, Error> {
    let mut text = String::new();
    for operand in chain.iter().step_by(2) {
        values::write(state, operand, &mut text)?;
    }
    Ok(text)
}

/// `value[start:stop:step]`.
pub(super) fn slice(
    state: &State,
    value: &Value,
    bounds: [Option<i64>; 3],
) -> Result<Value, Error> {
    let [start, stop, step] = bounds;
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(invalid("the step of a slice is zero"));
    }
    if let Some(text) = value.as_str() {
        pay_bytes(state, text.len())?;
        if step == 1 && start.unwrap_or(0) >= 0 && stop.is_none_or(|stop| stop >= 0) {
            let from = byte_of(text, start.unwrap_or(0));
            let to = stop.map_or(text.len(), |stop| byte_of(text, stop));
            return Ok(text.get(from..to).unwrap_or_default().into());
        }
        let characters: Vec<char> = text.chars().collect();
        let text: String = positions(characters.len(), start, stop, step)
            .map(|at| characters[at])
            .collect();
        return Ok(text.into());
    }
    if !is_list(value) {
        return Err(invalid(format!("{} has no slices", value.kind())));
    }
    let all = items(state, value)?;
    let part = positions(all.len(), start, stop, step)
        .map(|at| all[at].clone())
        .collect();
    Ok(list(part, value.is_tuple()))
}

/// Where the character of this number begins.
fn byte_of(text: &str, character: i64) -> usize {
    let number = usize::try_from(character).unwrap_or(usize::MAX);
    text.char_indices()
        .nth(number)
        .map_or(text.len(), |(at, _)| at)
}

fn positions(
    length: usize,
    start: Option<i64>,
    stop: Option<i64>,
    step: i64,
) -> impl Iterator<Item = usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let (least, most) = if step > 0 {
        (0, length)
    } else {
        (-1, length - 1)
    };
    let place = |bound: i64| {
        let bound = if bound < 0 {
            bound.saturating_add(length)
        } else {
            bound
        };
        bound.clamp(least, most)
    };
    let start = start.map_or(if step > 0 { least } else { most }, place);
    let stop = stop.map_or(if step > 0 { most } else { least }, place);
    let mut at = Some(start);
    std::iter::from_fn(move || {
        let current = at.filter(|at| if step > 0 { *at < stop } else { *at > stop })?;
        at = current.checked_add(step);
        usize::try_from(current).ok()
    })
}
