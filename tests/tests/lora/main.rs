//! Adapters: those that `peft` made give its logits and gradients here, and what is written here is what it writes.
#![allow(clippy::unwrap_used)]

mod beginnings;
mod blocks;
mod experts;
mod saved;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Gradients, Tensor};
use serde_json::{Map, Value, json};
use transformers_config::AutoConfig;
use transformers_modeling::{
    AdapterOptions, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification, CountOptions, DeviceSpec, Dtype, InitLoraWeights,
    LoadOptions, LoraBias, LoraConfig, ModelError, ModelInputs, ParameterPath, ParameterRef,
    ParameterVisitor, PeftModel, PreTrainedModel, Precision, TargetModules, get_peft_model,
};
use transformers_tests::ReferenceTensors;
use transformers_weights::conversion_mapping::gguf::GgufMapping;
use transformers_weights::{
    Checkpoint, DType, GgufTensor, GgufType, HeadCounts, HostTensor, LazyTensor, OpenOptions,
    save_file, save_gguf,
};

type Model = Box<dyn PreTrainedModel>;

/// Of the largest value.
const LOGITS: f32 = 1e-5;
/// Of the largest value of a tensor.
const GRADIENTS: f32 = 1e-4;

fn tests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn golden() -> PathBuf {
    tests().join("golden/lora")
}

fn adapter(name: &str) -> PathBuf {
    golden().join(name)
}

fn adapters() -> Vec<String> {
    let entries = fs::read_dir(golden()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.len() >= 20);
    names
}

