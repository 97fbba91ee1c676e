//! Adapters for Python's `peft` to read: `tests/oracle/check_adapters.py` compares what it makes of them.

use super::*;

/// The name, the adapter of `golden/lora` whose base it has, and the settings.
fn forms() -> Vec<(&'static str, &'static str, LoraConfig)> {
    let config = |modules: &[&str], more: LoraConfig| LoraConfig {
        r: 4,
        lora_alpha: 6.0,
        target_modules: Some(TargetModules::names(modules.iter().copied())),
        ..more
    };
    let usual = ["q_proj", "v_proj", "down_proj"];
    let plain = LoraConfig::default;
    let begun = |init| LoraConfig {
        init_lora_weights: init,
        ..plain()
    };
    let experts = vec![
        "mlp.experts.gate_up_proj".into(),
        "mlp.experts.down_proj".into(),
    ];
    vec![
        ("lora", "llama", config(&usual, plain())),
        (
            "dora",
            "llama",
            config(
                &usual,
                LoraConfig {
                    use_dora: true,
                    ..plain()
                },
            ),
        ),
        (
            "rslora",
            "llama",
            config(
                &usual,
                LoraConfig {
                    use_rslora: true,
                    ..plain()
                },
            ),
        ),
        (
            "pissa",
            "llama",
            config(&usual, begun(InitLoraWeights::Pissa)),
        ),
        (
            "olora",
            "llama",
            config(&usual, begun(InitLoraWeights::Olora)),
        ),
        (
            "orthogonal",
            "llama",
            config(&usual, begun(InitLoraWeights::Orthogonal)),
        ),
        (
            "pissa_dora",
            "llama",
            config(
                &usual,
                LoraConfig {
                    use_dora: true,
                    use_rslora: true,
                    ..begun(InitLoraWeights::Pissa)
                },
            ),
        ),
        (
            "modules_to_save",
            "llama",
            config(
                &usual,
                LoraConfig {
                    modules_to_save: Some(vec!["lm_head".into(), "norm".into()]),
                    ..plain()
                },
            ),
        ),
        (
            "embeddings",
            "llama",
            config(&["embed_tokens", "lm_head"], plain()),
        ),
        (
            "biases",
            "llama_tied",
            config(
                &["o_proj"],
                LoraConfig {
                    bias: LoraBias::All,
                    lora_bias: true,
                    ..plain()
                },
            ),
        ),
        (
            "all_linear",
            "llama",
            LoraConfig {
                r: 3,
                target_modules: Some(TargetModules::AllLinear),
                ..plain()
            },
        ),
        (
            "regex",
            "llama",
            LoraConfig {
                r: 3,
                target_modules: Some(r".*layers\.1\..*(up|gate)_proj".into()),
                ..plain()
            },
        ),
        (
            "patterns",
            "llama",
            config(
                &usual,
                LoraConfig {
                    layers_to_transform: Some(vec![0]),
                    layers_pattern: vec!["layers".into()],
                    rank_pattern: vec![("v_proj".into(), 2)],
                    alpha_pattern: vec![("q_proj".into(), 3.0)],
                    ..plain()
                },
            ),
        ),
        (
            "turned",
            "gpt2",
            config(&["c_attn", "c_proj"], begun(InitLoraWeights::Pissa)),
        ),
        (
            "experts",
            "mixtral",
            config(
                &["q_proj"],
                LoraConfig {
                    target_parameters: Some(experts),
                    ..plain()
                },
            ),
        ),
    ]
}

/// Some steps, so that nothing of the adapter is as it began.
fn trained(model: AutoModelForCausalLM, inputs: &ModelInputs) -> Model {
    use burn::module::Module;
    use burn::optim::{AdamWConfig, GradientsParams};

    let mut model = model.train();
    let mut optimizer = AdamWConfig::new().init();
    for _ in 0..4 {
        let loss = model.forward(inputs, None).unwrap().loss().unwrap();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(2e-2, model, gradients);
    }
    Module::valid(&model).into_inner()
}

#[test]
fn trained_adapters_are_read_again() {
    let kept = std::env::var_os("SAVED_ADAPTERS").map(PathBuf::from);
    let scratch = tempfile::tempdir().unwrap();
    for (name, of, config) in forms() {
        let inputs = inputs(&reference(of));
        let before = logits(&base(of), &inputs);
        let record = json(&adapter(of).join("ref.json"));
        let folder = case(record["base"].as_str().unwrap());
        let mut model = AutoModelForCausalLM::from_pretrained(folder.as_path()).unwrap();
        model.add_adapter("default", &config, Some(3)).unwrap();
        let model = trained(model, &inputs);
        let after = logits(&model, &inputs);
        assert!(distance(&before, &after) > 1e-2, "{name} changes nothing");

        let folder = kept.as_deref().unwrap_or(scratch.path()).join(name);
        model.save_pretrained(&folder).unwrap();
        let again = PeftModel::from_pretrained(base(of), folder.as_path()).unwrap();
        assert_eq!(logits(&again, &inputs), after, "{name}");

        let count = after.len();
        let tensor = HostTensor::from_vec(after, vec![count]).unwrap();
        let tensor = LazyTensor::from(("logits".to_owned(), tensor));
        save_file(&folder.join("logits.safetensors"), vec![tensor]).unwrap();
        fs::write(folder.join("of"), of).unwrap();
    }
}
