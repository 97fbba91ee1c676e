//! Heads: what does not fit is a typed error, and what is missing is named.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use transformers_config::AutoConfig;
use transformers_modeling::{
    AutoModelForMultipleChoice, AutoModelForNextSentencePrediction, AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification, AutoModelForTokenClassification, Head, Labels, ModelError,
    ModelInputs, PreTrainedModel, Rows, supported,
};
use transformers_tests::Case;
use transformers_tests::conformance::load_case;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(name)
}

fn two_rows() -> ModelInputs {
    ModelInputs::new(Rows::new(&[[12, 13, 14], [15, 16, 17]]).unwrap())
}

fn error(model: &dyn PreTrainedModel, inputs: ModelInputs) -> ModelError {
    model.forward(&inputs, None).unwrap_err()
}

fn labelled(labels: impl Into<Labels>) -> ModelInputs {
    ModelInputs {
        labels: Some(labels.into()),
        ..two_rows()
    }
}

#[test]
fn labels_that_do_not_fit_are_refused() {
    let tokens =
        AutoModelForTokenClassification::from_pretrained(case("bert_token_classes")).unwrap();
    let ids = |rows: &[[i64; 3]]| Labels::Ids(Rows::new(rows).unwrap());
    let found = error(&*tokens, labelled(ids(&[[0, 1, 5], [0, 0, 0]])));
    assert!(
        matches!(
            found,
            ModelError::UnknownLabel {
                label: 5,
                num_labels: 5
            }
        ),
        "{found}"
    );
    let found = error(&*tokens, labelled(ids(&[[0, 1, 2]])));
    assert!(
        matches!(found, ModelError::InputShape { name: "labels", .. }),
        "{found}"
    );
    let found = error(&*tokens, labelled(ids(&[[-100; 3]; 2])));
    assert!(matches!(found, ModelError::NoLabels), "{found}");
    let found = error(&*tokens, labelled(Labels::numbers(vec![0.5, 0.5])));
    assert!(matches!(found, ModelError::LabelsAreNumbers), "{found}");

    let rows = AutoModelForSequenceClassification::from_pretrained(case("bert_classes")).unwrap();
    let found = error(&*rows, labelled(Labels::classes(vec![0])));
    assert!(
        matches!(
            found,
            ModelError::LabelCount {
                found: 1,
                expected: 2
            }
        ),
        "{found}"
    );
    let spans = AutoModelForQuestionAnswering::from_pretrained(case("bert_answers")).unwrap();
    let inputs = ModelInputs {
        start_positions: Some(vec![0]),
        end_positions: Some(vec![1, 2]),
        ..two_rows()
    };
    let found = error(&*spans, inputs);
    assert!(
        matches!(
            found,
            ModelError::LabelCount {
                found: 1,
                expected: 2
            }
        ),
        "{found}"
    );
}

#[test]
fn what_the_labels_are_is_told_by_the_labels() {
    let model = AutoModelForSequenceClassification::from_pretrained(case("bert_classes")).unwrap();
    let loss = |labels: Labels| {
        let loss = model.forward(&labelled(labels), None).unwrap().loss();
        loss.unwrap().into_scalar::<f32>()
    };
    let one = loss(Labels::classes(vec![0, 2]));
    let several = loss(
        Rows::new(&[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
            .unwrap()
            .into(),
    );
    assert!(one > 0.0 && several > 0.0 && one != several);
}

#[test]
fn rows_are_choices_of_whole_questions() {
    let model = AutoModelForMultipleChoice::from_pretrained(case("bert_choices")).unwrap();
    let scores = |num_choices| {
        let inputs = ModelInputs {
            num_choices,
            ..two_rows()
        };
        model
            .forward(&inputs, None)
            .map(|output| output.pooled_logits().unwrap().dims())
    };
    assert_eq!(scores(None).unwrap(), [1, 2]);
    assert_eq!(scores(Some(1)).unwrap(), [2, 1]);
    assert!(matches!(
        scores(Some(3)),
        Err(ModelError::Choices {
            rows: 2,
            choices: 3
        })
    ));
    assert!(matches!(scores(Some(0)), Err(ModelError::Choices { .. })));
}

/// Heads that read each row's first state alone leave out what the last layer does for the others, unless all states are
/// wanted: with padding, and without.
#[test]
fn states_that_no_head_reads_change_nothing() {
    for name in [
        "albert_classes",
        "bert_choices",
        "bert_classes",
        "bert_next_sentence",
        "distilbert_classes",
        "electra_classes",
        "mpnet_classes",
        "roberta_classes",
    ] {
        let model = load_case(&Case::open(&case(name)).unwrap()).unwrap();
        for mask in [None, Some(Rows::new(&[[1, 1, 1], [1, 1, 0]]).unwrap())] {
            let logits = |output_hidden_states| {
                let inputs = ModelInputs {
                    attention_mask: mask.clone(),
                    output_hidden_states,
                    ..two_rows()
                };
                let output = model.forward(&inputs, None).unwrap();
                let states = output
                    .hidden_states
                    .as_ref()
                    .map(|all| all.last().unwrap().dims());
                assert_eq!(
                    states.map(|dims| dims[1]),
                    output_hidden_states.then_some(3)
                );
                let logits = output.pooled_logits().unwrap().into_data();
                logits.iter::<f32>().collect::<Vec<_>>()
            };
            for (narrow, whole) in logits(false).iter().zip(logits(true)) {
                let off = (narrow - whole).abs();
                assert!(
                    off <= 1e-5 * whole.abs().max(1.0),
                    "{name}: {narrow} for {whole}"
                );
            }
        }
    }
}

#[test]
fn several_rows_need_a_padding_token() {
    let dir = case("llama_classes");
    let mut config = AutoConfig::from_pretrained(dir.as_path()).unwrap();
    config.set("pad_token_id", serde_json::Value::Null);
    let options = transformers_modeling::LoadOptions {
        config: Some(config),
        ..transformers_modeling::LoadOptions::default()
    };
    let model =
        AutoModelForSequenceClassification::from_pretrained_with(dir.as_path(), &options).unwrap();
    let one = ModelInputs::new(vec![12, 13]);
    assert_eq!(
        model
            .forward(&one, None)
            .unwrap()
            .pooled_logits()
            .unwrap()
            .dims(),
        [1, 3]
    );
    assert!(matches!(error(&*model, two_rows()), ModelError::NoPadToken));
}

#[test]
fn a_head_that_a_family_lacks_is_named_with_those_that_it_has() {
    let found = AutoModelForNextSentencePrediction::from_pretrained(case("llama")).unwrap_err();
    let text = found.to_string();
    for part in [
        "llama",
        "AutoModelForNextSentencePrediction",
        "AutoModelForQuestionAnswering",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let heads = |name: &str| {
        let families = supported();
        families
            .into_iter()
            .find(|family| family.0 == name)
            .unwrap()
            .1
    };
    assert_eq!(
        heads("gemma3_text"),
        [Head::Base, Head::CausalLM, Head::SequenceClassification]
    );
    assert_eq!(heads("bert").len(), 10);
}
