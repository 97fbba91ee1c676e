//! Fuzzes what `requests::embeddings` sends.
#![no_main]

mod requests;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| requests::embeddings(bytes));
