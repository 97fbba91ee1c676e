//! What applies to one call: the generation config resolved, checked against the model, and turned into parts.

use transformers_config::GenerationConfig;
use transformers_modeling::{ModelError, Rows};

use crate::processors::{
    ForcedTokens, LogitsProcessor, MinNewTokens, MinP, RepetitionPenalty, Temperature, TopK, TopP,
};
use crate::sampler::Sampler;
use crate::{GenerateError, Prompt};

/// New tokens where nobody says how many.
const DEFAULT_NEW_TOKENS: usize = 20;

/// The parts of the loop.
#[derive(Debug)]
pub(crate) struct Settings {
    pub max_new_tokens: usize,
    pub num_return_sequences: usize,
    pub use_cache: bool,
    pub eos: Vec<u32>,
    pub pad: u32,
    pub stop_strings: Vec<String>,
    pub sampler: Sampler,
    /// The pad token, where a prompt without a mask may hold it as padding.
    inferred_padding: Option<u32>,
    processors: Vec<Box<dyn LogitsProcessor>>,
}

impl Settings {
    /// `model`: its own generation config; `context`: the most tokens it can attend to.
    pub fn new(
        call: &GenerationConfig,
        model: &GenerationConfig,
        context: Option<usize>,
        prompt: &Prompt,
        custom: Vec<Box<dyn LogitsProcessor>>,
        seed: u64,
    ) -> Result<Self, GenerateError> {
        let config = GenerationConfig::resolve(call, model)?;
        refuse_unsupported(&config)?;
        let [batch, prompt_len] = prompt.input_ids.dims();
        if batch == 0 || prompt_len == 0 {
            return Err(GenerateError::EmptyPrompt);
        }
        if let Some(found) = prompt.attention_mask.as_ref().map(Rows::dims)
            && found != [batch, prompt_len]
        {
            let (name, expected) = ("attention_mask", [batch, prompt_len]);
            let error = ModelError::InputShape {
                name,
                found,
                expected,
            };
            return Err(error.into());
        }
        let max_new_tokens = max_new_tokens(call, model, context, prompt_len)?;
        let eos = config.eos_token_ids().to_vec();
        // As the reference: rows that end early are filled with the first eos where there is no pad token.
        let pad = config.pad_token_id.or(eos.first().copied()).unwrap_or(0);
        Ok(Self {
            num_return_sequences: config.num_return_sequences.unwrap_or(1),
            use_cache: config.use_cache.unwrap_or(true),
            stop_strings: config
                .stop_strings
                .as_ref()
                .map_or_else(Vec::new, |strings| strings.as_slice().to_vec()),
            sampler: match config.do_sample {
                Some(true) => Sampler::Multinomial { seed },
                _ => Sampler::Greedy,
            },
            inferred_padding: config.pad_token_id.filter(|pad| !eos.contains(pad)),
            processors: processors(&config, &eos, prompt_len, max_new_tokens, custom),
            max_new_tokens,
            eos,
            pad,
        })
    }

    /// Applies every processor in order. `ids`: the row without left padding.
    pub fn process(&self, ids: &[u32], prompt_len: usize, scores: &mut [f32]) {
        for processor in &self.processors {
            processor.process(ids, prompt_len, scores);
        }
    }

    /// How many of a prompt's first tokens are padding.
    pub fn padding(
        &self,
        row: usize,
        ids: &[u32],
        mask: Option<&[u32]>,
    ) -> Result<usize, GenerateError> {
        let is_padding = |index: usize| match mask {
            Some(mask) => mask[index] == 0,
            None => Some(ids[index]) == self.inferred_padding,
        };
        let padding = (0..ids.len())
            .take_while(|index| is_padding(*index))
            .count();
        let holes = mask.is_some() && (padding..ids.len()).any(is_padding);
        if padding == ids.len() {
            return Err(GenerateError::EmptyPrompt);
        }
        if holes {
            return Err(GenerateError::RightPadding { row });
        }
        Ok(padding)
    }
}

fn max_new_tokens(
    call: &GenerationConfig,
    model: &GenerationConfig,
    context: Option<usize>,
    prompt_len: usize,
) -> Result<usize, GenerateError> {
    let context = context.unwrap_or(usize::MAX);
    if prompt_len >= context {
        let (len, max) = (prompt_len, context);
        return Err(GenerateError::PromptTooLong { len, max });
    }
    // A limit that the call sets outranks any that the model's file sets.
    for level in [call, model] {
        if let Some(new) = level.max_new_tokens {
            return Ok(new.min(context - prompt_len));
        }
        if let Some(max) = level.max_length {
            return match max.min(context).checked_sub(prompt_len) {
                None | Some(0) => Err(GenerateError::NoRoom { prompt_len, max }),
                Some(new) => Ok(new),
            };
        }
    }
    Ok(DEFAULT_NEW_TOKENS.min(context - prompt_len))
}

