//! SentencePiece in Rust: reads `.model` files and gives the ids of the C++ library (0.2.3).
//!
//! A text is normalised by the model's character map, its spaces become `▁`, and the pieces are found by one of four
//! algorithms: the most likely path (unigram), merges by score (BPE), words, or characters. What no piece covers is the
//! unknown piece, or bytes where the model has byte pieces.

mod bpe;
#[cfg(feature = "sentencepiece")]
mod library;
mod normalizer;
pub(crate) mod proto;
mod trie;
mod unigram;
mod words;

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "sentencepiece")]
pub use library::SentencePieceLibrary;
pub(crate) use normalizer::CharacterMap;
use normalizer::Normalizer;
use proto::{ModelProto, PieceKind, read_model};
use trie::Trie;

use crate::{Result, TokenizationError, files};

/// Stands for a space in a piece.
const SPACE: &str = "▁";

/// A SentencePiece model. Cheap to clone.
///
/// ```no_run
/// use transformers_tokenization::SentencePieceProcessor;
///
/// let model = SentencePieceProcessor::open("spiece.model".as_ref())?;
/// let ids = model.encode("Hello world.");
/// assert_eq!(model.decode(&ids)?, "Hello world.");
/// # Ok::<(), transformers_tokenization::TokenizationError>(())
/// ```
#[derive(Clone)]
pub struct SentencePieceProcessor(Arc<Inner>);

struct Inner {
    pieces: Pieces,
    algorithm: Algorithm,
    normalizer: Normalizer,
    denormalizer: Option<Normalizer>,
    unknown_surface: String,
    /// The pieces that begin and end a text, stand for the unknown and pad, where the model has them.
    named: [Option<u32>; 4],
}

enum Algorithm {
    Unigram(unigram::Unigram),
    Bpe,
    Word,
    Char,
}

/// The pieces, by id and by text.
pub(crate) struct Pieces {
    list: Vec<Piece>,
    /// Pieces that text may hold.
    ids: HashMap<String, u32>,
    /// Control, unknown and byte pieces; BPE models have all in `ids`.
    reserved: HashMap<String, u32>,
    user_defined: Trie,
    unknown: Option<u32>,
    /// The ids of the 256 byte pieces, where unknown text is spelled in bytes.
    bytes: Option<Vec<u32>>,
}

