//! Columns of text, whose kinds are told by all of their cells.

use std::path::Path;

use csv::{Reader, ReaderBuilder, StringRecord};

use super::{Examples, invalid, open, until_error};
use crate::Result;
use crate::data::{Example, Value};

/// What all cells of a column are, empty ones aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Nothing,
    Bool,
    Integer,
    Float,
    Text,
}

pub fn read(path: &Path, delimiter: u8) -> Result<Examples> {
    let (names, kinds) = columns(path, delimiter)?;
    let mut reader = reader(path, delimiter)?;
    reader.headers().map_err(|error| invalid(path, error))?;
    let path = path.to_owned();
    let records = reader.into_records();
    Ok(until_error(records.map(move |record| {
        let record = record.map_err(|error| invalid(&path, error))?;
        let cells = names.iter().zip(&kinds).zip(record.iter());
        Ok(cells
            .map(|((name, kind), cell)| (name.clone(), kind.value(cell)))
            .collect::<Example>())
    })))
}

fn reader(path: &Path, delimiter: u8) -> Result<Reader<std::fs::File>> {
    Ok(ReaderBuilder::new()
        .delimiter(delimiter)
        .from_reader(open(path)?))
}

/// The names and kinds of the columns, by a look at the whole file.
fn columns(path: &Path, delimiter: u8) -> Result<(Vec<String>, Vec<Kind>)> {
    let mut reader = reader(path, delimiter)?;
    let names: Vec<String> = match reader.headers() {
        Ok(headers) => headers.iter().map(str::to_owned).collect(),
        Err(error) => return Err(invalid(path, error)),
    };
    let mut sorted = names.clone();
    sorted.sort();
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(invalid(
            path,
            format!("two columns are named `{}`", twice[0]),
        ));
    }
    let mut kinds = vec![Kind::Nothing; names.len()];
    let mut record = StringRecord::new();
    while reader
        .read_record(&mut record)
        .map_err(|error| invalid(path, error))?
    {
        for (kind, cell) in kinds.iter_mut().zip(record.iter()) {
            *kind = kind.and(cell);
        }
    }
    Ok((names, kinds))
}

fn truth(cell: &str) -> Option<bool> {
    match cell {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

impl Kind {
    fn of(cell: &str) -> Self {
        match cell {
            "" => Self::Nothing,
            cell if truth(cell).is_some() => Self::Bool,
            cell if cell.parse::<i64>().is_ok() => Self::Integer,
            cell if cell.parse::<f64>().is_ok_and(f64::is_finite) => Self::Float,
            _ => Self::Text,
        }
    }

    /// What a column is with one more cell.
    fn and(self, cell: &str) -> Self {
        match (self, Self::of(cell)) {
            (kind, Self::Nothing) | (Self::Nothing, kind) => kind,
            (before, now) if before == now => now,
            (Self::Integer | Self::Float, Self::Integer | Self::Float) => Self::Float,
            _ => Self::Text,
        }
    }

    fn value(self, cell: &str) -> Value {
        let parsed = match self {
            _ if cell.is_empty() => None,
            Self::Nothing => None,
            Self::Bool => truth(cell).map(Value::Bool),
            Self::Integer => cell.parse().ok().map(Value::Integer),
            Self::Float => cell.parse().ok().map(Value::Float),
            Self::Text => Some(Value::Text(cell.to_owned())),
        };
        parsed.unwrap_or_default()
    }
}
