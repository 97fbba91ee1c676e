//! Random numbers as torch's CPU generator gives them, so that orders and masks can be those of the reference.

use rand_mt::Mt;
use serde::{Deserialize, Serialize};

/// torch's CPU generator: MT19937, seeded with the low half of the seed.
///
/// It is saved as its seed and how often it was asked, and restored by asking it as often again: a hundred million numbers
/// take less than a second.
#[derive(Debug, Clone)]
pub struct TorchGenerator {
    state: GeneratorState,
    numbers: Mt,
}

/// Where a generator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct GeneratorState {
    seed: u64,
    drawn: u64,
}

impl TorchGenerator {
    /// `torch.Generator().manual_seed(seed)`.
    pub fn new(seed: u64) -> Self {
        Self {
            state: GeneratorState { seed, drawn: 0 },
            numbers: Mt::new(seed as u32),
        }
    }

    /// 32 random bits.
    pub fn random(&mut self) -> u32 {
        self.state.drawn += 1;
        self.numbers.next_u32()
    }

    /// A number of 0 up to 1, as `torch.rand` gives it in f32.
    pub fn uniform(&mut self) -> f32 {
        (self.random() & ((1 << 24) - 1)) as f32 / (1 << 24) as f32
    }

    /// Whether something of this probability happens, as `torch.bernoulli` has it.
    pub fn bernoulli(&mut self, probability: f32) -> bool {
        self.uniform() < probability
    }

    /// A whole number below `end`, as `torch.randint` gives it; 0 if there is none.
    pub fn below(&mut self, end: u32) -> u32 {
        self.random() % end.max(1)
    }

    /// `torch.randperm(len)`.
    pub fn permutation(&mut self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        for at in 0..len.saturating_sub(1) {
            let ahead = self.random() as usize % (len - at);
            order.swap(at, at + ahead);
        }
        order
    }
}

impl Serialize for TorchGenerator {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.state.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for TorchGenerator {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let state = GeneratorState::deserialize(deserializer)?;
        let mut generator = Self::new(state.seed);
        for _ in 0..state.drawn {
            generator.random();
        }
        Ok(generator)
    }
}