/// Files of a time when experts were not stacked; they are saved in today's form.
fn is_former(name: &str) -> bool {
    name.ends_with("_v4")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn case(name: &str) -> PathBuf {
    tests().join("cases").join(name)
}

/// The model that an adapter is for.
fn base(name: &str) -> Model {
    let record = json(&adapter(name).join("ref.json"));
    let folder = case(record["base"].as_str().unwrap());
    let options = LoadOptions {
        device: DeviceSpec::Cpu,
        ..LoadOptions::default()
    };
    macro_rules! load {
        ($($class:ident)+) => {
            match record["auto_class"].as_str().unwrap() {
                $(stringify!($class) => $class::from_pretrained_with(folder.as_path(), &options).unwrap().into_inner(),)+
                other => panic!("{other}"),
            }
        };
    }
    load!(
        AutoModelForCausalLM AutoModelForMaskedLM AutoModelForSeq2SeqLM AutoModelForSequenceClassification
    )
}

fn llama() -> Model {
    base("llama")
}

fn adapted(name: &str) -> Model {
    PeftModel::from_pretrained(base(name), adapter(name).as_path()).unwrap()
}

fn reference(name: &str) -> ReferenceTensors {
    ReferenceTensors::open(&adapter(name).join("ref.safetensors")).unwrap()
}

fn inputs(tensors: &ReferenceTensors) -> ModelInputs {
    ModelInputs {
        input_ids: tensors.ids("input_ids").unwrap(),
        attention_mask: tensors.optional_ids("attention_mask").unwrap(),
        token_type_ids: tensors.optional_ids("token_type_ids").unwrap(),
        decoder_input_ids: tensors.optional_ids("decoder_input_ids").unwrap(),
        labels: tensors.labels().unwrap(),
        ..ModelInputs::default()
    }
}

fn logits(model: &Model, inputs: &ModelInputs) -> Vec<f32> {
    let output = model.forward(inputs, None).unwrap();
    match (output.logits, output.pooled_logits) {
        (Some(logits), _) => of_tokens(logits.into_data().iter::<f32>().collect(), inputs),
        (None, Some(logits)) => logits.into_data().iter::<f32>().collect(),
        (None, None) => panic!("no logits"),
    }
}

/// Without those of padding, which are not compared.
fn of_tokens(logits: Vec<f32>, inputs: &ModelInputs) -> Vec<f32> {
    let mask = inputs.attention_mask.as_ref();
    let Some(mask) = mask.filter(|_| inputs.decoder_input_ids.is_none()) else {
        return logits;
    };
    let counts: Vec<bool> = mask.iter().flatten().map(|&id| id != 0).collect();
    let width = logits.len() / counts.len();
    let rows = logits.chunks(width).zip(counts);
    rows.filter(|(_, counts)| *counts)
        .flat_map(|(row, _)| row.to_vec())
        .collect()
}

/// The reference's logits of that name.
fn expected(tensors: &ReferenceTensors, name: &str, inputs: &ModelInputs) -> Vec<f32> {
    let values = tensors.values(name).unwrap();
    let [rows, seq] = inputs.input_ids.dims();
    // Of a classifier there are a few for each row.
    match values.len() < rows * seq {
        true => values,
        false => of_tokens(values, inputs),
    }
}

fn distance(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    let apart = one.iter().zip(other).map(|(a, b)| (a - b).abs());
    apart.fold(0.0, |max: f32, apart| match apart.is_nan() {
        true => f32::NAN,
        false => max.max(apart),
    })
}

fn largest(values: &[f32]) -> f32 {
    values
        .iter()
        .fold(0.0, |max: f32, value| max.max(value.abs()))
}

#[track_caller]
fn assert_close(what: &str, ours: &[f32], reference: &[f32], tolerance: f32) {
    let apart = distance(ours, reference);
    let limit = tolerance * largest(reference).max(1e-6);
    assert!(apart <= limit, "{what}: {apart:e} apart, at most {limit:e}");
}

#[test]
fn adapters_of_peft_give_its_logits() {
    for name in adapters() {
        let tensors = reference(&name);
        let inputs = inputs(&tensors);
        let base_logits = logits(&base(&name), &inputs);
        let mut model = adapted(&name);
        let expected = expected(&tensors, "logits", &inputs);
        assert!(
            distance(&base_logits, &expected) > 1e-2,
            "{name} changes nothing"
        );
        let with = logits(&model, &inputs);
        assert_close(&name, &with, &expected, LOGITS);

        model.disable_adapters().unwrap();
        assert_eq!(logits(&model, &inputs), base_logits, "{name}, disabled");
        model.enable_adapters().unwrap();
        assert_eq!(logits(&model, &inputs), with, "{name}, enabled");
        assert_eq!(
            logits(&model.unload().unwrap(), &inputs),
            base_logits,
            "{name}, unloaded"
        );
    }
}

#[test]
fn merged_models_give_the_same_logits() {
    for name in adapters() {
        let tensors = reference(&name);
        let inputs = inputs(&tensors);
        let mut model = adapted(&name);
        let before = logits(&model, &inputs);
        // peft merges into tied weights what is for one of the two.
        let expected = match name.as_str() {
            "llama_tied" => before.clone(),
            _ => expected(&tensors, "merged", &inputs),
        };
        model.merge_adapter().unwrap();
        assert_close(&name, &logits(&model, &inputs), &expected, 2.0 * LOGITS);
        assert!(matches!(model.merge_adapter(), Err(ModelError::Merged)));
        model.unmerge_adapter().unwrap();
        assert_eq!(logits(&model, &inputs), before, "{name}, unmerged");

        let merged = model.merge_and_unload().unwrap();
        assert!(merged.adapters().is_empty());
        assert_close(&name, &logits(&merged, &inputs), &expected, 2.0 * LOGITS);
        let folder = tempfile::tempdir().unwrap();
        merged.save_pretrained(folder.path()).unwrap();
        assert!(folder.path().join("model.safetensors").exists());
        assert!(!folder.path().join("adapter_config.json").exists());
    }
}

#[test]
fn a_merged_model_is_saved_whole() {
    for name in ["llama_tied", "llama_embeddings", "llama_dora"] {
        let inputs = inputs(&reference(name));
        let merged = adapted(name).merge_and_unload().unwrap();
        let folder = tempfile::tempdir().unwrap();
        merged.save_pretrained(folder.path()).unwrap();
        let loaded = AutoModelForCausalLM::from_pretrained(folder.path()).unwrap();
        assert!(
            loaded.info().loading_info.is_clean(),
            "{}",
            loaded.info().loading_info
        );
        let loaded = loaded.into_inner();
        assert_eq!(logits(&loaded, &inputs), logits(&merged, &inputs), "{name}");
    }
}

/// Gradients by the parameters' names here.
struct Collect<'a> {
    path: ParameterPath,
    gradients: &'a Gradients,
    found: BTreeMap<String, Vec<f32>>,
}

