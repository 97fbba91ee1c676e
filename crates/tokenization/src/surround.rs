//! What is put around a text or a pair of texts, where the vocabulary's own file does not say.

use serde_json::{Map, Value, json};
use tokenizers::PostProcessorWrapper;
use tokenizers::processors::template::TemplateProcessing;

/// A special token and its id.
pub(crate) type Token = (String, u32);

/// A part of what is encoded.
#[derive(Clone)]
pub(crate) enum Part {
    /// The first text.
    A,
    /// The second text of a pair.
    B,
    Special(Token),
}

/// `bos A eos`, and `bos A eos bos B eos` for a pair, whose second half has the type 1.
pub(crate) fn bos_eos(
    bos: Option<Token>,
    eos: Option<Token>,
) -> serde_json::Result<PostProcessorWrapper> {
    let [bos, eos] = [bos, eos].map(|token| token.map(Part::Special));
    let around = |text: Part| [bos.clone(), Some(text), eos.clone()].into_iter().flatten();
    let single: Vec<Part> = around(Part::A).collect();
    let pair: Vec<Part> = around(Part::A).chain(around(Part::B)).collect();
    template(&single, &pair, 1)
}

/// These parts around a text, and these around a pair. What a pair has beyond the parts of a single text has the token
/// type `second`. Built from JSON, because a token may hold the characters that the builder's short form gives a meaning.
pub(crate) fn template(
    single: &[Part],
    pair: &[Part],
    second: u32,
) -> serde_json::Result<PostProcessorWrapper> {
    let piece = |(index, part): (usize, &Part)| {
        let kind = if index < single.len() { 0 } else { second };
        match part {
            Part::A => json!({"Sequence": {"id": "A", "type_id": kind}}),
            Part::B => json!({"Sequence": {"id": "B", "type_id": kind}}),
            Part::Special((token, _)) => json!({"SpecialToken": {"id": token, "type_id": kind}}),
        }
    };
    let special: Map<String, Value> = single
        .iter()
        .chain(pair)
        .filter_map(|part| match part {
            Part::Special((token, id)) => Some((
                token.clone(),
                json!({"id": token, "ids": [id], "tokens": [token]}),
            )),
            _ => None,
        })
        .collect();
    let template: TemplateProcessing = serde_json::from_value(json!({
        "single": single.iter().enumerate().map(piece).collect::<Vec<_>>(),
        "pair": pair.iter().enumerate().map(piece).collect::<Vec<_>>(),
        "special_tokens": special,
    }))?;
    Ok(template.into())
}
