//! Rank files of tiktoken: a token in base64 and its rank per line.

use std::collections::HashMap;

use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use crate::byte_alphabet::BYTE_ALPHABET;

/// The split of the reference's converter, which is that of cl100k.
const PATTERN: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// The tokens by their rank.
type Ranks = Vec<(Vec<u8>, u32)>;

/// Whether the content of a file looks like such ranks.
pub(crate) fn is_ranks(bytes: &[u8]) -> bool {
    let first = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    std::str::from_utf8(first).is_ok_and(|line| parse_line(line.trim_end()).is_some())
}

/// The pipeline of these ranks, with `special` tokens after them. Ids between the ranks and the last of `declared`
/// (tokens by id) that nothing names get a reserved token, as in the reference.
pub(crate) fn tokenizer(
    bytes: &[u8],
    declared: &[(u32, String)],
    special: &[String],
) -> Result<Tokenizer, String> {
    let ranks = read(bytes)?;
    let size = u32::try_from(ranks.len()).map_err(|_| "there are too many ranks")?;
    let mut extra = Vec::new();
    let last = declared.iter().map(|(id, _)| *id).max().unwrap_or(0);
    if last >= size {
        if last - size > 1 << 20 {
            return Err(format!("the id {last} is far beyond the {size} ranks"));
        }
        let names: HashMap<u32, &String> =
            declared.iter().map(|(id, token)| (*id, token)).collect();
        extra.extend((size..=last).map(|id| match names.get(&id) {
            Some(token) => (*token).clone(),
            None => format!("<|reserved_token_{id}|>"),
        }));
    }
    for token in special {
        if !extra.contains(token) {
            extra.push(token.clone());
        }
    }
    build(&ranks, &extra).map_err(|error| error.to_string())
}

fn build(ranks: &Ranks, extra: &[String]) -> tokenizers::Result<Tokenizer> {
    let vocab = ranks.iter().map(|(token, rank)| (spell(token), *rank));
    let model = BPE::builder()
        .vocab_and_merges(vocab.collect::<HashMap<_, _, _>>(), merges(ranks))
        .fuse_unk(false)
        .ignore_merges(true)
        .build()?;
    let split = Split::new(
        SplitPattern::Regex(PATTERN.to_owned()),
        SplitDelimiterBehavior::Isolated,
        false,
    )?;
    let bytes = ByteLevel::new(false, true, false);
    let mut tokenizer = Tokenizer::new(model);
    tokenizer
        .with_pre_tokenizer(Some(Sequence::new(vec![split.into(), bytes.into()])))
        .with_decoder(Some(ByteLevel::default()))
        .with_post_processor(Some(ByteLevel::default().trim_offsets(false)));
    let extra = extra
        .iter()
        .map(|token| AddedToken::from(token.clone(), true).normalized(false));
    tokenizer.add_special_tokens(extra)?;
    Ok(tokenizer)
}

/// Every way to make a token of two others, the token of the lowest rank first.
fn merges(ranks: &Ranks) -> Vec<(String, String)> {
    let by_token: HashMap<&[u8], u32> = ranks
        .iter()
        .map(|(token, rank)| (token.as_slice(), *rank))
        .collect();
    let mut merges = Vec::new();
    for (token, rank) in ranks {
        let splits = (1..token.len()).map(|position| token.split_at(position));
        merges.extend(splits.filter_map(|(left, right)| {
            let key = (*rank, *by_token.get(left)?, *by_token.get(right)?);
            Some((key, left, right))
        }));
    }
    merges.sort_by_key(|(key, ..)| *key);
    merges
        .into_iter()
        .map(|(_, left, right)| (spell(left), spell(right)))
        .collect()
}

fn spell(token: &[u8]) -> String {
    token
        .iter()
        .map(|byte| BYTE_ALPHABET[usize::from(*byte)])
        .collect()
}

fn read(bytes: &[u8]) -> Result<Ranks, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not a file of ranks: it is not text")?;
    let mut ranks = Ranks::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
        let rank = parse_line(line);
        ranks.push(rank.ok_or_else(|| {
            format!("line {number} is not a token in base64, a space and its rank")
        })?);
    }
    if ranks.is_empty() {
        return Err("the file holds no ranks".to_owned());
    }
    Ok(ranks)
}

fn parse_line(line: &str) -> Option<(Vec<u8>, u32)> {
    let (token, rank) = line.split_once(' ')?;
    let token = from_base64(token).filter(|token| !token.is_empty())?;
    Some((token, rank.trim().parse().ok()?))
}

/// Reads base64 with its padding.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        Some(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        })
    };
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 || !text.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for byte in digits.bytes() {
        bits = bits << 6 | u32::from(digit(byte)?);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

/// Writes base64 with its padding.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let digit = (bits >> (18 - 6 * index) & 63) as usize;
            text.push(if index <= chunk.len() {
                char::from(DIGITS[digit])
            } else {
                '='
            });
        }
    }
    text
}