impl Collect<'_> {
    fn take<const D: usize>(&mut self, value: &Tensor<D>) {
        if let Some(gradient) = value.grad(self.gradients) {
            let values = gradient.into_data().iter::<f32>().collect();
            self.found.insert(self.path.name(), values);
        }
    }
}

impl ParameterVisitor for Collect<'_> {
    fn visit(&mut self, param: ParameterRef<'_>) {
        match param {
            ParameterRef::Rank1(param) => self.take(&param.val()),
            ParameterRef::Rank2(param) => self.take(&param.val()),
            ParameterRef::Rank3(param) => self.take(&param.val()),
            _ => {}
        }
    }
    fn enter(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }
    fn exit(&mut self, _: &str, _: &str) {
        self.path.exit();
    }
}

/// The loss and the gradients of a model that trains.
fn gradients(model: &Model, inputs: &ModelInputs) -> (f32, BTreeMap<String, Vec<f32>>) {
    let loss = model.forward(inputs, None).unwrap().loss().unwrap();
    let value = loss.clone().into_scalar();
    let gradients = loss.backward();
    let mut collect = Collect {
        path: ParameterPath::default(),
        gradients: &gradients,
        found: BTreeMap::new(),
    };
    model.visit_parameters(&mut collect);
    (value, collect.found)
}

/// The name in the file of a parameter that has `name` here, but for wrappers.
fn key(name: &str) -> String {
    let Some((weight, part)) = name.rsplit_once(".default.") else {
        return format!("base_model.model.{name}");
    };
    let module = weight.rsplit_once('.').unwrap().0;
    let embedding = module.ends_with("embed_tokens");
    let part = match (part, embedding) {
        ("lora_A" | "lora_B", true) => part.replace("lora_", "lora_embedding_"),
        ("lora_A" | "lora_B", false) => format!("{part}.weight"),
        ("lora_magnitude_vector", _) => format!("{part}.weight"),
        (other, _) => panic!("{other}"),
    };
    format!("base_model.model.{module}.{part}")
}

fn trainable(name: &str) -> Model {
    let options = AdapterOptions {
        is_trainable: true,
        ..AdapterOptions::default()
    };
    let mut model = base(name);
    model
        .load_adapter("default", adapter(name).as_path(), &options)
        .unwrap();
    model.train()
}

#[test]
fn gradients_equal_those_of_peft() {
    for name in adapters() {
        let tensors = reference(&name);
        if !tensors.has("loss") {
            continue;
        }
        let (loss, ours) = gradients(&trainable(&name), &inputs(&tensors));
        assert_close(&name, &[loss], &tensors.values("loss").unwrap(), LOGITS);

        let mut expected = BTreeMap::new();
        for name in tensors.names_after("grad.") {
            let values = tensors.values(&format!("grad.{name}")).unwrap();
            expected.insert(
                name.replace(".base_layer", "")
                    .replace(".modules_to_save", ""),
                values,
            );
        }
        let scale = expected
            .values()
            .map(|values| largest(values))
            .fold(0.0, f32::max);
        let mut names = Vec::new();
        let both_experts = name == "mixtral";
        for (name, ours) in ours {
            let mut key = key(&name);
            // Without the wrappers, both weights of the experts have one name.
            if both_experts && key.contains(".experts.") {
                key = match name.contains("gate_up_proj") {
                    true => key
                        .replace("base_model.model.", "grad.base_model.model.")
                        .replace(".experts.", ".experts.base_layer."),
                    false => key.replace("base_model.model.", "grad.base_model.model."),
                };
                let values = tensors.values(&key).unwrap();
                assert_close(&key, &ours, &values, GRADIENTS);
                continue;
            }
            let values = expected
                .get(&key)
                .unwrap_or_else(|| panic!("{key} is trained"));
            let apart = distance(&ours, values);
            let limit = (GRADIENTS * largest(values)).max(1e-6 * scale);
            assert!(apart <= limit, "{key}: {apart:e} apart, at most {limit:e}");
            names.push(key);
        }
        let all: Vec<&String> = expected
            .keys()
            .filter(|name| !both_experts || !name.contains("experts"))
            .collect();
        names.sort();
        assert_eq!(names.iter().collect::<Vec<_>>(), all, "{name}");
    }
}

