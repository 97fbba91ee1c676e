//! How much work a template may do. It is a program from a file that is not trusted.

use std::io;

use serde_json::{Map, Value};

/// What every template may use, in instructions; 64 bytes of data made or read count as one. A short conversation with
/// tools costs a few thousand.
const BASE: u64 = 100_000;
/// What a byte of the conversation adds.
const PER_BYTE: u64 = 8;
/// What no conversation goes beyond: less than a second of work, 128 MiB of data.
const MOST: u64 = 2_000_000;

/// The budget of one rendering, in the template engine's unit.
pub(super) fn fuel(variables: &Map<String, Value>) -> u64 {
    size(variables)
        .saturating_mul(PER_BYTE)
        .saturating_add(BASE)
        .min(MOST)
}

/// The longest text that may come out, in bytes: templates repeat what they are given a few times at most.
pub(super) fn output_limit(variables: &Map<String, Value>) -> usize {
    const BASE: u64 = 16 << 20;
    usize::try_from(size(variables).saturating_mul(8).saturating_add(BASE)).unwrap_or(usize::MAX)
}

fn size(map: &Map<String, Value>) -> u64 {
    map.iter()
        .map(|(key, value)| key.len() as u64 + value_size(value))
        .sum()
}

fn value_size(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(values) => values.iter().map(value_size).sum::<u64>() + 1,
        Value::Object(map) => size(map) + 1,
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

/// The text that a template writes; an error once it is too long.
pub(super) struct LimitedText {
    pub bytes: Vec<u8>,
    pub limit: usize,
}

impl io::Write for LimitedText {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.limit - self.bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
