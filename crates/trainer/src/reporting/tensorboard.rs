//! Event files as TensorBoard reads them: records of TensorFlow's `Event` message, each between two checksums.
//!
//! Source: the message definitions `event.proto`, `summary.proto` and `tensor.proto` of TensorFlow, and the record format of
//! its `TFRecord`s.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use crate::{Result, TrainerError};

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "8")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin_data: Option<PluginData>,
}

#[derive(Clone, PartialEq, Message)]
struct PluginData {
    #[prost(string, tag = "1")]
    plugin_name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    string_val: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "2")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, tag = "1")]
    size: i64,
}

/// `DT_STRING`.
const STRING: i32 = 7;

/// An event file in a folder; every event is on disk when its method returns.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl EventWriter {
    /// A new file in `folder`, which is made if need be.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn create(folder: impl AsRef<Path>) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let folder = folder.as_ref();
        fs::create_dir_all(folder).map_err(TrainerError::io("making", folder))?;
        let path = folder.join(format!(
            "events.out.tfevents.{}.local.{}.{}",
            now() as u64,
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        let file = File::create_new(&path).map_err(TrainerError::io("making", &path))?;
        let file = BufWriter::new(file);
        let mut writer = Self { path, file };
        writer.write(&Event {
            wall_time: now(),
            file_version: Some("brain.Event:2".to_owned()),
            ..Event::default()
        })?;
        Ok(writer)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A number of a curve.
    ///
    /// # Errors
    /// The disk is full, or the like.
    pub fn scalar(&mut self, tag: &str, value: f64, step: u64) -> Result<()> {
        self.summary(
            step,
            SummaryValue {
                tag: tag.to_owned(),
                simple_value: Some(value as f32),
                ..SummaryValue::default()
            },
        )
    }

    /// A text, shown as Markdown.
    ///
    /// # Errors
    /// The disk is full, or the like.
    pub fn text(&mut self, tag: &str, text: &str, step: u64) -> Result<()> {
        let tensor = Tensor {
            dtype: STRING,
            shape: Some(Shape {
                dim: vec![Dimension { size: 1 }],
            }),
            string_val: vec![text.as_bytes().to_vec()],
        };
        let plugin_name = "text".to_owned();
        self.summary(
            step,
            SummaryValue {
                tag: format!("{tag}/text_summary"),
                tensor: Some(tensor),
                metadata: Some(Metadata {
                    plugin_data: Some(PluginData { plugin_name }),
                }),
                ..SummaryValue::default()
            },
        )
    }

    fn summary(&mut self, step: u64, value: SummaryValue) -> Result<()> {
        self.write(&Event {
            wall_time: now(),
            step: step as i64,
            summary: Some(Summary { value: vec![value] }),
            ..Event::default()
        })
    }

    fn write(&mut self, event: &Event) -> Result<()> {
        let record = record(&event.encode_to_vec());
        let written = self
            .file
            .write_all(&record)
            .and_then(|()| self.file.flush());
        written.map_err(TrainerError::io("writing", &self.path))
    }
}

/// Length, its checksum, the bytes, their checksum.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [
        &length[..],
        &checksum(&length).to_le_bytes(),
        bytes,
        &checksum(bytes).to_le_bytes(),
    ]
    .concat()
}

/// CRC-32C, masked so that a checksum of bytes that hold checksums stays one.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |time| time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The events of a file whose checksums are right.
    fn events(path: &Path) -> Vec<Event> {
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut take = |count: usize| {
            let (taken, after) = rest.split_at(count);
            rest = after;
            (taken.to_vec(), after.is_empty())
        };
        let mut events = Vec::new();
        loop {
            let (length, _) = take(8);
            let number = |bytes: Vec<u8>| u32::from_le_bytes(bytes.try_into().unwrap());
            assert_eq!(number(take(4).0), checksum(&length));
            let (event, _) = take(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (sum, last) = take(4);
            assert_eq!(number(sum), checksum(&event));
            events.push(Event::decode(event.as_slice()).unwrap());
            if last {
                return events;
            }
        }
    }

    #[test]
    fn a_checksum_of_a_known_record() {
        // Length and checksum of a file that TensorBoard's writer made: its first record has 24 bytes.
        assert_eq!(
            checksum(&24_u64.to_le_bytes()),
            u32::from_le_bytes([0xa3, 0x7f, 0x4b, 0x22])
        );
    }

    #[test]
    fn events_are_written_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path().join("runs")).unwrap();
        writer.scalar("train/loss", 1.5, 10).unwrap();
        assert_eq!(events(writer.path()).len(), 2);
        writer.text("args", "{}", 0).unwrap();
        let events = events(writer.path());
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        let scalar = &events[1].summary.as_ref().unwrap().value[0];
        assert_eq!(
            (scalar.tag.as_str(), scalar.simple_value, events[1].step),
            ("train/loss", Some(1.5), 10)
        );
        let text = &events[2].summary.as_ref().unwrap().value[0];
        assert_eq!(text.tensor.as_ref().unwrap().string_val, [b"{}".to_vec()]);
        let other = EventWriter::create(folder.path().join("runs")).unwrap();
        assert_ne!(other.path(), writer.path());
    }
}