#[test]
fn files_are_those_that_peft_writes() {
    for name in adapters().into_iter().filter(|name| !is_former(name)) {
        for is_trainable in [false, true] {
            let options = AdapterOptions {
                is_trainable,
                ..AdapterOptions::default()
            };
            let mut model = base(&name);
            model
                .load_adapter("default", adapter(&name).as_path(), &options)
                .unwrap();
            let folder = tempfile::tempdir().unwrap();
            model.save_pretrained(folder.path()).unwrap();
            let mut written: Vec<_> = fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            written.sort();
            assert_eq!(
                written,
                ["adapter_config.json", "adapter_model.safetensors"],
                "{name}"
            );

            let read = |folder: &Path, file: &str| fs::read(folder.join(file)).unwrap();
            let (ours, theirs) = (folder.path(), adapter(&name));
            assert_eq!(
                String::from_utf8(read(ours, "adapter_config.json")).unwrap(),
                String::from_utf8(read(&theirs, "adapter_config.json")).unwrap(),
                "{name}"
            );
            let weights = "adapter_model.safetensors";
            assert!(
                read(ours, weights) == read(&theirs, weights),
                "{name}: other bytes"
            );
        }
    }
}

#[test]
fn several_adapters_take_turns() {
    let tensors = reference("llama");
    let inputs = inputs(&tensors);
    let expected = |name: &str| self::reference(name).values("logits").unwrap();
    let mut model = llama();
    let before = logits(&model, &inputs);
    let options = AdapterOptions::default();
    for name in ["llama", "llama_all_linear", "llama_layers"] {
        model
            .load_adapter(name, adapter(name).as_path(), &options)
            .unwrap();
    }
    assert_eq!(
        model.adapters(),
        ["llama", "llama_all_linear", "llama_layers"]
    );
    assert_eq!(model.active_adapters(), ["llama"]);
    for name in ["llama_layers", "llama_all_linear", "llama", "llama_layers"] {
        model.set_adapter(&[name]).unwrap();
        assert_eq!(model.active_adapters(), [name]);
        assert_close(name, &logits(&model, &inputs), &expected(name), LOGITS);
    }
    // Both at once give what one gives on the other's merged model.
    model.set_adapter(&["llama", "llama_all_linear"]).unwrap();
    let both = logits(&model, &inputs);
    let mut merged = adapted("llama").merge_and_unload().unwrap();
    merged
        .load_adapter("other", adapter("llama_all_linear").as_path(), &options)
        .unwrap();
    assert_close("both", &both, &logits(&merged, &inputs), 3.0 * LOGITS);

    let folder = tempfile::tempdir().unwrap();
    model.save_pretrained(folder.path()).unwrap();
    for name in ["llama", "llama_all_linear", "llama_layers"] {
        let file = "adapter_model.safetensors";
        let ours = fs::read(folder.path().join(name).join(file)).unwrap();
        assert!(
            ours == fs::read(adapter(name).join(file)).unwrap(),
            "{name}"
        );
    }

    model.delete_adapter("llama").unwrap();
    assert_eq!(model.active_adapters(), ["llama_all_linear"]);
    assert_close(
        "one is left",
        &logits(&model, &inputs),
        &expected("llama_all_linear"),
        LOGITS,
    );
    assert!(matches!(
        model.set_adapter(&["llama"]),
        Err(ModelError::UnknownAdapter { .. })
    ));
    assert_eq!(logits(&model.unload().unwrap(), &inputs), before);
}

