//! SynthID-Text (Dathathri et al. 2024): tokens play a tournament, whose rounds the last tokens decide.
//!
//! The functions are those of the reference, which are not those of any service.

use std::collections::VecDeque;
use std::sync::Arc;

use rand_mt::Mt;
use transformers_config::SynthIDTextWatermarkingConfig;

use super::{LogitsProcessor, Step, softmax};

/// `SynthIDTextWatermarkLogitsProcessor`.
#[derive(Debug, Clone)]
pub struct SynthIDTextWatermark {
    config: Arc<SynthIDTextWatermarkingConfig>,
    /// Values 0 and 1.
    table: Arc<[u8]>,
    /// The last `ngram_len - 1` new tokens, zeros before them; `None` before the first step.
    context: Option<VecDeque<u32>>,
    history: History,
    calls: usize,
}

/// The hashes of contexts that were there.
#[derive(Debug, Clone)]
struct History {
    hashes: VecDeque<i64>,
    size: usize,
}

impl History {
    /// The reference's begins with zeros; as long as one of them is left, a hash of 0 counts as seen.
    fn new(size: usize) -> Self {
        Self {
            hashes: VecDeque::new(),
            size,
        }
    }

    /// Whether `hash` was there, and adds it.
    fn seen(&mut self, hash: i64) -> bool {
        let zero = hash == 0 && self.hashes.len() < self.size;
        let seen = zero || self.hashes.contains(&hash);
        self.hashes.push_front(hash);
        self.hashes.truncate(self.size);
        seen
    }
}

fn accumulate(hash: i64, data: i64) -> i64 {
    const MULTIPLIER: i64 = 6_364_136_223_846_793_005;
    hash.wrapping_add(data)
        .wrapping_mul(MULTIPLIER)
        .wrapping_add(1)
}

fn hash(ids: impl IntoIterator<Item = u32>) -> i64 {
    let ids = ids.into_iter().map(i64::from);
    ids.fold(1, accumulate)
}

impl SynthIDTextWatermark {
    /// `config` is valid.
    pub fn new(config: SynthIDTextWatermarkingConfig) -> Self {
        let mut random = Mt::new(config.sampling_table_seed as u32);
        let table = (0..config.sampling_table_size).map(|_| (random.next_u32() % 2) as u8);
        Self {
            table: table.collect(),
            context: None,
            history: History::new(config.context_history_size),
            calls: 0,
            config: Arc::new(config),
        }
    }

    /// The settings.
    pub fn config(&self) -> &SynthIDTextWatermarkingConfig {
        &self.config
    }

    /// The value of every round for a sequence with `hash`.
    fn values(&self, hash: i64) -> impl Iterator<Item = u8> + '_ {
        let keys = self.config.keys.iter();
        keys.map(move |key| {
            let index = accumulate(hash, *key).rem_euclid(self.table.len() as i64);
            self.table[index as usize]
        })
    }

    /// The values of every sequence of `ngram_len` tokens, `[len - ngram_len + 1][rounds]` (`compute_g_values`).
    pub fn g_values(&self, ids: &[u32]) -> Vec<Vec<u8>> {
        let ngrams = ids.windows(self.config.ngram_len);
        let values = |ngram: &[u32]| self.values(hash(ngram.iter().copied())).collect();
        ngrams.map(values).collect()
    }

    /// Of every sequence of `ngram_len` tokens, whether what is before its last token was not there earlier
    /// (`compute_context_repetition_mask`).
    pub fn context_repetition_mask(&self, ids: &[u32]) -> Vec<bool> {
        let mut history = History::new(self.config.context_history_size);
        let contexts = ids[..ids.len().saturating_sub(1)].windows(self.config.ngram_len - 1);
        contexts
            .map(|context| !history.seen(hash(context.iter().copied())))
            .collect()
    }

    /// The probabilities after the tournament, as log-probabilities; of impossible tokens the lowest number.
    fn tournament(&self, context: i64, scores: &mut [f32]) {
        let mut probs = softmax(scores);
        let possible: Vec<usize> = (0..probs.len()).filter(|id| probs[*id] > 0.0).collect();
        let rounds = self.config.keys.len();
        let mut values = Vec::with_capacity(possible.len() * rounds);
        for id in &possible {
            values.extend(self.values(accumulate(context, *id as i64)));
        }
        for round in 0..rounds {
            let value = |index: usize| f32::from(values[index * rounds + round]);
            let masses = possible.iter().enumerate();
            let mass: f32 = masses.map(|(index, id)| value(index) * probs[*id]).sum();
            for (index, id) in possible.iter().enumerate() {
                probs[*id] *= 1.0 + value(index) - mass;
            }
        }
        for (score, prob) in scores.iter_mut().zip(probs) {
            *score = match prob > 0.0 {
                true => prob.ln(),
                false => f32::MIN,
            };
        }
    }
}

impl LogitsProcessor for SynthIDTextWatermark {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        let last = step.ids.last().copied().unwrap_or_default();
        let before = self.config.ngram_len - 1;
        match &mut self.context {
            None => self.context = Some(std::iter::repeat_n(0, before).collect()),
            Some(context) => {
                context.push_back(last);
                context.pop_front();
            }
        }
        self.calls += 1;
        if self.config.debug_mode {
            scores.fill(1.0);
        }
        if self.config.skip_first_ngram_calls && self.calls < self.config.ngram_len {
            return;
        }
        let context = hash(self.context.iter().flatten().copied());
        if !self.history.seen(context) {
            self.tournament(context, scores);
        }
    }
}
