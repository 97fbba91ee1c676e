//! Green lists (Kirchenbauer et al. 2023): the tokens before choose a part of the vocabulary, which gains score.
//!
//! The lists are those that the reference draws on the CPU, so that texts marked there are detected here and the other
//! way round.

use std::collections::HashSet;
use std::sync::Arc;

use rand_mt::Mt;
use transformers_config::{SeedingScheme, WatermarkingConfig};

use super::{LogitsProcessor, Step};
use crate::sampler::highest;

/// The size of the table that tokens are hashed by.
const TABLE_SIZE: usize = 1_000_003;
/// Of the likeliest tokens so many are tried against the list that each of them makes.
const TRIED: usize = 40;

/// `WatermarkLogitsProcessor`.
#[derive(Debug, Clone)]
pub struct Watermark {
    config: WatermarkingConfig,
    /// A permutation; only the scheme `selfhash` reads it.
    table: Arc<[i64]>,
}

impl Watermark {
    /// `config` is valid.
    pub fn new(config: WatermarkingConfig) -> Self {
        let mut table = Vec::new();
        if config.seeding_scheme == SeedingScheme::SelfHash {
            table = permutation(config.hashing_key as u32, TABLE_SIZE, TABLE_SIZE);
        }
        let table = table.into_iter().map(i64::from).collect();
        Self { config, table }
    }

    /// The settings.
    pub fn config(&self) -> &WatermarkingConfig {
        &self.config
    }

    /// The green tokens, of a vocabulary of `vocab`, after `ids`; with `selfhash` the last of them is the token in
    /// question. `ids` has a token at least.
    pub fn green_list(&self, ids: &[u32], vocab: usize) -> Vec<u32> {
        let size = (vocab as f64 * self.config.greenlist_ratio) as usize;
        permutation(self.seed(ids), vocab, size)
    }

    /// The low bits of the reference's seed: its generator reads no others.
    fn seed(&self, ids: &[u32]) -> u32 {
        let key = self.config.hashing_key;
        let last = ids.last().copied().unwrap_or_default();
        let seed = match self.config.seeding_scheme {
            SeedingScheme::LeftHash => i128::from(key) * i128::from(last),
            SeedingScheme::SelfHash => {
                let entry = |id: u32| self.table[id as usize % TABLE_SIZE] + 1;
                let begin = ids.len().saturating_sub(self.config.context_width);
                let products = ids[begin..].iter();
                let products = products.map(|id| key.wrapping_mul(entry(*id)));
                let seeds = products.map(|product| product.wrapping_mul(entry(last)));
                i128::from(seeds.min().unwrap_or_default())
            }
        };
        seed.rem_euclid(i128::from(u64::MAX)) as u32
    }

    /// Of the likeliest tokens those that are on the list which they make themselves.
    fn self_green(&self, ids: &[u32], scores: &[f32]) -> Vec<u32> {
        let likeliest = highest(scores, TRIED).into_iter().map(|id| id as u32);
        let mut ids = ids.to_vec();
        let mut green = Vec::new();
        for candidate in likeliest {
            ids.push(candidate);
            if self.green_list(&ids, scores.len()).contains(&candidate) {
                green.push(candidate);
            }
            ids.pop();
        }
        green
    }
}

impl LogitsProcessor for Watermark {
    fn process(&mut self, step: &Step<'_>, scores: &mut [f32]) {
        if step.ids.len() < self.config.context_width {
            return;
        }
        let green = match self.config.seeding_scheme {
            SeedingScheme::LeftHash => self.green_list(step.ids, scores.len()),
            SeedingScheme::SelfHash => self.self_green(step.ids, scores),
        };
        for id in green {
            scores[id as usize] += self.config.bias as f32;
        }
    }
}

/// The first `count` numbers of a random order of those below `len`, as torch draws it.
fn permutation(seed: u32, len: usize, count: usize) -> Vec<u32> {
    let mut random = Mt::new(seed);
    let mut numbers: Vec<u32> = (0..len as u32).collect();
    for index in 0..count.min(len.saturating_sub(1)) {
        let other = random.next_u32() as usize % (len - index);
        numbers.swap(index, index + other);
    }
    numbers.truncate(count);
    numbers
}

/// Says whether a text was marked with green lists (`WatermarkDetector`).
#[derive(Debug, Clone)]
pub struct WatermarkDetector {
    watermark: Watermark,
    /// The tokens that the model knows.
    vocab: usize,
    bos: Option<u32>,
    ignore_repeated_ngrams: bool,
}

/// What the detector finds in a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WatermarkDetection {
    /// Tokens that had enough others before them.
    pub num_tokens_scored: usize,
    /// Those of them that were green.
    pub num_green_tokens: usize,
    /// The green part.
    pub green_fraction: f64,
    /// How many standard deviations there are between the green tokens and those of an unmarked text.
    pub z_score: f64,
    /// How often an unmarked text has so many.
    pub p_value: f64,
    /// Whether the text is marked.
    pub prediction: bool,
    /// 1 less `p_value`.
    pub confidence: f64,
}

impl WatermarkDetector {
    /// For texts of a model with `vocab` tokens, of which `bos` begins them.
    pub fn new(config: WatermarkingConfig, vocab: usize, bos: Option<u32>) -> Self {
        Self {
            watermark: Watermark::new(config),
            vocab,
            bos,
            ignore_repeated_ngrams: false,
        }
    }

    /// Counts every sequence of tokens once.
    #[must_use]
    pub fn ignore_repeated_ngrams(self, ignore: bool) -> Self {
        Self {
            ignore_repeated_ngrams: ignore,
            ..self
        }
    }

    /// `ids`: the text, best without its prompt; it is marked if its z-score is above `z_threshold`, often 3. `None`
    /// for a text that is too short.
    pub fn detect(&self, ids: &[u32], z_threshold: f64) -> Option<WatermarkDetection> {
        let ids = match (ids.first(), self.bos) {
            (Some(first), Some(bos)) if *first == bos => &ids[1..],
            _ => ids,
        };
        let config = self.watermark.config();
        if ids.len() <= config.context_width {
            return None;
        }
        let is_self = config.seeding_scheme == SeedingScheme::SelfHash;
        let size = config.context_width + usize::from(!is_self);
        let mut seen = HashSet::new();
        let (mut scored, mut green) = (0, 0);
        for ngram in ids.windows(size) {
            if self.ignore_repeated_ngrams && !seen.insert(ngram) {
                continue;
            }
            let (target, before) = ngram.split_last()?;
            let prefix = if is_self { ngram } else { before };
            let list = self.watermark.green_list(prefix, self.vocab);
            scored += 1;
            green += usize::from(list.contains(target));
        }
        let (total, ratio) = (scored as f64, config.greenlist_ratio);
        let deviation = (total * ratio * (1.0 - ratio)).sqrt();
        let z_score = (green as f64 - ratio * total) / deviation;
        let p_value = 0.5 * libm::erfc(z_score / std::f64::consts::SQRT_2);
        Some(WatermarkDetection {
            num_tokens_scored: scored,
            num_green_tokens: green,
            green_fraction: green as f64 / total,
            z_score,
            p_value,
            prediction: z_score > z_threshold,
            confidence: 1.0 - p_value,
        })
    }
}
