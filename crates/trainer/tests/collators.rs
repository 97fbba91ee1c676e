//! Batches are those of the reference.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value as Json;
use transformers_tokenization::{AutoTokenizer, Padding, Side, Tokenizer};
use transformers_trainer::TrainerError;
use transformers_trainer::data::{
    Array, Batch, Collator, Column, DataCollatorForCausalLM, DataCollatorForLanguageModeling,
    DataCollatorForMultipleChoice, DataCollatorForSeq2Seq, DataCollatorForTokenClassification,
    DataCollatorWithFlattening, DataCollatorWithPadding, DefaultDataCollator, Example, MaskOptions,
    PadOptions, ShiftRight,
};

#[derive(Deserialize)]
struct Case {
    collator: String,
    side: Option<String>,
    #[serde(default)]
    options: Json,
    decoder_start_token_id: Option<u32>,
    decoder_pad_token_id: Option<u32>,
    examples: Vec<Example>,
    batch: BTreeMap<String, Expected>,
}

#[derive(Deserialize)]
struct Expected {
    kind: String,
    shape: Vec<usize>,
    values: Vec<Json>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("golden/collators.json")).unwrap()
}

fn tokenizer() -> Tokenizer {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tokenization/tests/golden/word_piece");
    AutoTokenizer::from_pretrained(folder).unwrap()
}

impl Case {
    fn tokenizer(&self) -> Tokenizer {
        tokenizer().with_padding_side(match self.side.as_deref() {
            Some("left") => Side::Left,
            _ => Side::Right,
        })
    }

    fn usize(&self, option: &str) -> Option<usize> {
        self.options[option].as_u64().map(|value| value as usize)
    }

    fn flag(&self, option: &str, default: bool) -> bool {
        self.options[option].as_bool().unwrap_or(default)
    }

    fn padding(&self) -> PadOptions {
        PadOptions {
            padding: match self.options["padding"].as_str() {
                Some("max_length") => Padding::MaxLength,
                _ => Padding::Longest,
            },
            max_length: self.usize("max_length"),
            pad_to_multiple_of: self.usize("pad_to_multiple_of"),
        }
    }

    fn masking(&self) -> DataCollatorForLanguageModeling {
        let default = MaskOptions::default();
        let number = |name: &str, default| self.options[name].as_f64().unwrap_or(default);
        let mask = MaskOptions {
            mlm_probability: number("mlm_probability", default.mlm_probability),
            mask_replace_prob: number("mask_replace_prob", default.mask_replace_prob),
            random_replace_prob: number("random_replace_prob", default.random_replace_prob),
            whole_word_mask: self.collator == "whole words",
        };
        let seed = self.options["seed"].as_u64().unwrap();
        DataCollatorForLanguageModeling::with_options(self.tokenizer(), seed, mask, self.padding())
            .unwrap()
    }

    fn collator(&self) -> Box<dyn Collator> {
        let options = self.padding();
        match self.collator.as_str() {
            "default" => Box::new(DefaultDataCollator),
            "padding" => Box::new(DataCollatorWithPadding {
                options,
                ..DataCollatorWithPadding::new(self.tokenizer())
            }),
            "tokens" => Box::new(DataCollatorForTokenClassification {
                options,
                ..DataCollatorForTokenClassification::new(self.tokenizer())
            }),
            "choices" => Box::new(DataCollatorForMultipleChoice::new(self.tokenizer())),
            "seq2seq" => Box::new(DataCollatorForSeq2Seq {
                options,
                decoder: self
                    .decoder_start_token_id
                    .zip(self.decoder_pad_token_id)
                    .map(|(start, pad)| ShiftRight { start, pad }),
                ..DataCollatorForSeq2Seq::new(self.tokenizer())
            }),
            "masked" | "whole words" => Box::new(self.masking()),
            "causal" => Box::new(DataCollatorForCausalLM {
                options,
                ..DataCollatorForCausalLM::new(self.tokenizer())
            }),
            "flattening" => Box::new(DataCollatorWithFlattening {
                return_position_ids: self.flag("return_position_ids", true),
                position_ids_start: self.options["position_ids_start"].as_i64().unwrap_or(0),
                separator_id: self.options["separator_id"].as_i64().unwrap_or(-100),
                return_seq_idx: self.flag("return_seq_idx", false),
                return_cu_seq_lens: self.flag("return_flash_attn_kwargs", false),
            }),
            other => panic!("{other}"),
        }
    }
}

fn array<T: serde::de::DeserializeOwned>(expected: &Expected) -> Array<T> {
    let values = expected.values.iter().cloned();
    let values = values.map(|value| serde_json::from_value(value).unwrap());
    Array::new(values.collect(), expected.shape.clone())
}

fn expected(batch: &BTreeMap<String, Expected>) -> Batch {
    let mut whole = Batch::new();
    for (name, expected) in batch {
        let column: Column = match expected.kind.as_str() {
            "integers" => array::<i64>(expected).into(),
            "floats" => array::<f32>(expected).into(),
            "bools" => array::<bool>(expected).into(),
            kind => panic!("{kind}"),
        };
        whole.insert(name, column);
    }
    whole
}

