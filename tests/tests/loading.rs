//! What `from_pretrained` does with a checkpoint, beside filling the model with it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::Flex;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Tensor;
use transformers_modeling::{
    AutoModel, AutoModelForCausalLM, DeviceSpec, Dtype, LoadOptions, ModelInputs,
};
use transformers_weights::{Checkpoint, DType, HostTensor, OpenOptions, save_safetensors};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(name)
}

fn cpu() -> LoadOptions {
    LoadOptions {
        device: DeviceSpec::Cpu,
        ..LoadOptions::default()
    }
}

fn load(folder: &Path, options: &LoadOptions) -> AutoModelForCausalLM {
    AutoModelForCausalLM::from_pretrained_with(folder, options).unwrap()
}

fn logits(model: &AutoModelForCausalLM) -> Vec<f32> {
    let inputs = ModelInputs::new(vec![20, 31, 44, 12]);
    let logits = model.forward(&inputs, None).unwrap().logits().unwrap();
    logits.into_data().iter::<f32>().collect()
}

/// A copy of a case with its tensors changed.
fn rewritten(name: &str, edit: impl FnOnce(&mut Vec<(String, HostTensor)>)) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(
        case(name).join("config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    let file = case(name).join("model.safetensors");
    let checkpoint = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    let read = |name: &str| (name.to_owned(), checkpoint.tensor(name).unwrap());
    let mut tensors: Vec<_> = checkpoint.names().map(read).collect();
    edit(&mut tensors);
    save_safetensors(folder.path(), tensors, u64::MAX).unwrap();
    folder
}

/// The addresses of all parameters' bytes.
#[derive(Default)]
struct Addresses(Vec<usize>);

impl ModuleVisitor for Addresses {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val().try_into_primitive::<Flex>().unwrap();
        self.0.push(tensor.bytes().as_ptr().addr());
    }
}

/// Where `file` is mapped into this process.
#[cfg(target_os = "linux")]
fn mapped_ranges(file: &Path) -> Vec<std::ops::Range<usize>> {
    let file = fs::canonicalize(file).unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let lines = maps
        .lines()
        .filter(|line| line.ends_with(file.to_str().unwrap()));
    let address = |text: &str| usize::from_str_radix(text, 16).unwrap();
    lines
        .map(|line| {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            address(start)..address(end)
        })
        .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn mapped_weights_are_used_where_they_lie() {
    let folder = rewritten("llama", |_| {});
    let file = folder.path().join("model.safetensors");
    let model = load(folder.path(), &cpu());
    let mut addresses = Addresses::default();
    model.visit(&mut addresses);
    let ranges = mapped_ranges(&file);
    assert!(!addresses.0.is_empty());
    for address in addresses.0 {
        assert!(
            ranges.iter().any(|range| range.contains(&address)),
            "a parameter was copied"
        );
    }

    let read = LoadOptions {
        mmap: false,
        ..cpu()
    };
    let read = load(folder.path(), &read);
    let mut addresses = Addresses::default();
    read.visit(&mut addresses);
    let ranges = mapped_ranges(&file);
    assert!(
        addresses
            .0
            .iter()
            .all(|address| !ranges.iter().any(|range| range.contains(address)))
    );
    assert_eq!(logits(&model), logits(&read));
}

#[test]
fn training_leaves_the_file_as_it_is() {
    let folder = rewritten("llama", |_| {});
    let file = folder.path().join("model.safetensors");
    let before = fs::read(&file).unwrap();
    let model = load(folder.path(), &cpu()).train();
    let ids: Vec<u32> = vec![20, 31, 44, 12];
    let inputs = ModelInputs {
        labels: Some(
            ids.iter()
                .map(|id| i64::from(*id))
                .collect::<Vec<_>>()
                .into(),
        ),
        ..ModelInputs::new(ids)
    };
    let loss = model.forward(&inputs, None).unwrap().loss().unwrap();
    let grads = GradientsParams::from_grads(loss.backward(), &model);
    let trained = AdamWConfig::new().init().step(0.1, model, grads);
    assert_ne!(
        logits(&trained.valid()),
        logits(&load(folder.path(), &cpu()))
    );
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_half_dtype_rounds_the_weights() {
    let rounded = rewritten("llama", |tensors| {
        for (_, tensor) in tensors {
            *tensor = tensor.cast(DType::BF16).unwrap().cast(DType::F32).unwrap();
        }
    });
    let half = LoadOptions {
        dtype: Dtype::BFloat16,
        ..cpu()
    };
    let ours = logits(&load(&case("llama"), &half));
    assert_eq!(ours, logits(&load(rounded.path(), &cpu())));
    assert_ne!(ours, logits(&load(&case("llama"), &cpu())));
}

#[test]
fn key_mapping_renames_what_the_library_does_not_know() {
    let renamed = rewritten("llama", |tensors| {
        for (name, _) in tensors {
            *name = name.replace("model.layers.", "transformer.blocks.");
        }
    });
    let lost = load(renamed.path(), &cpu());
    assert!(!lost.info().loading_info.missing.is_empty());

    let options = LoadOptions {
        key_mapping: vec![(
            r"^transformer\.blocks\.".to_owned(),
            "model.layers.".to_owned(),
        )],
        ..cpu()
    };
    let model = load(renamed.path(), &options);
    assert!(model.info().loading_info.is_clean());
    assert_eq!(logits(&model), logits(&load(&case("llama"), &cpu())));
}

#[test]
fn a_variant_is_another_file() {
    let folder = rewritten("llama", |_| {});
    let file = |name: &str| folder.path().join(name);
    fs::rename(file("model.safetensors"), file("model.fp16.safetensors")).unwrap();
    assert!(AutoModelForCausalLM::from_pretrained_with(folder.path(), &cpu()).is_err());
    let options = LoadOptions {
        variant: Some("fp16".to_owned()),
        ..cpu()
    };
    assert_eq!(
        logits(&load(folder.path(), &options)),
        logits(&load(&case("llama"), &cpu()))
    );
}

#[test]
fn a_head_that_differs_from_the_embedding_is_not_tied() {
    let twice = |scale: f32| {
        rewritten("llama_tied_bias", |tensors| {
            let embedding = tensors
                .iter()
                .find(|(name, _)| name == "model.embed_tokens.weight");
            let embedding = &embedding.unwrap().1;
            let values = embedding
                .as_slice::<f32>()
                .unwrap()
                .iter()
                .map(|value| value * scale);
            let head = HostTensor::from_vec(values.collect::<Vec<_>>(), embedding.shape().to_vec());
            tensors.push(("lm_head.weight".to_owned(), head.unwrap()));
        })
    };
    let tied = logits(&load(&case("llama_tied_bias"), &cpu()));
    assert_eq!(logits(&load(twice(1.0).path(), &cpu())), tied);
    let untied = load(twice(2.0).path(), &cpu());
    assert!(!untied.info().config.tie_word_embeddings());
    let doubled: Vec<f32> = tied.iter().map(|logit| logit * 2.0).collect();
    assert_eq!(logits(&untied), doubled);
}

#[test]
fn the_headless_model_loads_from_a_checkpoint_with_a_head() {
    let model = AutoModel::from_pretrained_with(case("llama"), &cpu()).unwrap();
    assert!(model.info().loading_info.missing.is_empty());
    assert_eq!(model.info().loading_info.unexpected, ["lm_head.weight"]);
}
