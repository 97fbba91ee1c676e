//! Fuzzes what `readers::gguf` reads.
#![no_main]

mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::gguf(bytes));
