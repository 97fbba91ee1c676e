//! How tokens are chosen: the fields that every form of request has under one name or another.

use std::collections::BTreeMap;

use rand::random;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use transformers_config::GenerationConfig;
use transformers_generation::{FrequencyPresencePenalty, LogitsProcessor};

use crate::store::TextModel;
use crate::{Result, ServerError};

/// New tokens where nobody says how many, as in the reference.
const DEFAULT_NEW_TOKENS: usize = 1024;
/// The most choices of one request.
const MAX_N: usize = 128;
/// The most stop strings, and the longest.
const MAX_STOPS: usize = 64;
const MAX_STOP_LEN: usize = 1024;
/// The most tokens whose log-probabilities are shown beside the chosen one's.
const MAX_TOP_LOGPROBS: usize = 20;
/// The most tokens with a bias.
const MAX_BIASES: usize = 4096;

/// How tokens are chosen. What is not said is the model's.
#[derive(Debug, Default)]
pub struct Sampling {
    pub max_tokens: Option<u64>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u32>,
    pub min_p: Option<f64>,
    pub repetition_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub logit_bias: BTreeMap<String, f64>,
    pub seed: Option<i64>,
    pub n: Option<usize>,
    pub stop: Vec<String>,
    pub logprobs: Option<usize>,
    pub generation_config: Option<GenerationConfigField>,
}

/// One text, or a list of them.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Vec<String> {
    fn from(texts: OneOrMany) -> Self {
        match texts {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(texts) => texts,
        }
    }
}

/// The reference's extension: a generation config, as an object or as the text of one.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, expecting = "expected an object, or its JSON as a string")]
pub enum GenerationConfigField {
    Text(String),
    Object(serde_json::Map<String, Value>),
}

/// [`Sampling`] for one model.
#[derive(Debug)]
pub struct Settings {
    pub config: GenerationConfig,
    pub processors: Vec<Box<dyn LogitsProcessor>>,
    pub logprobs: Option<usize>,
    pub seed: u64,
    pub n: usize,
    pub stop: Vec<String>,
}

impl Sampling {
    /// Checks every value, also against the model and the prompt.
    ///
    /// # Errors
    /// The first value that is not allowed, by its name.
    pub fn settings(
        mut self,
        model: &TextModel,
        prompt_len: usize,
        default_seed: Option<u64>,
    ) -> Result<Settings> {
        self.check_ranges()?;
        let base = self.base()?;
        self.stop.extend(
            base.stop_strings
                .iter()
                .flat_map(|stop| stop.as_slice().to_vec()),
        );
        self.check_stops()?;
        let n = self.n.unwrap_or(1);
        if !(1..=MAX_N).contains(&n) {
            let message = format!("{n} is not within 1 to {MAX_N}");
            return Err(ServerError::invalid("n", message));
        }
        if let Some(top) = self.logprobs.filter(|top| *top > MAX_TOP_LOGPROBS) {
            let message = format!("{top} is above {MAX_TOP_LOGPROBS}");
            return Err(ServerError::invalid("top_logprobs", message));
        }
        let of_model = base.clone().or(&model.generation);
        let max_new_tokens = self.max_new_tokens(&base, model, prompt_len)?;
        let config = GenerationConfig {
            max_new_tokens: Some(max_new_tokens),
            do_sample: self.do_sample(n).or(base.do_sample),
            temperature: self.temperature.filter(|t| *t > 0.0).or(base.temperature),
            top_p: self.top_p.or(base.top_p),
            top_k: self.top_k.map(|k| k as usize).or(base.top_k),
            min_p: self.min_p.or(base.min_p),
            repetition_penalty: self.repetition_penalty.or(base.repetition_penalty),
            sequence_bias: self.biases(model)?.or(base.sequence_bias.clone()),
            // Found in the text, by the server: the reference leaves them in, and clients expect them out.
            stop_strings: None,
            ..base
        };
        GenerationConfig::resolve(&config, &of_model).map_err(|error| ServerError::Invalid {
            param: None,
            message: error.to_string(),
        })?;
        Ok(Settings {
            config,
            processors: self.penalties(),
            logprobs: self.logprobs,
            seed: match (self.seed, default_seed) {
                (Some(seed), _) => seed as u64,
                (None, Some(seed)) => seed,
                (None, None) => random(),
            },
            n,
            stop: self.stop,
        })
    }

    fn check_ranges(&self) -> Result<()> {
        for (name, value, low, high) in [
            ("temperature", self.temperature, 0.0, 2.0),
            ("top_p", self.top_p, f64::MIN_POSITIVE, 1.0),
            ("min_p", self.min_p, 0.0, 1.0),
            ("frequency_penalty", self.frequency_penalty, -2.0, 2.0),
            ("presence_penalty", self.presence_penalty, -2.0, 2.0),
            ("repetition_penalty", self.repetition_penalty, 0.01, 100.0),
        ] {
            if let Some(value) = value.filter(|value| !(low..=high).contains(value)) {
                let low = if low == f64::MIN_POSITIVE {
                    "above 0".to_owned()
                } else {
                    format!("{low}")
                };
                let message = format!("{value} is not within {low} to {high}");
                return Err(ServerError::invalid(name, message));
            }
        }
        match self.max_tokens {
            Some(0) => Err(ServerError::invalid("max_tokens", "0 is not above 0")),
            _ => Ok(()),
        }
    }

