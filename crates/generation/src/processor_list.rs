//! Which processors a generation config asks for, in the reference's order.

use std::sync::Arc;

use serde_json::Value;
use transformers_config::{ConfigError, GenerationConfig, TokenIds};

use crate::processors::{
    EncoderNoRepeatNGram, EncoderRepetitionPenalty, Epsilon, Eta, ExponentialDecayLengthPenalty,
    ForcedBos, ForcedEos, InfNanRemove, LogitNormalization, LogitsProcessor, MinNewTokens, MinP,
    NoBadWords, NoRepeatNGram, RepetitionPenalty, SequenceBias, SuppressTokens,
    SuppressTokensAtBegin, Temperature, TopH, TopK, TopP, Typical,
};

type Processors = Vec<Box<dyn LogitsProcessor>>;

/// Processors of the caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct Custom {
    /// After the config's penalties.
    pub processors: Processors,
    /// After the config's filters of sampling.
    pub filters: Processors,
}

/// What the rows of one call have their processors from.
#[derive(Debug)]
pub(crate) struct ProcessorList {
    config: GenerationConfig,
    /// Before, between and after the two that need the row's prompt.
    parts: [Processors; 3],
}

impl ProcessorList {
    /// `config` is resolved.
    pub fn new(
        config: GenerationConfig,
        prompt_len: usize,
        max_new_tokens: usize,
        custom: Custom,
    ) -> Result<Self, ConfigError> {
        let mut first = Processors::new();
        if let Some(bias) = &config.sequence_bias {
            first.push(Box::new(SequenceBias::new(sequence_bias(bias)?)));
        }
        let mut middle = Processors::new();
        if let Some(penalty) = config.repetition_penalty.filter(|penalty| *penalty != 1.0) {
            middle.push(Box::new(RepetitionPenalty(penalty as f32)));
        }
        if let Some(size) = config.no_repeat_ngram_size.filter(|size| *size > 0) {
            middle.push(Box::new(NoRepeatNGram(size)));
        }
        let mut last = Processors::new();
        push_bans(&mut last, &config, prompt_len, max_new_tokens);
        last.extend(custom.processors);
        if config.do_sample == Some(true) {
            push_filters(&mut last, &config);
            last.extend(custom.filters);
        }
        if config.renormalize_logits == Some(true) {
            last.push(Box::new(LogitNormalization));
        }
        let parts = [first, middle, last];
        Ok(Self { config, parts })
    }

    pub fn config(&self) -> &GenerationConfig {
        &self.config
    }

    /// The processors of a row of prompt `ids`; of an encoder–decoder, those are the encoder's.
    pub fn for_row(&self, ids: &[u32]) -> Processors {
        let [first, middle, last] = &self.parts;
        let encoder_ids: Arc<[u32]> = ids.into();
        let mut list = first.clone();
        let penalty = self.config.encoder_repetition_penalty;
        if let Some(penalty) = penalty.filter(|penalty| *penalty != 1.0) {
            list.push(Box::new(EncoderRepetitionPenalty {
                penalty: penalty as f32,
                encoder_ids: encoder_ids.clone(),
            }));
        }
        list.extend(middle.iter().cloned());
        let size = self.config.encoder_no_repeat_ngram_size;
        if let Some(size) = size.filter(|size| *size > 0) {
            list.push(Box::new(EncoderNoRepeatNGram { size, encoder_ids }));
        }
        list.extend(last.iter().cloned());
        list
    }
}

/// Words, ends and beginnings that are forbidden or forced.
fn push_bans(
    list: &mut Processors,
    config: &GenerationConfig,
    prompt_len: usize,
    max_new_tokens: usize,
) {
    let eos = config.eos_token_ids().to_vec();
    let words = config.bad_words_ids.as_deref().unwrap_or_default();
    if !words.is_empty() {
        list.push(Box::new(NoBadWords::new(words, &eos)));
    }
    let from_length = config.min_length.unwrap_or(0).saturating_sub(prompt_len);
    let min = config.min_new_tokens.unwrap_or(0).max(from_length);
    if min > 0 && !eos.is_empty() {
        let eos = eos.clone();
        list.push(Box::new(MinNewTokens { min, eos }));
    }
    if let Some(token) = config.forced_bos_token_id {
        list.push(Box::new(ForcedBos(token)));
    }
    if let Some(eos) = config.forced_eos_token_id.as_ref().map(TokenIds::as_slice) {
        let eos = eos.to_vec();
        list.push(Box::new(ForcedEos {
            max_new_tokens,
            eos,
        }));
    }
    if config.remove_invalid_values == Some(true) {
        list.push(Box::new(InfNanRemove));
    }
    if let Some((start, factor)) = config.exponential_decay_length_penalty {
        list.push(Box::new(ExponentialDecayLengthPenalty {
            start,
            factor,
            eos,
        }));
    }
    if let Some(ids) = &config.suppress_tokens {
        list.push(Box::new(SuppressTokens(token_ids(ids))));
    }
    if let Some(ids) = &config.begin_suppress_tokens {
        let forced = prompt_len <= 1 && config.forced_bos_token_id.is_some();
        list.push(Box::new(SuppressTokensAtBegin {
            ids: token_ids(ids),
            begin: usize::from(forced),
        }));
    }
}

