//! Fuzzes what `requests::tokenize` sends.
#![no_main]

mod requests;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| requests::tokenize(bytes));
