//! Where the drafts of assisted decoding come from.

mod assistant;
mod prompt_lookup;

pub(crate) use assistant::AssistantModel;
pub(crate) use prompt_lookup::PromptLookup;

use crate::GenerateError;

/// Drafts what may follow.
pub(crate) trait CandidateGenerator {
    /// Tokens that may follow `ids`, in their order; none is fine.
    fn draft(&mut self, ids: &[u32]) -> Result<Vec<u32>, GenerateError>;

    /// Of `drafted` tokens, `accepted` were kept.
    fn update(&mut self, accepted: usize, drafted: usize) {
        let _ = (accepted, drafted);
    }
}
