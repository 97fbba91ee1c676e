//! The batching engine against generation one by one.

use transformers_config::GenerationConfig;
use transformers_generation::{
    ContinuousBatchingConfig, Engine, Generate, GenerateOptions, Request, RequestId,
};
use transformers_modeling::PreTrainedModel;

use crate::CaseError;
use crate::conformance::Outcome;

const NEW_TOKENS: usize = 10;

/// Prompts that begin alike and are of many lengths come in while others run, with hardly any room. Their tokens are held
/// against those of each alone, up to the first step whose two best scores are less than `near` apart.
///
/// # Errors
/// A model that cannot be run.
pub fn check(model: &dyn PreTrainedModel, prompt: &[u32], near: f64) -> Result<Outcome, CaseError> {
    let reversed: Vec<u32> = prompt.iter().rev().copied().collect();
    let mut long = [prompt, &reversed, prompt].concat();
    let context = model.position_limit().unwrap_or(usize::MAX);
    long.truncate(context.saturating_sub(NEW_TOKENS).max(prompt.len()));
    let half = &prompt[..prompt.len().div_ceil(2)];
    let prompts = [prompt, half, &reversed, &prompt[..1], &long, prompt];
    let longest = (long.len() + NEW_TOKENS).div_ceil(4);
    let config = ContinuousBatchingConfig {
        block_size: 4,
        num_blocks: Some(longest + 1),
        max_batch_tokens: 7,
        ..ContinuousBatchingConfig::default()
    };
    let settings = GenerationConfig {
        max_new_tokens: Some(NEW_TOKENS),
        do_sample: Some(false),
        ..GenerationConfig::default()
    };
    let mut engine = Engine::new(model, None, config)?;
    let mut ids: Vec<RequestId> = Vec::new();
    for prompt in prompts {
        ids.push(engine.add_request(Request {
            config: settings.clone(),
            ..Request::new(prompt)
        })?);
        engine.step();
    }
    let mut outputs = engine.run();
    outputs.sort_by_key(|output| output.request_id);
    let (mut compared, mut differs_at) = (0, None);
    for (prompt, output) in prompts.into_iter().zip(outputs) {
        if let Some(error) = output.error {
            return Err(error.into());
        }
        let alone = GenerationConfig {
            output_scores: Some(true),
            ..settings.clone()
        };
        let alone = model.generate_with(prompt, &alone, GenerateOptions::default())?;
        let sure = alone
            .scores
            .iter()
            .take_while(|rows| margin(&rows[0]) >= near);
        let sure = sure.count().min(alone.new_lens[0]);
        let batched = output.generated_tokens();
        let same = |step: &usize| batched.get(*step) == Some(&alone.new_tokens(0)[*step]);
        differs_at = differs_at.or((0..sure).find(|step| !same(step)));
        compared += sure;
    }
    let held = engine.stats().used_blocks;
    assert_eq!(held, 0, "blocks are held when all requests have ended");
    Ok(Outcome::Ids {
        compared,
        differs_at,
    })
}

/// By how much the best score is the best.
fn margin(scores: &[f32]) -> f64 {
    let (mut best, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for &score in scores {
        (best, second) = match score > best {
            true => (score, best),
            false => (best, second.max(score)),
        };
    }
    f64::from(best) - f64::from(second)
}
