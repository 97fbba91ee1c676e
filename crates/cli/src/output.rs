//! Stdout, where an answer goes; a reader that went away is an error like any other (`println!` would panic).

use std::fmt::Display;
use std::io::{self, Write};

/// Writes `text` and hands it on at once.
pub fn print(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()
}
