//! Adapters to files that `peft` reads: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{ModuleVisitor, Param};
use burn::tensor::Tensor;
use serde_json::{Value, json};
use transformers_weights::{DType, LazyTensor, save_file};

use super::config::Written;
use super::state::Adapter;
use super::targets::Target;
use super::{DEFAULT_NAME, TargetModules};
use crate::classes::class_name;
use crate::embeddings::is_output;
use crate::erased::{ParameterVisitor, Restore};
use crate::nn::LoraTarget;
use crate::parameters::{ParameterPath, follow_path};
use crate::save::host_tensor;
use crate::{ModelError, PreTrainedModel};

pub(super) const CONFIG: &str = "adapter_config.json";
pub(super) const WEIGHTS: &str = "adapter_model.safetensors";

/// Where `peft` has the model.
pub(super) const PREFIX: &str = "base_model.model.";

/// The tables that `peft` saves with an adapter that is for them.
const TABLES: &[&str] = &["embed_tokens", "lm_head"];

/// Families whose layers are `[in, out]` in Python.
const FAN_IN_FAN_OUT: &[&str] = &["gpt2"];

/// Whether the model's layers are `[in, out]` in Python.
pub(super) fn has_turned_layers(model: &dyn PreTrainedModel) -> bool {
    FAN_IN_FAN_OUT.contains(&model.info().config.model_type())
}

/// Where an adapter is in the folder of its model.
pub(super) fn adapter_folder(folder: &Path, adapter: &str) -> PathBuf {
    match adapter {
        DEFAULT_NAME => folder.to_owned(),
        name => folder.join(name),
    }
}

/// The names of an adapter's parameters in the file.
pub(super) struct Keys {
    pub a: String,
    pub b: String,
    pub magnitude: String,
    /// `None` where there can be no bias.
    pub bias: Option<String>,
}

pub(super) fn keys(target: &Target) -> Keys {
    let module = format!(
        "{PREFIX}{}{}",
        target.place.module,
        ".base_layer".repeat(target.depth)
    );
    let magnitude = format!("{module}.lora_magnitude_vector");
    match target.place.target {
        LoraTarget::Embedding => Keys {
            a: format!("{module}.lora_embedding_A"),
            b: format!("{module}.lora_embedding_B"),
            magnitude,
            bias: None,
        },
        LoraTarget::Linear | LoraTarget::Parameter { .. } => Keys {
            a: format!("{module}.lora_A.weight"),
            b: format!("{module}.lora_B.weight"),
            magnitude,
            bias: Some(format!("{module}.lora_B.bias")),
        },
    }
}

/// The name of a parameter of the model in the file.
pub(super) fn base_key(name: &str, targets: &[Target]) -> String {
    let (module, leaf) = name.rsplit_once('.').unwrap_or(("", name));
    let wrappers = targets
        .iter()
        .filter(|target| target.place.module == module);
    match wrappers.count() {
        0 => format!("{PREFIX}{name}"),
        count => format!("{PREFIX}{module}{}.{leaf}", ".base_layer".repeat(count)),
    }
}

/// Whether the parameter is a table that is saved with an adapter that is for it.
pub(super) fn keeps_base(name: &str) -> bool {
    let module = name.strip_suffix(".weight");
    let last = module.and_then(|module| module.rsplit('.').next());
    last.is_some_and(|last| TABLES.contains(&last))
}

