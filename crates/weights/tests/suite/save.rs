//! Writing checkpoints: the reference's bytes, and nothing left behind.

use std::fs;
use std::path::Path;

use transformers_weights::{
    Checkpoint, HostTensor, OpenOptions, SaveOptions, save_checkpoint, save_safetensors,
    without_tied,
};

use crate::{check_error, golden, open_folder, read_instead_of_mapping};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Every tensor of the golden model, in the order of its parameters.
fn golden_tensors(options: &OpenOptions) -> Vec<(String, HostTensor)> {
    let checkpoint = open_folder(&golden("sharded"), options).unwrap();
    let order = fs::read_to_string(golden("sharded/order.json")).unwrap();
    let order: Vec<String> = serde_json::from_str(&order).unwrap();
    order
        .into_iter()
        .map(|name| {
            let tensor = checkpoint.tensor(&name).unwrap();
            (name, tensor)
        })
        .collect()
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn shards_and_index_are_the_bytes_of_the_reference() {
    let expected = golden("sharded");
    let folder = tempfile::tempdir().unwrap();
    save_safetensors(folder.path(), golden_tensors(&OpenOptions::default()), 300).unwrap();
    let mut names = files(&expected);
    names.retain(|name| name != "order.json");
    assert_eq!(files(folder.path()), names);
    for name in names {
        assert!(
            fs::read(folder.path().join(&name)).unwrap() == fs::read(expected.join(&name)).unwrap(),
            "{name} differs"
        );
    }
}

#[test]
fn one_file_gives_back_every_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = golden_tensors(&OpenOptions::default());
    save_safetensors(folder.path(), tensors.clone(), 5_000_000_000).unwrap();
    assert_eq!(files(folder.path()), [SINGLE]);
    let checkpoint = open_folder(folder.path(), &OpenOptions::default()).unwrap();
    assert_eq!(checkpoint.names().len(), tensors.len());
    for (name, tensor) in tensors {
        let saved = checkpoint.tensor(&name).unwrap();
        assert!(saved.is_aligned());
        assert_eq!(saved, tensor, "{name}");
    }
    let bytes = fs::read(folder.path().join(SINGLE)).unwrap();
    assert!(bytes[8..].starts_with(br#"{"__metadata__":{"format":"pt"},"#));
}

#[test]
fn saving_replaces_the_mapped_files_themselves() {
    let folder = tempfile::tempdir().unwrap();
    save_safetensors(
        folder.path(),
        golden_tensors(&read_instead_of_mapping()),
        300,
    )
    .unwrap();
    fs::write(folder.path().join("model-extra.safetensors"), "kept").unwrap();
    fs::write(folder.path().join("config.json"), "kept").unwrap();

    let mapped = open_folder(folder.path(), &OpenOptions::default()).unwrap();
    let reversed = |checkpoint: &Checkpoint| -> Vec<(String, HostTensor)> {
        let names: Vec<&str> = checkpoint.names().collect();
        let read = |name: &&str| ((*name).to_owned(), checkpoint.tensor(name).unwrap());
        names.iter().rev().map(read).collect()
    };
    save_safetensors(folder.path(), reversed(&mapped), 400).unwrap();
    let again = open_folder(folder.path(), &OpenOptions::default()).unwrap();
    assert_eq!(reversed(&again), reversed(&mapped));

    // From shards to one file and back: the other form would win or linger.
    save_safetensors(folder.path(), reversed(&again), u64::MAX).unwrap();
    assert_eq!(
        files(folder.path()),
        ["config.json", "model-extra.safetensors", SINGLE]
    );
    save_safetensors(folder.path(), reversed(&again), 400).unwrap();
    let shards = files(folder.path());
    assert!(
        !shards.contains(&SINGLE.to_owned()) && shards.contains(&INDEX.to_owned()),
        "{shards:?}"
    );
    assert!(
        shards.contains(&"model-00001-of-00002.safetensors".to_owned()),
        "{shards:?}"
    );
}

#[test]
fn a_large_tensor_has_a_shard_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let tensor = |len: usize| HostTensor::from_vec(vec![1_u8; len], vec![len]).unwrap();
    let tensors = [("a", 6), ("b", 2), ("c", 60), ("d", 2), ("e", 6), ("f", 0)];
    let tensors = tensors
        .map(|(name, len)| (name.to_owned(), tensor(len)))
        .to_vec();
    save_safetensors(folder.path(), tensors, 10).unwrap();
    let index = fs::read_to_string(folder.path().join(INDEX)).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let shard = |name: &str| index["weight_map"][name].as_str().unwrap()[6..11].to_owned();
    let shards = ["a", "b", "c", "d", "e", "f"].map(shard);
    assert_eq!(
        shards,
        ["00002", "00002", "00001", "00002", "00003", "00003"]
    );
    assert_eq!(index["metadata"]["total_size"], 76);
}

#[test]
fn variants_lie_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let save = |variant: Option<&str>, size: &str| {
        let options = SaveOptions {
            variant: variant.map(str::to_owned),
            max_shard_size: size.parse().unwrap(),
        };
        let tensors = golden_tensors(&OpenOptions::default());
        save_checkpoint(
            folder.path(),
            tensors.into_iter().map(Into::into).collect(),
            &options,
        )
        .unwrap();
    };
    save(None, "5MB");
    save(Some("fp16"), "0.3KB");
    let names = files(folder.path());
    for name in [
        SINGLE,
        "model.fp16-00001-of-00003.safetensors",
        "model.safetensors.index.fp16.json",
    ] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
    let options = OpenOptions {
        variant: Some("fp16".into()),
        ..OpenOptions::default()
    };
    assert_eq!(
        open_folder(folder.path(), &options).unwrap().names().len(),
        21
    );
    save(Some("fp16"), "5MB");
    assert_eq!(files(folder.path()), ["model.fp16.safetensors", SINGLE]);
}

