//! What a generation configuration may not say, and what it says in vain.

use super::{EarlyStopping, GenerationConfig};
use crate::base::TokenIds;
use crate::{ConfigError, Result};

/// Things that `generate` takes as arguments and no file can hold.
const CALL_ARGUMENTS: &[&str] = &[
    "assistant_model",
    "logits_processor",
    "negative_prompt_attention_mask",
    "negative_prompt_ids",
    "prefix_allowed_tokens_fn",
    "stopping_criteria",
    "streamer",
    "synced_gpus",
];

const CACHE_IMPLEMENTATIONS: &[&str] = &[
    "dynamic",
    "hybrid",
    "hybrid_chunked",
    "offloaded",
    "offloaded_hybrid",
    "offloaded_hybrid_chunked",
    "offloaded_static",
    "paged",
    "quantized",
    "sliding_window",
    "static",
];

impl GenerationConfig {
    /// Refuses values with which no text can be generated, whatever the model.
    ///
    /// # Errors
    /// The first such value, by its key.
    pub fn validate(&self) -> Result<()> {
        self.validate_ranges()?;
        self.validate_sampling_temperature()?;
        self.validate_sequences()?;
        self.validate_suppressed()?;
        if let Some(watermarking) = &self.watermarking_config {
            watermarking.validate()?;
        }
        if let Some(name) = &self.cache_implementation
            && !CACHE_IMPLEMENTATIONS.contains(&name.as_str())
        {
            let known = CACHE_IMPLEMENTATIONS.join(", ");
            return Err(invalid(
                "cache_implementation",
                format!("\"{name}\" is not one of {known}"),
            ));
        }
        match CALL_ARGUMENTS
            .iter()
            .find(|&&argument| self.extra.contains_key(argument))
        {
            Some(&argument) => Err(invalid(
                argument,
                "it is an argument of `generate`, not a part of its configuration",
            )),
            None => Ok(()),
        }
    }

    /// Refuses also what would have no effect, as nobody should publish it.
    ///
    /// # Errors
    /// As [`validate`](Self::validate), and with all keys that have no effect.
    pub fn validate_strict(&self) -> Result<()> {
        self.validate()?;
        match self.without_effect().as_slice() {
            [] => Ok(()),
            [first, ..] => {
                let names = self.without_effect().join("`, `");
                let reason = format!(
                    "`{names}` would have no effect; sampling's fields need do_sample, those of beams num_beams above 1, \
                     those of caches use_cache, and outputs return_dict_in_generate. Set that, or leave them out"
                );
                Err(invalid(first, reason))
            }
        }
    }

    fn validate_ranges(&self) -> Result<()> {
        let check =
            |key: &str, value: Option<f64>, allowed: fn(f64) -> bool, expected: &str| match value {
                Some(value) if !value.is_finite() || !allowed(value) => {
                    Err(invalid(key, format!("{value} is not {expected}")))
                }
                _ => Ok(()),
            };
        let positive = "above 0";
        check("temperature", self.temperature, |x| x >= 0.0, "at least 0")?;
        check(
            "top_p",
            self.top_p,
            |x| (0.0..=1.0).contains(&x),
            "within 0 to 1",
        )?;
        check(
            "min_p",
            self.min_p,
            |x| (0.0..=1.0).contains(&x),
            "within 0 to 1",
        )?;
        check(
            "top_h",
            self.top_h,
            |x| x > 0.0 && x <= 1.0,
            "above 0 and at most 1",
        )?;
        check(
            "typical_p",
            self.typical_p,
            |x| x > 0.0 && x <= 1.0,
            "above 0 and at most 1",
        )?;
        check(
            "epsilon_cutoff",
            self.epsilon_cutoff,
            |x| (0.0..1.0).contains(&x),
            "at least 0 and below 1",
        )?;
        check(
            "eta_cutoff",
            self.eta_cutoff,
            |x| (0.0..1.0).contains(&x),
            "at least 0 and below 1",
        )?;
        check(
            "repetition_penalty",
            self.repetition_penalty,
            |x| x > 0.0,
            positive,
        )?;
        check(
            "encoder_repetition_penalty",
            self.encoder_repetition_penalty,
            |x| x > 0.0,
            positive,
        )?;
        check(
            "length_penalty",
            self.length_penalty,
            |_| true,
            "a finite number",
        )?;
        check(
            "guidance_scale",
            self.guidance_scale,
            |_| true,
            "a finite number",
        )?;
        check("max_time", self.max_time, |x| x > 0.0, positive)?;
        let ensemble = self.assistant_ensemble_weight;
        check(
            "assistant_ensemble_weight",
            ensemble,
            |x| x > 0.0 && x < 1.0,
            "between 0 and 1",
        )?;
        check(
            "assistant_confidence_threshold",
            self.assistant_confidence_threshold,
            |x| (0.0..=1.0).contains(&x),
            "within 0 to 1",
        )?;
        for (key, count) in [
            ("prompt_lookup_num_tokens", self.prompt_lookup_num_tokens),
            ("max_matching_ngram_size", self.max_matching_ngram_size),
            ("assistant_early_exit", self.assistant_early_exit),
            ("prefill_chunk_size", self.prefill_chunk_size),
            ("max_new_tokens", self.max_new_tokens),
            ("num_beams", self.num_beams),
            ("num_return_sequences", self.num_return_sequences),
        ] {
            if count == Some(0) {
                return Err(invalid(key, "0 is not above 0"));
            }
        }
        Ok(())
    }

