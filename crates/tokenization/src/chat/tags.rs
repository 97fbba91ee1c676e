//! Where the tags of a template are, and the words of each.

use std::ops::Range;

/// A word of a tag: a name, a number, a text in quotes, or a sign.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Word<'t> {
    pub text: &'t str,
    /// Where it begins in the template.
    pub start: usize,
    pub is_name: bool,
}

impl Word<'_> {
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it stands for its own value: a number or a text.
    pub fn is_literal(&self) -> bool {
        self.text
            .starts_with(|first: char| first.is_ascii_digit() || matches!(first, '"' | '\''))
    }
}

/// A tag: `{{ … }}`, `{% … %}`, or `{# … #}`, which has no words, as have those around a raw block.
#[derive(Debug)]
pub(super) struct Tag<'t> {
    pub is_block: bool,
    pub words: Vec<Word<'t>>,
    /// Where it stands in the template.
    pub range: Range<usize>,
}

/// The tags of a template, in order. A raw block has none inside. `None` where a tag does not end, or holds what is no
/// word.
pub(super) fn tags(template: &str) -> Option<Vec<Tag<'_>>> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(offset) = template[at..].find('{') {
        at += offset;
        let start = at;
        let mut tag = |is_block, words, end| {
            let range = start..end;
            tags.push(Tag {
                is_block,
                words,
                range,
            });
            end
        };
        match template.as_bytes().get(at + 1) {
            Some(b'#') => {
                at = tag(
                    false,
                    Vec::new(),
                    at + 2 + template[at + 2..].find("#}")? + 2,
                )
            }
            Some(sign @ (b'{' | b'%')) => {
                let is_block = *sign == b'%';
                let (words, end) = words(template, at + 2, if is_block { "%}" } else { "}}" })?;
                if is_block && matches!(words.as_slice(), [word] if word.text == "raw") {
                    tag(false, Vec::new(), end);
                    let closing = raw_end(&template[end..])?;
                    let range = end + closing.start..end + closing.end;
                    at = range.end;
                    tags.push(Tag {
                        is_block: false,
                        words: Vec::new(),
                        range,
                    });
                } else {
                    at = tag(is_block, words, end);
                }
            }
            _ => at += 1,
        }
    }
    Some(tags)
}

/// The tag that ends a raw block.
fn raw_end(rest: &str) -> Option<Range<usize>> {
    for (start, _) in rest.match_indices("{%") {
        let inner = rest[start + 2..]
            .trim_start_matches(['-', '+'])
            .trim_start();
        if let Some(after) = inner.strip_prefix("endraw") {
            let after = after.trim_start().trim_start_matches(['-', '+']);
            if let Some(after) = after.strip_prefix("%}") {
                return Some(start..rest.len() - after.len());
            }
        }
    }
    None
}

/// What a template writes as it stands: the text outside of its tags, and the texts in quotes, with zeros between.
pub(super) fn literals(template: &str) -> String {
    let mut text = String::new();
    let mut outside = 0;
    for tag in tags(template).unwrap_or_default() {
        text.push_str(&template[outside..tag.range.start]);
        text.push('\0');
        outside = tag.range.end;
        for word in tag
            .words
            .iter()
            .filter(|word| word.text.starts_with(['"', '\'']))
        {
            unescape(&word.text[1..word.text.len() - 1], &mut text);
            text.push('\0');
        }
    }
    text.push_str(&template[outside..]);
    text
}

fn unescape(quoted: &str, text: &mut String) {
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            ('\\', Some(escaped)) => {
                text.push(match escaped {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                });
                characters.next();
            }
            _ => text.push(character),
        }
    }
}

/// The words from `at` on, and where the tag has ended.
fn words<'t>(template: &'t str, mut at: usize, closing: &str) -> Option<(Vec<Word<'t>>, usize)> {
    let mut words = Vec::new();
    let mut open = 0i64;
    if template[at..].starts_with(['-', '+']) {
        at += 1;
    }
    loop {
        at += template[at..].len()
            - template[at..]
                .trim_start_matches(|c: char| c.is_ascii_whitespace())
                .len();
        let rest = &template[at..];
        let unsigned = rest.strip_prefix(['-', '+']).unwrap_or(rest);
        if open == 0 && unsigned.starts_with(closing) {
            return Some((words, template.len() - unsigned.len() + closing.len()));
        }
        let length = word_length(rest, words.last())?;
        let text = &rest[..length];
        open += match text {
            "(" | "[" | "{" => 1,
            ")" | "]" | "}" => -1,
            _ => 0,
        };
        let is_name = text.starts_with(|first: char| first == '_' || first.is_alphabetic());
        words.push(Word {
            text,
            start: at,
            is_name,
        });
        at += length;
    }
}

fn word_length(rest: &str, before: Option<&Word<'_>>) -> Option<usize> {
    const DOUBLE: [&str; 6] = ["==", "!=", "<=", ">=", "//", "**"];
    let first = rest.chars().next()?;
    let while_true = |allowed: fn(char) -> bool| rest.find(|c| !allowed(c)).unwrap_or(rest.len());
    match first {
        '"' | '\'' => {
            let mut escaped = false;
            let end = rest[1..].find(|character| {
                let ends = character == first && !escaped;
                escaped = character == '\\' && !escaped;
                ends
            })?;
            Some(end + 2)
        }
        '0'..='9' => {
            let whole = while_true(|c| c.is_ascii_alphanumeric() || c == '_');
            // `x.1.0` is two positions.
            let is_position = before.is_some_and(|word| word.text == ".");
            Some(if is_position {
                whole
            } else {
                number_length(rest, whole)
            })
        }
        '_' => Some(while_true(|c| c == '_' || c.is_alphanumeric())),
        letter if letter.is_alphabetic() => Some(while_true(|c| c == '_' || c.is_alphanumeric())),
        _ if DOUBLE.iter().any(|sign| rest.starts_with(sign)) => Some(2),
        '+' | '-' | '*' | '/' | '%' | '~' | '<' | '>' | '=' | '|' | '.' | ',' | ':' | '(' | ')'
        | '[' | ']' | '{' | '}' => Some(1),
        _ => None,
    }
}

/// With its fraction and exponent.
fn number_length(rest: &str, whole: usize) -> usize {
    let digits = |from: usize| {
        rest[from..]
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len() - from)
    };
    let mut length = whole;
    if rest[length..].starts_with('.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
        if rest[length..].starts_with(['e', 'E']) {
            length += 1;
        }
    }
    if rest[..length].ends_with(['e', 'E'])
        && !rest.starts_with("0x")
        && rest[length..].starts_with(['-', '+'])
    {
        length += 1;
    }
    length + digits(length)
}
