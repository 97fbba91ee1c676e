//! Fuzzes what `requests::chat_completions` sends.
#![no_main]

mod requests;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| requests::chat_completions(bytes));
