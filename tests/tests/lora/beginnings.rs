//! Fresh adapters that are a part of the weight, or orthogonal to one another.

use super::*;

fn with(init: InitLoraWeights) -> LoraConfig {
    let names = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "up_proj",
        "down_proj",
    ];
    LoraConfig {
        r: 4,
        lora_alpha: 6.0,
        target_modules: Some(TargetModules::names(names)),
        init_lora_weights: init,
        ..LoraConfig::default()
    }
}

fn saved(model: &Model) -> BTreeMap<String, Vec<f32>> {
    let folder = tempfile::tempdir().unwrap();
    model.save_pretrained(folder.path()).unwrap();
    let file = folder.path().join("adapter_model.safetensors");
    let checkpoint = Checkpoint::open_file(&file, &OpenOptions::default()).unwrap();
    let names = checkpoint.names().map(str::to_owned);
    let values = |name: String| {
        let tensor = checkpoint.tensor(&name).unwrap().aligned();
        let values = tensor.as_slice::<f32>().unwrap().to_vec();
        (name, values)
    };
    names.map(values).collect()
}

/// `B A`, of rank 4.
fn product(a: &[f32], b: &[f32]) -> Vec<f32> {
    let input = a.len() / 4;
    let entry = |row: &[f32], j: usize| (0..4).map(|k| row[k] * a[k * input + j]).sum();
    let rows = b.chunks(4);
    rows.flat_map(|row| (0..input).map(move |j| entry(row, j)))
        .collect()
}

#[test]
fn what_is_taken_over_is_what_peft_takes() {
    for (name, init) in [
        ("llama_pissa", InitLoraWeights::Pissa),
        ("llama_olora", InitLoraWeights::Olora),
    ] {
        let tensors = reference(name);
        let mut model = llama();
        model.add_adapter("default", &with(init), Some(1)).unwrap();
        let ours = saved(&model);
        let mut compared = 0;
        for a in tensors.names_after("initial.") {
            let Some(module) = a.strip_suffix("lora_A.weight") else {
                continue;
            };
            let b = format!("{module}lora_B.weight");
            let [a_, b_] = [&a, &b].map(|key| tensors.values(&format!("initial.{key}")).unwrap());
            assert_close(
                &format!("{name} {module}"),
                &product(&ours[&a], &ours[&b]),
                &product(&a_, &b_),
                1e-4,
            );
            if init == InitLoraWeights::Olora {
                assert_close(&a, &ours[&a], &a_, 1e-4);
                assert_close(&b, &ours[&b], &b_, 1e-4);
            }
            compared += 1;
        }
        assert_eq!(compared, 6);
    }
}

#[test]
fn they_change_nothing_at_first_and_are_trained() {
    let inputs = inputs(&reference("llama"));
    let before = logits(&llama(), &inputs);
    for init in [
        InitLoraWeights::Pissa,
        InitLoraWeights::PissaNiter(4),
        InitLoraWeights::Olora,
        InitLoraWeights::Orthogonal,
    ] {
        for use_dora in [false, true] {
            let what = format!("{init:?} {use_dora}");
            let config = LoraConfig {
                use_dora,
                ..with(init)
            };
            let mut model = llama();
            model.add_adapter("default", &config, Some(1)).unwrap();
            assert_close(&what, &logits(&model, &inputs), &before, LOGITS);
            assert!(saved(&model).values().all(|values| largest(values) > 1e-3));
            let (_, gradients) = gradients(&model.boxed_clone().train(), &inputs);
            assert!(
                gradients.values().all(|values| largest(values) > 0.0),
                "{what}"
            );

            // A file finds what it began with, and the base is as it was.
            let folder = tempfile::tempdir().unwrap();
            model.save_pretrained(folder.path()).unwrap();
            let again = PeftModel::from_pretrained(llama(), folder.path()).unwrap();
            assert_eq!(logits(&again, &inputs), logits(&model, &inputs), "{what}");
            assert_eq!(
                again.adapter_config("default").unwrap().init_lora_weights,
                init
            );
            assert_eq!(logits(&again.unload().unwrap(), &inputs), before, "{what}");
            let merged = model.merge_and_unload().unwrap();
            assert_close(&what, &logits(&merged, &inputs), &before, LOGITS);
        }
    }
}

#[test]
fn what_cannot_begin_so_is_refused() {
    let refused = |base: &str, config: LoraConfig, part: &str| {
        let error = self::base(base)
            .add_adapter("a", &config, None)
            .unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    };
    let large = LoraConfig {
        r: 17,
        target_modules: Some(TargetModules::names(["k_proj"])),
        ..with(InitLoraWeights::Pissa)
    };
    refused("llama", large.clone(), "16 directions");
    let odd = LoraConfig {
        init_lora_weights: InitLoraWeights::Orthogonal,
        ..large
    };
    refused("llama", odd, "even rank");
    refused("llama", with(InitLoraWeights::Eva), "needs data");
    let experts = LoraConfig {
        target_modules: None,
        target_parameters: Some(vec!["mlp.experts.down_proj".into()]),
        ..with(InitLoraWeights::Olora)
    };
    refused("mixtral", experts, "target_parameters");
    let turned = LoraConfig {
        target_modules: None,
        ..with(InitLoraWeights::Olora)
    };
    refused("gpt2", turned, "take pissa");
}
