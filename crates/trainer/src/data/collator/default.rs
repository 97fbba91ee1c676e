//! Examples of one shape.

use super::Collator;
use crate::data::example::wrong_type;
use crate::data::{Array, Batch, Column, Example, Value};
use crate::{Result, TrainerError};

/// Stacks the columns as they are; texts and columns without a value are left out, and `label` or `label_ids` become
/// `labels` (the reference's `default_data_collator`).
#[derive(Debug, Clone, Copy, Default)]
pub struct DefaultDataCollator;

impl Collator for DefaultDataCollator {
    fn collate(&mut self, examples: Vec<Example>) -> Result<Batch> {
        let first = examples.first().ok_or(TrainerError::EmptyDataset)?;
        let mut batch = Batch::new();
        let present = |name: &&str| first.get(name).is_some_and(|value| !value.is_null());
        let label = ["label", "label_ids"].into_iter().find(present);
        for (name, value) in first.iter() {
            let is_label = ["label", "label_ids"].contains(&name);
            if value.is_null() || value.as_text().is_some() || is_label {
                continue;
            }
            batch.insert(name, stack(name, &examples)?);
        }
        if let Some(label) = label {
            batch.insert("labels", stack(label, &examples)?);
        }
        Ok(batch)
    }
}

/// A column of all examples as one array, whose kind is that of the first one.
pub(super) fn stack(name: &str, examples: &[Example]) -> Result<Column> {
    let values: Vec<&Value> = examples
        .iter()
        .map(|example| example.require(name))
        .collect::<Result<_>>()?;
    stack_values(name, &values)
}

/// Values of one shape as one array.
pub(super) fn stack_values(name: &str, values: &[&Value]) -> Result<Column> {
    let first = values.first().ok_or(TrainerError::EmptyDataset)?;
    let one = shape(name, first)?;
    for value in values {
        let found = shape(name, value)?;
        if found != one {
            return Err(TrainerError::RaggedColumn {
                column: name.to_owned(),
                found,
                expected: one,
            });
        }
    }
    let dims = [vec![values.len()], one].concat();
    let mut leaves = Leaves::default();
    values.iter().for_each(|value| leaves.collect(value));
    Ok(match leaves {
        Leaves { numbers, bools, .. } if bools == numbers.len() && bools > 0 => {
            let truths = numbers.iter().map(|number| *number != Number::Integer(0));
            Array::new(truths.collect(), dims).into()
        }
        Leaves {
            numbers, floats, ..
        } if floats > 0 => {
            let numbers = numbers.into_iter().map(|number| match number {
                Number::Integer(number) => number as f32,
                Number::Float(number) => number as f32,
            });
            Array::new(numbers.collect(), dims).into()
        }
        Leaves { numbers, .. } => {
            let numbers = numbers.into_iter().map(|number| match number {
                Number::Integer(number) => number,
                Number::Float(number) => number as i64,
            });
            Array::new(numbers.collect(), dims).into()
        }
    })
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Integer(i64),
    Float(f64),
}

/// The numbers of nested lists, in order.
#[derive(Default)]
struct Leaves {
    numbers: Vec<Number>,
    floats: usize,
    bools: usize,
}

impl Leaves {
    fn collect(&mut self, value: &Value) {
        match value {
            Value::Bool(truth) => {
                self.bools += 1;
                self.numbers.push(Number::Integer(i64::from(*truth)));
            }
            Value::Integer(number) => self.numbers.push(Number::Integer(*number)),
            Value::Float(number) => {
                self.floats += 1;
                self.numbers.push(Number::Float(*number));
            }
            Value::Integers(numbers) => {
                let numbers = numbers.iter().copied().map(Number::Integer);
                self.numbers.extend(numbers);
            }
            Value::Floats(numbers) => {
                self.floats += numbers.len();
                self.numbers
                    .extend(numbers.iter().copied().map(Number::Float));
            }
            Value::List(values) => values.iter().for_each(|value| self.collect(value)),
            Value::Null | Value::Text(_) | Value::Map(_) => {}
        }
    }
}

/// The shape of nested lists of numbers.
fn shape(name: &str, value: &Value) -> Result<Vec<usize>> {
    match value {
        Value::Bool(_) | Value::Integer(_) | Value::Float(_) => Ok(Vec::new()),
        Value::Integers(numbers) => Ok(vec![numbers.len()]),
        Value::Floats(numbers) => Ok(vec![numbers.len()]),
        Value::List(values) => {
            let mut inner: Option<Vec<usize>> = None;
            for value in values {
                let found = shape(name, value)?;
                match &inner {
                    Some(expected) if *expected != found => {
                        return Err(TrainerError::RaggedColumn {
                            column: name.to_owned(),
                            found,
                            expected: expected.clone(),
                        });
                    }
                    _ => inner = Some(found),
                }
            }
            Ok([vec![values.len()], inner.unwrap_or_default()].concat())
        }
        Value::Null | Value::Text(_) | Value::Map(_) => {
            Err(wrong_type(name, value, "numbers, or lists of them"))
        }
    }
}
