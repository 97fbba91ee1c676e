//! Classes by number and by name.

use crate::data::{Dataset, Example, Table, Value};
use crate::{Result, TrainerError};

/// The names of the classes of a column, of single ones or of lists: those given, or those that come up, sorted; numbers are
/// named `LABEL_0` and so on, as the reference does.
pub fn classes(table: &Table, column: &str, given: Option<&[String]>) -> Result<Vec<String>> {
    if let Some(given) = given {
        return Ok(given.to_vec());
    }
    let (mut names, mut largest) = (std::collections::BTreeSet::new(), None);
    for index in 0..table.len() {
        let example = table.get(index)?;
        for value in all(example.require(column)?) {
            match (value.as_text(), value.as_integer()) {
                (Some(name), _) => drop(names.insert(name.to_owned())),
                (_, Some(number)) => largest = largest.max(Some(number)),
                _ => return Err(unfit(column, index, &value)),
            }
        }
    }
    match largest {
        Some(_) if !names.is_empty() => Err(TrainerError::InvalidColumn {
            column: column.to_owned(),
            reason: "classes are numbers here and names there".to_owned(),
        }),
        Some(largest) => Ok((0..=largest.max(0))
            .map(|number| format!("LABEL_{number}"))
            .collect()),
        None => Ok(names.into_iter().collect()),
    }
}

/// The numbers of an example's classes.
pub fn numbers(example: &Example, index: usize, column: &str, classes: &[String]) -> Result<Value> {
    let value = example.require(column)?;
    let number = |value: &Value| {
        let number = match value.as_text() {
            Some(name) => classes
                .iter()
                .position(|class| class == name)
                .map(|at| at as i64),
            None => value.as_integer(),
        };
        let known = |number: &i64| (0..classes.len() as i64).contains(number);
        number
            .filter(known)
            .ok_or_else(|| unfit(column, index, value))
    };
    match value.items() {
        None => number(value).map(Value::Integer),
        Some(items) => {
            let numbers = items.iter().map(number);
            numbers.collect::<Result<Vec<i64>>>().map(Value::Integers)
        }
    }
}

fn all(value: &Value) -> Vec<Value> {
    value.items().unwrap_or_else(|| vec![value.clone()])
}

fn unfit(column: &str, index: usize, value: &Value) -> TrainerError {
    TrainerError::InvalidColumn {
        column: column.to_owned(),
        reason: format!(
            "example {index} has {}, which is no class",
            serde_json::Value::from(value)
        ),
    }
}