    fn validate_sampling_temperature(&self) -> Result<()> {
        if self.temperature == Some(0.0) && self.do_sample == Some(true) {
            return Err(invalid(
                "temperature",
                "0 is not above 0; for the likeliest token each time, set do_sample to false",
            ));
        }
        Ok(())
    }

    fn validate_sequences(&self) -> Result<()> {
        let sequences = self.num_return_sequences.unwrap_or(1);
        match self.num_beams.unwrap_or(1) {
            1 if sequences > 1 && self.do_sample != Some(true) => Err(invalid(
                "num_return_sequences",
                format!(
                    "{sequences} sequences would be the same; set do_sample to true or num_beams to {sequences}"
                ),
            )),
            beams if beams > 1 && sequences > beams => Err(invalid(
                "num_return_sequences",
                format!("{sequences} is above `num_beams`, {beams}"),
            )),
            _ => Ok(()),
        }
    }

    /// A step at which all tokens are suppressed has no next token.
    fn validate_suppressed(&self) -> Result<()> {
        let suppressed = self.suppress_tokens.as_deref().unwrap_or_default();
        for (key, forced) in [
            ("forced_bos_token_id", self.forced_bos_token_id.as_slice()),
            (
                "forced_eos_token_id",
                self.forced_eos_token_id
                    .as_ref()
                    .map_or(&[][..], TokenIds::as_slice),
            ),
        ] {
            if !forced.is_empty() && forced.iter().all(|&id| suppressed.contains(&id.into())) {
                return Err(invalid(
                    key,
                    format!("{forced:?} is also in `suppress_tokens`; remove it from one of them"),
                ));
            }
        }
        Ok(())
    }

    /// Fields that are set but have no effect, because of `do_sample`, `num_beams`, `use_cache` or
    /// `return_dict_in_generate` (the reference's "minor issues").
    pub fn without_effect(&self) -> Vec<&'static str> {
        let differs =
            |value: Option<f64>, neutral: f64| value.is_some_and(|value| value != neutral);
        let sampling = [
            ("temperature", differs(self.temperature, 1.0)),
            ("top_p", differs(self.top_p, 1.0)),
            ("min_p", self.min_p.is_some()),
            ("top_h", self.top_h.is_some()),
            ("typical_p", differs(self.typical_p, 1.0)),
            ("top_k", self.top_k.is_some_and(|top_k| top_k != 50)),
            ("epsilon_cutoff", differs(self.epsilon_cutoff, 0.0)),
            ("eta_cutoff", differs(self.eta_cutoff, 0.0)),
        ];
        let beams = [
            (
                "early_stopping",
                self.early_stopping
                    .is_some_and(|stop| stop != EarlyStopping::WhenEnough(false)),
            ),
            ("length_penalty", differs(self.length_penalty, 1.0)),
        ];
        let set = |flags: &[(&'static str, bool)], ignored: bool| {
            let names = flags
                .iter()
                .filter(|(_, set)| ignored && *set)
                .map(|&(name, _)| name);
            names.collect::<Vec<_>>()
        };
        let mut names = set(&sampling, self.do_sample != Some(true));
        names.extend(set(&beams, self.num_beams.unwrap_or(1) == 1));
        let caches = [
            ("cache_implementation", self.cache_implementation.is_some()),
            ("cache_config", self.cache_config.is_some()),
        ];
        names.extend(set(&caches, self.use_cache == Some(false)));
        let outputs = [
            ("output_attentions", self.output_attentions == Some(true)),
            (
                "output_hidden_states",
                self.output_hidden_states == Some(true),
            ),
            ("output_scores", self.output_scores == Some(true)),
            ("output_logits", self.output_logits == Some(true)),
        ];
        names.extend(set(&outputs, self.return_dict_in_generate != Some(true)));
        names
    }
}

fn invalid(key: &str, reason: impl Into<String>) -> ConfigError {
    ConfigError::invalid(key, reason)
}
