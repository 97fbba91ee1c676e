//! What can be done with a whole model: other vocabularies, ties, dtypes, counts, gradient checkpointing.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use serde::Deserialize;
use transformers_modeling::{
    AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoModelForSequenceClassification, CountOptions,
    Dtype, LoadOptions, ModelInputs, ParameterPath, PreTrainedModel, ResizeOptions,
};
use transformers_tests::conformance::from_config;
use transformers_tests::{Case, Kind, ReferenceTensors};

fn case(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(name)
}

#[derive(Deserialize)]
struct Counts {
    all: usize,
    without_embeddings: usize,
    bytes: usize,
}

#[derive(Deserialize)]
struct Resized {
    case: String,
    before: Counts,
    asked: usize,
    multiple: usize,
    vocab_size: usize,
    after: Counts,
    logits: Vec<f32>,
}

fn load(name: &str) -> Box<dyn PreTrainedModel> {
    let case = Case::open(&case(name)).unwrap();
    transformers_tests::conformance::load_case(&case).unwrap()
}

fn inputs(name: &str) -> ModelInputs {
    let tensors = ReferenceTensors::open(&case(name).join("ref.safetensors")).unwrap();
    ModelInputs {
        input_ids: tensors.ids("input_ids").unwrap(),
        attention_mask: tensors.optional_ids("attention_mask").unwrap(),
        token_type_ids: tensors.optional_ids("token_type_ids").unwrap(),
        decoder_input_ids: tensors.optional_ids("decoder_input_ids").unwrap(),
        ..ModelInputs::default()
    }
}

fn counts(model: &dyn PreTrainedModel, expect: &Counts, name: &str) {
    let count = |exclude_embeddings| {
        model.num_parameters(CountOptions {
            exclude_embeddings,
            ..CountOptions::default()
        })
    };
    assert_eq!(count(false), expect.all, "{name}");
    assert_eq!(count(true), expect.without_embeddings, "{name}");
    // BART's constant bias is no parameter, but takes memory.
    if name != "bart" {
        assert_eq!(model.get_memory_footprint(), expect.bytes, "{name}");
    }
}

#[test]
fn resized_models_equal_the_reference() {
    let golden = include_str!("../golden/resizing.json");
    let golden: Vec<Resized> = serde_json::from_str(golden).unwrap();
    assert_eq!(golden.len(), 8);
    for expect in golden {
        let name = &expect.case;
        let model = load(name);
        counts(model.as_ref(), &expect.before, name);
        let options = ResizeOptions {
            pad_to_multiple_of: Some(expect.multiple),
            ..ResizeOptions::default()
        };
        let model = model.with_token_embeddings(expect.asked, &options).unwrap();
        let size = model.info().config.get("vocab_size").unwrap().as_u64();
        assert_eq!(size, Some(expect.vocab_size as u64), "{name}");
        counts(model.as_ref(), &expect.after, name);
        let output = model.forward(&inputs(name), None).unwrap();
        let logits: Vec<f32> = match (output.logits, output.pooled_logits) {
            (Some(logits), _) => logits.into_data().iter().collect(),
            (None, Some(logits)) => logits.into_data().iter().collect(),
            _ => panic!("{name} has no logits"),
        };
        // The noise of new rows is 3e-5 of the spread of the old ones.
        for (index, (ours, theirs)) in logits.iter().zip(&expect.logits).enumerate() {
            let limit = 1e-3 * theirs.abs().max(1.0);
            assert!(
                (ours - theirs).abs() < limit,
                "{name} {index}: {ours} {theirs}"
            );
        }
    }
}

