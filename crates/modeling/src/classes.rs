//! The reference's classes as data: which one an auto class makes of a model type, and what is to know of it.
//!
//! `classes.txt` says how it is written; a script makes it.

use std::collections::HashMap;
use std::sync::LazyLock;

use transformers_weights::DType;

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
    /// Whether this is a class of the reference's.
    pub known: bool,
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
    class_of(model_type, head.strip_prefix("For").unwrap_or("-"))
}

/// The class that answers texts with images or sounds in them; `None` where there is none.
pub(crate) fn multimodal_class(model_type: &str) -> Option<&'static str> {
    class_of(model_type, "MultimodalLM")
}

fn class_of(model_type: &str, head: &str) -> Option<&'static str> {
    TABLE.names.get(model_type)?.get(head).map(String::as_str)
}

impl ClassFacts {
    /// Parts of names of parameters that stay in f32 when a model is loaded in `dtype`.
    pub fn keep_in_f32(&self, dtype: DType) -> impl Iterator<Item = &'static str> {
        let f16 = (dtype == DType::F16).then_some(self.f32_in_f16);
        let half = matches!(dtype, DType::F16 | DType::BF16).then_some(self.f32_in_half);
        let parts = f16.into_iter().chain(half).flat_map(|list| list.split(','));
        parts.filter(|part| !part.is_empty())
    }
}

/// What is known of a class.
pub(crate) fn facts(class: &str) -> ClassFacts {
    let found = TABLE.facts.get(class).copied().unwrap_or_default();
    ClassFacts {
        known: true,
        ..found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_reference() {
        for (model_type, head, class) in [
            ("llama", Head::Base, "LlamaModel"),
            ("llama", Head::CausalLM, "LlamaForCausalLM"),
            ("gemma3_text", Head::CausalLM, "Gemma3ForCausalLM"),
            ("bert", Head::MaskedLM, "BertForMaskedLM"),
            ("bert", Head::CausalLM, "BertLMHeadModel"),
            ("gpt2", Head::CausalLM, "GPT2LMHeadModel"),
        ] {
            assert_eq!(class_name(model_type, head), Some(class));
        }
        assert_eq!(class_name("llama", Head::MaskedLM), None);
        assert_eq!(class_name("parallel", Head::Base), None);
        assert!(facts("LlamaForCausalLM").generates && !facts("LlamaModel").generates);
    }

    #[test]
    fn what_stays_in_f32_depends_on_the_half_type() {
        let kept = |class, dtype| facts(class).keep_in_f32(dtype).collect::<Vec<_>>();
        assert_eq!(kept("T5ForConditionalGeneration", DType::F16), ["wo"]);
        assert_eq!(kept("T5ForConditionalGeneration", DType::BF16), [""; 0]);
        for dtype in [DType::F16, DType::BF16] {
            let bias = ["e_score_correction_bias"];
            assert_eq!(kept("DeepseekV3ForCausalLM", dtype), bias);
        }
        assert_eq!(
            kept("DeepseekV32Model", DType::F16),
            ["indexer.weights_proj", "e_score_correction_bias"]
        );
        assert_eq!(kept("DeepseekV3ForCausalLM", DType::F32), [""; 0]);
        assert_eq!(kept("LlamaForCausalLM", DType::F16), [""; 0]);
    }
}
