//! How GPT-2 spells bytes.

use std::sync::LazyLock;

/// The character of each byte.
pub(crate) static BYTE_ALPHABET: LazyLock<[char; 256]> = LazyLock::new(|| {
    let mut free = (0x100..).filter_map(char::from_u32);
    std::array::from_fn(|byte| match byte {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => byte as u8 as char,
        _ => free.next().expect("there are more characters than bytes"),
    })
});
