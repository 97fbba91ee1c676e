//! The decoding loop: one forward pass over the prompt, then one per token.

use std::time::Instant;

use burn::tensor::{DType, Tensor};
use transformers_config::GenerationConfig;
use transformers_modeling::nn::Cache;
use transformers_modeling::{ModelInputs, PreTrainedModel, Rows};
use transformers_tokenization::Tokenizer;

use crate::encoder::Encoded;
use crate::processors::LogitsProcessor;
use crate::settings::Settings;
use crate::stopping::{RowStop, StopStrings};
use crate::{CancelToken, FinishReason, GenerateError, Generated, Prompt, Streamer, Timing};

/// What a generation may use beside its config.
#[derive(Default)]
pub struct GenerateOptions<'a> {
    /// Needed for `stop_strings`.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Receives the tokens as they come; for one sequence only.
    pub streamer: Option<&'a mut dyn Streamer>,
    /// Ends the generation from outside.
    pub cancel: Option<CancelToken>,
    /// Seeds the draws of sampling; the same seed gives the same tokens. `None`: 0.
    pub seed: Option<u64>,
    /// Further processors, after the config's penalties and before its sampling filters.
    pub processors: Vec<Box<dyn LogitsProcessor>>,
}

/// Text generation for every model that decodes.
pub trait Generate {
    /// Continues `prompt`, or with an encoder–decoder answers it: the sequences are then the decoder's. Fields that `config` leaves out come from the model's `generation_config.json`, then from
    /// the reference's defaults.
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
        let prompt = prompt.into();
        let prompt_tokens = prompt.input_ids.dims()[1];
        let seed = options.seed.unwrap_or(0);
        let of_model = &self.info().generation_config;
        let (encoded, prompt) = match Encoded::new(self, &prompt, &config.clone().or(of_model))? {
            Some((encoded, start)) => (Some(encoded), start),
            None => (None, prompt),
        };
        let settings = Settings::new(
            config,
            of_model,
            self.context_length(),
            &prompt,
            options.processors,
            seed,
        )?;
        let batch = Batch::new(&settings, &prompt, options.tokenizer)?;
        if options.streamer.is_some() && batch.rows.len() > 1 {
            let count = batch.rows.len();
            return Err(GenerateError::StreamerNeedsOneSequence { count });
        }
        let cache = match settings.use_cache {
            true => Some(self.new_cache().ok_or(GenerateError::NotADecoder)?),
            false => None,
        };
        let mut steps = Steps {
            model: self,
            encoded: encoded.map(|encoded| encoded.repeat(settings.num_return_sequences)),
            cache,
        };
        let mut generated = batch.run(
            &mut steps,
            options.streamer,
            options.cancel.unwrap_or_default(),
            begin,
        )?;
        generated.timing.prompt_tokens = prompt_tokens;
        Ok(generated)
    }
}

/// The model as the loop sees it: ids in, the last position's logits out.
struct Steps<'m, M: ?Sized> {
    model: &'m M,
    encoded: Option<Encoded>,
    cache: Option<Box<dyn Cache>>,
}

impl<M: PreTrainedModel + ?Sized> Steps<'_, M> {
    /// Scores `[rows][vocab]` of the token after `rows`, of which the cache holds all but the last `new`.
    fn scores(&mut self, rows: &[Row<'_>], new: usize) -> Result<Vec<Vec<f32>>, GenerateError> {
        let new = match self.cache {
            Some(_) => new,
            None => rows[0].ids.len(),
        };
        let ids: Vec<&[u32]> = rows
            .iter()
            .map(|row| &row.ids[row.ids.len() - new..])
            .collect();
        let padded = rows.iter().any(|row| row.padding > 0);
        let mask = || Rows::new(&rows.iter().map(Row::mask).collect::<Vec<_>>());
        let ids = Rows::new(&ids)?;
        let inputs = match &self.encoded {
            Some(encoded) => encoded.inputs(ids),
            None => ModelInputs {
                attention_mask: padded.then(mask).transpose()?,
                ..ModelInputs::new(ids)
            },
        };
        let inputs = ModelInputs {
            logits_to_keep: Some(1),
            ..inputs
        };
        let cache = self
            .cache
            .as_deref_mut()
            .map(|cache| cache as &mut dyn Cache);
        Ok(to_rows(self.model.forward(&inputs, cache)?.logits()?))
    }
}

/// `[batch, 1, vocab]` to the host.
fn to_rows(logits: Tensor<3>) -> Vec<Vec<f32>> {
    let vocab = logits.dims()[2];
    let data = logits.cast(DType::F32).into_data();
    let values = data.try_into_vec::<f32>().expect("just cast to f32");
    values.chunks(vocab).map(<[f32]>::to_vec).collect()
}

