//! Mistral's own tokenizer files, `tekken.json` and `tokenizer.model.v*`, and how its models read conversations.
//!
//! Conversations are not rendered by a template: each message becomes tokens by itself, with control tokens between, and
//! no text of a message can become a control token. The version in the file, or in its name, says how. Ids equal those of
//! mistral-common 1.13 (which the reference's `MistralCommonBackend` calls) for texts, tools, thinking and model settings.
//! Images and audio are refused: how many tokens they take follows from their pixels and their length.

mod instruct;
mod model_settings;
mod python;
mod request;
mod tekken;
mod validate;

use std::path::Path;
use std::sync::Arc;

use tokenizers::AddedToken;

use crate::backend::{self, Backend, Decoder, Model};
use crate::settings::Settings;
use crate::tokenizer::{Kind, Source};
use crate::{Result, SentencePieceProcessor, TokenizationError, Tokenizer, files, surround};

pub(crate) use model_settings::SettingsBuilder;
pub(crate) use tekken::Ranks;

/// How conversations are put into tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V1 = 1,
    V2 = 2,
    V3 = 3,
    V7 = 7,
    V11 = 11,
    V13 = 13,
    V15 = 15,
}

impl Version {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "v1" => Self::V1,
            "v2" => Self::V2,
            "v3" => Self::V3,
            "v7" => Self::V7,
            "v11" => Self::V11,
            "v13" => Self::V13,
            "v15" => Self::V15,
            _ => {
                return Err(format!(
                    "the version `{text}` of Mistral's tokenizers is not known here; v1, v2, v3, v7, v11, v13 and v15 are"
                ));
            }
        })
    }
}

/// Whether a file name is one of Mistral's: `tekken.json`, or `tokenizer.model.v3` and the like.
pub(crate) fn is_mistral_file(name: &str) -> bool {
    is_tekken(name) || version_of_name(name).is_some_and(|version| version.starts_with('v'))
}

/// Whether a file name is that of a tekken vocabulary.
pub(crate) fn is_tekken(name: &str) -> bool {
    name.contains("tekken") && name.ends_with(".json")
}

/// What follows `.model` in the name, without the multimodal part: `v7` of `tokenizer.model.v7m1`.
fn version_of_name(name: &str) -> Option<&str> {
    let (_, version) = name.rsplit_once(".model.")?;
    version.split('m').next()
}

/// Reads one of Mistral's files.
pub(crate) fn tokenizer(path: &Path, mut settings: Settings) -> Result<Tokenizer> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let bytes = files::read(path)?;
    let invalid = |reason: String| TokenizationError::InvalidFile {
        path: path.to_owned(),
        reason,
    };
    let (version, builder, backend) = if is_tekken(name) {
        tekken::read(&bytes).map_err(invalid)?
    } else {
        let version = Version::parse(version_of_name(name).unwrap_or("v1")).map_err(invalid)?;
        let model = SentencePieceProcessor::open(path)?;
        let backend = sentencepiece(model).map_err(|error| invalid(error.to_string()))?;
        (version, None, backend)
    };
    for (name, token) in [
        ("bos_token", "<s>"),
        ("eos_token", "</s>"),
        ("unk_token", "<unk>"),
        ("pad_token", "<pad>"),
    ] {
        if backend.token_to_id(token).is_some() {
            settings
                .special_tokens
                .insert(name.to_owned(), token.to_owned());
        }
    }
    let bos = backend.token_to_id("<s>").map(|id| ("<s>".to_owned(), id));
    let build = || {
        let mut backend = backend;
        backend.with_post_processor(Some(surround::bos_eos(bos, None)?));
        Tokenizer::new(backend, settings)
    };
    let mut tokenizer = build().map_err(|error| invalid(error.to_string()))?;
    // What a text holds is text, whatever it looks like.
    Arc::make_mut(&mut tokenizer.backend).set_encode_special_tokens(true);
    tokenizer.kind = Kind::Mistral(version);
    tokenizer.model_settings = builder.map(Arc::new);
    tokenizer.source = Some(Source::new(name, bytes));
    Ok(tokenizer)
}

fn special(token: &str) -> AddedToken {
    AddedToken::from(token, true).normalized(false)
}

fn sentencepiece(model: SentencePieceProcessor) -> tokenizers::Result<Backend> {
    let size = u32::try_from(model.vocab_size())?;
    let control = (0..size).filter(|&id| model.is_control(id));
    let control: Vec<AddedToken> = control
        .filter_map(|id| Some(special(model.id_to_piece(id)?)))
        .collect();
    let decoder = Decoder::SentencePiece(model.clone());
    let mut backend = backend::from_model(Model::SentencePiece(model), decoder)?;
    backend.add_tokens(control)?;
    Ok(backend)
}

impl Tokenizer {
    /// The ids of a prompt to fill in what stands between `prompt` and `suffix`, for Mistral's code models.
    pub fn encode_fim(&self, prompt: &str, suffix: Option<&str>) -> Result<Vec<u32>> {
        self.instruct()?.fill_in_the_middle(prompt, suffix)
    }
}
