//! `generate`: which mode a call runs in, and with what.

use std::time::Instant;

use transformers_config::GenerationConfig;
use transformers_modeling::PreTrainedModel;
use transformers_tokenization::Tokenizer;

use crate::assisted::Assisted;
use crate::beam_search::BeamSearch;
use crate::candidates::{AssistantModel, CandidateGenerator, PromptLookup};
use crate::decoding::Batch;
use crate::encoder::Encoded;
use crate::processor_list::Custom;
use crate::processors::LogitsProcessor;
use crate::sequence::{Sequence, Steps};
use crate::settings::Settings;
use crate::{CancelToken, GenerateError, Generated, Prompt, Streamer};

/// What a generation may use beside its config.
#[derive(Default)]
pub struct GenerateOptions<'a> {
    /// Needed for `stop_strings`.
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
        let given = prompt.into();
        let of_model = &self.info().generation_config;
        let (encoded, prompt) = match Encoded::new(self, &given, &config.clone().or(of_model))? {
            Some((encoded, start)) => (Some(encoded), start),
            None => (None, given.clone()),
        };
        let custom = Custom {
            processors: options.processors,
            filters: options.filters,
        };
        let settings = Settings::new(
            config,
            of_model,
            self.context_length(),
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
        let drafter = Drafter {
            assistant: options.assistant,
            own: options.tokenizer,
            other: options.assistant_tokenizer,
        };
        let candidates = drafter.candidates(&settings, &given)?;
        let cancel = options.cancel.unwrap_or_default();
        let mut generated = match (settings.num_beams, candidates) {
            (1, None) => {
                let batch = Batch::new(&settings, sequences, options.logprobs);
                batch.run(&mut steps, options.streamer, &cancel, begin)?
            }
            (1, Some(candidates)) => {
                let count = sequences.len();
                let [sequence] = <[Sequence<'_>; 1]>::try_from(sequences)
                    .map_err(|_| GenerateError::AssistantNeedsOneSequence { count })?;
                let assisted = Assisted {
                    settings: &settings,
                    sequence,
                    candidates,
                    streamer: options.streamer,
                    logprobs: options.logprobs,
                };
                assisted.run(&mut steps, &cancel, begin)?
            }
            (count, Some(_)) => return Err(GenerateError::AssistantNeedsOneSequence { count }),
            (_, None) if options.streamer.is_some() => {
                return Err(GenerateError::StreamerWithBeams);
            }
            (_, None) => BeamSearch::new(&settings, sequences).run(&mut steps, &cancel, begin)?,
        };
        generated.timing.prompt_tokens = given.input_ids.dims()[1];
        Ok(generated)
    }
}

/// Who drafts, if anybody.
struct Drafter<'a> {
    assistant: Option<&'a dyn PreTrainedModel>,
    own: Option<&'a Tokenizer>,
    other: Option<&'a Tokenizer>,
}

impl<'a> Drafter<'a> {
    fn candidates(
        self,
        settings: &Settings,
        given: &Prompt,
    ) -> Result<Option<Box<dyn CandidateGenerator + 'a>>, GenerateError> {
        let config = settings.config();
        if let Some(assistant) = self.assistant {
            let tokenizers = match (self.other, self.own) {
                (None, _) => None,
                (Some(_), None) => return Err(GenerateError::NoTokenizer),
                (Some(other), Some(own)) => Some((own, other)),
            };
            let encoded = Encoded::new(assistant, given, config)?;
            let steps = Steps {
                encoded: encoded.map(|(encoded, _)| encoded),
                ..Steps::new(assistant, settings)?
            };
            let model = AssistantModel::new(steps, tokenizers, config);
            return Ok(Some(Box::new(model)));
        }
        let lookup = |count| -> Box<dyn CandidateGenerator> {
            Box::new(PromptLookup {
                count,
                max_matching_ngram_size: config.max_matching_ngram_size.unwrap_or(2),
                eos: settings.eos.clone(),
            })
        };
        Ok(config.prompt_lookup_num_tokens.map(lookup))
    }
}