struct Piece {
    text: String,
    score: f32,
    kind: PieceKind,
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPiece {
    /// The id of the piece.
    pub id: u32,
    /// Its spelling: that of the text where the piece is the unknown one.
    pub piece: String,
    /// The bytes of the text that it stands for.
    pub range: Range<usize>,
}

impl SentencePieceProcessor {
    /// Reads a `.model` file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::read(&files::read(path)?).map_err(|reason| TokenizationError::InvalidFile {
            path: path.to_owned(),
            reason,
        })
    }

    /// Reads the content of a `.model` file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::read(bytes).map_err(TokenizationError::InvalidVocabulary)
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let proto = read_model(bytes)?;
        let trainer = proto.trainer_spec();
        let pieces = Pieces::new(&proto)?;
        let algorithm = match trainer.model_type() {
            proto::ModelType::Unigram => Algorithm::Unigram(unigram::Unigram::new(&pieces)?),
            proto::ModelType::Bpe => Algorithm::Bpe,
            proto::ModelType::Word => Algorithm::Word,
            proto::ModelType::Char => Algorithm::Char,
        };
        let suffix = trainer.treat_whitespace_as_suffix();
        let normalizer = Normalizer::new(proto.normalizer_spec(), suffix)?;
        let denormalizer = proto
            .denormalizer_spec
            .as_ref()
            .filter(|spec| !spec.precompiled_charsmap().is_empty())
            .map(|spec| Normalizer::new(spec.clone(), false))
            .transpose()?;
        let control = |piece: &str| {
            let id = pieces.id(piece)?;
            (pieces.kind(id) == PieceKind::Control).then_some(id)
        };
        let named = [
            control(trainer.bos_piece()),
            control(trainer.eos_piece()),
            pieces.unknown,
            control(trainer.pad_piece()),
        ];
        Ok(Self(Arc::new(Inner {
            unknown_surface: trainer.unk_surface().to_owned(),
            pieces,
            algorithm,
            normalizer,
            denormalizer,
            named,
        })))
    }

    /// The ids of a text; nothing is put around it.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let pieces = self.pieces(text);
        pieces.into_iter().map(|piece| piece.id).collect()
    }

    /// The pieces of a text, with the bytes that each stands for.
    pub fn pieces(&self, text: &str) -> Vec<TextPiece> {
        let model = &self.0;
        let normalized = model.normalizer.normalize(text, &model.pieces.user_defined);
        let found = match &model.algorithm {
            Algorithm::Unigram(unigram) => unigram.encode(&normalized.text, &model.pieces),
            Algorithm::Bpe => bpe::encode(&normalized.text, &model.pieces),
            Algorithm::Word => words::words(&normalized.text, &model.pieces),
            Algorithm::Char => words::characters(&normalized.text, &model.pieces),
        };
        let mut pieces: Vec<TextPiece> = Vec::with_capacity(found.len());
        let mut start = 0;
        let mut after_unknown = false;
        for (piece, id) in found {
            let from = normalized.origin[start];
            start += piece.len();
            let range = from..normalized.origin[start];
            let unknown = model.pieces.unknown == Some(id);
            match (&model.pieces.bytes, pieces.last_mut()) {
                (Some(bytes), _) if unknown => {
                    // The last of the bytes stands for the text, the others for nothing.
                    let last = piece.len() - 1;
                    pieces.extend(piece.bytes().enumerate().map(|(index, byte)| {
                        let id = bytes[usize::from(byte)];
                        TextPiece {
                            id,
                            piece: model.pieces.text(id).to_owned(),
                            range: from..if index == last { range.end } else { from },
                        }
                    }));
                }
                (None, Some(previous)) if unknown && after_unknown => {
                    previous.piece.push_str(piece);
                    previous.range.end = range.end;
                }
                _ => pieces.push(TextPiece {
                    id,
                    piece: piece.to_owned(),
                    range,
                }),
            }
            after_unknown = unknown;
        }
        pieces
    }

    /// The text of the ids. Fails where an id has no piece.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let pieces = ids.iter().map(|&id| {
            self.id_to_piece(id)
                .map(|piece| (piece, Some(id)))
                .ok_or_else(|| TokenizationError::UnknownId {
                    id,
                    size: self.vocab_size(),
                })
        });
        Ok(self.join(pieces.collect::<Result<Vec<_>>>()?, false))
    }

    /// The text of pieces, which need not be of this model. Control pieces are shown.
    pub(crate) fn show<'a>(&self, pieces: impl IntoIterator<Item = &'a str>) -> String {
        let pieces = pieces
            .into_iter()
            .map(|piece| (piece, self.0.pieces.id(piece)));
        self.join(pieces, true)
    }

    fn join<'a>(
        &self,
        pieces: impl IntoIterator<Item = (&'a str, Option<u32>)>,
        show_control: bool,
    ) -> String {
        let model = &self.0;
        let mut text = String::new();
        let mut bytes = Vec::new();
        let mut first = true;
        let strips = model.normalizer.adds_prefix || model.normalizer.removes_extra_spaces;
        for (piece, id) in pieces {
            let kind = id.map(|id| model.pieces.kind(id));
            if kind == Some(PieceKind::Byte) {
                bytes.extend(proto::byte_of(piece));
                continue;
            }
            flush_bytes(&mut bytes, &mut text);
            first &= text.is_empty();
            if kind == Some(PieceKind::Control) {
                text.push_str(if show_control { piece } else { "" });
                continue;
            }
            let stripped = piece.strip_prefix(SPACE).filter(|_| first && strips);
            match (id, kind) {
                (Some(id), Some(PieceKind::Unknown)) if model.pieces.text(id) == piece => {
                    text.push_str(&model.unknown_surface);
                }
                (None, _) | (_, Some(PieceKind::Unknown)) => text.push_str(piece),
                _ => text.push_str(&stripped.unwrap_or(piece).replace(SPACE, " ")),
            }
            if !text.is_empty() || (stripped.is_some() && !model.normalizer.removes_extra_spaces) {
                first = false;
            }
        }
        flush_bytes(&mut bytes, &mut text);
        match &model.denormalizer {
            Some(denormalizer) => denormalizer.normalize(&text, &Trie::default()).text,
            None => text,
        }
    }

    /// How many pieces there are.
    pub fn vocab_size(&self) -> usize {
        self.0.pieces.list.len()
    }

    /// The id of a piece.
    pub fn piece_to_id(&self, piece: &str) -> Option<u32> {
        self.0.pieces.id(piece)
    }

    /// The piece of an id.
    pub fn id_to_piece(&self, id: u32) -> Option<&str> {
        let piece = self.0.pieces.list.get(id as usize)?;
        Some(&piece.text)
    }

    /// The score of a piece: its logarithmic probability, or its rank among the merges.
    pub fn score(&self, id: u32) -> Option<f32> {
        Some(self.0.pieces.list.get(id as usize)?.score)
    }

    /// Whether pieces are made by merging.
    pub(crate) fn is_bpe(&self) -> bool {
        matches!(self.0.algorithm, Algorithm::Bpe)
    }

    /// The id of the piece that begins a text.
    pub fn bos_id(&self) -> Option<u32> {
        self.0.named[0]
    }

    /// The id of the piece that ends a text.
    pub fn eos_id(&self) -> Option<u32> {
        self.0.named[1]
    }

    /// The id of the piece for what no other piece covers.
    pub fn unk_id(&self) -> Option<u32> {
        self.0.named[2]
    }

    /// The id of the piece that pads.
    pub fn pad_id(&self) -> Option<u32> {
        self.0.named[3]
    }

    /// Whether a piece is one of the text, not a control, unknown, byte or unused one.
    pub fn is_normal(&self, id: u32) -> bool {
        self.has_kind(id, PieceKind::Normal)
    }

    /// Whether a piece marks something and never comes from a text.
    pub fn is_control(&self, id: u32) -> bool {
        self.has_kind(id, PieceKind::Control)
    }

    /// Whether a piece is matched whole, whatever is around it.
    pub fn is_user_defined(&self, id: u32) -> bool {
        self.has_kind(id, PieceKind::UserDefined)
    }

    fn has_kind(&self, id: u32, kind: PieceKind) -> bool {
        let piece = self.0.pieces.list.get(id as usize);
        piece.is_some_and(|piece| piece.kind == kind)
    }

    /// A text as the algorithm sees it.
    pub fn normalize(&self, text: &str) -> String {
        let model = &self.0;
        model
            .normalizer
            .normalize(text, &model.pieces.user_defined)
            .text
    }
}

