//! `generate`: which mode a call runs in, and with what.

use std::time::Instant;

use transformers_config::{ConfigError, GenerationConfig};
use transformers_modeling::PreTrainedModel;
use transformers_tokenization::Tokenizer;

use crate::assisted::Assisted;
use crate::beam_search::BeamSearch;
use crate::candidates::{AssistantModel, CandidateGenerator, PromptLookup};
use crate::decoding::Batch;
use crate::encoder::Encoded;
use crate::guidance::Guidance;
use crate::healing::heal;
use crate::processor_list::Custom;
use crate::processors::LogitsProcessor;
use crate::record::Record;
use crate::sequence::Sequence;
use crate::settings::Settings;
use crate::steps::Steps;
use crate::{
    CancelToken, GenerateError, Generated, Prompt, PromptCache, StoppingCriteria, Streamer,
};

/// What a generation may use beside its config.
#[derive(Default)]
pub struct GenerateOptions<'a> {
    /// Needed for `stop_strings` and `token_healing`.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Receives the tokens as they come; for one sequence only, and not for beams.
    pub streamer: Option<&'a mut dyn Streamer>,
    /// Ends the generation from outside.
    pub cancel: Option<CancelToken>,
    /// Seeds the draws of sampling; the same seed gives the same tokens. `None`: 0.
    pub seed: Option<u64>,
    /// Further processors, after the config's penalties and before its sampling filters.
    pub processors: Vec<Box<dyn LogitsProcessor>>,
    /// Further filters of sampling, after the config's.
    pub filters: Vec<Box<dyn LogitsProcessor>>,
    /// Further reasons to end a row.
    pub stopping_criteria: Vec<Box<dyn StoppingCriteria>>,
    /// What `guidance_scale` leads away from: one row, or one for each prompt. `None`: what the model says without the
    /// prompt, after its last token.
    pub negative_prompt: Option<Prompt>,
    /// What is known already of a text that the prompt begins with.
    pub prompt_cache: Option<&'a PromptCache>,
    /// A smaller model that drafts tokens which this one then checks, several in a pass; the tokens stay the same.
    pub assistant: Option<&'a dyn PreTrainedModel>,
    /// The assistant's tokenizer, if it is not the model's; then [`Self::tokenizer`] is needed too.
    pub assistant_tokenizer: Option<&'a Tokenizer>,
    /// The log-probabilities of the chosen tokens, and of so many of the likeliest ones at each step.
    pub logprobs: Option<usize>,
}

/// Text generation for every model that decodes.
pub trait Generate {
    /// Continues `prompt`, or with an encoder–decoder answers it: the sequences are then the decoder's. Fields that
    /// `config` leaves out come from the model's `generation_config.json`, then from the reference's defaults.
    ///
    /// # Errors
    /// A config value out of range or not supported yet, an empty prompt or one longer than the context, ids beyond the
    /// vocabulary.
    fn generate(
        &self,
        prompt: impl Into<Prompt>,
        config: &GenerationConfig,
    ) -> Result<Generated, GenerateError> {
        self.generate_with(prompt, config, GenerateOptions::default())
    }

    /// The same with a streamer, a tokenizer for stop strings, a cancel token or processors of your own.
    ///
    /// # Errors
    /// As [`Self::generate`], and a streamer that fails.
    fn generate_with(
        &self,
        prompt: impl Into<Prompt>,
        config: &GenerationConfig,
        options: GenerateOptions<'_>,
    ) -> Result<Generated, GenerateError>;
}