#[test]
fn tied_tensors_are_saved_once() {
    let tensor = |value: f32| HostTensor::from_vec(vec![value], vec![1]).unwrap();
    let named = |head: f32| {
        vec![
            ("embed".to_owned(), tensor(1.0)),
            ("lm_head".to_owned(), tensor(head)),
        ]
    };
    let tied = [("lm_head".to_owned(), "embed".to_owned())];
    let names = |tensors: Vec<(String, HostTensor)>| {
        let kept = without_tied(tensors, &tied).into_iter();
        kept.map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(named(1.0)), ["embed"]);
    // Other values are no tie, whatever the configuration says; and of a tie the one that is there stays.
    assert_eq!(names(named(2.0)), ["embed", "lm_head"]);
    assert_eq!(names(named(1.0).split_off(1)), ["lm_head"]);
}

#[test]
fn nothing_and_doubles() {
    let folder = tempfile::tempdir().unwrap();
    let tensor = HostTensor::from_vec(vec![1_u8], vec![1]).unwrap();
    let twice = vec![("a".to_owned(), tensor.clone()), ("a".to_owned(), tensor)];
    check_error(
        save_safetensors(folder.path(), twice, 10),
        &["`a`", "twice"],
    );
    assert!(files(folder.path()).is_empty());

    save_safetensors(folder.path(), Vec::new(), 10).unwrap();
    let empty = open_folder(folder.path(), &OpenOptions::default()).unwrap();
    assert_eq!(empty.names().len(), 0);

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    check_error(
        save_safetensors(&file, Vec::new(), 10),
        &["file", "creating"],
    );
}

#[cfg(unix)]
#[test]
fn files_have_ordinary_permissions() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    save_safetensors(folder.path(), Vec::new(), 10).unwrap();
    fs::write(folder.path().join("other"), "").unwrap();
    let mode = |name: &str| {
        fs::metadata(folder.path().join(name))
            .unwrap()
            .permissions()
            .mode()
    };
    assert_eq!(mode(SINGLE), mode("other"));
}
