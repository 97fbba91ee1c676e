//! Where the drafts of assisted decoding come from.

mod assistant;
mod confidence;
mod prompt_lookup;

pub(crate) use assistant::AssistantModel;
pub(crate) use prompt_lookup::PromptLookup;

use crate::GenerateError;
use crate::sequence::Sequence;

/// Tokens that may follow.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// In their order; none is fine.
    pub ids: Vec<u32>,
    /// Of each, the probabilities that it was chosen by, `[token][vocab]`; empty where there are none.
    pub probs: Vec<Vec<f32>>,
}

/// Drafts what may follow.
pub(crate) trait CandidateGenerator {
    /// What may follow `sequence`.
    fn draft(&mut self, sequence: &Sequence) -> Result<Draft, GenerateError>;

    /// Of `drafted` tokens, `accepted` were kept.
    fn update(&mut self, accepted: usize, drafted: usize) {
        let _ = (accepted, drafted);
    }
}
