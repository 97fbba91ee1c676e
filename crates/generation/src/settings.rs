//! What applies to one call: the generation config resolved, checked against the model, and turned into parts.

use std::time::{Duration, Instant};

use transformers_config::{EarlyStopping, GenerationConfig};
use transformers_modeling::{ModelError, Rows};

use crate::cache::CacheFactory;
use crate::processor_list::{Custom, ProcessorList};
use crate::sampler::Sampler;
use crate::{GenerateError, LogitsProcessor, Prompt, StoppingCriteria};

/// New tokens where nobody says how many.
const DEFAULT_NEW_TOKENS: usize = 20;

/// The parts of the loop.
#[derive(Debug)]
pub(crate) struct Settings {
    pub max_new_tokens: usize,
    pub num_return_sequences: usize,
    pub num_beams: usize,
    pub early_stopping: EarlyStopping,
    pub length_penalty: f32,
    pub output_scores: bool,
    pub output_logits: bool,
    max_time: Option<Duration>,
    pub use_cache: bool,
    pub cache: CacheFactory,
    pub eos: Vec<u32>,
    pub pad: u32,
    pub stop_strings: Vec<String>,
    pub stopping_criteria: Vec<Box<dyn StoppingCriteria>>,
    pub assistant_ensemble_weight: Option<f32>,
    pub sampler: Sampler,
    /// The pad token, where a prompt without a mask may hold it as padding.
    inferred_padding: Option<u32>,
    processors: ProcessorList,
}

impl Settings {
    /// `model`: its own generation config; `context`: the most tokens it can attend to.
    pub fn new(
        call: &GenerationConfig,
        model: &GenerationConfig,
        context: Option<usize>,
        prompt: &Prompt,
        custom: Custom,
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
            num_beams: config.num_beams.unwrap_or(1),
            early_stopping: config
                .early_stopping
                .unwrap_or(EarlyStopping::WhenEnough(false)),
            length_penalty: config.length_penalty.unwrap_or(1.0) as f32,
            output_scores: config.output_scores == Some(true),
            output_logits: config.output_logits == Some(true),
            use_cache: config.use_cache.unwrap_or(true),
            cache: CacheFactory::new(&config, prompt_len + max_new_tokens + drafts(&config))?,
            stop_strings: config
                .stop_strings
                .as_ref()
                .map_or_else(Vec::new, |strings| strings.as_slice().to_vec()),
            stopping_criteria: custom.stopping_criteria.clone(),
            assistant_ensemble_weight: config.assistant_ensemble_weight.map(|w| w as f32),
            sampler: match config.do_sample {
                Some(true) => Sampler::Multinomial { seed },
                _ => Sampler::Greedy,
            },
            inferred_padding: config.pad_token_id.filter(|pad| !eos.contains(pad)),
            max_time: config.max_time.map(Duration::from_secs_f64),
            processors: ProcessorList::new(config, prompt_len, max_new_tokens, custom)?,
            max_new_tokens,
            eos,
            pad,
        })
    }

    /// The generation config of the call, resolved.
    pub fn config(&self) -> &GenerationConfig {
        self.processors.config()
    }

    /// Sequences for each prompt that are computed.
    pub fn rows(&self) -> usize {
        match self.num_beams {
            1 => self.num_return_sequences,
            beams => beams,
        }
    }

    /// Whether a generation that began at `begin` has had its time.
    pub fn is_late(&self, begin: Instant) -> bool {
        self.max_time.is_some_and(|max| begin.elapsed() > max)
    }

    /// The processors of one row of prompt `ids`; of an encoder–decoder, those are the encoder's.
    pub fn processors(&self, ids: &[u32]) -> Vec<Box<dyn LogitsProcessor>> {
        self.processors.for_row(ids)
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

/// The most tokens that a pass may hold beyond those that are kept.
fn drafts(config: &GenerationConfig) -> usize {
    let assistant = config.num_assistant_tokens;
    let counts = [assistant, config.prompt_lookup_num_tokens];
    counts.into_iter().flatten().max().unwrap_or(0)
}

fn max_new_tokens(
    call: &GenerationConfig,
    model: &GenerationConfig,
    context: Option<usize>,
    prompt_len: usize,
) -> Result<usize, GenerateError> {
    if let Some(max) = context.filter(|max| prompt_len > *max) {
        let len = prompt_len;
        return Err(GenerateError::PromptTooLong { len, max });
    }
    // The last token needs no place in the context: nothing is computed of it.
    let places = context.map_or(usize::MAX, |context| context.saturating_add(1));
    // A limit that the call sets outranks any that the model's file sets.
    for level in [call, model] {
        if let Some(new) = level.max_new_tokens {
            return Ok(new.min(places - prompt_len));
        }
        if let Some(max) = level.max_length {
            return match max.min(places).checked_sub(prompt_len) {
                None | Some(0) => Err(GenerateError::NoRoom { prompt_len, max }),
                Some(new) => Ok(new),
            };
        }
    }
    Ok(DEFAULT_NEW_TOKENS.min(places - prompt_len))
}

/// A field that would change the result and that nothing here reads is refused, never ignored.
fn refuse_unsupported(config: &GenerationConfig) -> Result<(), GenerateError> {
    let unsupported = [
        ("use_mtp", config.use_mtp == Some(true)),
        ("speculation_type", config.speculation_type.is_some()),
        ("penalty_alpha", config.penalty_alpha.is_some()),
        ("dola_layers", config.dola_layers.is_some()),
        ("constraints", config.constraints.is_some()),
        ("force_words_ids", config.force_words_ids.is_some()),
        (
            "num_beam_groups",
            config.num_beam_groups.is_some_and(|groups| groups > 1),
        ),
    ];
    match unsupported.into_iter().find(|(_, set)| *set) {
        Some((field, _)) => Err(GenerateError::Unsupported { field }),
        None => Ok(()),
    }
}