/// The temperature and the filters of sampling.
fn push_filters(list: &mut Processors, config: &GenerationConfig) {
    // Beams go on beside one that has ended.
    let min_tokens_to_keep = match config.num_beams {
        Some(beams) if beams > 1 => config.eos_token_ids().len().max(1) + 1,
        _ => 1,
    };
    let above_0 = |value: Option<f64>| value.filter(|value| *value > 0.0).map(|x| x as f32);
    let below_1 = |value: Option<f64>| value.filter(|value| *value < 1.0).map(|x| x as f32);
    if let Some(temperature) = config.temperature.filter(|value| *value != 1.0) {
        list.push(Box::new(Temperature(temperature as f32)));
    }
    if let Some(h) = config.top_h {
        list.push(Box::new(TopH(h as f32)));
    }
    if let Some(k) = config.top_k.filter(|k| *k > 0) {
        list.push(Box::new(TopK(k.max(min_tokens_to_keep))));
    }
    if let Some(p) = below_1(config.top_p) {
        list.push(Box::new(TopP {
            p,
            min_tokens_to_keep,
        }));
    }
    if let Some(p) = above_0(config.min_p) {
        list.push(Box::new(MinP {
            p,
            min_tokens_to_keep,
        }));
    }
    if let Some(mass) = below_1(config.typical_p) {
        list.push(Box::new(Typical {
            mass,
            min_tokens_to_keep,
        }));
    }
    if let Some(epsilon) = above_0(config.epsilon_cutoff) {
        list.push(Box::new(Epsilon {
            epsilon,
            min_tokens_to_keep,
        }));
    }
    if let Some(epsilon) = above_0(config.eta_cutoff) {
        list.push(Box::new(Eta {
            epsilon,
            min_tokens_to_keep,
        }));
    }
}

/// Negative ids, which old files hold for "none", are no tokens.
fn token_ids(ids: &[i64]) -> Vec<u32> {
    let ids = ids.iter().map(|&id| u32::try_from(id));
    ids.filter_map(Result::ok).collect()
}

/// `[[[ids], bias], ...]`, as the file has it.
fn sequence_bias(value: &Value) -> Result<Vec<(Vec<u32>, f32)>, ConfigError> {
    let expected = "expected a list of pairs: token ids (at least one) and a number";
    let invalid = || ConfigError::invalid("sequence_bias", expected);
    let biases: Vec<(Vec<u32>, f32)> =
        serde_json::from_value(value.clone()).map_err(|_| invalid())?;
    match biases.iter().any(|(ids, _)| ids.is_empty()) {
        true => Err(invalid()),
        false => Ok(biases),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize;

    use super::*;
    use crate::processors::Step;

    #[derive(Deserialize)]
    struct Golden {
        prompt_len: usize,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        config: GenerationConfig,
        /// Of the encoder; by default the prompt.
        encoder_ids: Option<Vec<u32>>,
        input_ids: Vec<u32>,
        /// `null` is minus infinity, a string what it says.
        logits: Vec<Value>,
        scores: Vec<Value>,
    }

    fn numbers(values: &[Value]) -> Vec<f32> {
        let number = |value: &Value| match value {
            Value::Null => f32::NEG_INFINITY,
            Value::String(name) => name.parse().unwrap(),
            number => number.as_f64().unwrap() as f32,
        };
        values.iter().map(number).collect()
    }

    #[test]
    fn processors_equal_the_reference() {
        let golden = include_str!("../../../tests/golden/logits_processors.json");
        let golden: Golden = serde_json::from_str(golden).unwrap();
        assert!(golden.cases.len() > 40);
        for case in golden.cases {
            let config = GenerationConfig::resolve(&case.config, &GenerationConfig::default());
            let config = config.unwrap();
            let max_new_tokens = config.max_new_tokens.unwrap_or(20);
            let prompt_len = golden.prompt_len.min(case.input_ids.len());
            let list = ProcessorList::new(config, prompt_len, max_new_tokens, Custom::default());
            let encoder_ids = case.encoder_ids.as_deref();
            let encoder_ids = encoder_ids.unwrap_or(&case.input_ids[..prompt_len]);
            let step = Step {
                ids: &case.input_ids,
                prompt_len,
                prompt: 0,
            };
            let mut ours = numbers(&case.logits);
            for mut processor in list.unwrap().for_row(encoder_ids) {
                processor.process(&step, &mut ours);
            }
            for (index, (ours, reference)) in ours.iter().zip(numbers(&case.scores)).enumerate() {
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