fn trained(model: &Model) -> usize {
    model.boxed_clone().train().num_parameters(CountOptions {
        only_trainable: true,
        ..CountOptions::default()
    })
}

#[test]
fn fresh_adapters_change_nothing_and_alone_are_trained() {
    let tensors = reference("llama");
    let inputs = inputs(&tensors);
    let before = logits(&llama(), &inputs);
    for (use_dora, init) in [
        (false, InitLoraWeights::Default),
        (false, InitLoraWeights::Gaussian),
        (true, InitLoraWeights::Default),
    ] {
        let config = LoraConfig {
            r: 4,
            target_modules: Some(TargetModules::names(["q_proj", "embed_tokens"])),
            use_dora,
            init_lora_weights: init,
            bias: LoraBias::LoraOnly,
            ..LoraConfig::default()
        };
        let model = get_peft_model(llama(), &config).unwrap();
        let same = logits(&model, &inputs);
        assert_close("fresh", &same, &before, if use_dora { LOGITS } else { 0.0 });
        let magnitudes = if use_dora { 2 * 32 + 32 } else { 0 };
        assert_eq!(
            trained(&model),
            2 * (4 * 32 + 32 * 4) + 4 * 72 + 32 * 4 + magnitudes
        );
        let (_, gradients) = gradients(&model.train(), &inputs);
        assert!(!gradients.is_empty());
        assert!(
            gradients.keys().all(|name| name.contains(".default.lora_")),
            "{:?}",
            gradients.keys()
        );
    }
    let random = LoraConfig {
        init_lora_weights: InitLoraWeights::Random,
        ..LoraConfig::default()
    };
    let seeded = |seed| {
        let mut model = llama();
        model.add_adapter("a", &random, Some(seed)).unwrap();
        logits(&model, &inputs)
    };
    assert_eq!(seeded(1), seeded(1));
    assert_ne!(seeded(1), seeded(2));
    assert_ne!(seeded(1), before);
}

#[test]
fn a_second_adapter_waits() {
    let mut model = get_peft_model(llama(), &LoraConfig::default()).unwrap();
    let one = trained(&model);
    assert_eq!(one, 2 * 8 * (32 + 32 + 32 + 16));
    let larger = LoraConfig {
        r: 16,
        ..LoraConfig::default()
    };
    model.add_adapter("larger", &larger, None).unwrap();
    assert_eq!(trained(&model), one);
    model.set_adapter(&["larger"]).unwrap();
    assert_eq!(trained(&model), 2 * one);
    assert!(matches!(
        model.add_adapter("larger", &larger, None),
        Err(ModelError::AdapterExists { .. })
    ));
    for name in ["", "a.b", "a/b", "../a"] {
        let refused = model.add_adapter(name, &larger, None);
        assert!(
            matches!(refused, Err(ModelError::AdapterName { .. })),
            "{name}"
        );
    }
}

#[test]
fn dropout_is_for_training_alone() {
    let tensors = reference("llama");
    let inputs = inputs(&tensors);
    let config = LoraConfig {
        lora_dropout: 0.5,
        init_lora_weights: InitLoraWeights::Random,
        ..LoraConfig::default()
    };
    let model = get_peft_model(llama(), &config).unwrap();
    assert_eq!(logits(&model, &inputs), logits(&model, &inputs));
    let expected = logits(&model, &inputs);
    let model = model.train();
    assert_ne!(logits(&model, &inputs), logits(&model, &inputs));
    assert_close("valid", &logits(&model.valid(), &inputs), &expected, LOGITS);
}

