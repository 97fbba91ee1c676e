//! Fuzzes what `texts::vocabulary` reads.
#![no_main]

mod texts;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| texts::vocabulary(bytes));
