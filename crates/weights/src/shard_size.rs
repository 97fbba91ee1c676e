//! How large a file of a checkpoint may be.

use std::fmt;
use std::str::FromStr;

use crate::WeightsError;

/// A number of bytes, written as `5MB` or `1.5 GB`: powers of 1000, in upper or lower case, as the reference has them.
///
/// ```
/// use transformers_weights::ShardSize;
///
/// assert_eq!("5MB".parse::<ShardSize>()?.bytes(), 5_000_000);
/// assert_eq!(ShardSize::default().to_string(), "50GB");
/// # Ok::<(), transformers_weights::WeightsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardSize(u64);

const UNITS: [(&str, u64); 4] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1000),
];

impl ShardSize {
    /// That many bytes.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// 50 GB.
impl Default for ShardSize {
    fn default() -> Self {
        Self(50_000_000_000)
    }
}

impl FromStr for ShardSize {
    type Err = WeightsError;

    fn from_str(text: &str) -> Result<Self, WeightsError> {
        let invalid = || WeightsError::ShardSize {
            text: text.to_owned(),
        };
        let upper = text.trim().to_ascii_uppercase();
        let unit = UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((upper.strip_suffix(unit)?, *bytes)));
        let (number, bytes) = unit.ok_or_else(invalid)?;
        let number: f64 = number.trim().parse().map_err(|_| invalid())?;
        let size = number * bytes as f64;
        match size >= 1.0 && size < u64::MAX as f64 {
            true => Ok(Self(size as u64)),
            false => Err(invalid()),
        }
    }
}

/// As it is read, in the largest unit that divides it; other numbers as plain bytes.
impl fmt::Display for ShardSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS
            .iter()
            .find(|(_, bytes)| self.0 > 0 && self.0.is_multiple_of(*bytes))
        {
            Some((unit, bytes)) => write!(f, "{}{unit}", self.0 / bytes),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_read_as_by_the_reference() {
        for (text, bytes) in [
            ("5MB", 5_000_000),
            (" 1.5 GB ", 1_500_000_000),
            ("300kb", 300_000),
            ("2Tb", 2_000_000_000_000),
            ("0.0015KB", 1),
        ] {
            assert_eq!(text.parse::<ShardSize>().unwrap().bytes(), bytes, "{text}");
        }
        for faulty in [
            "", "5", "MB", "5MiB", "-1GB", "0GB", "nanGB", "infGB", "1e300TB", "5 M B", "\u{e9}",
        ] {
            let error = faulty.parse::<ShardSize>().unwrap_err().to_string();
            assert!(error.contains("5MB"), "{error}");
        }
        assert_eq!(ShardSize::of_bytes(1001).to_string(), "1001 bytes");
    }
}
