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
    let missing: Vec<AddedToken> = declared.chain(wanted).cloned().collect();
    if !missing.is_empty() {
        backend.add_tokens(missing)?;
    }
    Ok(())
}
