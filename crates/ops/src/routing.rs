//! Which experts a token passes: from the router's logits to a choice and what each chosen one counts.

use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation};
use transformers_kernels as kernels;

use crate::host::{flex, floats, on_host, tensor};

/// How experts are chosen and weighed.
#[derive(Debug, Clone, PartialEq)]
pub struct RouterOptions {
    /// Experts of a token.
    pub top_k: usize,
    /// What becomes of the logits.
    pub score: Score,
    /// Only experts of the best groups can be chosen.
    pub groups: Option<ExpertGroups>,
    /// Weights are divided by their sum, or by this where the sum is smaller.
    pub normalise: Option<f64>,
    /// Factor on the weights, at last.
    pub scale: f64,
}

impl RouterOptions {
    /// `top_k` experts, weighed as they score.
    pub fn new(top_k: usize, score: Score) -> Self {
        Self {
            top_k,
            score,
            groups: None,
            normalise: None,
            scale: 1.0,
        }
    }
}

/// What scores an expert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Score {
    /// The softmax over all experts.
    Softmax,
    /// The sigmoid of its logit.
    Sigmoid,
    /// The logit; the weights are the softmax over those that are chosen.
    SoftmaxOfChosen,
}

/// Experts in equal groups, of which the best take part (DeepSeek-V2 and V3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpertGroups {
    /// Groups; a divisor of the number of experts.
    pub count: usize,
    /// Groups that take part.
    pub kept: usize,
    /// A group scores the sum of so many of its best experts.
    pub best: usize,
}

/// The experts of every token and their weights.
#[derive(Debug, Clone)]
pub struct Routing {
    /// `[tokens, top_k]`, on the host: which weights are read depends on it.
    pub experts: Vec<u32>,
    /// `[tokens, top_k]`.
    pub weights: Tensor<2>,
}

/// Chooses the experts of every token by the router's `logits`, `[tokens, experts]`. A `bias`, `[experts]`, is added to
/// the scores for the choice and counts in no weight.
///
/// Of experts that score alike the first is taken.
pub fn route(logits: Tensor<2>, bias: Option<Tensor<1>>, options: &RouterOptions) -> Routing {
    let bias = bias.map(|bias| bias.into_data().iter::<f32>().collect::<Vec<_>>());
    if on_host(&logits) {
        return on_cpu(logits, bias.as_deref(), options);
    }
    in_primitives(logits, bias.as_deref(), options)
}

fn on_cpu(logits: Tensor<2>, bias: Option<&[f32]>, options: &RouterOptions) -> Routing {
    let [tokens, experts] = logits.dims();
    let logits = flex(logits);
    let mut scores = floats(&logits).into_owned();
    match options.score {
        Score::Softmax => kernels::softmax(&mut scores, experts),
        Score::Sigmoid => kernels::activate(kernels::Activation::Sigmoid, &mut scores),
        Score::SoftmaxOfChosen => {}
    }
    let chosen = choose(&scores, experts, bias, options);
    let rows = chosen
        .chunks_exact(options.top_k)
        .zip(scores.chunks_exact(experts));
    let picked = rows.flat_map(|(chosen, scores)| chosen.iter().map(|&e| scores[e as usize]));
    let mut weights: Vec<f32> = picked.collect();
    if options.score == Score::SoftmaxOfChosen {
        kernels::softmax(&mut weights, options.top_k);
    }
    for row in weights.chunks_exact_mut(options.top_k) {
        let sum = options
            .normalise
            .map(|least| row.iter().sum::<f32>().max(least as f32));
        let factor = options.scale as f32;
        row.iter_mut()
            .for_each(|w| *w = *w / sum.unwrap_or(1.0) * factor);
    }
    Routing {
        experts: chosen,
        weights: tensor(weights, [tokens, options.top_k]),
    }
}

