//! Parquet files, by the row interface of the `parquet` crate.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};

use super::{Examples, invalid, open, until_error};
use crate::Result;
use crate::data::{Example, Value};

/// One row group at a time: as much of a file is in memory.
pub fn read(path: &Path) -> Result<Examples> {
    let reader = contained(|| {
        SerializedFileReader::new(
            open(path).map_err(|error| ParquetError::General(error.to_string()))?,
        )
    })
    .map_err(|reason| invalid(path, reason))?;
    check_compression(path, &reader)?;
    let path = path.to_owned();
    let groups = (0..reader.num_row_groups()).flat_map(move |group| match rows(&reader, group) {
        Ok(examples) => examples.into_iter().map(Ok).collect::<Vec<_>>(),
        Err(reason) => vec![Err(invalid(&path, format!("row group {group}: {reason}")))],
    });
    Ok(until_error(groups))
}

fn rows(
    reader: &SerializedFileReader<std::fs::File>,
    group: usize,
) -> Result<Vec<Example>, String> {
    contained(|| {
        let group = reader.get_row_group(group)?;
        let rows = group.get_row_iter(None)?;
        rows.map(|row| row.map(example)).collect()
    })
}

/// The crate's row interface panics on some damaged files.
fn contained<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it is damaged".to_owned()),
    }
}

fn check_compression(path: &Path, reader: &SerializedFileReader<std::fs::File>) -> Result<()> {
    let groups = reader.metadata().row_groups().iter();
    let other = groups.flat_map(|group| group.columns()).find(|column| {
        !matches!(
            column.compression(),
            Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_)
        )
    });
    match other {
        None => Ok(()),
        Some(column) => Err(invalid(
            path,
            format!(
                "column `{}` is compressed by {}, whose library is written in C and not built in; write the file with \
                 snappy or gzip",
                column.column_path().string(),
                column.compression()
            ),
        )),
    }
}

fn example(row: Row) -> Example {
    let columns = row.into_columns().into_iter();
    columns.map(|(name, field)| (name, value(field))).collect()
}

fn value(field: Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(truth) => truth.into(),
        Field::Byte(number) => i64::from(number).into(),
        Field::Short(number) => i64::from(number).into(),
        Field::Int(number) | Field::Date(number) | Field::TimeMillis(number) => {
            i64::from(number).into()
        }
        Field::Long(number)
        | Field::TimeMicros(number)
        | Field::TimestampMillis(number)
        | Field::TimestampMicros(number) => number.into(),
        Field::UByte(number) => i64::from(number).into(),
        Field::UShort(number) => i64::from(number).into(),
        Field::UInt(number) => i64::from(number).into(),
        Field::ULong(number) => match i64::try_from(number) {
            Ok(number) => number.into(),
            Err(_) => (number as f64).into(),
        },
        Field::Float16(number) => f64::from(number).into(),
        Field::Float(number) => f64::from(number).into(),
        Field::Double(number) => number.into(),
        Field::Str(text) => text.into(),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned().into(),
        Field::Group(row) => Value::Map(example(row)),
        Field::ListInternal(list) => {
            let values: Vec<Value> = list.elements().iter().cloned().map(value).collect();
            values.into()
        }
        field @ Field::Decimal(_) => match field.to_string().parse::<f64>() {
            Ok(number) => number.into(),
            Err(_) => field.to_string().into(),
        },
        Field::MapInternal(map) => {
            let entries = map.entries().iter().cloned();
            Value::Map(
                entries
                    .map(|(key, item)| (name(value(key)), value(item)))
                    .collect(),
            )
        }
    }
}

/// A key of a map, which is a text mostly.
fn name(key: Value) -> String {
    match key {
        Value::Text(text) => text,
        other => serde_json::Value::from(&other).to_string(),
    }
}
