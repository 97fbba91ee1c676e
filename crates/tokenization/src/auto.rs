//! Finds the tokenizer among a model's files.

use std::path::{Path, PathBuf};

use serde_json::Value;
use transformers_config::gguf::GgufHeader;
use transformers_hub::{HubOptions, ModelFiles, ModelSource};

use crate::backend::{self, Backend, Decoder, Model};
use crate::settings::Settings;
use crate::tokenizer::Source;
use crate::{
    Result, SentencePieceProcessor, TokenizationError, Tokenizer, TokenizerClass, files, gguf,
    mistral, tiktoken,
};

/// The usual names of SentencePiece models.
const SENTENCEPIECE_FILES: [&str; 4] = [
    "tokenizer.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
];

/// Reads tokenizers from model files.
#[derive(Debug)]
pub struct AutoTokenizer;

impl AutoTokenizer {
    /// Reads the tokenizer of a folder, a `.gguf` file or a hub repository.
    pub fn from_pretrained(source: impl Into<ModelSource>) -> Result<Tokenizer> {
        Self::from_pretrained_with(source, &HubOptions::default())
    }

    /// As [`AutoTokenizer::from_pretrained`], with options for where files come from.
    pub fn from_pretrained_with(
        source: impl Into<ModelSource>,
        options: &HubOptions,
    ) -> Result<Tokenizer> {
        Self::from_files(&ModelFiles::resolve(source, options)?)
    }

    /// Reads the tokenizer among these files. The first of these that is there counts:
    ///
    /// 1. `tokenizer.json`, exactly as it is written
    /// 2. a GGUF file
    /// 3. Mistral's own files: `tekken.json`, `tokenizer.model.v3` and the like
    /// 4. ranks of tiktoken: `tiktoken.model`, `*.tiktoken`
    /// 5. a SentencePiece model: `tokenizer.model`, `spiece.model`, `spm.model`, `sentencepiece.bpe.model`
    /// 6. `vocab.json` with `merges.txt`, or `vocab.txt`
    ///
    /// The last two are read as the class says that `tokenizer_config.json` or `config.json` names; where that is none
    /// with a definition ([`TokenizerClass`]), SentencePiece models are taken as they are, and the others for those of
    /// GPT-2 and BERT; a class that is a program in Python, such as `MarianTokenizer`, is an error. The settings in `tokenizer_config.json` and the chat templates beside it are read in each case.
    pub fn from_files(files: &ModelFiles) -> Result<Tokenizer> {
        if let Some(path) = files.find("tokenizer.json")? {
            return from_json(&path, files);
        }
        if let Some(path) = files.gguf()? {
            return Self::from_gguf(&GgufHeader::open(&path)?, &path);
        }
        if let Some(path) = find_named(files, mistral::is_mistral_file)? {
            return mistral::tokenizer(&path, Settings::from_files(files)?);
        }
        let is_ranks = |name: &str| name == "tiktoken.model" || name.ends_with(".tiktoken");
        if let Some(path) = find_named(files, is_ranks)? {
            return from_ranks(&path, Settings::from_files(files)?);
        }
        let settings = Settings::from_files(files)?;
        let class = class(files, &settings)?;
        let usual = class
            .and_then(|class| class.file())
            .filter(|file| file.ends_with(".model"));
        for name in usual.into_iter().chain(SENTENCEPIECE_FILES) {
            if let Some(path) = files.find(name)? {
                return from_model(&path, class, settings);
            }
        }
        // An object of ids with merges, or a token per line.
        for (vocab, merges, default) in [
            ("vocab.json", Some("merges.txt"), "GPT2Tokenizer"),
            ("vocab.txt", None, "BertTokenizer"),
        ] {
            let Some(path) = files.find(vocab)? else {
                continue;
            };
            let merges = merges
                .map(|merges| files.find(merges))
                .transpose()?
                .flatten();
            let class = class.or_else(|| TokenizerClass::named(default));
            let class = class.ok_or_else(|| no_tokenizer(files))?;
            return class.with_settings(&path, merges.as_deref(), settings);
        }
        Err(no_tokenizer(files))
    }

    /// Reads one `tokenizer.json` alone, without the files beside it.
    pub fn from_file(path: &Path) -> Result<Tokenizer> {
        json(files::read(path)?, Settings::default()).map_err(invalid(path))
    }

    /// Reads the content of a `tokenizer.json`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Tokenizer> {
        json(bytes.to_vec(), Settings::default()).map_err(TokenizationError::InvalidVocabulary)
    }

    /// Builds the tokenizer of the GGUF file at `path`, whose header was read.
    pub fn from_gguf(header: &GgufHeader, path: &Path) -> Result<Tokenizer> {
        gguf::tokenizer(header, path)
    }
}

