//! The `transformers` binary.
fn main() {}
