//! Fuzzes what `conversations::chat_template` reads.
#![no_main]

mod conversations;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| conversations::chat_template(bytes));