/// One sequence on its way.
struct Row<'a> {
    ids: Vec<u32>,
    /// How many of the first ids are padding.
    padding: usize,
    stop: RowStop<'a>,
    finished: Option<FinishReason>,
    new_len: usize,
}

impl Row<'_> {
    fn mask(&self) -> Vec<u32> {
        (0..self.ids.len())
            .map(|column| u32::from(column >= self.padding))
            .collect()
    }
}

/// All sequences of one call.
struct Batch<'a> {
    settings: &'a Settings,
    rows: Vec<Row<'a>>,
    prompt_len: usize,
}

impl<'a> Batch<'a> {
    fn new(
        settings: &'a Settings,
        prompt: &Prompt,
        tokenizer: Option<&'a Tokenizer>,
    ) -> Result<Self, GenerateError> {
        let mut rows = Vec::new();
        for (index, ids) in prompt.input_ids.iter().enumerate() {
            let mask = prompt.attention_mask.as_ref().map(|mask| mask.row(index));
            let padding = settings.padding(index, ids, mask)?;
            for _ in 0..settings.num_return_sequences {
                let strings = match (settings.stop_strings.as_slice(), tokenizer) {
                    ([], _) => None,
                    (_, None) => return Err(GenerateError::NoTokenizer),
                    (strings, Some(tokenizer)) => Some(StopStrings::new(strings, tokenizer)),
                };
                rows.push(Row {
                    ids: ids.to_vec(),
                    padding,
                    stop: RowStop::new(&settings.eos, settings.max_new_tokens, strings),
                    finished: None,
                    new_len: 0,
                });
            }
        }
        Ok(Self {
            settings,
            rows,
            prompt_len: prompt.input_ids.dims()[1],
        })
    }

    fn run<M: PreTrainedModel + ?Sized>(
        mut self,
        steps: &mut Steps<'_, M>,
        mut streamer: Option<&mut dyn Streamer>,
        cancel: CancelToken,
        begin: Instant,
    ) -> Result<Generated, GenerateError> {
        let mut timing = Timing::default();
        let mut scores = steps.scores(&self.rows, self.prompt_len)?;
        for step in 0.. {
            self.append(&mut scores, step, streamer.as_deref_mut())?;
            if step == 0 {
                timing.prefill = begin.elapsed();
            }
            if cancel.is_cancelled() {
                self.finish_all(FinishReason::Cancelled);
            }
            if self.rows.iter().all(|row| row.finished.is_some()) {
                timing.decode_steps = step;
                break;
            }
            scores = steps.scores(&self.rows, 1)?;
        }
        timing.decode = begin.elapsed() - timing.prefill;
        if let Some(streamer) = streamer {
            streamer.end().map_err(GenerateError::Streamer)?;
        }
        Ok(self.into_generated(timing))
    }

    /// Gives every row its next token; ended rows get padding.
    fn append(
        &mut self,
        scores: &mut [Vec<f32>],
        step: usize,
        mut streamer: Option<&mut (dyn Streamer + '_)>,
    ) -> Result<(), GenerateError> {
        for (index, (row, scores)) in self.rows.iter_mut().zip(scores).enumerate() {
            if row.finished.is_some() {
                row.ids.push(self.settings.pad);
                continue;
            }
            if scores.iter().any(|score| score.is_nan()) {
                return Err(GenerateError::NotFinite { step });
            }
            let real = &row.ids[row.padding..];
            self.settings
                .process(real, self.prompt_len - row.padding, scores);
            if scores.iter().all(|score| *score == f32::NEG_INFINITY) {
                return Err(GenerateError::NotFinite { step });
            }
            let token = self.settings.sampler.choose(scores, index, step);
            row.ids.push(token);
            row.new_len += 1;
            if let Some(streamer) = streamer.as_deref_mut() {
                streamer.put(token).map_err(GenerateError::Streamer)?;
            }
            row.finished = row.stop.check(token, row.new_len)?;
        }
        Ok(())
    }

    fn finish_all(&mut self, reason: FinishReason) {
        for row in &mut self.rows {
            row.finished.get_or_insert(reason);
        }
    }

    fn into_generated(self, timing: Timing) -> Generated {
        Generated {
            finish_reasons: self
                .rows
                .iter()
                .map(|row| row.finished.unwrap_or(FinishReason::Length))
                .collect(),
            new_lens: self.rows.iter().map(|row| row.new_len).collect(),
            sequences: self.rows.into_iter().map(|row| row.ids).collect(),
            prompt_len: self.prompt_len,
            timing,
        }
    }
}
