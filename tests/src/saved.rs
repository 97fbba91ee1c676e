//! The round trip: what saving a case's model writes, against the files that it was loaded from.
//!
//! Where the reference would write something else (a case in an older spelling), its files are in the case's folder
//! `saved`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Number, Value};
use tempfile::TempDir;
use transformers_hub::{HubOptions, ModelFiles};
use transformers_modeling::{DeviceSpec, Dtype, LoadOptions, PreTrainedModel, Precision};
use transformers_weights::{Checkpoint, OpenOptions};

use crate::conformance::{Check, Outcome, load_from, main_output};
use crate::{Case, CaseError};

/// Traces of how Python made a config, which say nothing about the model.
const TRACES: [&str; 2] = ["_from_model_config", "_sliding_window_pattern"];

/// Loads the case, saves it and loads it again.
///
/// # Errors
/// A model that cannot be loaded, saved or run.
pub fn check(case: &Case, device: DeviceSpec) -> Result<Check, CaseError> {
    let folder = temporary_folder()?;
    let model = save(case, device, folder.path())?;
    let wrong = match differing_tensor(case, model.as_ref(), folder.path())? {
        None => differing_config(case, folder.path())?,
        wrong => wrong,
    };
    let wrong = match wrong {
        None => differing_output(case, device, model.as_ref(), folder.path())?,
        wrong => wrong,
    };
    Ok(Check {
        name: "saved",
        outcome: Outcome::Files { wrong },
    })
}

pub(crate) fn temporary_folder() -> Result<TempDir, CaseError> {
    tempfile::tempdir().map_err(|source| CaseError::Io {
        path: std::env::temp_dir(),
        source,
    })
}

/// The checkpoint in a folder.
pub(crate) fn open(folder: &Path) -> Result<Checkpoint, CaseError> {
    let files = ModelFiles::resolve(folder, &HubOptions::default())
        .map_err(transformers_weights::WeightsError::from)?;
    Ok(Checkpoint::open(&files, &OpenOptions::default())?)
}

/// Loads the case and saves it in `folder`.
///
/// # Errors
/// A model that cannot be loaded or saved.
pub fn save(
    case: &Case,
    device: DeviceSpec,
    folder: &Path,
) -> Result<Box<dyn PreTrainedModel>, CaseError> {
    let model = load_from(case, &case.dir, &options(device))?;
    model.save_pretrained(folder)?;
    Ok(model)
}

fn options(device: DeviceSpec) -> LoadOptions {
    LoadOptions {
        device,
        dtype: Dtype::Auto,
        precision: Precision::Exact,
        ..LoadOptions::default()
    }
}

/// The folder that has `file` as the reference would write it.
fn expected(case: &Case, file: &str) -> PathBuf {
    let saved = case.dir.join("saved");
    match saved.join(file).exists() {
        true => saved,
        false => case.dir.clone(),
    }
}

/// The first tensor that has another name, type, shape or other bytes. Parameters that the case lacks are saved too.
fn differing_tensor(
    case: &Case,
    model: &dyn PreTrainedModel,
    folder: &Path,
) -> Result<Option<String>, CaseError> {
    let (reference, ours) = (open(&expected(case, "model.safetensors"))?, open(folder)?);
    for name in reference.names() {
        if !ours.contains(name) {
            return Ok(Some(format!("no {name}")));
        }
        if reference.tensor(name)? != ours.tensor(name)? {
            return Ok(Some(format!("other {name}")));
        }
    }
    let missing = &model.info().loading_info.missing;
    let fresh: BTreeSet<&str> = missing.iter().map(String::as_str).collect();
    let surplus = ours
        .names()
        .find(|name| !reference.contains(name) && !fresh.contains(name));
    Ok(surplus.map(|name| format!("surplus {name}")))
}

fn differing_config(case: &Case, folder: &Path) -> Result<Option<String>, CaseError> {
    for file in ["config.json", "generation_config.json"] {
        let reference = json(&expected(case, file).join(file))?;
        let ours = json(&folder.join(file))?;
        if reference != ours {
            return Ok(Some(format!("other {file}")));
        }
    }
    Ok(None)
}

fn json(path: &Path) -> Result<Option<Value>, CaseError> {
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(|source| CaseError::Io {
        path: path.to_owned(),
        source,
    })?;
    let mut value: Value = serde_json::from_str(&text).map_err(|source| CaseError::Json {
        path: path.to_owned(),
        source,
    })?;
    if let Some(object) = value.as_object_mut() {
        object.retain(|key, _| !TRACES.contains(&key.as_str()));
    }
    floats(&mut value);
    Ok(Some(value))
}

/// Python does not tell 100 from 100.0.
fn floats(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(float) = number.as_f64().and_then(Number::from_f64) {
                *number = float;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(floats),
        Value::Object(values) => values.values_mut().for_each(floats),
        _ => {}
    }
}

fn differing_output(
    case: &Case,
    device: DeviceSpec,
    model: &dyn PreTrainedModel,
    folder: &Path,
) -> Result<Option<String>, CaseError> {
    let output = |model: &dyn PreTrainedModel| -> Result<Vec<f32>, CaseError> {
        let main = main_output(case, model)?;
        Ok(main.into_data().iter::<f32>().collect())
    };
    let again = load_from(case, folder, &options(device))?;
    let (first, second) = (output(model)?, output(again.as_ref())?);
    Ok((first.is_empty() || first != second).then(|| "other output".to_owned()))
}
