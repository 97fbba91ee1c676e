//! Which processors a generation config asks for, in the reference's order.

use std::sync::Arc;

use serde_json::Value;
use transformers_config::{ConfigError, GenerationConfig, TokenIds, Watermarking};

use crate::StoppingCriteria;
use crate::processors::{
    EncoderNoRepeatNGram, EncoderRepetitionPenalty, Epsilon, Eta, ExponentialDecayLengthPenalty,
    ForcedBos, ForcedEos, InfNanRemove, LogitNormalization, LogitsProcessor, MinNewTokens, MinP,
    NoBadWords, NoRepeatNGram, RepetitionPenalty, SequenceBias, SuppressTokens,
    SuppressTokensAtBegin, SynthIDTextWatermark, Temperature, TopH, TopK, TopP, Typical, Watermark,
};

type Processors = Vec<Box<dyn LogitsProcessor>>;

/// Processors and stopping criteria of the caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct Custom {
    /// After the config's penalties.
    pub processors: Processors,
    /// After the config's filters of sampling.
    pub filters: Processors,
    /// Beside the config's.
    pub stopping_criteria: Vec<Box<dyn StoppingCriteria>>,
}

/// What the rows of one call have their processors from.
#[derive(Debug)]
pub(crate) struct ProcessorList {
    config: GenerationConfig,
    /// Before, between and after the two that need the row's prompt.
    parts: [Processors; 3],
    /// The caller's, after these.
    custom: Processors,
    /// What comes last: the filters of sampling, the watermark.
    filters: Processors,
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
        let mut filters = Processors::new();
        if config.do_sample == Some(true) {
            push_filters(&mut filters, &config);
            filters.extend(custom.filters);
        }
        match config.watermarking_config.clone() {
            Some(Watermarking::GreenList(config)) => {
                filters.push(Box::new(Watermark::new(config)));
            }
            Some(Watermarking::SynthIDText(config)) => {
                filters.push(Box::new(SynthIDTextWatermark::new(config)));
            }
            None => {}
        }
        if config.renormalize_logits == Some(true) {
            filters.push(Box::new(LogitNormalization));
        }
        Ok(Self {
            config,
            parts: [first, middle, last],
            custom: custom.processors,
            filters,
        })
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
        let mut list = merged(list, &self.custom);
        list.extend(self.filters.iter().cloned());
        list
    }
}

/// The caller's processors after the config's; but one of a type that the config asks for too takes that one's place.
fn merged(list: Processors, custom: &[Box<dyn LogitsProcessor>]) -> Processors {
    let same = |processor: &dyn LogitsProcessor, list: &[Box<dyn LogitsProcessor>]| {
        let same = list.iter().find(|other| other.name() == processor.name());
        same.cloned()
    };
    let others = custom
        .iter()
        .filter(|custom| same(&***custom, &list).is_none());
    let others: Processors = others.cloned().collect();
    let replaced = list
        .into_iter()
        .map(|processor| same(&*processor, custom).unwrap_or(processor));
    replaced.chain(others).collect()
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
        /// Every step from the prompt's end on is made.
        #[serde(default)]
        stepwise: bool,
        /// How large the numbers are that the scores were made of.
        #[serde(default)]
        scale: f32,
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
    fn a_processor_of_the_caller_replaces_one_of_the_config() {
        let call = GenerationConfig {
            repetition_penalty: Some(2.0),
            suppress_tokens: Some(vec![0]),
            ..GenerationConfig::default()
        };
        let config = GenerationConfig::resolve(&call, &GenerationConfig::default()).unwrap();
        let custom = Custom {
            processors: vec![Box::new(RepetitionPenalty(3.0)), Box::new(Temperature(2.0))],
            ..Custom::default()
        };
        let list = ProcessorList::new(config, 1, 20, custom).unwrap();
        let list = list.for_row(&[1]);
        let names = list.iter().map(|processor| format!("{processor:?}"));
        let names: Vec<String> = names.collect();
        assert_eq!(
            names,
            [
                "RepetitionPenalty(3.0)",
                "SuppressTokens([0])",
                "Temperature(2.0)"
            ]
        );
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
            let mut processors = list.unwrap().for_row(encoder_ids);
            // What keeps state saw the steps before.
            let begin = match case.stepwise {
                true => prompt_len,
                false => case.input_ids.len(),
            };
            for len in begin..=case.input_ids.len() {
                let step = Step {
                    ids: &case.input_ids[..len],
                    ..step
                };
                ours = numbers(&case.logits);
                for processor in &mut processors {
                    processor.process(&step, &mut ours);
                }
            }
            for (index, (ours, reference)) in ours.iter().zip(numbers(&case.scores)).enumerate() {
                let near = (ours - reference).abs() <= 1e-6 * reference.abs().max(case.scale);
                let same = *ours == reference || near;
                assert!(
                    same,
                    "{:?}, token {index}: {ours} instead of {reference}",
                    case.config
                );
            }
        }
    }
}
