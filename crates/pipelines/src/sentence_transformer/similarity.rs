//! How alike two embeddings are.

use std::str::FromStr;

use crate::PipelineError;

/// A measure of likeness: the larger, the more alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Similarity {
    /// The cosine of the angle.
    #[default]
    Cosine,
    /// The dot product.
    Dot,
    /// The negated euclidean distance.
    Euclidean,
    /// The negated sum of the absolute differences.
    Manhattan,
}

impl Similarity {
    /// Of two embeddings of one length.
    pub fn between(self, a: &[f32], b: &[f32]) -> f32 {
        let differences = || a.iter().zip(b).map(|(a, b)| a - b);
        match self {
            Self::Cosine => dot(a, b) / (norm(a) * norm(b)),
            Self::Dot => dot(a, b),
            Self::Euclidean => -differences().map(|d| d * d).sum::<f32>().sqrt(),
            Self::Manhattan => -differences().map(f32::abs).sum::<f32>(),
        }
    }
}

impl FromStr for Similarity {
    type Err = PipelineError;

    fn from_str(name: &str) -> Result<Self, PipelineError> {
        match name {
            "cosine" => Ok(Self::Cosine),
            "dot" | "dot_product" => Ok(Self::Dot),
            "euclidean" => Ok(Self::Euclidean),
            "manhattan" => Ok(Self::Manhattan),
            _ => Err(PipelineError::UnknownSimilarity(name.to_owned())),
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// At least a little, so that a vector of zeros is like nothing instead of no number.
fn norm(a: &[f32]) -> f32 {
    dot(a, a).sqrt().max(1e-12)
}
