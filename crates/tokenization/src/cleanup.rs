//! Removes the spaces that joining word pieces puts before punctuation: "it 's fine ." becomes "it's fine.".

/// What is removed, in this order, over the whole text each.
const CLEANED: [(&str, &str); 10] = [
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
];

/// The text without these spaces.
pub(crate) fn clean_up_spaces(text: &str) -> String {
    CLEANED
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Where a text that still grows can be cut, so that cleaning the parts gives what cleaning the whole would: before the
/// last space that no removal can reach across. All but one of them begin with their only space; " ' " joins what is on
/// its sides, which can make " n't" of " n ' t", or " 's" of two spaces and "' s".
pub(crate) fn safe_cut(text: &str) -> usize {
    text.rmatch_indices(' ')
        .map(|(position, _)| position)
        .find(|&position| {
            let word = text[..position].rsplit(' ').next();
            !matches!(word, Some("" | "'" | "n"))
        })
        .unwrap_or(0)
}
