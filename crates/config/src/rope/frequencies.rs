//! The formulas. The arithmetic is the reference's, step by step: exponents and divisions in f32, scalars in f64.

use std::f64::consts::TAU;

use super::{RopeConfig, RopeType};
use crate::{ConfigError, Result};

/// What cosine and sine are made of: `cos(position * inv_freq) * attention_factor`.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeFrequencies {
    /// Radians per position, for each pair of values that rotates.
    pub inv_freq: Vec<f32>,
    /// Multiplies cosine and sine.
    pub attention_factor: f32,
}

impl RopeConfig {
    /// Whether the frequencies change with the length of the text.
    pub fn depends_on_length(&self) -> bool {
        matches!(self.rope_type, RopeType::Dynamic | RopeType::Longrope)
    }

    /// The frequencies for heads of `head_dim` values in a text of `seq_len` tokens. Only the types that
    /// [depend on it](Self::depends_on_length) look at the length; 0 gives what a model starts with.
    ///
    /// # Errors
    /// If a parameter is missing or not one that the formula can have, or no finite frequencies come of them.
    pub fn frequencies(
        &self,
        head_dim: usize,
        max_position_embeddings: usize,
        seq_len: usize,
    ) -> Result<RopeFrequencies> {
        let rope = Rope {
            config: self,
            base: positive("rope_theta", self.rope_theta)?,
            head_dim,
            dim: self.rotary_dim(head_dim)?,
            max_length: max_position_embeddings,
        };
        let (inv_freq, attention_factor) = match self.rope_type {
            RopeType::Default => (rope.plain(rope.base), 1.0),
            RopeType::Linear => (rope.linear()?, 1.0),
            RopeType::Dynamic => (rope.dynamic(seq_len)?, 1.0),
            RopeType::Yarn => rope.yarn()?,
            RopeType::Longrope => rope.longrope(seq_len)?,
            RopeType::Llama3 => (rope.llama3()?, 1.0),
            RopeType::Proportional => (rope.proportional()?, 1.0),
        };
        if !(attention_factor as f32).is_finite()
            || !inv_freq.iter().all(|frequency| frequency.is_finite())
        {
            return Err(invalid(
                "rope_theta",
                "these parameters give frequencies that are not finite",
            ));
        }
        Ok(RopeFrequencies {
            inv_freq,
            attention_factor: attention_factor as f32,
        })
    }

    /// The number of a head's values that rotate.
    fn rotary_dim(&self, head_dim: usize) -> Result<usize> {
        let factor = self.partial_rotary_factor.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&factor) {
            return Err(invalid(
                "partial_rotary_factor",
                format!("{factor} is outside of 0 to 1"),
            ));
        }
        Ok((head_dim as f64 * factor) as usize)
    }
}

struct Rope<'a> {
    config: &'a RopeConfig,
    base: f64,
    head_dim: usize,
    /// Those of the head's values that rotate.
    dim: usize,
    max_length: usize,
}

