//! Fuzzes what `requests::responses` sends.
#![no_main]

mod requests;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| requests::responses(bytes));