#[test]
fn fewer_tokens_cut_the_end() {
    let model = load("llama");
    let fewer = model
        .with_token_embeddings(60, &ResizeOptions::default())
        .unwrap();
    let inputs = ModelInputs::new(vec![10, 20, 30]);
    let logits =
        |model: &dyn PreTrainedModel| model.forward(&inputs, None).unwrap().logits().unwrap();
    let (all, cut) = (logits(model.as_ref()), logits(fewer.as_ref()));
    assert_eq!(cut.dims(), [1, 3, 60]);
    let away: f32 = (all.narrow(2, 0, 60) - cut).abs().max().into_scalar();
    assert!(away < 1e-6);
    let error = model.with_token_embeddings(0, &ResizeOptions::default());
    assert!(error.unwrap_err().to_string().contains("vocab_size"));
}

#[test]
fn rows_may_be_drawn_as_fresh_ones() {
    let options = ResizeOptions {
        mean_resizing: false,
        seed: Some(1),
        ..ResizeOptions::default()
    };
    let model = load("llama").with_token_embeddings(2000, &options).unwrap();
    let table = model.get_input_embeddings().unwrap();
    let new = table.narrow(0, 72, 1928);
    let spread: f32 = (new.clone() * new).mean().sqrt().into_scalar();
    assert!((spread - 0.02).abs() < 1e-3, "{spread}");
}

#[test]
fn weights_are_tied_and_untied() {
    let mut model = AutoModelForCausalLM::from_pretrained(case("gpt2")).unwrap();
    let inputs = inputs("gpt2");
    let logits = |model: &AutoModelForCausalLM| {
        let logits = model.forward(&inputs, None).unwrap().logits().unwrap();
        logits.into_data().iter::<f32>().collect::<Vec<_>>()
    };
    let (before, count) = (
        logits(&model),
        model.num_parameters(CountOptions::default()),
    );
    model.untie_weights().unwrap();
    assert_eq!(logits(&model), before);
    assert_eq!(
        model.num_parameters(CountOptions::default()),
        count + 64 * 16
    );
    model.tie_weights().unwrap();
    assert_eq!(logits(&model), before);
    assert_eq!(model.num_parameters(CountOptions::default()), count);
}

#[test]
fn embeddings_are_given_and_taken() {
    let mut model = AutoModelForCausalLM::from_pretrained(case("llama")).unwrap();
    let table = model.get_input_embeddings().unwrap();
    assert_eq!(table.dims(), [72, 32]);
    let output = model.get_output_embeddings().unwrap();
    assert!((output - table.clone()).abs().max().into_scalar::<f32>() > 0.0);
    model.set_input_embeddings(table.clone() * 2.0).unwrap();
    let twice = model.get_input_embeddings().unwrap();
    assert_eq!(
        (twice - table.clone() * 2.0)
            .abs()
            .max()
            .into_scalar::<f32>(),
        0.0
    );
    let error = model.set_input_embeddings(table.narrow(0, 0, 9));
    assert!(error.unwrap_err().to_string().contains("[9, 32]"));
    let tied = AutoModelForCausalLM::from_pretrained(case("gpt2")).unwrap();
    let (input, output) = (tied.get_input_embeddings(), tied.get_output_embeddings());
    assert_eq!(
        (input.unwrap() - output.unwrap())
            .abs()
            .max()
            .into_scalar::<f32>(),
        0.0
    );
    let classes = AutoModelForSequenceClassification::from_pretrained(case("llama_classes"));
    assert!(classes.unwrap().get_output_embeddings().is_none());
}

#[test]
fn what_a_class_keeps_in_f32_stays() {
    let model = AutoModelForSeq2SeqLM::from_pretrained(case("t5")).unwrap();
    let all = model.get_memory_footprint();
    let half = model.to_dtype(Dtype::Float16).unwrap();
    struct Wo(ParameterPath, Vec<(String, usize)>);
    impl ModuleVisitor for Wo {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.0.enter(name, container);
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.0.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push((self.0.name(), param.val().dtype().size()));
        }
    }
    let mut found = Wo(ParameterPath::default(), Vec::new());
    half.visit(&mut found);
    let size = |end: &str| {
        found
            .1
            .iter()
            .find(|(name, _)| name.ends_with(end))
            .unwrap()
            .1
    };
    assert_eq!((size("wo.weight"), size("k.weight")), (4, 2));
    assert!(half.get_memory_footprint() < all * 3 / 4);
    assert!(model.to_dtype(Dtype::Auto).is_err());
}