impl Rope<'_> {
    /// `base^(2i / dim)` for each pair of `rotated` values.
    fn powers(base: f64, rotated: usize, dim: usize) -> impl Iterator<Item = f32> {
        // Exact up to the last rounding, which is within the error of any f32 power function.
        let base = f64::from(base as f32);
        (0..rotated)
            .step_by(2)
            .map(move |i| base.powf(f64::from(i as f32 / dim as f32)) as f32)
    }

    fn plain(&self, base: f64) -> Vec<f32> {
        Self::powers(base, self.dim, self.dim)
            .map(|power| 1.0 / power)
            .collect()
    }

    fn linear(&self) -> Result<Vec<f32>> {
        let factor = self.factor()? as f32;
        Ok(self
            .plain(self.base)
            .into_iter()
            .map(|frequency| frequency / factor)
            .collect())
    }

    fn dynamic(&self, seq_len: usize) -> Result<Vec<f32>> {
        let factor = self.factor()?;
        if self.dim <= 2 {
            return Err(invalid(
                "rope_type",
                format!("\"dynamic\" needs more than {} rotating values", self.dim),
            ));
        }
        let (dim, max_length) = (self.dim as f64, self.max_length as f64);
        let length = seq_len.max(self.max_length) as f64;
        let growth = (factor * length / max_length) - (factor - 1.0);
        Ok(self.plain(self.base * growth.powf(dim / (dim - 2.0))))
    }

    fn yarn(&self) -> Result<(Vec<f32>, f64)> {
        let config = self.config;
        let original_length = self.original_length()?;
        let factor = match config.factor {
            Some(_) => self.factor()?,
            None => self.max_length as f64 / original_length,
        };
        let (low, high) = self.yarn_ramp(original_length)?;
        let width = (if low == high { 0.001 } else { high - low }) as f32;
        let inv_freq = Self::powers(self.base, self.dim, self.dim)
            .enumerate()
            .map(|(i, power)| {
                let kept = 1.0 - ((i as f32 - low as f32) / width).clamp(0.0, 1.0);
                let (interpolated, extrapolated) = (1.0 / (factor as f32 * power), 1.0 / power);
                interpolated * (1.0 - kept) + extrapolated * kept
            });
        let attention_factor = config.attention_factor.unwrap_or_else(|| {
            match (
                config.mscale.unwrap_or(0.0),
                config.mscale_all_dim.unwrap_or(0.0),
            ) {
                (mscale, all_dim) if mscale != 0.0 && all_dim != 0.0 => {
                    yarn_scale(factor, mscale) / yarn_scale(factor, all_dim)
                }
                _ => yarn_scale(factor, 1.0),
            }
        });
        Ok((inv_freq.collect(), attention_factor))
    }

    /// The first and the last frequency of the ramp between kept and interpolated ones.
    fn yarn_ramp(&self, original_length: f64) -> Result<(f64, f64)> {
        let dim = self.dim as f64;
        if self.base == 1.0 {
            return Err(invalid(
                "rope_theta",
                "with a base of 1, \"yarn\" divides by zero",
            ));
        }
        let bound = |key, rotations: Option<f64>, default| -> Result<f64> {
            let rotations = positive(
                key,
                rotations
                    .filter(|&rotations| rotations != 0.0)
                    .unwrap_or(default),
            )?;
            Ok((dim * (original_length / (rotations * TAU)).ln()) / (2.0 * self.base.ln()))
        };
        let low = bound("beta_fast", self.config.beta_fast, 32.0)?;
        let high = bound("beta_slow", self.config.beta_slow, 1.0)?;
        let (low, high) = match self.config.truncate {
            Some(false) => (low, high),
            _ => (low.floor(), high.ceil()),
        };
        Ok((low.max(0.0), high.min(dim - 1.0)))
    }

    fn longrope(&self, seq_len: usize) -> Result<(Vec<f32>, f64)> {
        let config = self.config;
        let original_length = self.original_length()?;
        let short = self.divisors("short_factor", config.short_factor.as_deref())?;
        let long = self.divisors("long_factor", config.long_factor.as_deref())?;
        let divisors = if seq_len as f64 > original_length {
            long
        } else {
            short
        };
        let powers = Self::powers(self.base, self.dim, self.dim);
        let inv_freq = divisors
            .iter()
            .zip(powers)
            .map(|(&divisor, power)| 1.0 / (divisor as f32 * power));
        let factor = config
            .factor
            .unwrap_or(self.max_length as f64 / original_length);
        let attention_factor = config.attention_factor.unwrap_or_else(|| {
            if factor <= 1.0 {
                1.0
            } else {
                (1.0 + factor.ln() / original_length.ln()).sqrt()
            }
        });
        Ok((inv_freq.collect(), attention_factor))
    }

    fn divisors<'a>(&self, key: &str, divisors: Option<&'a [f64]>) -> Result<&'a [f64]> {
        let divisors = divisors.ok_or_else(|| self.missing(key))?;
        let pairs = self.dim.div_ceil(2);
        if divisors.len() == pairs {
            return Ok(divisors);
        }
        Err(invalid(
            key,
            format!("{} entries for {pairs} frequencies", divisors.len()),
        ))
    }

    fn llama3(&self) -> Result<Vec<f32>> {
        let config = self.config;
        let factor = self.factor()? as f32;
        let original_length = self.original_length()?;
        let low = positive(
            "low_freq_factor",
            config
                .low_freq_factor
                .ok_or_else(|| self.missing("low_freq_factor"))?,
        )?;
        let high = config
            .high_freq_factor
            .ok_or_else(|| self.missing("high_freq_factor"))?;
        if !(high.is_finite() && high > low) {
            return Err(invalid(
                "high_freq_factor",
                format!("{high} is not above `low_freq_factor`, {low}"),
            ));
        }
        let (longest_kept, longest_ramp) = (
            (original_length / high) as f32,
            (original_length / low) as f32,
        );
        let (low, width, original_length) =
            (low as f32, (high - low) as f32, original_length as f32);
        let scale = |frequency: f32| {
            let wavelength = TAU as f32 / frequency;
            if wavelength > longest_ramp {
                frequency / factor
            } else if wavelength < longest_kept {
                frequency
            } else {
                let kept = (original_length / wavelength - low) / width;
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        };
        Ok(self.plain(self.base).into_iter().map(scale).collect())
    }

    fn proportional(&self) -> Result<Vec<f32>> {
        let factor = positive("factor", self.config.factor.unwrap_or(1.0))? as f32;
        let rotating = (self.config.partial_rotary_factor.unwrap_or(1.0) * self.head_dim as f64
            / 2.0)
            .floor() as usize;
        let mut inv_freq: Vec<f32> = Self::powers(self.base, 2 * rotating, self.head_dim)
            .map(|power| (1.0 / power) / factor)
            .collect();
        inv_freq.resize(self.head_dim / 2, 0.0);
        Ok(inv_freq)
    }

    fn factor(&self) -> Result<f64> {
        positive(
            "factor",
            self.config.factor.ok_or_else(|| self.missing("factor"))?,
        )
    }

    fn original_length(&self) -> Result<f64> {
        let length = self
            .config
            .original_max_position_embeddings
            .unwrap_or(self.max_length);
        positive("original_max_position_embeddings", length as f64)
    }

    fn missing(&self, key: &str) -> ConfigError {
        invalid(
            key,
            format!(
                "it is missing; rope type {:?} needs it",
                self.config.rope_type
            ),
        )
    }
}

fn yarn_scale(factor: f64, mscale: f64) -> f64 {
    if factor <= 1.0 {
        1.0
    } else {
        0.1 * mscale * factor.ln() + 1.0
    }
}

fn positive(key: &str, value: f64) -> Result<f64> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(invalid(key, format!("{value} is not a positive number")))
}

fn invalid(key: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::invalid(format!("rope_parameters.{key}"), reason)
}