#[test]
fn batches_are_those_of_the_reference() {
    let mut seen = BTreeMap::<_, usize>::new();
    for (index, case) in cases().into_iter().enumerate() {
        let batch = case.collator().collate(case.examples.clone()).unwrap();
        let about = format!(
            "{index}: {} {:?} {}",
            case.collator, case.side, case.options
        );
        assert_eq!(batch, expected(&case.batch), "{about}");
        *seen.entry(case.collator).or_default() += 1;
    }
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "causal",
            "choices",
            "default",
            "flattening",
            "masked",
            "padding",
            "seq2seq",
            "tokens",
            "whole words"
        ]
    );
}

fn masked_rows() -> Vec<Example> {
    let rows = (0..200).map(|_| Example::new().with("input_ids", vec![5_i64; 100]));
    rows.collect()
}

#[test]
fn masking_has_the_rates_of_bert() {
    let mut collator = DataCollatorForLanguageModeling::new(tokenizer(), 0).unwrap();
    let mask_token = i64::from(tokenizer().mask_token_id().unwrap());
    let batch = collator.collate(masked_rows()).unwrap();
    let (ids, labels) = (
        batch.integers("input_ids").unwrap(),
        batch.integers("labels").unwrap(),
    );
    let pairs = || ids.values().iter().zip(labels.values());
    let hidden = pairs().filter(|(_, label)| **label != -100).count() as f64;
    let replaced = pairs()
        .filter(|(id, label)| **label != -100 && **id == mask_token)
        .count() as f64;
    let kept = pairs()
        .filter(|(id, label)| **label != -100 && **id == 5)
        .count() as f64;
    assert!(
        pairs().all(|(id, label)| *label == 5 || *id == 5),
        "others stay as they are"
    );
    assert!((hidden / 20_000.0 - 0.15).abs() < 0.01, "{hidden}");
    assert!(
        (replaced / hidden - 0.8).abs() < 0.03,
        "{replaced} of {hidden}"
    );
    assert!((kept / hidden - 0.1).abs() < 0.03, "{kept} of {hidden}");
}

#[test]
fn a_restored_collator_masks_on() {
    let mut whole = DataCollatorForLanguageModeling::new(tokenizer(), 9).unwrap();
    let first = whole.collate(masked_rows()).unwrap();
    let state = whole.state().unwrap();
    let second = whole.collate(masked_rows()).unwrap();
    assert_ne!(first, second);
    let mut resumed = DataCollatorForLanguageModeling::new(tokenizer(), 0).unwrap();
    resumed.restore(&state).unwrap();
    assert_eq!(resumed.collate(masked_rows()).unwrap(), second);
    let error = resumed
        .restore(&serde_json::json!({"seed": "x"}))
        .unwrap_err();
    assert!(error.to_string().contains("masks tokens"), "{error}");
}

fn refused(mut collator: impl Collator, examples: Vec<Example>) -> String {
    collator.collate(examples).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_stacked_is_named() {
    let row = |len: i64| Example::new().with("input_ids", (0..len).collect::<Vec<i64>>());
    let error = DefaultDataCollator
        .collate(vec![row(2), row(3)])
        .unwrap_err();
    assert!(
        matches!(error, TrainerError::RaggedColumn { .. }),
        "{error}"
    );
    let error = refused(
        DefaultDataCollator,
        vec![row(2), Example::new().with("x", 1_i64)],
    );
    assert_eq!(error, "there is no column `input_ids`; there are: x");
    let texts = vec![Example::new().with("text", "no ids")];
    let error = refused(DataCollatorWithPadding::new(tokenizer()), texts);
    assert_eq!(error, "there is no column `input_ids`; there are: text");
    let error = refused(
        DataCollatorForTokenClassification::new(tokenizer()),
        vec![row(2).with("labels", "B-PER")],
    );
    assert_eq!(
        error,
        "column `labels`: a text instead of a list of whole numbers"
    );
    let huge = DataCollatorWithPadding {
        options: PadOptions {
            pad_to_multiple_of: Some(usize::MAX),
            ..PadOptions::default()
        },
        ..DataCollatorWithPadding::new(tokenizer())
    };
    assert!(refused(huge, vec![row(2)]).contains("pad_to_multiple_of"));
    assert!(
        refused(
            DataCollatorForMultipleChoice::new(tokenizer()),
            vec![Example::new().with("input_ids", "x")]
        )
        .contains("no choices")
    );
    for examples in [Vec::new(), vec![row(0)]] {
        assert!(refused(DataCollatorWithFlattening::default(), examples).contains("no examples"));
    }
    assert!(refused(DefaultDataCollator, Vec::new()).contains("no examples"));
}

#[test]
fn probabilities_are_checked() {
    let options = |mask| {
        DataCollatorForLanguageModeling::with_options(tokenizer(), 0, mask, PadOptions::default())
    };
    let default = MaskOptions::default();
    assert!(
        options(MaskOptions {
            mlm_probability: 1.5,
            ..default
        })
        .is_err()
    );
    assert!(
        options(MaskOptions {
            random_replace_prob: 0.3,
            ..default
        })
        .is_err()
    );
    assert!(
        options(MaskOptions {
            mask_replace_prob: f64::NAN,
            ..default
        })
        .is_err()
    );
}