#[test]
fn checkpointing_gives_the_same_gradients() {
    let model = AutoModelForSequenceClassification::from_pretrained(case("llama_classes")).unwrap();
    let tensors = ReferenceTensors::open(&case("llama_classes").join("ref.safetensors")).unwrap();
    let inputs = ModelInputs {
        labels: tensors.labels().unwrap(),
        ..inputs("llama_classes")
    };
    struct Collect(Gradients, Vec<Vec<f32>>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(&self.0).unwrap();
            self.1.push(gradient.into_data().iter().collect());
        }
    }
    let gradients = |model: &AutoModelForSequenceClassification| {
        let loss = model.forward(&inputs, None).unwrap().loss().unwrap();
        let mut collect = Collect(loss.backward(), Vec::new());
        model.visit(&mut collect);
        collect.1
    };
    let model = model.train();
    let plain = gradients(&model);
    let checkpointed = gradients(&model.gradient_checkpointing_enable());
    assert!(plain.len() > 5 && plain == checkpointed);
}

#[test]
fn trainable_parameters_are_counted() {
    let model = load("llama");
    let count = |model: &dyn PreTrainedModel| {
        model.num_parameters(CountOptions {
            only_trainable: true,
            ..CountOptions::default()
        })
    };
    let all = model.num_parameters(CountOptions::default());
    assert_eq!(count(model.train().as_ref()), all);
    let fresh = Case::open(&case("llama")).unwrap();
    let config = transformers_config::AutoConfig::from_pretrained(&fresh.dir).unwrap();
    let fresh = from_config(Kind::Lm, &config, &LoadOptions::default()).unwrap();
    assert_eq!(fresh.num_parameters(CountOptions::default()), all);
}

#[test]
fn parts_are_models_that_share_the_weights() {
    let parameters = |model: &dyn PreTrainedModel| model.num_parameters(CountOptions::default());
    // Without a head; and again, itself.
    for name in ["llama", "llama_classes", "gpt2", "bert"] {
        let model = load(name);
        let decoder = model.get_decoder();
        let states = decoder.forward(&inputs(name), None).unwrap();
        assert!(states.last_hidden_state.is_some(), "{name}");
        assert!(parameters(decoder.as_ref()) <= parameters(model.as_ref()));
        let again = decoder.get_decoder();
        assert_eq!(parameters(again.as_ref()), parameters(decoder.as_ref()));
    }
    for name in ["t5", "bart", "bart_untied", "bart_classes", "m2m_100"] {
        let model = load(name);
        let (encoder, decoder) = (model.get_encoder(), model.get_decoder());
        assert!(encoder.cache_layout().is_none() && decoder.cache_layout().is_some());
        let inputs = ModelInputs {
            decoder_input_ids: Some(vec![2, 11, 12].into()),
            ..ModelInputs::new(vec![10, 11, 2])
        };
        let whole = model.forward(&inputs, None).unwrap();
        let whole_encoder = whole.encoder_last_hidden_state.unwrap();
        let states = encoder.forward(&inputs, None).unwrap();
        let states = states.last_hidden_state().unwrap();
        assert_eq!(states.to_data(), whole_encoder.to_data(), "{name}");
        assert!(decoder.forward(&inputs, None).is_err(), "{name}");
        let inputs = ModelInputs {
            encoder_outputs: Some(states),
            output_hidden_states: true,
            ..inputs
        };
        let whole = model.forward(&inputs, None).unwrap();
        let last = whole.decoder_hidden_states.unwrap().pop().unwrap();
        let states = decoder.forward(&inputs, None).unwrap();
        let states = states.last_hidden_state().unwrap();
        assert_eq!(states.to_data(), last.to_data(), "{name}");
    }
}