impl<M: PreTrainedModel + ?Sized> Generate for M {
    fn generate_with(
        &self,
        prompt: impl Into<Prompt>,
        config: &GenerationConfig,
        options: GenerateOptions<'_>,
    ) -> Result<Generated, GenerateError> {
        let begin = Instant::now();
        let of_model = &self.info().generation_config;
        let merged = config.clone().or(of_model);
        let mut given = prompt.into();
        if merged.token_healing == Some(true) {
            let tokenizer = options.tokenizer.ok_or(GenerateError::NoTokenizer)?;
            given = heal(self, &given, tokenizer, merged.pad_token_id)?;
        }
        let (encoded, prompt) = match Encoded::new(self, &given, &merged)? {
            Some((encoded, start)) => (Some(encoded), start),
            None => (None, given.clone()),
        };
        let custom = Custom {
            processors: options.processors,
            filters: options.filters,
            stopping_criteria: options.stopping_criteria,
        };
        let settings = Settings::new(
            config,
            of_model,
            self.position_limit(),
            &prompt,
            custom,
            options.seed.unwrap_or(0),
        )?;
        let rows = settings.rows();
        let sequences = Sequence::of_prompt(&settings, &given, &prompt, options.tokenizer, rows)?;
        let mut steps = Steps {
            encoded: encoded.map(|encoded| encoded.repeat(rows)),
            ..Steps::new(self, &settings)?
        };
        steps.record = Record::new(&merged);
        if let Some(known) = options.prompt_cache {
            resume(&mut steps, known, &settings, &sequences)?;
        }
        let guidance = guidance(self, &settings, options.negative_prompt, &prompt, &steps)?;
        let drafter = Drafter {
            call: config,
            assistant: options.assistant,
            own: options.tokenizer,
            other: options.assistant_tokenizer,
        };
        let candidates = drafter.candidates(self, &settings, &given, &steps)?;
        let cancel = options.cancel.unwrap_or_default();
        let mut streamer = options.streamer;
        if let (Some(streamer), [sequence]) = (streamer.as_deref_mut(), &sequences[..]) {
            let ids = &sequence.ids[sequence.padding..];
            streamer.prompt(ids).map_err(GenerateError::Streamer)?;
        }
        let mut generated = match (settings.num_beams, candidates) {
            (1, None) => {
                let batch = Batch::new(&settings, sequences, options.logprobs);
                batch.run(&mut steps, guidance, streamer, &cancel, begin)?
            }
            (1, Some(candidates)) => {
                let count = sequences.len();
                let [sequence] = <[Sequence; 1]>::try_from(sequences)
                    .map_err(|_| GenerateError::AssistantNeedsOneSequence { count })?;
                let assisted = Assisted {
                    settings: &settings,
                    sequence,
                    candidates,
                    streamer,
                    logprobs: options.logprobs,
                };
                assisted.run(&mut steps, guidance, &cancel, begin)?
            }
            (count, Some(_)) => return Err(GenerateError::AssistantNeedsOneSequence { count }),
            (_, None) if streamer.is_some() => return Err(GenerateError::StreamerWithBeams),
            (_, None) => {
                let beams = BeamSearch::new(&settings, sequences, options.logprobs);
                beams.run(&mut steps, guidance, &cancel, begin)?
            }
        };
        generated.timing.prompt_tokens = given.input_ids.dims()[1];
        if settings.config().return_dict_in_generate == Some(true) {
            generated.past_key_values = steps.cache.as_ref().and_then(|cache| cache.state());
        }
        generated.is_encoder_decoder = steps.encoded.is_some();
        if let Some(encoded) = steps.encoded {
            generated.encoder_hidden_states = encoded.hidden_states;
            generated.encoder_attentions = encoded.attentions;
        }
        steps.record.give(&mut generated);
        Ok(generated)
    }
}

/// Begins with what `known` has of the one prompt of `sequences`.
fn resume<M: PreTrainedModel + ?Sized>(
    steps: &mut Steps<'_, M>,
    known: &PromptCache,
    settings: &Settings,
    sequences: &[Sequence],
) -> Result<(), GenerateError> {
    let alone = sequences.len() == settings.rows() && sequences[0].padding == 0;
    if !alone || steps.encoded.is_some() || !settings.use_cache {
        return Err(GenerateError::PromptCacheNeedsOnePrompt);
    }
    known.check(steps.model)?;
    steps.resume(known, &sequences[0].ids, sequences.len());
    Ok(())
}

