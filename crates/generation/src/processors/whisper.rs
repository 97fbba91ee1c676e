//! The rules of speech recognition with Whisper (Radford et al. 2022), and of models of sounds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{LogitsProcessor, Step, log_softmax, remove, softmax};

/// `WhisperTimeStampLogitsProcessor`: timestamps come in pairs and never decrease, and one comes where all of them
/// together are likelier than any token of text.
#[derive(Debug, Clone)]
pub struct WhisperTimeStamp {
    /// `<|notimestamps|>`; the tokens after it are the timestamps.
    pub no_timestamps: u32,
    /// The token that ends a text, after those of text.
    pub eos: u32,
    /// Ids before the first new one; `None`: the prompt.
    pub begin_index: Option<usize>,
    /// The last timestamp that may come first, counted from the first one.
    pub max_initial_timestamp_index: Option<usize>,
    /// Compare the timestamps' probability with that of text.
    pub detect_timestamp: bool,
}

impl WhisperTimeStamp {
    /// With the reference's defaults.
    pub fn new(no_timestamps: u32, eos: u32) -> Self {
        Self {
            no_timestamps,
            eos,
            begin_index: None,
            max_initial_timestamp_index: None,
            detect_timestamp: true,
        }
    }

    /// Removes what does not fit to the timestamps of `new`.
    fn pair(&self, new: &[u32], scores: &mut [f32]) {
        let first = self.no_timestamps + 1;
        let is_timestamp = |id: &u32| *id >= first;
        let last = new.last().is_some_and(is_timestamp);
        let before = new.len() < 2 || is_timestamp(&new[new.len() - 2]);
        match (last, before) {
            (true, true) => ban(scores, first as usize, usize::MAX),
            (true, false) => ban(scores, 0, self.eos as usize),
            (false, _) => {}
        }
        if let Some(timestamp) = new.iter().rev().find(|id| is_timestamp(id)) {
            // A pair may be of one moment, and the next pair may not.
            let next = timestamp + u32::from(!last || before);
            ban(scores, first as usize, next as usize);
        }
    }
}

/// Removes the tokens of `from..to`.
fn ban(scores: &mut [f32], from: usize, to: usize) {
    let to = to.min(scores.len());
    if let Some(scores) = scores.get_mut(from..to) {
        scores.fill(f32::NEG_INFINITY);
    }
}

impl LogitsProcessor for WhisperTimeStamp {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        let first = self.no_timestamps as usize + 1;
        let begin = self.begin_index.unwrap_or(step.prompt_len);
        let new = step.ids.get(begin..).unwrap_or_default();
        remove(scores, &[self.no_timestamps]);
        self.pair(new, scores);
        if step.ids.len() == begin {
            ban(scores, 0, first);
            if let Some(index) = self.max_initial_timestamp_index {
                ban(scores, first + index + 1, usize::MAX);
            }
        }
        if self.detect_timestamp && first < scores.len() {
            let mut logs = scores.to_vec();
            log_softmax(&mut logs);
            let (text, timestamps) = logs.split_at(first);
            let likeliest = text.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = timestamps.iter().map(|log| log.exp()).sum();
            if sum.ln() > likeliest {
                ban(scores, 0, first);
            }
        }
    }
}

/// `WhisperNoSpeechDetection`: changes nothing, and finds how likely it is that nobody speaks. It reads unprocessed
/// scores, so it comes first.
#[derive(Debug, Clone)]
pub struct WhisperNoSpeechDetection {
    no_speech: u32,
    scores_are_logprobs: bool,
    /// Of each prompt, the logits after the token that begins a transcription, where others follow it.
    start_logits: Arc<[Vec<f32>]>,
    found: Arc<Mutex<BTreeMap<usize, f32>>>,
}

impl WhisperNoSpeechDetection {
    /// For prompts of the one token that begins a transcription. `no_speech`: the token that says that nobody speaks.
    pub fn new(no_speech: u32) -> Self {
        Self {
            no_speech,
            scores_are_logprobs: false,
            start_logits: Arc::default(),
            found: Arc::default(),
        }
    }

    /// For beams, whose scores are log-probabilities.
    #[must_use]
    pub fn scores_are_logprobs(self) -> Self {
        Self {
            scores_are_logprobs: true,
            ..self
        }
    }

    /// For prompts in which a language or a task follows: the logits after each prompt's first token.
    #[must_use]
    pub fn with_start_logits(self, logits: Vec<Vec<f32>>) -> Self {
        Self {
            start_logits: logits.into(),
            ..self
        }
    }

    /// The probability that nobody speaks, by prompt; known after the first step.
    pub fn no_speech_prob(&self, prompt: usize) -> Option<f32> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(&prompt).copied()
    }
}

impl LogitsProcessor for WhisperNoSpeechDetection {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        if !step.new_ids().is_empty() {
            return;
        }
        let prob = |probs: &[f32]| probs.get(self.no_speech as usize).copied();
        let prob = match self.start_logits.get(step.prompt) {
            Some(logits) => prob(&softmax(logits)),
            None if self.scores_are_logprobs => prob(scores).map(f32::exp),
            None => prob(&softmax(scores)),
        };
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.insert(step.prompt, prob.unwrap_or_default());
    }
}

/// `AlternatingCodebooksLogitsProcessor` (Bark): tokens of two codebooks take turns.
#[derive(Debug, Clone, Copy)]
pub struct AlternatingCodebooks {
    /// Ids before the first of the codebooks' tokens.
    pub input_start_len: usize,
    /// Ids below this are of text.
    pub semantic_vocab_size: usize,
    /// Tokens of a codebook.
    pub codebook_size: usize,
}

impl LogitsProcessor for AlternatingCodebooks {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        let new = step.ids.len().saturating_sub(self.input_start_len);
        let first = new.is_multiple_of(2);
        let second = self.semantic_vocab_size + self.codebook_size;
        match first {
            true => {
                ban(scores, 0, self.semantic_vocab_size);
                ban(scores, second, usize::MAX);
            }
            false => ban(scores, 0, second),
        }
    }
}

/// `BarkEosPrioritizerLogitsProcessor`: the text ends where its end is likely enough, whatever else is.
#[derive(Debug, Clone)]
pub struct BarkEosPrioritizer {
    /// The tokens that end a text.
    pub eos: Vec<u32>,
    /// The least probability of an end; 0 is off.
    pub min_eos_p: f32,
}

impl LogitsProcessor for BarkEosPrioritizer {
    fn process(&mut self, _step: &Step<'_>, scores: &mut [f32]) {
        let probs = softmax(scores);
        let prob = |id: &u32| probs.get(*id as usize).copied().unwrap_or_default();
        if self.min_eos_p <= 0.0 || !self.eos.iter().any(|id| prob(id) > self.min_eos_p) {
            return;
        }
        for (id, score) in scores.iter_mut().enumerate() {
            if !self.eos.contains(&(id as u32)) {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}
