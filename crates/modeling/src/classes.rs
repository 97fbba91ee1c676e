//! The reference's classes as data: which one an auto class makes of a model type, and what is to know of it.
//!
//! `classes.txt` says how it is written; a script makes it.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::Head;

/// What the reference says of a class beside its layers.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct ClassFacts {
    /// Whether it generates, and so has a generation config.
    pub generates: bool,
    /// Parts of names of parameters that stay in f32 when the rest is loaded in f16, separated by commas
    /// (`_keep_in_fp32_modules`).
    f32_in_f16: &'static str,
    /// The same for any half type (`_keep_in_fp32_modules_strict`).
    f32_in_half: &'static str,
}

#[derive(Default)]
struct Table {
    /// By model type, and then by auto class without `AutoModelFor`.
    names: HashMap<&'static str, HashMap<&'static str, String>>,
    facts: HashMap<&'static str, ClassFacts>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table::default();
    include_str!("classes.txt")
        .lines()
        .for_each(|line| table.read(line));
    table
});

impl Table {
    fn read(&mut self, line: &'static str) {
        let mut words = line.split(' ');
        match (words.next(), words.next()) {
            (Some("@"), Some(class)) => {
                let mut facts = ClassFacts::default();
                for word in words {
                    match word.split_once('=') {
                        Some(("f16", modules)) => facts.f32_in_f16 = modules,
                        Some(("half", modules)) => facts.f32_in_half = modules,
                        _ => facts.generates = true,
                    }
                }
                self.facts.insert(class, facts);
            }
            (Some(model_type), Some(stem)) => {
                let names = self.names.entry(model_type).or_default();
                for word in words {
                    let (head, class) = match (word.split_once('='), word) {
                        (Some((head, class)), _) => (head, class.to_owned()),
                        (None, "-") => ("-", format!("{stem}Model")),
                        (None, head) => (head, format!("{stem}For{head}")),
                    };
                    names.insert(head, class);
                }
            }
            _ => {}
        }
    }
}

/// The class that the auto class of `head` makes of `model_type`; `None` for families of a user's own.
pub(crate) fn class_name(model_type: &str, head: Head) -> Option<&'static str> {
    let head = head.auto_class().trim_start_matches("AutoModel");
    let head = head.strip_prefix("For").unwrap_or("-");
    TABLE.names.get(model_type)?.get(head).map(String::as_str)
}

/// What is known of a class.
pub(crate) fn facts(class: &str) -> ClassFacts {
    TABLE.facts.get(class).copied().unwrap_or_default()
}