impl std::fmt::Debug for SentencePieceProcessor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SentencePieceProcessor")
            .field("vocab_size", &self.vocab_size())
            .finish_non_exhaustive()
    }
}

/// Valid UTF-8 as text, each other byte as U+FFFD.
fn flush_bytes(bytes: &mut Vec<u8>, text: &mut String) {
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    bytes.clear();
}

impl Pieces {
    fn new(proto: &ModelProto) -> Result<Self, String> {
        let trainer = proto.trainer_spec();
        let bpe = trainer.model_type() == proto::ModelType::Bpe;
        let byte_fallback = trainer.byte_fallback();
        let mut pieces = Self {
            list: Vec::with_capacity(proto.pieces.len()),
            ids: HashMap::new(),
            reserved: HashMap::new(),
            user_defined: Trie::default(),
            unknown: None,
            bytes: None,
        };
        let mut byte_ids = vec![None; 256];
        for (id, piece) in (0u32..).zip(&proto.pieces) {
            let text = piece.piece();
            let mut kind = piece.known_kind()?;
            // Scripts that convert vocabularies leave this one behind; it is never used.
            if text == "\0" && byte_fallback {
                kind = PieceKind::Unused;
            }
            pieces.list.push(Piece {
                text: text.to_owned(),
                score: piece.score(),
                kind,
            });
            if text == "\0" && kind == PieceKind::Unused {
                continue;
            }
            if text.is_empty() || text.contains('\0') || text.len() >= 8000 {
                return Err(format!(
                    "piece {id} is empty, holds a null character, or is longer than 8000 bytes"
                ));
            }
            let in_texts = !kind.is_reserved() || bpe;
            let map = if in_texts {
                &mut pieces.ids
            } else {
                &mut pieces.reserved
            };
            if map.insert(text.to_owned(), id).is_some() {
                return Err(format!("the piece `{text}` is there twice"));
            }
            match kind {
                PieceKind::Unknown if pieces.unknown.is_some() => {
                    return Err("two pieces stand for the unknown".to_owned());
                }
                PieceKind::Unknown => pieces.unknown = Some(id),
                PieceKind::Byte if byte_fallback => {
                    let byte = proto::byte_of(text).ok_or(format!("`{text}` is not a byte"))?;
                    byte_ids[usize::from(byte)] = Some(id);
                }
                PieceKind::Byte => {
                    return Err(format!(
                        "the byte `{text}` is there without `byte_fallback`"
                    ));
                }
                _ => {}
            }
        }
        if byte_fallback {
            let all = byte_ids.into_iter().collect::<Option<_>>();
            pieces.bytes =
                Some(all.ok_or("`byte_fallback` is set, but not every byte has a piece")?);
        }
        if pieces.unknown.is_none() {
            return Err("no piece stands for the unknown".to_owned());
        }
        let user_defined = (0u32..)
            .zip(&pieces.list)
            .filter(|(_, piece)| piece.kind == PieceKind::UserDefined)
            .map(|(id, piece)| (piece.text.as_bytes(), id));
        pieces.user_defined = Trie::new(user_defined.collect());
        Ok(pieces)
    }

    fn id(&self, piece: &str) -> Option<u32> {
        let id = self.reserved.get(piece).or_else(|| self.ids.get(piece));
        id.copied()
    }

    fn text(&self, id: u32) -> &str {
        &self.list[id as usize].text
    }

    fn kind(&self, id: u32) -> PieceKind {
        self.list[id as usize].kind
    }

    /// The piece of this spelling that a text may hold.
    fn of_text(&self, piece: &str) -> Option<u32> {
        let id = *self.ids.get(piece)?;
        (!self.kind(id).is_reserved()).then_some(id)
    }

    fn unknown_id(&self) -> u32 {
        self.unknown.unwrap_or_default() // checked when the model is read
    }

    /// The longest user-defined piece that the text begins with, or its first character.
    fn first_symbol<'a>(&self, text: &'a str) -> (&'a str, bool) {
        match self.user_defined.longest_prefix(text.as_bytes()) {
            Some((length, _)) => (&text[..length], true),
            None => {
                let length = text.chars().next().map_or(0, char::len_utf8);
                (&text[..length], false)
            }
        }
    }
}
