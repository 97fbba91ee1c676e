//! Objects, one on each line or all in an array.

use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use serde_json::Value as Json;

use super::{Examples, invalid, open, until_error};
use crate::data::{Example, Value};
use crate::{Result, TrainerError};

pub fn read(path: &Path) -> Result<Examples> {
    let mut reader = BufReader::new(open(path)?);
    match first_byte(&mut reader).map_err(TrainerError::io("reading", path))? {
        Some(b'[') => array(path, reader),
        _ => Ok(lines(path, reader)),
    }
}

/// The first byte that is no space; the reader is at its beginning again.
fn first_byte(reader: &mut BufReader<std::fs::File>) -> std::io::Result<Option<u8>> {
    let mut byte = [0];
    let found = loop {
        match reader.read(&mut byte)? {
            0 => break None,
            _ if byte[0].is_ascii_whitespace() => {}
            _ => break Some(byte[0]),
        }
    };
    reader.rewind()?;
    Ok(found)
}

fn array(path: &Path, reader: impl Read) -> Result<Examples> {
    let values: Vec<Json> =
        serde_json::from_reader(reader).map_err(|error| invalid(path, error))?;
    let path = path.to_owned();
    let examples = values.into_iter().enumerate();
    Ok(until_error(examples.map(move |(index, value)| {
        object(value)
            .map_err(|found| invalid(&path, format!("item {index}: {found} instead of an object")))
    })))
}

fn lines(path: &Path, reader: impl BufRead + Send + 'static) -> Examples {
    let path = path.to_owned();
    let parse = move |number: usize, line: std::io::Result<String>| {
        let line = line.map_err(TrainerError::io("reading", &path))?;
        if line.trim().is_empty() {
            return Ok(None);
        }
        let here = |reason: String| invalid(&path, format!("line {}: {reason}", number + 1));
        let value = serde_json::from_str(&line).map_err(|error| here(error.to_string()))?;
        let example =
            object(value).map_err(|found| here(format!("{found} instead of an object")))?;
        Ok(Some(example))
    };
    let lines = reader.lines().enumerate();
    until_error(lines.filter_map(move |(number, line)| parse(number, line).transpose()))
}

/// The example, or what there is in its place.
fn object(value: Json) -> Result<Example, &'static str> {
    match Value::from(value) {
        Value::Map(example) => Ok(example),
        other => Err(other.kind()),
    }
}
