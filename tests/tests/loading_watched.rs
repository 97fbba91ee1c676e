//! What the one who loads a model sees of it, and how it is stopped.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use transformers_modeling::{
    AutoModelForCausalLM, CancelToken, DeviceSpec, Dtype, LoadOptions, LoadProgress, ModelError,
    ModelInputs,
};
use transformers_weights::conversion::Concatenate;
use transformers_weights::{
    Checkpoint, DType, HostTensor, OpenOptions, WeightConverter, conversion_mapping,
    save_safetensors,
};

fn llama() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/llama")
}

fn options() -> LoadOptions {
    LoadOptions {
        device: DeviceSpec::Cpu,
        ..LoadOptions::default()
    }
}

/// Writes down what it is told, and may ask for the end when it has seen some parameters.
#[derive(Debug, Default)]
struct Sink {
    started: Mutex<Vec<(usize, u64)>>,
    loaded: Mutex<Vec<(String, u64)>>,
    finished: Mutex<usize>,
    cancel_after: Option<(usize, CancelToken)>,
}

impl LoadProgress for Sink {
    fn start(&self, parameters: usize, elements: u64) {
        self.started.lock().unwrap().push((parameters, elements));
    }

    fn advance(&self, name: &str, elements: u64) {
        assert_eq!(self.started.lock().unwrap().len(), 1);
        let mut loaded = self.loaded.lock().unwrap();
        loaded.push((name.to_owned(), elements));
        if let Some((count, cancel)) = &self.cancel_after
            && loaded.len() == *count
        {
            cancel.cancel();
        }
    }

    fn finish(&self) {
        *self.finished.lock().unwrap() += 1;
    }
}

