//! From a text to the one that pieces are looked for in: the character map, and what becomes of spaces.

use super::SPACE;
use super::proto::NormalizerSpec;
use super::trie::Trie;

pub(crate) struct Normalizer {
    map: Option<CharacterMap>,
    pub adds_prefix: bool,
    pub removes_extra_spaces: bool,
    space: &'static str,
    /// Whether a space belongs to the word before it.
    suffix: bool,
}

/// A normalised text, and where each of its bytes, and its end, come from.
#[derive(Default)]
pub(super) struct Normalized {
    pub text: String,
    pub origin: Vec<usize>,
}

impl Normalized {
    fn push(&mut self, text: &str, origin: usize) {
        self.text.push_str(text);
        self.origin.resize(self.text.len(), origin);
    }
}

impl Normalizer {
    pub fn new(spec: NormalizerSpec, suffix: bool) -> Result<Self, String> {
        Ok(Self {
            map: CharacterMap::read(spec.precompiled_charsmap())?,
            adds_prefix: spec.add_dummy_prefix(),
            removes_extra_spaces: spec.remove_extra_whitespaces(),
            space: if spec.escape_whitespaces() {
                SPACE
            } else {
                " "
            },
            suffix,
        })
    }

    /// Normalises a text, except the user-defined pieces in it.
    pub fn normalize(&self, text: &str, user_defined: &Trie) -> Normalized {
        let mut result = Normalized::default();
        let mut position = 0;
        if self.removes_extra_spaces {
            while let (" ", length) = self.first(&text[position..], user_defined) {
                position += length;
            }
        }
        if position < text.len() {
            self.normalize_from(position, text, user_defined, &mut result);
        } else {
            result.origin.push(0);
        }
        result
    }

    fn normalize_from(
        &self,
        mut position: usize,
        text: &str,
        user_defined: &Trie,
        result: &mut Normalized,
    ) {
        if self.adds_prefix && !self.suffix {
            result.push(self.space, position);
        }
        let mut after_space = self.removes_extra_spaces;
        while position < text.len() {
            let (mut new, length) = self.first(&text[position..], user_defined);
            if after_space {
                new = new.trim_start_matches(' ');
            }
            for (index, part) in new.split(' ').enumerate() {
                if index > 0 {
                    result.push(self.space, position);
                }
                result.push(part, position);
            }
            if !new.is_empty() {
                after_space = new.ends_with(' ');
            }
            after_space &= self.removes_extra_spaces;
            position += length;
        }
        if self.removes_extra_spaces {
            while let Some(rest) = result.text.strip_suffix(self.space) {
                let length = rest.len();
                position = result.origin[length];
                result.text.truncate(length);
                result.origin.truncate(length);
            }
        }
        if self.adds_prefix && self.suffix {
            result.push(self.space, position);
        }
        result.origin.push(position);
    }

    /// What the beginning of the text becomes, and how many bytes that is the beginning.
    fn first<'a>(&'a self, text: &'a str, user_defined: &Trie) -> (&'a str, usize) {
        if let Some((length, _)) = user_defined.longest_prefix(text.as_bytes()) {
            return (&text[..length], length);
        }
        if let Some(map) = &self.map
            && let Some(found) = map.longest(text)
        {
            return found;
        }
        let length = text.chars().next().map_or(0, char::len_utf8);
        (&text[..length], length)
    }
}

/// The replacements of a model: a double array (of darts-clone) from what is replaced to where its replacement begins.
pub(crate) struct CharacterMap {
    units: Vec<u32>,
    /// Each ends with a null character.
    replacements: String,
}

/// So many of the rules that match are looked at.
const MAX_RULES: usize = 32;

impl CharacterMap {
    fn read(bytes: &[u8]) -> Result<Option<Self>, String> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let broken = || "the character map of the model is cut off or damaged".to_owned();
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(broken)?;
        let size = u32::from_le_bytes(*size) as usize;
        if size < 1024 || !size.is_multiple_of(1024) || size >= rest.len() {
            return Err(broken());
        }
        let (units, replacements) = rest.split_at(size);
        let replacements = String::from_utf8(replacements.to_vec()).map_err(|_| broken())?;
        if !replacements.ends_with('\0') {
            return Err(broken());
        }
        let units = units.chunks_exact(4);
        Ok(Some(Self {
            units: units
                .map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]))
                .collect(),
            replacements,
        }))
    }

    /// Fails where a text could lead out of the map: the reader of the `tokenizers` crate does not look.
    pub fn check(bytes: &[u8]) -> Result<(), String> {
        let Some(map) = Self::read(bytes)? else {
            return Ok(());
        };
        let is_sound = |(position, unit): (usize, &u32)| {
            let next = position ^ offset(*unit);
            let leaf = map
                .units
                .get(next)
                .map(|leaf| (leaf & 0x7fff_ffff) as usize);
            let is_leaf = unit >> 31 == 1;
            let fits = (next | 0xff) < map.units.len();
            let begins = leaf.is_some_and(|value| map.replacements.is_char_boundary(value));
            is_leaf || (fits && (unit >> 8 & 1 == 0 || begins))
        };
        match map.units.iter().enumerate().all(is_sound) {
            true => Ok(()),
            false => Err("the character map of the normaliser is damaged".to_owned()),
        }
    }

    /// The replacement of the longest beginning that has one, and its length.
    fn longest(&self, text: &str) -> Option<(&str, usize)> {
        let (length, value) = self.prefixes(text.as_bytes()).take(MAX_RULES).last()?;
        let replacement = self.replacements.get(value..)?;
        text.is_char_boundary(length)
            .then(|| replacement.split('\0').next().map(|text| (text, length)))
            .flatten()
    }

    fn prefixes(&self, text: &[u8]) -> impl Iterator<Item = (usize, usize)> {
        let mut position = self.units.first().map_or(0, |unit| offset(*unit));
        text.iter()
            .zip(1..)
            .map_while(move |(&byte, length)| {
                position ^= usize::from(byte);
                let unit = *self.units.get(position)?;
                if unit & 0x8000_00ff != u32::from(byte) {
                    return None;
                }
                position ^= offset(unit);
                let leaf = (unit >> 8 & 1 == 1).then(|| self.units.get(position));
                Some(
                    leaf.flatten()
                        .map(|leaf| (length, (leaf & 0x7fff_ffff) as usize)),
                )
            })
            .flatten()
    }
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 1 << 9) >> 6)) as usize
}
