//! The protocol buffers of `.model` files, as far as they say how to tokenise.

use prost::Message;

/// How pieces are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum ModelType {
    Unigram = 1,
    Bpe = 2,
    Word = 3,
    Char = 4,
}

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum PieceKind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

impl PieceKind {
    /// Whether no text is spelled by the piece.
    pub fn is_reserved(self) -> bool {
        matches!(self, Self::Unknown | Self::Control | Self::Byte)
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pub pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer_spec: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer_spec: Option<NormalizerSpec>,
    #[prost(message, optional, tag = "5")]
    pub denormalizer_spec: Option<NormalizerSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Piece {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(enumeration = "PieceKind", optional, tag = "3", default = "Normal")]
    kind: Option<i32>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TrainerSpec {
    #[prost(enumeration = "ModelType", optional, tag = "3", default = "Unigram")]
    pub model_type: Option<i32>,
    #[prost(bool, optional, tag = "24")]
    pub treat_whitespace_as_suffix: Option<bool>,
    #[prost(bool, optional, tag = "35")]
    pub byte_fallback: Option<bool>,
    #[prost(int32, optional, tag = "40")]
    pub unk_id: Option<i32>,
    #[prost(string, optional, tag = "45", default = "<unk>")]
    pub unk_piece: Option<String>,
    #[prost(string, optional, tag = "46", default = "<s>")]
    pub bos_piece: Option<String>,
    #[prost(string, optional, tag = "47", default = "</s>")]
    pub eos_piece: Option<String>,
    #[prost(string, optional, tag = "48", default = "<pad>")]
    pub pad_piece: Option<String>,
    #[prost(string, optional, tag = "44", default = " \u{2047} ")]
    pub unk_surface: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NormalizerSpec {
    #[prost(bytes = "vec", optional, tag = "2")]
    pub precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3", default = "true")]
    pub add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4", default = "true")]
    pub remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5", default = "true")]
    pub escape_whitespaces: Option<bool>,
}

impl ModelProto {
    pub fn trainer_spec(&self) -> TrainerSpec {
        self.trainer_spec.clone().unwrap_or_default()
    }

    pub fn normalizer_spec(&self) -> NormalizerSpec {
        self.normalizer_spec.clone().unwrap_or_default()
    }
}

impl Piece {
    /// What the piece is; a piece without a kind is a normal one.
    pub fn known_kind(&self) -> Result<PieceKind, String> {
        PieceKind::try_from(self.kind.unwrap_or(PieceKind::Normal as i32))
            .map_err(|_| format!("`{}` is a piece of an unknown kind", self.piece()))
    }
}

/// Reads a model; it has to have pieces.
pub(crate) fn read_model(bytes: &[u8]) -> Result<ModelProto, String> {
    let model = ModelProto::decode(bytes)
        .map_err(|error| format!("not a SentencePiece model: {error}; fetch the file again"))?;
    if model.pieces.is_empty() || u32::try_from(model.pieces.len()).is_err() {
        return Err("not a SentencePiece model: it has no pieces; fetch the file again".to_owned());
    }
    let model_type = model.trainer_spec().model_type.unwrap_or(1);
    ModelType::try_from(model_type)
        .map_err(|_| format!("a SentencePiece model of an unknown type, {model_type}"))?;
    Ok(model)
}

/// The byte that a piece such as `<0xE2>` stands for.
pub(crate) fn byte_of(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    let exact = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| exact)
}
