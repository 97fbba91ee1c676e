//! Fuzzes what `requests::completions` sends.
#![no_main]

mod requests;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| requests::completions(bytes));
