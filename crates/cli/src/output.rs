//! Stdout, where an answer goes; a reader that went away is an error like any other (`println!` would panic).

use std::fmt::Display;
use std::io::{self, Write};

/// Writes `text` and hands it on at once.
pub fn print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()
}

/// A number of bytes in the unit that leaves one to three digits before the point.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let power = bytes.max(1).ilog10() as usize / 3;
    let power = power.min(UNITS.len() - 1);
    let value = bytes as f64 / 1000_f64.powi(power as i32);
    match power {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", UNITS[power]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (123_456_789, "123.5 MB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
