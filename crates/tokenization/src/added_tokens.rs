//! The tokens that `tokenizer_config.json` declares and the vocabulary does not know yet.

use tokenizers::AddedToken;

use crate::backend::Backend;
use crate::settings::Settings;

/// Adds to `backend` what the settings declare.
///
/// A token of `added_tokens_decoder` replaces the backend's where the attributes differ. A named or further special
/// token is added only where the backend's added tokens lack it, so the backend's attributes count otherwise. A token
/// that is in the vocabulary keeps its id, and a new one gets the next free id.
pub(crate) fn add(backend: &mut Backend, settings: &Settings) -> tokenizers::Result<()> {
    let known = backend.get_added_tokens_decoder();
    let known = || known.values();
    let declared = settings
        .declared_tokens
        .iter()
        .filter(|token| !known().any(|other| other == *token));
    let wanted = settings.wanted_tokens.iter().filter(|token| {
        !known()
            .chain(&settings.declared_tokens)
            .any(|other| other.content == token.content)
    });
    extend(backend, declared.chain(wanted).cloned().collect())
}

/// Adds tokens; fails where the ids after the last one are used up.
pub(crate) fn extend(backend: &mut Backend, tokens: Vec<AddedToken>) -> tokenizers::Result<()> {
    if tokens.is_empty() {
        return Ok(());
    }
    let added = backend.get_added_vocabulary().get_vocab().values();
    let last = added.copied().max().unwrap_or(0);
    let size = backend.get_vocab_size(false);
    let next = size.max(last as usize + 1);
    if u32::try_from(next + tokens.len()).is_err() {
        return Err(
            format!("the added token of the id {last} leaves no ids for new tokens").into(),
        );
    }
    backend.add_tokens(tokens)?;
    Ok(())
}
