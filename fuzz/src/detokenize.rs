//! Fuzzes what `requests::detokenize` sends.
#![no_main]

mod requests;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| requests::detokenize(bytes));
