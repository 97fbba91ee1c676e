//! The vocabulary of a SentencePiece model in the order of a class: the reference's `convert_from_spm`.

use std::collections::{HashMap, HashSet};

use tokenizers::AddedToken;

use super::build::Builder;
use super::{TokenizerClass, Vocabulary};
use crate::sentencepiece::proto::{ModelProto, PieceKind};
use crate::{generate_merges, tiktoken};

type Scores = Vec<(String, f64)>;

impl Builder {
    /// With the vocabulary of this model.
    pub fn sentencepiece(self, class: TokenizerClass, proto: &ModelProto) -> Self {
        let pieces: Scores = proto
            .pieces
            .iter()
            .map(|piece| (piece.piece().to_owned(), f64::from(piece.score())))
            .collect();
        let kinds = proto
            .pieces
            .iter()
            .map(|piece| (piece.piece(), piece.kind()));
        let special = kinds.filter_map(|(piece, kind)| match kind {
            PieceKind::Control => Some(AddedToken::from(piece, true).normalized(false)),
            PieceKind::UserDefined => {
                let special = class.definition.spm_all_special;
                Some(AddedToken::from(piece, special).normalized(false))
            }
            _ => None,
        });
        let normalizer = proto.normalizer_spec();
        let map = normalizer.precompiled_charsmap();
        let builder = self
            .more_tokens(special.collect())
            .unk_id(u32::try_from(proto.trainer_spec().unk_id()).unwrap_or(0))
            .map((!map.is_empty()).then(|| tiktoken::to_base64(map)));
        if class.definition.model_type() != "BPE" {
            return builder.vocab(Vocabulary::Scores(ordered(class, pieces)), Vec::new());
        }
        let ids: HashMap<String, u32> = pieces
            .iter()
            .zip(0..)
            .map(|((piece, _), id)| (piece.clone(), id))
            .collect();
        let merges = generate_merges(&ids, None, &[]);
        builder.vocab(Vocabulary::Ids(shifted(class, pieces, ids)), merges)
    }
}

/// The pieces with the class's own around them.
pub(super) fn ordered(class: TokenizerClass, pieces: Scores) -> Scores {
    let definition = class.definition;
    let token = |name: &str| {
        let token = definition.special_tokens.get(name);
        (token.cloned().unwrap_or_default(), 0.0)
    };
    let rest = |count: usize| pieces.iter().skip(count).cloned();
    let codes = || {
        definition
            .extra_special_tokens
            .iter()
            .map(|code| (code.clone(), 0.0))
    };
    match class.name {
        "CamembertTokenizer" => [
            ("<s>NOTUSED".to_owned(), 0.0),
            token("pad_token"),
            ("</s>NOTUSED".to_owned(), 0.0),
            token("unk_token"),
            ("<unk>NOTUSED".to_owned(), -100.0),
        ]
        .into_iter()
        .chain(rest(1))
        .chain([token("mask_token")])
        .collect(),
        "XLMRobertaTokenizer" | "LayoutXLMTokenizer" | "MBartTokenizer" | "MBart50Tokenizer" => {
            let has_codes = class.name.starts_with("MBart");
            let first = [
                token("cls_token"),
                token("pad_token"),
                token("eos_token"),
                token("unk_token"),
            ];
            first
                .into_iter()
                .chain(rest(3))
                .chain(codes().filter(|_| has_codes))
                .chain([token("mask_token")])
                .collect()
        }
        "PegasusTokenizer" => {
            let numbered = (2..103).map(|number| (format!("<unk_{number}>"), -100.0));
            let masks = ["<mask_1>", "<mask_2>"].map(|mask| (mask.to_owned(), 0.0));
            [token("pad_token"), token("eos_token")]
                .into_iter()
                .chain(masks)
                .chain(numbered)
                .chain(rest(2))
                .collect()
        }
        "T5Tokenizer" | "VideoPrismTokenizer" => {
            let extra = (0..100)
                .rev()
                .map(|number| (format!("<extra_id_{number}>"), 0.0));
            rest(0).chain(extra).collect()
        }
        _ => pieces,
    }
}

/// The ids of byte-pair vocabularies, which two classes count anew.
fn shifted(
    class: TokenizerClass,
    pieces: Scores,
    ids: HashMap<String, u32>,
) -> HashMap<String, u32> {
    let first = match class.name {
        "NllbTokenizer" => ["<s>", "<pad>", "</s>", "<unk>"],
        "SeamlessM4TTokenizer" => ["<pad>", "<unk>", "<s>", "</s>"],
        _ => return ids,
    };
    let mut shifted: HashMap<String, u32> = first.map(str::to_owned).into_iter().zip(0..).collect();
    if class.name == "SeamlessM4TTokenizer" {
        // One further each: the file lacks the padding token.
        shifted.extend(
            pieces
                .into_iter()
                .zip(1..)
                .map(|((piece, _), id)| (piece, id)),
        );
        return shifted;
    }
    let known: HashSet<String> = shifted.keys().cloned().collect();
    let rest = pieces
        .into_iter()
        .map(|(piece, _)| piece)
        .filter(|piece| !known.contains(piece));
    shifted.extend(rest.zip(4..));
    shifted
}
