//! The files beside a model's weights: they are carried along as they are.

use std::fs;
use std::path::Path;

use transformers_hub::ModelFiles;

use crate::failure::Result;

/// The names of the files that belong to a model and are not its weights: generation config, tokenizer, processor, chat
/// templates, licence, and the modules of sentence-transformers with all that is in them. `config.json` is not among them.
pub fn names(files: &ModelFiles) -> Result<Vec<String>> {
    let mut names = files.list()?;
    names.retain(|name| match name.split_once('/') {
        None => is_carried(name),
        Some(("additional_chat_templates", _)) => true,
        Some((folder, _)) => is_module(folder),
    });
    Ok(names)
}

fn is_carried(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let text = matches!(
        extension,
        "json" | "jinja" | "txt" | "model" | "tiktoken" | "vocab" | "spm"
    );
    let index = name.ends_with(".index.json") || name.contains(".index.");
    let versioned = name.starts_with("tokenizer.model.");
    let about = name == "README.md" || name.starts_with("LICENSE") || name.starts_with("NOTICE");
    (text || versioned || about) && !index && name != "config.json"
}

/// Such as `1_Pooling` and `2_Dense`.
fn is_module(folder: &str) -> bool {
    let number = folder.split_once('_').map_or("", |(number, _)| number);
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Copies a file into `folder` as `name`, under a temporary name until it is whole.
pub fn copy(from: &Path, folder: &Path, name: &str) -> Result<()> {
    let to = folder.join(name);
    let parent = to.parent().unwrap_or(folder);
    let failed = |error: std::io::Error| format!("copying {} failed: {error}", from.display());
    let copy = || {
        fs::create_dir_all(parent)?;
        if to.exists() && to.canonicalize()? == from.canonicalize()? {
            return Ok(());
        }
        let temporary = tempfile::Builder::new()
            .prefix(".saving-")
            .tempdir_in(parent)?;
        let whole = temporary.path().join("whole");
        fs::copy(from, &whole)?;
        fs::rename(&whole, &to)
    };
    Ok(copy().map_err(failed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_model_is_carried() {
        for name in [
            "generation_config.json",
            "tokenizer.json",
            "vocab.txt",
            "merges.txt",
            "tokenizer.model",
            "tokenizer.model.v3",
            "chat_template.jinja",
            "preprocessor_config.json",
            "modules.json",
            "LICENSE",
        ] {
            assert!(is_carried(name), "{name}");
        }
        for name in [
            "config.json",
            "model.safetensors",
            "model.safetensors.index.json",
            "model.safetensors.index.fp16.json",
            "pytorch_model.bin",
            "modeling_mine.py",
            "logo.png",
        ] {
            assert!(!is_carried(name), "{name}");
        }
        assert!(is_module("1_Pooling") && !is_module("onnx") && !is_module("_x"));
    }
}
