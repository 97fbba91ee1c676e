//! The order of parameter names: layer 2 before layer 10, as the reference sorts a checkpoint.

use std::cmp::Ordering;

/// Compares names part by part between dots: whole numbers by value and before words; words that end in digits by the
/// word, then by the number. Equal only for equal names.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    // Most names share most parts: those before the first difference are equal.
    let bytes = left.bytes().zip(right.bytes());
    let same = bytes.take_while(|(left, right)| left == right).count();
    let start = left.as_bytes()[..same]
        .iter()
        .rposition(|&byte| byte == b'.');
    let start = start.map_or(0, |dot| dot + 1);
    left[start..]
        .split('.')
        .map(key)
        .cmp(right[start..].split('.').map(key))
        .then_with(|| left.cmp(right))
}

/// Digits are compared by length, then as text: parts longer than any machine number do not overflow.
type Number<'a> = (usize, &'a str);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Number(Number<'a>),
    Word(&'a str, Option<Number<'a>>),
}

fn key(part: &str) -> Key<'_> {
    let word = part.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &part[word.len()..];
    let number = digits.trim_start_matches('0');
    let number = (number.len(), number);
    match (word, digits) {
        ("", "") => Key::Word("", None),
        ("", _) => Key::Number(number),
        (word, "") => Key::Word(word, None),
        (word, _) => Key::Word(word, Some(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        let sorted = [
            "",
            "layers.2.w",
            "layers.10.w",
            "layers.99999999999999999999999.w",
            "layers.weight",
            "shard",
            "shard_2",
            "shard_011",
            "shard_11",
            "shard_12.0",
            "shard_12.a",
        ];
        let mut shuffled = sorted;
        shuffled.reverse();
        shuffled.sort_by(|a, b| compare(a, b));
        assert_eq!(shuffled, sorted);
    }
}
