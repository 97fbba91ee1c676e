//! Keywords and their values, each of which is read or refused.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::{Result, TrainerError};

/// A map of options that is read key by key; what nobody asked for is an error.
pub(crate) struct Options<'a> {
    argument: &'static str,
    values: &'a Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl<'a> Options<'a> {
    /// Those of this argument.
    pub fn new(argument: &'static str, values: &'a Map<String, Value>) -> Self {
        Self {
            argument,
            values,
            read: RefCell::default(),
        }
    }

    /// A wrong value of a key.
    pub fn wrong(&self, key: &str, reason: &str) -> TrainerError {
        TrainerError::InvalidOption {
            name: self.argument,
            reason: format!("`{key}`: {reason}"),
        }
    }

    fn get(&mut self, key: &str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.values.get(key).filter(|value| !value.is_null())
    }

    /// A number, if it is there. Texts of numbers are numbers, as `optim_args` has them.
    pub fn optional(&mut self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number = match value {
            Value::String(text) => text.parse().ok(),
            value => value.as_f64(),
        };
        match number.filter(|number: &f64| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(key, &format!("{value} is no number"))),
        }
    }

    /// A number.
    pub fn number(&mut self, key: &str, default: f64) -> Result<f64> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    /// A text.
    pub fn text(&mut self, key: &str, default: &str) -> Result<String> {
        match self.get(key) {
            None => Ok(default.to_owned()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value) => Err(self.wrong(key, &format!("{value} is no text"))),
        }
    }

    /// Yes or no.
    pub fn truth(&mut self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(Value::String(text))
                if ["true", "1", "yes"].contains(&text.to_lowercase().as_str()) =>
            {
                Ok(true)
            }
            Some(Value::String(text))
                if ["false", "0", "no"].contains(&text.to_lowercase().as_str()) =>
            {
                Ok(false)
            }
            Some(value) => Err(self.wrong(key, &format!("{value} is neither true nor false"))),
        }
    }

    /// Every key was asked for.
    pub fn finish(self) -> Result<()> {
        let read = self.read.borrow();
        match self.values.keys().find(|key| !read.contains(*key)) {
            None => Ok(()),
            Some(key) => {
                let known: Vec<&str> = read.iter().map(String::as_str).collect();
                let known = match known.is_empty() {
                    true => "there are none here".to_owned(),
                    false => format!("there are {}", known.join(", ")),
                };
                Err(self.wrong(key, &format!("it is not known; {known}")))
            }
        }
    }
}
