//! Fuzzes what `requests::load_model` sends.
#![no_main]

mod requests;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| requests::load_model(bytes));