impl dyn PreTrainedModel + '_ {
    /// Writes every adapter into `folder`, `default` there and others in folders of their names, as `peft` does.
    pub(crate) fn save_adapters(&self, folder: &Path) -> Result<(), ModelError> {
        for adapter in &self.info().adapters.adapters {
            self.save_adapter(adapter, &adapter_folder(folder, &adapter.name))?;
        }
        Ok(())
    }

    fn save_adapter(&self, adapter: &Adapter, folder: &Path) -> Result<(), ModelError> {
        let io = |operation, path: &Path, source| ModelError::Io {
            operation,
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(folder).map_err(|source| io("creating", folder, source))?;
        save_file(&folder.join(WEIGHTS), self.adapter_tensors(adapter))?;
        let config = adapter.config.to_json(&self.written(adapter));
        let text = serde_json::to_string_pretty(&Value::Object(config)).unwrap_or_default();
        let path = folder.join(CONFIG);
        let unfinished = folder.join(format!("{CONFIG}.{}.tmp", std::process::id()));
        fs::write(&unfinished, text)
            .and_then(|()| fs::rename(&unfinished, &path))
            .inspect_err(|_| drop(fs::remove_file(&unfinished)))
            .map_err(|source| io("writing", &path, source))
    }

    fn written<'a>(&self, adapter: &'a Adapter) -> Written<'a> {
        let model_type = self.info().config.model_type();
        let class = self.info().origin.head;
        let class = class.and_then(|head| class_name(model_type, head));
        let auto_mapping = match (adapter.config.task_type, class) {
            (None, Some(class)) => {
                let module = model_type.replace('-', "_");
                let library = format!("transformers.models.{module}.modeling_{module}");
                json!({"base_model_class": class, "parent_library": library})
            }
            _ => Value::Null,
        };
        Written {
            target_modules: adapter.target_modules(),
            regex: match &adapter.config.target_modules {
                Some(TargetModules::Regex(regex)) => Some(regex),
                _ => None,
            },
            fan_in_fan_out: FAN_IN_FAN_OUT.contains(&model_type),
            auto_mapping,
        }
    }

    /// What the file holds.
    fn adapter_tensors(&self, adapter: &Adapter) -> Vec<LazyTensor> {
        let mut names = BTreeMap::new();
        for target in &adapter.targets {
            let keys = keys(target);
            let weight = format!("{}.{}", target.place.weight, adapter.name);
            names.insert(format!("{weight}.lora_A"), keys.a);
            names.insert(format!("{weight}.lora_B"), keys.b);
            names.insert(format!("{weight}.lora_magnitude_vector"), keys.magnitude);
            if let Some(bias) = keys.bias {
                names.insert(format!("{weight}.lora_bias"), bias);
            }
            if !target.is_parameter() && adapter.names_table() && keeps_base(&target.place.weight) {
                let weight = target.place.weight.clone();
                let key = base_key(&weight, &adapter.targets);
                names.insert(weight, key);
            }
        }
        let own = adapter.own.iter();
        names.extend(own.map(|name| (name.clone(), base_key(name, &adapter.targets))));
        let mut collect = Collect {
            path: ParameterPath::default(),
            names,
            tensors: Vec::new(),
        };
        // What is held is not in the model, and counts before what is there in its stead.
        for (name, parameter) in &adapter.held {
            collect.path.enter(name, "");
            Restore(&mut collect).visit(parameter.as_ref());
            collect.path.exit();
            collect.names.remove(name);
        }
        self.visit_parameters(&mut Restore(&mut collect));
        collect.tensors
    }
}

impl Adapter {
    /// The layers by name; all linear ones are written as such.
    fn target_modules(&self) -> Vec<String> {
        match &self.config.target_modules {
            Some(TargetModules::Names(names)) => names.clone(),
            _ => {
                let layers = self.targets.iter().filter(|target| !target.is_parameter());
                let mut modules: Vec<String> =
                    layers.map(|target| target.place.module.clone()).collect();
                modules.sort();
                modules
            }
        }
    }

    /// Whether `peft` looks for tables: it does where a list has one of their names.
    fn names_table(&self) -> bool {
        match &self.config.target_modules {
            Some(TargetModules::Names(names)) => {
                names.iter().any(|name| TABLES.contains(&name.as_str()))
            }
            Some(TargetModules::Regex(_)) => {
                let mut weights = self.targets.iter().map(|target| &target.place.weight);
                weights.any(|weight| keeps_base(weight) || is_output(weight))
            }
            _ => false,
        }
    }
}

/// The parameters that have a name in the file, each under it.
struct Collect {
    path: ParameterPath,
    names: BTreeMap<String, String>,
    tensors: Vec<LazyTensor>,
}

impl ModuleVisitor for Collect {
    follow_path!();
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(key) = self.names.get(&self.path.name()) {
            let value = param.val();
            let read = move |value: Tensor<D>| host_tensor(value.into_data())?.cast(DType::F32);
            let shape = value.dims().to_vec();
            let tensor = LazyTensor::deferred(key, DType::F32, shape, move || read(value));
            self.tensors.push(tensor);
        }
    }
}
