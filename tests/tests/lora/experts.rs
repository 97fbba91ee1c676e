//! Adapters of a time when every expert was a layer of its own.

use super::*;

fn former() -> Vec<String> {
    adapters()
        .into_iter()
        .filter(|name| is_former(name))
        .collect()
}

#[test]
fn they_are_saved_as_adapters_of_stacked_experts() {
    for name in former() {
        let inputs = inputs(&reference(&name));
        let model = adapted(&name);
        let folder = tempfile::tempdir().unwrap();
        model.save_pretrained(folder.path()).unwrap();
        let again = PeftModel::from_pretrained(base(&name), folder.path()).unwrap();
        assert_eq!(logits(&again, &inputs), logits(&model, &inputs), "{name}");
        let config = json(&folder.path().join("adapter_config.json"));
        let parameters = config["target_parameters"].as_array().unwrap();
        assert!(parameters.contains(&json!("experts.gate_up_proj")));
    }
}

/// The former mixtral's adapter, with something changed.
fn changed(
    change: impl FnOnce(&mut Map<String, Value>, &mut BTreeMap<String, HostTensor>),
    options: &AdapterOptions,
) -> Result<Model, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    write_changed("mixtral_v4", folder.path(), change);
    let mut model = base("mixtral_v4");
    model.load_adapter("default", folder.path(), options)?;
    Ok(model)
}

#[test]
fn what_cannot_be_stacked_is_refused() {
    let options = AdapterOptions::default();
    let one = |_: &mut Map<String, Value>, tensors: &mut BTreeMap<String, HostTensor>| {
        tensors.retain(|name, _| !name.contains(".w3."));
    };
    let error = changed(one, &options).unwrap_err();
    assert!(error.to_string().contains("`w1` or `w3`"), "{error}");
    let missing = |_: &mut Map<String, Value>, tensors: &mut BTreeMap<String, HostTensor>| {
        tensors.retain(|name, _| !name.contains("experts.1.w2.lora_B"));
    };
    let error = changed(missing, &options).unwrap_err();
    assert!(
        matches!(&error, ModelError::AdapterTensors { missing, .. } if missing.len() == 2),
        "{error}"
    );
    // What is used alone needs no dropout; what is trained would have it.
    let dropout = |config: &mut Map<String, Value>, _: &mut BTreeMap<String, HostTensor>| {
        config.insert("lora_dropout".into(), json!(0.05));
    };
    changed(dropout, &options).unwrap();
    let trained = AdapterOptions {
        is_trainable: true,
        ..options
    };
    let error = changed(dropout, &trained).unwrap_err();
    assert!(error.to_string().contains("lora_dropout"), "{error}");
}