/// What `guidance_scale` asks for.
fn guidance<'m, M: PreTrainedModel + ?Sized>(
    model: &'m M,
    settings: &Settings,
    negative: Option<Prompt>,
    prompt: &Prompt,
    steps: &Steps<'_, M>,
) -> Result<Option<Guidance<'m, M>>, GenerateError> {
    let scale = settings.config().guidance_scale;
    let Some(scale) = scale.filter(|scale| *scale != 1.0) else {
        return Ok(None);
    };
    if steps.encoded.is_some() {
        let field = "guidance_scale";
        return Err(GenerateError::NotForEncoders { field });
    }
    let own = Steps::new(model, settings)?;
    let batch = prompt.input_ids.dims()[0];
    Guidance::new(scale, own, negative, batch).map(Some)
}

/// Who drafts, if anybody.
struct Drafter<'a, 'c> {
    /// What the call says.
    call: &'c GenerationConfig,
    assistant: Option<&'a dyn PreTrainedModel>,
    own: Option<&'a Tokenizer>,
    other: Option<&'a Tokenizer>,
}

impl<'a> Drafter<'a, '_> {
    /// The first of these that is asked for: the model's own first layers, the text itself, the assistant.
    fn candidates<M: PreTrainedModel + ?Sized>(
        self,
        model: &'a M,
        settings: &Settings,
        given: &Prompt,
        of_model: &Steps<'_, M>,
    ) -> Result<Option<Box<dyn CandidateGenerator + 'a>>, GenerateError> {
        let config = settings.config();
        if let Some(layers) = config.assistant_early_exit {
            if of_model.encoded.is_some() {
                let field = "assistant_early_exit";
                return Err(GenerateError::NotForEncoders { field });
            }
            let steps = Steps {
                early_exit: Some(layers),
                ..Steps::new(model, settings)?
            };
            let drafting = AssistantModel::new(steps, None, config, settings.sampler, false);
            return Ok(Some(Box::new(drafting)));
        }
        if let Some(count) = config.prompt_lookup_num_tokens {
            if config.assistant_ensemble_weight.is_some() {
                let reason = "what prompt lookup drafts has no probabilities to mix; leave out one of the two";
                return Err(ConfigError::invalid("assistant_ensemble_weight", reason).into());
            }
            let size = config.max_matching_ngram_size.unwrap_or(2);
            let lookup = PromptLookup::new(count, size, settings.eos.clone());
            return Ok(Some(Box::new(lookup)));
        }
        match self.assistant {
            Some(assistant) => self.assistant(assistant, settings, given).map(Some),
            None => Ok(None),
        }
    }

    fn assistant(
        &self,
        assistant: &'a dyn PreTrainedModel,
        settings: &Settings,
        given: &Prompt,
    ) -> Result<Box<dyn CandidateGenerator + 'a>, GenerateError> {
        let tokenizers = match (self.other, self.own) {
            (None, _) => None,
            (Some(_), None) => return Err(GenerateError::NoTokenizer),
            (Some(other), Some(own)) => Some((own, other)),
        };
        let own = &assistant.info().generation_config;
        // How to draft, the call says, or the assistant's own file.
        let said = GenerationConfig {
            num_assistant_tokens: self.call.num_assistant_tokens.or(own.num_assistant_tokens),
            num_assistant_tokens_schedule: {
                let call = self.call.num_assistant_tokens_schedule.clone();
                call.or_else(|| own.num_assistant_tokens_schedule.clone())
            },
            assistant_confidence_threshold: {
                let call = self.call.assistant_confidence_threshold;
                call.or(own.assistant_confidence_threshold)
            },
            eos_token_id: tokenizers.and_then(|_| own.eos_token_id.clone()),
            ..GenerationConfig::default()
        };
        let config = said.or(settings.config());
        let encoded = Encoded::new(assistant, given, &config)?;
        let steps = Steps {
            encoded: encoded.map(|(encoded, _)| encoded),
            ..Steps::new(assistant, settings)?
        };
        let drafting = AssistantModel::new(steps, tokenizers, &config, settings.sampler, true);
        Ok(Box::new(drafting))
    }
}
