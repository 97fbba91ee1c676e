//! The names by which `dtype` is known in configurations and on the command line.

use crate::{ConfigError, Result};

/// The dtypes that a model can be loaded in.
pub const DTYPES: [&str; 4] = ["float64", "float32", "float16", "bfloat16"];

/// The canonical name of a dtype given as in a configuration (`bfloat16`, `torch.bfloat16`) or in short (`bf16`).
///
/// # Errors
/// If it is none of them.
pub fn parse_dtype(name: &str) -> Result<&'static str> {
    match name.strip_prefix("torch.").unwrap_or(name) {
        "float64" | "double" | "f64" | "fp64" => Ok("float64"),
        "float32" | "float" | "f32" | "fp32" => Ok("float32"),
        "float16" | "half" | "f16" | "fp16" => Ok("float16"),
        "bfloat16" | "bf16" => Ok("bfloat16"),
        _ => Err(ConfigError::invalid(
            "dtype",
            format!("\"{name}\" is not one of {}", DTYPES.join(", ")),
        )),
    }
}
