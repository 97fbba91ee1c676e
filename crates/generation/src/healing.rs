//! Token healing: a prompt that ends within a word is taken back by its last token, and the model chooses among the
//! tokens that begin with the same text.

use transformers_config::GenerationConfig;
use transformers_modeling::{PreTrainedModel, Rows};
use transformers_tokenization::Tokenizer;

use crate::{Generate, GenerateError, Prompt};

/// What a token that continues the prompt's end gains.
const BIAS: f64 = 10.0;
/// What the prompt's own token gains beside that: `http` is only seldom meant to be `https`.
const OWN_BIAS: f64 = 1.0;

/// The prompts with healed ends (the reference's `heal_tokens`): decoded, stripped and encoded anew, so that spaces
/// around them and tokens that texts never have go.
pub(crate) fn heal<M: PreTrainedModel + ?Sized>(
    model: &M,
    prompt: &Prompt,
    tokenizer: &Tokenizer,
    pad: Option<u32>,
) -> Result<Prompt, GenerateError> {
    let words = tokenizer.token_bytes();
    let mut rows = Vec::new();
    for index in 0..prompt.input_ids.dims()[0] {
        let text = tokenizer.decode(&prompt.real_ids(index), true)?;
        let ids = tokenizer.encode(text.trim(), true)?;
        rows.push(heal_row(model, ids, tokenizer, &words)?);
    }
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let padding = |row: &Vec<u32>| longest - row.len();
    let masks: Vec<Vec<u32>> = rows
        .iter()
        .map(|row| [vec![0; padding(row)], vec![1; row.len()]].concat())
        .collect();
    let pad = pad.unwrap_or_default();
    let padded: Vec<Vec<u32>> = rows
        .iter()
        .map(|row| [vec![pad; padding(row)], row.clone()].concat())
        .collect();
    Ok(Prompt {
        input_ids: Rows::new(&padded)?,
        attention_mask: Some(Rows::new(&masks)?),
    })
}

fn heal_row<M: PreTrainedModel + ?Sized>(
    model: &M,
    ids: Vec<u32>,
    tokenizer: &Tokenizer,
    words: &[Option<Vec<u8>>],
) -> Result<Vec<u32>, GenerateError> {
    let bos = tokenizer.bos_token_id();
    let Some((&tail, before)) = ids.split_last() else {
        return Ok(ids);
    };
    let word = |id: u32| words.get(id as usize).and_then(Option::as_ref);
    let Some(begin) = word(tail).filter(|begin| !begin.is_empty()) else {
        return Ok(ids);
    };
    let all = 0..words.len() as u32;
    let alternatives: Vec<u32> = all
        .filter(|id| word(*id).is_some_and(|word| word.starts_with(begin)))
        .collect();
    // The choice does not depend on the token that begins every text, unless there is nothing else.
    let context: Vec<u32> = before
        .iter()
        .copied()
        .filter(|id| Some(*id) != bos)
        .collect();
    let context = match (context.is_empty(), bos) {
        (true, Some(bos)) if !before.is_empty() => vec![bos],
        _ => context,
    };
    if alternatives.len() < 2 || context.is_empty() {
        return Ok(ids);
    }
    let bias = |id: &u32| {
        let own = if *id == tail { OWN_BIAS } else { 0.0 };
        serde_json::json!([[id], BIAS + own])
    };
    let config = GenerationConfig {
        max_new_tokens: Some(1),
        do_sample: Some(false),
        num_beams: Some(1),
        num_return_sequences: Some(1),
        token_healing: Some(false),
        sequence_bias: Some(alternatives.iter().map(bias).collect()),
        ..GenerationConfig::default()
    };
    let healed = model.generate(context, &config)?;
    Ok([before, healed.new_tokens(0)].concat())
}
