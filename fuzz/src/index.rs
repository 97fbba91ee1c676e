//! Fuzzes what `readers::index` reads.
#![no_main]

mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::index(bytes));
