//! Adapters on a base in packed blocks (QLoRA).

use super::*;

/// The llama as a GGUF file, its matrices in blocks where they fit.
fn in_blocks(folder: &Path) -> PathBuf {
    let folder_of_case = case("llama");
    let config = AutoConfig::from_pretrained(folder_of_case.as_path()).unwrap();
    let gguf = config.to_gguf().unwrap();
    let file = folder_of_case.join("model.safetensors");
    let checkpoint = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    let heads = HeadCounts {
        query: 4,
        key_value: 2,
    };
    let lazy = |name: &str| LazyTensor::from((name.to_owned(), checkpoint.tensor(name).unwrap()));
    let parameters = checkpoint.names().map(lazy).collect();
    let tensors = GgufMapping::file_tensors(gguf.architecture, heads, parameters).unwrap();
    let tensors = tensors.into_iter().map(|tensor| GgufTensor {
        as_type: match tensor.shape() {
            [_, cols] if cols % 32 == 0 => GgufType::Q8_0,
            _ => GgufType::F32,
        },
        tensor,
    });
    let file = folder.join("llama.gguf");
    save_gguf(&file, &gguf.metadata, tensors.collect()).unwrap();
    file
}

struct Blocks(usize);

impl ParameterVisitor for Blocks {
    fn visit(&mut self, param: ParameterRef<'_>) {
        self.0 += usize::from(matches!(param, ParameterRef::Blocks(_)));
    }
    fn enter(&mut self, _: &str, _: &str) {}
    fn exit(&mut self, _: &str, _: &str) {}
}

#[test]
fn a_base_in_blocks_is_trained_as_the_dense_one_that_it_stands_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = in_blocks(folder.path());
    let tensors = reference("llama");
    let inputs = inputs(&tensors);
    let load = |dtype| {
        let options = LoadOptions {
            device: DeviceSpec::Cpu,
            dtype,
            precision: Precision::Exact,
            ..LoadOptions::default()
        };
        AutoModelForCausalLM::from_pretrained_with(file.as_path(), &options)
            .unwrap()
            .into_inner()
    };
    for use_dora in [false, true] {
        let config = LoraConfig {
            r: 4,
            target_modules: Some(TargetModules::names([
                "q_proj",
                "v_proj",
                "gate_proj",
                "down_proj",
                "embed_tokens",
            ])),
            use_dora,
            init_lora_weights: InitLoraWeights::Random,
            ..LoraConfig::default()
        };
        let [packed, dense] = [Dtype::Auto, Dtype::Float32].map(|dtype| {
            let mut model = load(dtype);
            model.add_adapter("default", &config, Some(3)).unwrap();
            model
        });
        let count = |model: &Model| {
            let mut blocks = Blocks(0);
            model.visit_parameters(&mut blocks);
            blocks.0
        };
        assert_eq!((count(&packed), count(&dense)), (14, 0));
        let expected = logits(&dense, &inputs);
        assert_close("packed", &logits(&packed, &inputs), &expected, LOGITS);
        let merged = packed.boxed_clone().merge_and_unload().unwrap();
        assert_close("merged", &logits(&merged, &inputs), &expected, 2.0 * LOGITS);

        let (loss, ours) = gradients(&packed.train(), &inputs);
        let (expected_loss, expected) = gradients(&dense.train(), &inputs);
        assert_close("loss", &[loss], &[expected_loss], LOGITS);
        assert_eq!(ours.len(), (2 * 4 + 1) * if use_dora { 3 } else { 2 });
        assert!(ours.keys().eq(expected.keys()));
        for (name, ours) in ours {
            assert_close(&name, &ours, &expected[&name], GRADIENTS);
        }
    }
}