fn in_primitives(logits: Tensor<2>, bias: Option<&[f32]>, options: &RouterOptions) -> Routing {
    let ([_, experts], device, dtype) = (logits.dims(), logits.device(), logits.dtype());
    let logits = logits.cast(DType::F32);
    let scores = match options.score {
        Score::Softmax => activation::softmax(logits, 1),
        Score::Sigmoid => activation::sigmoid(logits),
        Score::SoftmaxOfChosen => logits,
    };
    let values: Vec<f32> = scores.to_data().iter().collect();
    let chosen = choose(&values, experts, bias, options);
    let picked = scores.gather(
        1,
        indices(&chosen, &device).reshape([-1, options.top_k as i32]),
    );
    let weights = match options.score {
        Score::SoftmaxOfChosen => activation::softmax(picked, 1),
        _ => picked,
    };
    let weights = match options.normalise {
        Some(least) => weights.clone() / weights.sum_dim(1).clamp_min(least),
        None => weights,
    };
    Routing {
        experts: chosen,
        weights: (weights * options.scale).cast(dtype),
    }
}

pub(crate) fn indices(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), device)
}

/// The best experts of every row of `scores`.
fn choose(
    scores: &[f32],
    experts: usize,
    bias: Option<&[f32]>,
    options: &RouterOptions,
) -> Vec<u32> {
    let mut chosen = Vec::with_capacity(scores.len() / experts * options.top_k);
    let mut row = Vec::with_capacity(experts);
    for scores in scores.chunks_exact(experts) {
        row.clear();
        row.extend_from_slice(scores);
        if let Some(bias) = bias {
            row.iter_mut()
                .zip(bias)
                .for_each(|(score, bias)| *score += bias);
        }
        if let Some(groups) = options.groups {
            leave_out_groups(&mut row, groups);
        }
        chosen.extend(best(&row, options.top_k));
    }
    chosen
}

/// Nothing of the groups that do not take part can be chosen.
fn leave_out_groups(scores: &mut [f32], groups: ExpertGroups) {
    let size = scores.len() / groups.count;
    let score = |group: &[f32]| {
        let best = best(group, groups.best.min(size));
        best.into_iter()
            .map(|expert| group[expert as usize])
            .sum::<f32>()
    };
    let of_groups: Vec<f32> = scores.chunks_exact(size).map(score).collect();
    let kept = best(&of_groups, groups.kept);
    for (index, group) in scores.chunks_exact_mut(size).enumerate() {
        if !kept.contains(&(index as u32)) {
            group.fill(f32::NEG_INFINITY);
        }
    }
}

/// The places of the `count` largest values, the largest first.
fn best(values: &[f32], count: usize) -> Vec<u32> {
    let mut best: Vec<u32> = Vec::with_capacity(count + 1);
    for (place, value) in values.iter().enumerate() {
        let better = |other: &u32| *value > values[*other as usize];
        if best.len() < count || best.last().is_some_and(better) {
            let at = best.iter().position(better).unwrap_or(best.len());
            best.insert(at, place as u32);
            best.truncate(count);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_found_whatever_the_values() {
        assert_eq!(best(&[1.0, 3.0, 2.0, 3.0], 3), [1, 3, 2]);
        assert_eq!(best(&[f32::NAN; 3], 2), [0, 1]);
        assert_eq!(best(&[f32::NEG_INFINITY, 1.0], 2), [1, 0]);
    }

    #[test]
    fn a_group_scores_as_its_best_experts() {
        let options = RouterOptions {
            groups: Some(ExpertGroups {
                count: 3,
                kept: 2,
                best: 2,
            }),
            ..RouterOptions::new(2, Score::Sigmoid)
        };
        // The single best expert is in the group that scores least.
        let scores = [0.9, 0.0, 0.6, 0.5, 0.5, 0.55];
        assert_eq!(choose(&scores, 6, None, &options), [2, 5]);
        let bias = [0.0, 0.5, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(choose(&scores, 6, Some(&bias), &options), [0, 2]);
    }
}