#[test]
fn an_adapted_model_trains_and_is_loaded_again() {
    use burn::module::Module;
    use burn::optim::{AdamWConfig, GradientsParams};

    let tensors = reference("llama");
    let inputs = inputs(&tensors);
    let base = AutoModelForCausalLM::from_pretrained(case("llama").as_path()).unwrap();
    let config = LoraConfig {
        r: 4,
        target_modules: Some(TargetModules::AllLinear),
        use_dora: true,
        modules_to_save: Some(vec!["lm_head".into()]),
        ..LoraConfig::default()
    };
    let mut model = get_peft_model(base.clone(), &config).unwrap().train();
    let mut optimizer = AdamWConfig::new().init();
    let mut losses = Vec::new();
    for _ in 0..5 {
        let loss = model.forward(&inputs, None).unwrap().loss().unwrap();
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    assert!(losses[4] < 0.95 * losses[0], "{losses:?}");
    let trained = Module::valid(&model).into_inner();
    let folder = tempfile::tempdir().unwrap();
    trained.save_pretrained(folder.path()).unwrap();
    let loaded = PeftModel::from_pretrained(base.clone(), folder.path())
        .unwrap()
        .into_inner();
    assert_eq!(logits(&loaded, &inputs), logits(&trained, &inputs));
    // The base is what it was.
    let unloaded = trained.unload().unwrap();
    assert_eq!(
        logits(&unloaded, &inputs),
        logits(&base.into_inner(), &inputs)
    );
}

/// Writes an adapter of which something is changed.
fn write_changed(
    name: &str,
    folder: &Path,
    change: impl FnOnce(&mut Map<String, Value>, &mut BTreeMap<String, HostTensor>),
) {
    let Value::Object(mut config) = json(&adapter(name).join("adapter_config.json")) else {
        panic!("an object");
    };
    let file = adapter(name).join("adapter_model.safetensors");
    let checkpoint = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    let tensors = checkpoint
        .names()
        .map(|name| (name.to_owned(), checkpoint.tensor(name).unwrap()));
    let mut tensors = tensors.collect();
    change(&mut config, &mut tensors);
    let text = serde_json::to_string(&config).unwrap();
    fs::write(folder.join("adapter_config.json"), text).unwrap();
    let tensors = tensors.into_iter().map(LazyTensor::from).collect();
    save_file(&folder.join("adapter_model.safetensors"), tensors).unwrap();
}

/// The llama with its adapter, of which something is changed.
fn broken(
    change: impl FnOnce(&mut Map<String, Value>, &mut BTreeMap<String, HostTensor>),
) -> Result<Model, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    write_changed("llama", folder.path(), change);
    PeftModel::from_pretrained(llama(), folder.path())
}

