//! Micro-benchmarks: `cargo bench --package transformers-benches`.
//!
//! They show where time goes and whether a change moved it. Claims about speed are ratios against a peer in the same
//! run, and do not come from here.
#![forbid(unsafe_code)]
