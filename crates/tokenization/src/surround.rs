//! What is put around a text or a pair of texts, where the vocabulary's own file does not say.

use serde_json::{Value, json};
use tokenizers::PostProcessorWrapper;
use tokenizers::processors::template::TemplateProcessing;

/// A special token and its id.
pub(crate) type Token = (String, u32);

/// `bos A eos`, and `bos A eos bos B eos` for a pair, whose second half has the type 1. Built from JSON, because a token may hold the
/// characters that the builder's short form gives a meaning.
pub(crate) fn template(
    bos: Option<Token>,
    eos: Option<Token>,
) -> serde_json::Result<PostProcessorWrapper> {
    let piece = |token: &Option<Token>, segment: u32| {
        token
            .as_ref()
            .map(|(token, _)| json!({"SpecialToken": {"id": token, "type_id": segment}}))
    };
    let sequence = |name: &str, segment: u32| {
        let text = json!({"Sequence": {"id": name, "type_id": segment}});
        [piece(&bos, segment), Some(text), piece(&eos, segment)]
            .into_iter()
            .flatten()
    };
    let special: serde_json::Map<String, Value> = [&bos, &eos]
        .into_iter()
        .flatten()
        .map(|(token, id)| {
            (
                token.clone(),
                json!({"id": token, "ids": [id], "tokens": [token]}),
            )
        })
        .collect();
    let template: TemplateProcessing = serde_json::from_value(json!({
        "single": sequence("A", 0).collect::<Vec<_>>(),
        "pair": sequence("A", 0).chain(sequence("B", 1)).collect::<Vec<_>>(),
        "special_tokens": special,
    }))?;
    Ok(template.into())
}