    fn check_stops(&self) -> Result<()> {
        if self.stop.len() > MAX_STOPS {
            let message = format!("{} strings are more than {MAX_STOPS}", self.stop.len());
            return Err(ServerError::invalid("stop", message));
        }
        match self
            .stop
            .iter()
            .find(|stop| stop.is_empty() || stop.len() > MAX_STOP_LEN)
        {
            Some(stop) => {
                let message = format!(
                    "a string of {} bytes; 1 to {MAX_STOP_LEN} are allowed",
                    stop.len()
                );
                Err(ServerError::invalid("stop", message))
            }
            None => Ok(()),
        }
    }

    /// The generation config of the request, without what a server cannot do.
    fn base(&self) -> Result<GenerationConfig> {
        let invalid = |message: String| ServerError::invalid("generation_config", message);
        let text = match &self.generation_config {
            None => return Ok(GenerationConfig::default()),
            Some(GenerationConfigField::Text(text)) => text.clone(),
            Some(GenerationConfigField::Object(fields)) => json!(fields).to_string(),
        };
        let config = GenerationConfig::from_json_str(&text);
        let config = config.map_err(|error| invalid(error.to_string()))?;
        let above_1 = |count: Option<usize>| count.is_some_and(|count| count > 1);
        let refused = [
            ("num_beams", above_1(config.num_beams)),
            ("num_return_sequences", above_1(config.num_return_sequences)),
            ("output_scores", config.output_scores == Some(true)),
            ("output_logits", config.output_logits == Some(true)),
            ("output_attentions", config.output_attentions == Some(true)),
            (
                "output_hidden_states",
                config.output_hidden_states == Some(true),
            ),
            (
                "guidance_scale",
                config.guidance_scale.is_some_and(|scale| scale != 1.0),
            ),
            ("watermarking_config", config.watermarking_config.is_some()),
            ("token_healing", config.token_healing == Some(true)),
            ("penalty_alpha", config.penalty_alpha.is_some()),
            ("dola_layers", config.dola_layers.is_some()),
            ("constraints", config.constraints.is_some()),
            ("force_words_ids", config.force_words_ids.is_some()),
            ("num_beam_groups", above_1(config.num_beam_groups)),
        ];
        match refused.into_iter().find(|(_, set)| *set) {
            Some((field, _)) => Err(invalid(format!("`{field}` is not for a server"))),
            None => Ok(config),
        }
    }

    fn max_new_tokens(
        &self,
        base: &GenerationConfig,
        model: &TextModel,
        prompt_len: usize,
    ) -> Result<usize> {
        let context = model.context.unwrap_or(1 << 20);
        let room = context.saturating_sub(prompt_len);
        if room == 0 {
            return Err(ServerError::Invalid {
                param: None,
                message: format!(
                    "the prompt has {prompt_len} tokens and the model's context holds {context}: shorten the prompt, one \
                     place must be left for an answer"
                ),
            });
        }
        let asked = self
            .max_tokens
            .map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        if let Some(asked) = asked.filter(|asked| *asked > context) {
            let message = format!("{asked} is more than the {context} of the model's context");
            return Err(ServerError::invalid("max_tokens", message));
        }
        let of_config = || {
            let of_length = base
                .max_length
                .map(|max| max.saturating_sub(prompt_len).max(1));
            base.max_new_tokens.or(of_length)
        };
        let of_model = model
            .generation
            .max_new_tokens
            .unwrap_or(0)
            .max(DEFAULT_NEW_TOKENS);
        Ok(asked.or_else(of_config).unwrap_or(of_model).min(room))
    }

    /// Temperature 0 is greedy; who asks for another, for a filter or for several choices draws.
    fn do_sample(&self, n: usize) -> Option<bool> {
        let filters = [self.top_p, self.min_p];
        let draws = filters.iter().any(Option::is_some) || self.top_k.is_some() || n > 1;
        match self.temperature {
            Some(temperature) => Some(temperature > 0.0),
            None => draws.then_some(true),
        }
    }

    fn biases(&self, model: &TextModel) -> Result<Option<Value>> {
        if self.logit_bias.is_empty() {
            return Ok(None);
        }
        let invalid = |message: String| ServerError::invalid("logit_bias", message);
        if self.logit_bias.len() > MAX_BIASES {
            return Err(invalid(format!("more than {MAX_BIASES} tokens")));
        }
        let bias = |(id, bias): (&String, &f64)| {
            let id: Option<u32> = id.parse().ok();
            let id = id.filter(|id| !model.bytes_of(*id).is_empty());
            let id = id.ok_or_else(|| invalid("a key is no token id of this model".to_owned()))?;
            match (-100.0..=100.0).contains(bias) {
                true => Ok(json!([[id], bias])),
                false => Err(invalid(format!("{bias} is not within -100 to 100"))),
            }
        };
        let biases: Result<Vec<Value>> = self.logit_bias.iter().map(bias).collect();
        Ok(Some(biases?.into()))
    }

    fn penalties(&self) -> Vec<Box<dyn LogitsProcessor>> {
        let frequency = self.frequency_penalty.unwrap_or(0.0) as f32;
        let presence = self.presence_penalty.unwrap_or(0.0) as f32;
        if frequency == 0.0 && presence == 0.0 {
            return Vec::new();
        }
        vec![Box::new(FrequencyPresencePenalty {
            frequency,
            presence,
        })]
    }
}