#[test]
fn broken_adapters_are_refused() {
    let refused = |key: &str, value: Value, part: &str| {
        let error = broken(|config, _| drop(config.insert(key.into(), value.clone()))).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(part), "{key} {value}: {message}");
    };
    for method in ["IA3", "LOHA", "PREFIX_TUNING"] {
        refused("peft_type", json!(method), "supported is LORA");
    }
    refused("r", json!(0), "a rank is from 1");
    refused("r", json!(1_u64 << 40), "a rank is from 1");
    refused("r", json!(-3), "a whole number");
    refused("r", json!(5), "has shape [4, 32], expected [5, 32]");
    refused(
        "rank_pattern",
        json!({"q_proj": 1_u64 << 40}),
        "a rank is from 1",
    );
    refused("rank_pattern", json!({"(": 3}), "rank_pattern");
    refused("lora_alpha", json!("much"), "a number");
    refused("lora_dropout", json!(1.5), "from 0 to below 1");
    refused("target_modules", json!(["nothing"]), "names no layer");
    refused("target_modules", json!("q_proj"), "names no layer");
    refused("target_modules", json!("("), "target_modules");
    refused("target_modules", json!(3), "a list of names");
    refused("bias", json!("some"), "lora_only");
    refused("use_dora", json!(true), "missing");
    refused("use_qalora", json!(true), "not supported");
    refused("layer_replication", json!([[0, 1]]), "not supported");
    refused("trainable_token_indices", json!([1]), "not supported");
    refused("init_lora_weights", json!("corda"), "path_initial_model");
    refused("init_lora_weights", json!("loftq"), "in no file");
    refused(
        "init_lora_weights",
        json!("pissa_niter_x"),
        "pissa_niter_[number]",
    );
    refused(
        "init_lora_weights",
        json!("pissa_niter_1000"),
        "more than 999",
    );
    refused("task_type", json!("DANCE"), "CAUSAL_LM");
    // A later version's settings are no reason.
    broken(|config, _| drop(config.insert("of_tomorrow".into(), json!(1)))).unwrap();

    let missing = broken(|_, tensors| drop(tensors.pop_first())).unwrap_err();
    assert!(
        matches!(&missing, ModelError::AdapterTensors { missing, .. } if missing.len() == 1),
        "{missing}"
    );
    let extra = |_: &mut Map<String, Value>, tensors: &mut BTreeMap<String, HostTensor>| {
        let one = HostTensor::from_vec(vec![1.0_f32], vec![1]).unwrap();
        tensors.insert(
            "base_model.model.model.layers.7.self_attn.q_proj.lora_A.weight".into(),
            one,
        );
    };
    let extra = broken(extra).unwrap_err();
    assert!(
        matches!(&extra, ModelError::AdapterTensors { unexpected, .. } if unexpected.len() == 1),
        "{extra}"
    );
    let half = broken(|_, tensors| {
        for tensor in tensors.values_mut() {
            *tensor = tensor.cast(DType::BF16).unwrap();
        }
    });
    half.unwrap();

    let empty = tempfile::tempdir().unwrap();
    let error = PeftModel::from_pretrained(llama(), empty.path()).unwrap_err();
    assert!(error.to_string().contains("adapter_config.json"), "{error}");
    fs::write(empty.path().join("adapter_config.json"), "[1").unwrap();
    let error = PeftModel::from_pretrained(llama(), empty.path()).unwrap_err();
    assert!(matches!(error, ModelError::AdapterConfig { .. }), "{error}");
}

#[test]
fn what_changes_the_model_itself_is_refused_with_adapters() {
    let mut model = AutoModelForCausalLM::from_pretrained(case("llama").as_path()).unwrap();
    model
        .load_adapter("a", adapter("llama").as_path(), &AdapterOptions::default())
        .unwrap();
    assert!(matches!(
        model.resize_token_embeddings(80, &Default::default()),
        Err(ModelError::HasAdapters { .. })
    ));
    let mut tied = base("llama_tied");
    let saved = LoraConfig {
        modules_to_save: Some(vec!["embed_tokens".into()]),
        ..LoraConfig::default()
    };
    let error = tied.add_adapter("a", &saved, None).unwrap_err();
    assert!(error.to_string().contains("untie"), "{error}");
    let experts = LoraConfig {
        target_modules: Some(TargetModules::names(["experts"])),
        ..LoraConfig::default()
    };
    let error = base("mixtral")
        .add_adapter("a", &experts, None)
        .unwrap_err();
    assert!(matches!(error, ModelError::NotALayer { .. }), "{error}");
}

#[test]
fn a_model_is_loaded_with_its_adapter() {
    for name in ["llama_dora", "mixtral"] {
        let tensors = reference(name);
        let inputs = inputs(&tensors);
        let record = json(&adapter(name).join("ref.json"));
        let folder = case(record["base"].as_str().unwrap());
        let options = LoadOptions {
            device: DeviceSpec::Cpu,
            adapter: Some(adapter(name).as_path().into()),
            ..LoadOptions::default()
        };
        let model = AutoModelForCausalLM::from_pretrained_with(folder.as_path(), &options).unwrap();
        let model = model.into_inner();
        let expected = expected(&tensors, "logits", &inputs);
        for pass in ["first", "second"] {
            assert_close(pass, &logits(&model, &inputs), &expected, LOGITS);
        }
    }
}