/// The case with a vocabulary so large that several threads read, its tensors as `dtype`; their values fit bf16.
fn large(dtype: DType) -> tempfile::TempDir {
    const VOCAB: usize = 200_000;
    let folder = tempfile::tempdir().unwrap();
    let config = fs::read(llama().join("config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["vocab_size"] = VOCAB.into();
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let file = llama().join("model.safetensors");
    let checkpoint = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    let tensors = checkpoint.names().map(|name| {
        let tensor = checkpoint.tensor(name).unwrap().cast(DType::F32).unwrap();
        let mut shape = tensor.shape().to_vec();
        let mut values = tensor.as_slice::<f32>().unwrap().to_vec();
        if ["embed_tokens", "lm_head"]
            .iter()
            .any(|part| name.contains(part))
        {
            shape[0] = VOCAB;
            values = values.into_iter().cycle().take(VOCAB * shape[1]).collect();
        }
        let tensor = HostTensor::from_vec(values, shape).unwrap();
        let tensor = tensor.cast(DType::BF16).unwrap().cast(dtype).unwrap();
        (name.to_owned(), tensor)
    });
    save_safetensors(folder.path(), tensors.collect::<Vec<_>>(), u64::MAX).unwrap();
    folder
}

#[track_caller]
fn check_complete(folder: &Path, options: LoadOptions) {
    let sink = Arc::new(Sink::default());
    let options = LoadOptions {
        progress: Some(sink.clone()),
        ..options
    };
    AutoModelForCausalLM::from_pretrained_with(folder, &options).unwrap();
    let file = folder.join("model.safetensors");
    let checkpoint = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    let mut names: Vec<&str> = checkpoint.names().collect();
    let elements = |name: &str| checkpoint.shape(name).unwrap().iter().product::<usize>() as u64;
    let total = names.iter().map(|name| elements(name)).sum();
    assert_eq!(*sink.started.lock().unwrap(), [(names.len(), total)]);
    assert_eq!(*sink.finished.lock().unwrap(), 1);
    let mut loaded = sink.loaded.lock().unwrap().clone();
    assert!(loaded.iter().all(|(name, count)| *count == elements(name)));
    loaded.sort();
    names.sort_unstable();
    let loaded: Vec<&str> = loaded.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(loaded, names);
}

#[test]
fn the_sink_sees_every_parameter_once_and_the_total() {
    check_complete(&llama(), options());
    let read = LoadOptions {
        mmap: false,
        dtype: Dtype::BFloat16,
        ..options()
    };
    check_complete(&llama(), read);
    let large = large(DType::BF16);
    let converted = LoadOptions {
        dtype: Dtype::Float32,
        ..options()
    };
    check_complete(large.path(), converted);
}

fn logits(folder: &Path, options: &LoadOptions) -> Vec<f32> {
    let model = AutoModelForCausalLM::from_pretrained_with(folder, options).unwrap();
    let inputs = ModelInputs::new(vec![20, 31, 4400, 199_999]);
    let logits = model.forward(&inputs, None).unwrap().logits().unwrap();
    logits.into_data().iter::<f32>().collect()
}

#[test]
fn values_that_threads_convert_are_those_of_the_file() {
    let float = LoadOptions {
        dtype: Dtype::Float32,
        ..options()
    };
    let (half, whole) = (large(DType::BF16), large(DType::F32));
    assert_eq!(logits(half.path(), &float), logits(whole.path(), &float));
}

/// The embeddings and the head in two halves, which a conversion joins; what it gives is rounded like the rest.
#[test]
fn converted_parameters_have_the_dtype_asked_for_and_are_counted() {
    let whole = large(DType::BF16);
    let halves = tempfile::tempdir().unwrap();
    fs::copy(
        whole.path().join("config.json"),
        halves.path().join("config.json"),
    )
    .unwrap();
    let file = whole.path().join("model.safetensors");
    let checkpoint = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    let mut tensors = Vec::new();
    for name in checkpoint.names() {
        let tensor = checkpoint.tensor(name).unwrap();
        if !name.ends_with("embed_tokens.weight") && !name.ends_with("lm_head.weight") {
            tensors.push((name.to_owned(), tensor));
            continue;
        }
        let (bytes, dtype, mut shape) = tensor.into_parts();
        shape[0] /= 2;
        let middle = bytes.len() / 2;
        for (half, bytes) in [bytes.slice(..middle), bytes.slice(middle..)]
            .into_iter()
            .enumerate()
        {
            let tensor = HostTensor::new(bytes, dtype, shape.clone()).unwrap();
            tensors.push((name.replace("weight", &format!("half_{half}")), tensor));
        }
    }
    save_safetensors(halves.path(), tensors, u64::MAX).unwrap();
    let joined = WeightConverter::new(
        &["half_0", "half_1"],
        &["weight"],
        vec![Arc::new(Concatenate::new(0))],
    );
    // No other test has tensors of these names.
    conversion_mapping::register("llama", vec![joined.unwrap().into()], false).unwrap();

    for (dtype, mmap) in [
        (Dtype::Auto, true),
        (Dtype::Float32, true),
        (Dtype::Float16, false),
    ] {
        let sink = Arc::new(Sink::default());
        let options = LoadOptions {
            dtype,
            mmap,
            progress: Some(sink.clone()),
            ..options()
        };
        let converted = logits(halves.path(), &options);
        let [told] = sink.started.lock().unwrap()[..] else {
            panic!("started once");
        };
        let loaded = sink.loaded.lock().unwrap();
        let elements = loaded.iter().map(|(_, elements)| elements).sum();
        assert_eq!((loaded.len(), elements), told);
        assert_eq!(loaded.len(), checkpoint.names().len());
        let plain = LoadOptions {
            progress: None,
            ..options
        };
        assert_eq!(converted, logits(whole.path(), &plain), "{dtype}");
    }
}

#[test]
fn cancelling_ends_in_an_error() {
    let large = large(DType::BF16);
    for folder in [&llama(), large.path()] {
        for count in [1, 5] {
            let cancel = CancelToken::default();
            let sink = Arc::new(Sink {
                cancel_after: Some((count, cancel.clone())),
                ..Sink::default()
            });
            let options = LoadOptions {
                dtype: Dtype::Float32,
                progress: Some(sink.clone()),
                cancel: Some(cancel),
                ..options()
            };
            let result = AutoModelForCausalLM::from_pretrained_with(folder, &options);
            let error = result.err().unwrap();
            assert!(matches!(error, ModelError::Cancelled), "{error}");
            assert_eq!(*sink.finished.lock().unwrap(), 0);
            assert_eq!(sink.loaded.lock().unwrap().len(), count, "nothing follows");
        }
    }
}