/// The first of the files whose name is wanted.
fn find_named(files: &ModelFiles, wanted: impl Fn(&str) -> bool) -> Result<Option<PathBuf>> {
    let mut names = files.list()?;
    names.sort();
    match names
        .iter()
        .find(|name| !name.contains('/') && wanted(name))
    {
        Some(name) => Ok(files.find(name)?),
        None => Ok(None),
    }
}

fn invalid(path: &Path) -> impl Fn(String) -> TokenizationError {
    move |reason| TokenizationError::InvalidFile {
        path: path.to_owned(),
        reason,
    }
}

fn from_json(path: &Path, files: &ModelFiles) -> Result<Tokenizer> {
    let bytes = files::read(path)?;
    json(bytes, Settings::from_files(files)?).map_err(invalid(path))
}

fn json(bytes: Vec<u8>, settings: Settings) -> Result<Tokenizer, String> {
    Backend::from_bytes(bytes)
        .and_then(|backend| Tokenizer::new(backend, settings))
        .map_err(|error| format!("not a tokenizer that can be read: {error}; fetch the file again"))
}

fn from_ranks(path: &Path, settings: Settings) -> Result<Tokenizer> {
    let special: Vec<String> = settings
        .wanted_tokens
        .iter()
        .map(|token| token.content.clone())
        .collect();
    tiktoken::tokenizer(&files::read(path)?, &settings.declared_ids, &special)
        .and_then(|tokenizer| {
            backend::from_tokenizers(tokenizer)
                .and_then(|backend| Tokenizer::new(backend, settings))
                .map_err(|error| error.to_string())
        })
        .map_err(invalid(path))
}

fn no_tokenizer(files: &ModelFiles) -> TokenizationError {
    TokenizationError::NoTokenizer {
        source_name: files.source().to_string(),
    }
}

/// The class that the files name: by its name, or by the type of the model.
fn class(files: &ModelFiles, settings: &Settings) -> Result<Option<TokenizerClass>> {
    let config: Value = match files.find("config.json")? {
        Some(path) => serde_json::from_str(&files::read_text(&path)?)
            .map_err(|error| invalid(&path)(format!("not JSON: {error}; fetch the file again")))?,
        None => Value::Null,
    };
    let declared = settings
        .values
        .get("tokenizer_class")
        .and_then(Value::as_str);
    let declared = declared.or_else(|| config["tokenizer_class"].as_str());
    let by_type = config["model_type"]
        .as_str()
        .and_then(TokenizerClass::name_of_model_type);
    match declared.or(by_type) {
        Some(name) if TokenizerClass::is_coded(name) => Err(TokenizationError::CodedClass {
            class: name.to_owned(),
        }),
        name => Ok(name
            .and_then(TokenizerClass::named)
            .or_else(|| TokenizerClass::named(by_type?))),
    }
}

/// A SentencePiece model, or ranks under its name.
fn from_model(path: &Path, class: Option<TokenizerClass>, settings: Settings) -> Result<Tokenizer> {
    let bytes = files::read(path)?;
    if tiktoken::is_ranks(&bytes) {
        return from_ranks(path, settings);
    }
    if let Some(class) = class.filter(TokenizerClass::reads_sentencepiece) {
        return class.with_settings(path, None, settings);
    }
    let model = SentencePieceProcessor::open(path)?;
    let mut tokenizer = sentencepiece(model, settings)
        .map_err(|error| invalid(path)(format!("the model cannot be used: {error}")))?;
    let name = path.file_name().and_then(|name| name.to_str());
    tokenizer.source = Some(Source::new(name.unwrap_or("tokenizer.model"), bytes));
    Ok(tokenizer)
}

/// The model as it is, with the special tokens that it names and the settings do not.
fn sentencepiece(
    model: SentencePieceProcessor,
    mut settings: Settings,
) -> tokenizers::Result<Tokenizer> {
    for (name, id) in [
        ("bos_token", model.bos_id()),
        ("eos_token", model.eos_id()),
        ("unk_token", model.unk_id()),
        ("pad_token", model.pad_id()),
    ] {
        let piece = id.and_then(|id| model.id_to_piece(id));
        if let Some(piece) = piece.filter(|_| !settings.special_tokens.contains_key(name)) {
            settings.name_token(
                name,
                tokenizers::AddedToken::from(piece, true).normalized(false),
            );
        }
    }
    let decoder = Decoder::SentencePiece(model.clone());
    let backend = backend::from_model(Model::SentencePiece(model), decoder)?;
    Tokenizer::new(backend, settings)
}
