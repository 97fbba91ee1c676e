//! Checks that the families share: a configuration that passes them cannot make a model divide by zero or ask for more
//! memory than an address space has.

use crate::{ConfigError, LayerType, Result};

/// The largest size of a layer, a vocabulary or a context that is believed. A product of two of them, in bytes, still
/// fits into a `usize`.
pub const MAX_SIZE: usize = 1 << 28;
/// The largest number of layers that is believed.
pub const MAX_LAYERS: usize = 1 << 14;
/// The largest number of experts that is believed.
pub const MAX_EXPERTS: usize = 1 << 16;

/// The largest size of a head that is believed.
pub const MAX_HEAD_DIM: usize = 1 << 16;

/// Checks that each of the sizes is there and believable.
pub fn sizes(sizes: &[(&str, usize)]) -> Result<()> {
    sizes
        .iter()
        .try_for_each(|&(key, size)| within(key, size, MAX_SIZE))
}

/// Checks `num_hidden_layers`.
pub fn layers(count: usize) -> Result<()> {
    within("num_hidden_layers", count, MAX_LAYERS)
}

/// Checks that a number is finite and not negative.
pub fn not_negative(key: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(ConfigError::invalid(
        key,
        format!("{value} is not a finite number of at least 0"),
    ))
}

/// Checks that a number is finite and above zero.
pub fn positive(key: &str, value: f64) -> Result<()> {
    match value.is_finite() && value > 0.0 {
        true => Ok(()),
        false => Err(ConfigError::invalid(
            key,
            format!("{value} is not a finite number above 0"),
        )),
    }
}

/// Checks that what is divided by, if it is there, is finite and positive.
pub fn divisor(key: &str, value: Option<f64>) -> Result<()> {
    match value {
        Some(value) if !value.is_finite() || value <= 0.0 => Err(ConfigError::invalid(
            key,
            "it is a divisor and must be a positive number",
        )),
        _ => Ok(()),
    }
}

/// Checks the shapes of attention; without a `head_dim`, the heads divide `hidden_size` among them.
pub fn attention(
    hidden_size: usize,
    heads: usize,
    key_value_heads: usize,
    head_dim: Option<usize>,
) -> Result<()> {
    sizes(&[
        ("hidden_size", hidden_size),
        ("num_attention_heads", heads),
        ("num_key_value_heads", key_value_heads),
    ])?;
    if head_dim.is_none() {
        heads_divide(hidden_size, heads)?;
    }
    let head_dim = head_dim.unwrap_or(hidden_size / heads);
    within("head_dim", head_dim, MAX_HEAD_DIM)?;
    within(
        "num_attention_heads",
        heads.saturating_mul(head_dim),
        MAX_SIZE,
    )?;
    if !heads.is_multiple_of(key_value_heads) {
        return Err(ConfigError::invalid(
            "num_key_value_heads",
            format!(
                "{key_value_heads} key-value heads cannot share {heads} attention heads evenly"
            ),
        ));
    }
    Ok(())
}

/// Checks the shapes of attention whose heads divide `hidden_size` among them and have keys of their own.
pub fn self_attention(hidden_size: usize, heads: usize) -> Result<()> {
    attention(hidden_size, heads, heads, None)
}

/// Checks that equal `groups` (how many, and how many of them take part) have enough experts for a token.
pub fn expert_groups(count: usize, groups: (usize, usize), top_k: usize) -> Result<()> {
    experts(count, top_k)?;
    let (all, kept) = groups;
    within("n_group", all, count)?;
    within("topk_group", kept, all)?;
    if !count.is_multiple_of(all) {
        let reason = format!("{count} experts are not {all} equal groups");
        return Err(ConfigError::invalid("n_group", reason));
    }
    within("num_experts_per_tok", top_k, count / all * kept)
}

/// Checks that there are experts, and that a token passes no more than there are.
pub fn experts(count: usize, top_k: usize) -> Result<()> {
    within("num_experts", count, MAX_EXPERTS)?;
    within("num_experts_per_tok", top_k, count)
}

/// Checks that values rotate in pairs, and no more of them than a head has.
pub fn rotating(key: &str, rotating: usize, head_dim: usize) -> Result<()> {
    if rotating.is_multiple_of(2) && rotating <= head_dim {
        return Ok(());
    }
    let reason = format!("{rotating} of a head's {head_dim} values cannot rotate in pairs");
    Err(ConfigError::invalid(key, reason))
}

/// Checks that sliding layers have a window.
pub fn window(window: Option<usize>, layer_types: &[LayerType]) -> Result<()> {
    if window.is_none() && layer_types.contains(&LayerType::SlidingAttention) {
        return Err(ConfigError::invalid(
            "sliding_window",
            "it is null, but `layer_types` has sliding layers",
        ));
    }
    Ok(())
}

/// Checks that `hidden_size` is a multiple of `num_attention_heads`.
pub fn heads_divide(hidden_size: usize, heads: usize) -> Result<()> {
    if heads > 0 && hidden_size.is_multiple_of(heads) {
        return Ok(());
    }
    Err(ConfigError::invalid(
        "num_attention_heads",
        format!("the hidden size {hidden_size} is not a multiple of {heads} heads"),
    ))
}

fn within(key: &str, size: usize, max: usize) -> Result<()> {
    if (1..=max).contains(&size) {
        return Ok(());
    }
    Err(ConfigError::invalid(
        key,
        format!("{size} is outside of 1 to {max}"),
    ))
}