/// The processors in the reference's order: penalties, the caller's own, then the filters of sampling.
fn processors(
    config: &GenerationConfig,
    eos: &[u32],
    prompt_len: usize,
    max_new_tokens: usize,
    custom: Vec<Box<dyn LogitsProcessor>>,
) -> Vec<Box<dyn LogitsProcessor>> {
    let mut list: Vec<Box<dyn LogitsProcessor>> = Vec::new();
    if let Some(penalty) = config.repetition_penalty.filter(|penalty| *penalty != 1.0) {
        list.push(Box::new(RepetitionPenalty(penalty as f32)));
    }
    let from_length = config.min_length.unwrap_or(0).saturating_sub(prompt_len);
    let min = config.min_new_tokens.unwrap_or(0).max(from_length);
    if min > 0 && !eos.is_empty() {
        let eos = eos.to_vec();
        list.push(Box::new(MinNewTokens { min, eos }));
    }
    if let Some(token) = config.forced_bos_token_id {
        list.push(Box::new(ForcedTokens::at(1, vec![token])));
    }
    if let Some(tokens) = &config.forced_eos_token_id {
        let last = prompt_len + max_new_tokens - 1;
        list.push(Box::new(ForcedTokens::at(last, tokens.as_slice().to_vec())));
    }
    list.extend(custom);
    if config.do_sample != Some(true) {
        return list;
    }
    if let Some(temperature) = config.temperature.filter(|value| *value != 1.0) {
        list.push(Box::new(Temperature(temperature as f32)));
    }
    if let Some(k) = config.top_k.filter(|k| *k > 0) {
        list.push(Box::new(TopK(k)));
    }
    if let Some(p) = config.top_p.filter(|p| *p < 1.0) {
        list.push(Box::new(TopP(p as f32)));
    }
    if let Some(p) = config.min_p.filter(|p| *p > 0.0) {
        list.push(Box::new(MinP(p as f32)));
    }
    list
}

/// A field that would change the result and that nothing here reads is refused, never ignored.
fn refuse_unsupported(config: &GenerationConfig) -> Result<(), GenerateError> {
    let above = |value: Option<usize>, neutral: usize| value.is_some_and(|value| value > neutral);
    let differs = |value: Option<f64>, neutral: f64| value.is_some_and(|value| value != neutral);
    let filled = |list: &Option<Vec<i64>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let samples = config.do_sample == Some(true);
    let unsupported = [
        ("num_beams", above(config.num_beams, 1)),
        ("top_h", samples && config.top_h.is_some()),
        ("typical_p", samples && differs(config.typical_p, 1.0)),
        (
            "epsilon_cutoff",
            samples && differs(config.epsilon_cutoff, 0.0),
        ),
        ("eta_cutoff", samples && differs(config.eta_cutoff, 0.0)),
        (
            "encoder_repetition_penalty",
            differs(config.encoder_repetition_penalty, 1.0),
        ),
        (
            "no_repeat_ngram_size",
            above(config.no_repeat_ngram_size, 0),
        ),
        (
            "bad_words_ids",
            config
                .bad_words_ids
                .as_ref()
                .is_some_and(|words| !words.is_empty()),
        ),
        (
            "exponential_decay_length_penalty",
            config.exponential_decay_length_penalty.is_some(),
        ),
        ("suppress_tokens", filled(&config.suppress_tokens)),
        (
            "begin_suppress_tokens",
            filled(&config.begin_suppress_tokens),
        ),
        ("sequence_bias", config.sequence_bias.is_some()),
        ("token_healing", config.token_healing == Some(true)),
        ("guidance_scale", differs(config.guidance_scale, 1.0)),
        ("watermarking_config", config.watermarking_config.is_some()),
        (
            "remove_invalid_values",
            config.remove_invalid_values == Some(true),
        ),
        ("max_time", config.max_time.is_some()),
        (
            "prompt_lookup_num_tokens",
            config.prompt_lookup_num_tokens.is_some(),
        ),
        ("penalty_alpha", config.penalty_alpha.is_some()),
        ("dola_layers", config.dola_layers.is_some()),
        ("constraints", config.constraints.is_some()),
        ("force_words_ids", config.force_words_ids.is_some()),
    ];
    match unsupported.into_iter().find(|(_, set)| *set) {
        Some((field, _)) => Err(GenerateError::Unsupported { field }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        config: GenerationConfig,
        input_ids: Vec<u32>,
        logits: Vec<f32>,
        /// `null` is minus infinity.
        scores: Vec<Option<f32>>,
    }

    #[test]
    fn processors_equal_the_reference() {
        let golden = include_str!("../../../tests/golden/logits_processors.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        assert!(!golden.cases.is_empty());
        for case in golden.cases {
            let config = GenerationConfig::resolve(&case.config, &GenerationConfig::default());
            let mut ours = case.logits;
            for processor in processors(&config.unwrap(), &[], 0, 20, Vec::new()) {
                processor.process(&case.input_ids, case.input_ids.len(), &mut ours);
            }
            for (index, (ours, reference)) in ours.iter().zip(&case.scores).enumerate() {
                let reference = reference.unwrap_or(f32::NEG_INFINITY);
                let same = *ours == reference || (ours - reference).abs() <= 1e-6 * reference.abs();
                assert!(
                    same,
                    "{:?}, token {index}: {ours} instead of {reference}",
                    case.config
                );
            }
        }
    }
}
