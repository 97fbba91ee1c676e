//! In which order examples come.

use std::cmp::Reverse;

use super::TorchGenerator;
use crate::{Result, TrainerError};

/// The order of an epoch. It hangs on the epoch's number and on nothing else, so that the place in it is all that has to be
/// saved.
pub trait Sampler: Send + Sync {
    /// The indices of epoch `epoch`, counted from 0.
    fn indices(&self, epoch: u64) -> Vec<usize>;

    /// How many indices an epoch has.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// From the first to the last.
#[derive(Debug, Clone, Copy)]
pub struct SequentialSampler {
    len: usize,
}

impl SequentialSampler {
    /// Of `len` examples.
    pub fn new(len: usize) -> Self {
        Self { len }
    }
}

impl Sampler for SequentialSampler {
    fn indices(&self, _: u64) -> Vec<usize> {
        (0..self.len).collect()
    }

    fn len(&self) -> usize {
        self.len
    }
}

/// Shuffled anew in every epoch, in the order of the reference's `Trainer` with the same seed (accelerate's
/// `SeedableRandomSampler`: the generator is seeded with the sum of seed and epoch).
#[derive(Debug, Clone, Copy)]
pub struct RandomSampler {
    len: usize,
    seed: u64,
}

impl RandomSampler {
    /// Of `len` examples; the seed is `data_seed`, or `seed` where there is none.
    pub fn new(len: usize, seed: u64) -> Self {
        Self { len, seed }
    }
}

impl Sampler for RandomSampler {
    fn indices(&self, epoch: u64) -> Vec<usize> {
        TorchGenerator::new(self.seed.wrapping_add(epoch)).permutation(self.len)
    }

    fn len(&self) -> usize {
        self.len
    }
}

/// Shuffled, with examples of like length beside each other and the longest one first, so that little is padded and a lack
/// of memory shows at once (the reference's `LengthGroupedSampler`).
///
/// The reference draws from the process's generator, whose state hangs on all that was drawn before; here the generator is
/// that of [`RandomSampler`].
#[derive(Debug, Clone)]
pub struct LengthGroupedSampler {
    lengths: Vec<usize>,
    batch_size: usize,
    seed: u64,
}

impl LengthGroupedSampler {
    /// Of examples that have these lengths. `batch_size` is that of a whole step: accumulated batches count as one.
    ///
    /// # Errors
    /// A batch of none.
    pub fn new(lengths: Vec<usize>, batch_size: usize, seed: u64) -> Result<Self> {
        nonzero(batch_size)?;
        Ok(Self {
            lengths,
            batch_size,
            seed,
        })
    }

    fn order(&self, generator: &mut TorchGenerator) -> Vec<usize> {
        let len = self.lengths.len();
        let batches = (len / (self.batch_size * 4)).clamp(1, 50);
        let mut order = generator.permutation(len);
        let group = batches * self.batch_size;
        for group in order.chunks_mut(group) {
            group.sort_by_key(|&index| Reverse(self.lengths[index]));
        }
        let firsts = (0..len).step_by(group);
        // Of equals the first one.
        let longest = firsts.rev().max_by_key(|&at| self.lengths[order[at]]);
        if let Some(longest) = longest {
            order.swap(0, longest);
        }
        order
    }
}

impl Sampler for LengthGroupedSampler {
    fn indices(&self, epoch: u64) -> Vec<usize> {
        self.order(&mut TorchGenerator::new(self.seed.wrapping_add(epoch)))
    }

    fn len(&self) -> usize {
        self.lengths.len()
    }
}

/// The order of a sampler, in batches.
pub struct BatchSampler {
    sampler: Box<dyn Sampler>,
    batch_size: usize,
    drop_last: bool,
}

impl BatchSampler {
    /// Batches of `batch_size`; the last one of an epoch, if it has fewer, is left out if `drop_last`.
    ///
    /// # Errors
    /// A batch of none.
    pub fn new(
        sampler: impl Sampler + 'static,
        batch_size: usize,
        drop_last: bool,
    ) -> Result<Self> {
        nonzero(batch_size)?;
        Ok(Self {
            sampler: Box::new(sampler),
            batch_size,
            drop_last,
        })
    }

    /// How many batches an epoch has.
    pub fn len(&self) -> usize {
        match self.drop_last {
            true => self.sampler.len() / self.batch_size,
            false => self.sampler.len().div_ceil(self.batch_size),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batches of epoch `epoch`, without the first `skip` ones, which a resumed training has seen.
    pub fn batches(&self, epoch: u64, skip: usize) -> impl Iterator<Item = Vec<usize>> + use<> {
        let (order, size) = (self.sampler.indices(epoch), self.batch_size);
        let range =
            move |batch: usize| order[batch * size..order.len().min((batch + 1) * size)].to_vec();
        (skip..self.len()).map(range)
    }
}

fn nonzero(batch_size: usize) -> Result<()> {
    match batch_size {
        0 => Err(TrainerError::InvalidOption {
            name: "per_device_train_batch_size",
            reason: "a batch has at least one example".to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn batches_cover_an_epoch() {
        let sampler =
            |drop_last| BatchSampler::new(SequentialSampler::new(7), 3, drop_last).unwrap();
        let batches: Vec<_> = sampler(false).batches(0, 0).collect();
        assert_eq!(batches, [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        assert_eq!(sampler(false).len(), 3);
        let batches: Vec<_> = sampler(true).batches(0, 1).collect();
        assert_eq!(batches, [vec![3, 4, 5]]);
        assert_eq!(sampler(true).len(), 2);
        assert_eq!(sampler(false).batches(0, 9).count(), 0);
        assert!(BatchSampler::new(SequentialSampler::new(7), 0, false).is_err());
    }

    #[test]
    fn epochs_differ_and_repeat() {
        let sampler = RandomSampler::new(100, 7);
        assert_ne!(sampler.indices(0), sampler.indices(1));
        assert_eq!(sampler.indices(1), RandomSampler::new(100, 8).indices(0));
    }

    #[test]
    fn nothing_has_an_order() {
        assert!(RandomSampler::new(0, 0).indices(0).is_empty());
        let sampler = LengthGroupedSampler::new(Vec::new(), 4, 0).unwrap();
        assert!(sampler.indices(0).is_empty());
    }
}
