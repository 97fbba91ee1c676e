//! Adapters of older files, where every expert was a layer of its own, as adapters of stacked experts.
//!
//! Where two layers have become one weight, so do their adapters, and the rank is the sum of theirs: A has the rows of both,
//! and B lets each reach its own half of the outputs.

use std::collections::BTreeSet;

use transformers_weights::Checkpoint;

use super::config::setting;
use super::save::PREFIX;
use super::targets::Target;
use super::{LoraConfig, TargetModules};
use crate::{ModelError, PreTrainedModel};

/// What the layers of experts were called.
#[derive(Debug)]
struct Names {
    /// The block that has them; it is `mlp` now.
    block: &'static str,
    /// Those that are `gate_up_proj` now.
    gate_up: [&'static str; 2],
    /// The one that is `down_proj` now.
    down: &'static str,
}

const MIXTRAL: Names = Names {
    block: "block_sparse_moe",
    gate_up: ["w1", "w3"],
    down: "w2",
};

const QWEN2_MOE: Names = Names {
    block: "mlp",
    gate_up: ["gate_proj", "up_proj"],
    down: "down_proj",
};

/// By model type.
const FAMILIES: &[(&Names, &[&str])] = &[
    (&MIXTRAL, &["minimax_m2", "mixtral"]),
    (
        &QWEN2_MOE,
        &[
            "deepseek_v2",
            "deepseek_v3",
            "ernie4_5_moe",
            "glm4_moe",
            "olmoe",
            "qwen2_moe",
            "qwen3_moe",
            "qwen3_next",
        ],
    ),
];

/// A file with adapters of single experts.
#[derive(Debug)]
pub(super) struct SingleExperts {
    names: &'static Names,
    /// Which of their layers have some.
    adapted: BTreeSet<String>,
    has_router: bool,
}

impl SingleExperts {
    /// `None` of a file that has none.
    pub fn of(model: &dyn PreTrainedModel, checkpoint: &Checkpoint) -> Option<Self> {
        let model_type = model.info().config.model_type();
        let mut families = FAMILIES.iter();
        let (names, _) = families.find(|(_, types)| types.contains(&model_type))?;
        let experts = format!(".{}.experts.", names.block);
        let layer = |key: &str| {
            let (_, after) = key.split_once(&experts)?;
            let (expert, after) = after.split_once('.')?;
            let (layer, _) = after.split_once(".lora_")?;
            expert.parse::<usize>().ok()?;
            Some(layer.to_owned())
        };
        let router = format!(".{}.gate.lora_A.weight", names.block);
        let mut keys = checkpoint.names();
        let experts = Self {
            names,
            adapted: checkpoint.names().filter_map(layer).collect(),
            has_router: keys.any(|key| key.ends_with(&router)),
        };
        let moved = experts.has_router && names.block != "mlp";
        (!experts.adapted.is_empty() || moved).then_some(experts)
    }

    /// The config of the same adapters of stacked experts.
    ///
    /// # Errors
    /// An adapter of one of two layers that are one weight now.
    pub fn stacked(&self, mut config: LoraConfig) -> Result<LoraConfig, ModelError> {
        let mut parameters = Vec::new();
        let [gate, up] = self.names.gate_up;
        let has = |name: &str| self.adapted.contains(name);
        if has(gate) != has(up) {
            let reason = format!(
                "the file has adapters of the experts' `{gate}` or `{up}` alone, and the two are one weight now: adapt both"
            );
            return Err(setting("target_modules", &reason));
        }
        if has(gate) {
            parameters.push("experts.gate_up_proj");
            let key = r".*\.gate_up_proj".to_owned();
            // The factor stays what it was.
            let twice = match config.use_rslora {
                true => f64::sqrt(2.0),
                false => 2.0,
            };
            config.rank_pattern.push((key.clone(), 2 * config.r));
            config.alpha_pattern.push((key, twice * config.lora_alpha));
        }
        if has(self.names.down) {
            parameters.push("experts.down_proj");
        }
        if self.has_router {
            parameters.push("mlp.gate.weight");
        }
        let targets = config.target_parameters.get_or_insert_default();
        targets.extend(parameters.into_iter().map(str::to_owned));
        if let Some(TargetModules::Names(modules)) = &mut config.target_modules {
            // The router is no linear layer any more.
            modules.retain(|name| name != "gate" && !name.ends_with(".gate"));
            if self.names.block != "mlp" {
                let gone = [gate, up, self.names.down];
                modules.retain(|name| !gone.contains(&name.rsplit('.').next().unwrap_or(name)));
            }
        }
        if config.inference_mode {
            config.lora_dropout = 0.0;
        }
        Ok(config)
    }

    /// The layers whose adapters become the one of `target`: of each expert those that are one weight now. None where the
    /// file has it as it is.
    pub fn parts(&self, target: &Target) -> Vec<Vec<String>> {
        let Some(block) = target.place.module.strip_suffix(".mlp.experts") else {
            return self.router(target);
        };
        let layers: &[&str] = match target.place.weight.ends_with("gate_up_proj") {
            true => &self.names.gate_up,
            false => &[self.names.down],
        };
        let of_expert = |expert: usize| {
            let layer = |layer: &&str| {
                let old = self.names.block;
                format!("{PREFIX}{block}.{old}.experts.{expert}.{layer}")
            };
            layers.iter().map(layer).collect()
        };
        match layers.iter().any(|layer| self.adapted.contains(*layer)) {
            true => (0..target.experts()).map(of_expert).collect(),
            false => Vec::new(),
        }
    }

    fn router(&self, target: &Target) -> Vec<Vec<String>> {
        match target.place.module.strip_suffix(".mlp.gate") {
            Some(block) if self.has_router => {
                vec![vec![format!("{PREFIX}{block}.{}.gate", self.names.block)]]
            }
            _ => Vec::new(),
        }
    }
}

/// A and B of stacked experts: `layers` are those of the first expert, then of the next; `count` of each are one weight, and
/// each has this rank and so many outputs.
pub(super) fn join(
    layers: &[[Vec<f32>; 2]],
    count: usize,
    [rank, out]: [usize; 2],
) -> [Vec<f32>; 2] {
    let experts = layers.len() / count;
    let a = layers.iter().flat_map(|[a, _]| a).copied().collect();
    let width = count * rank * experts;
    let mut b = vec![0.0; count * out * width];
    for (at, [_, values]) in layers.iter().enumerate() {
        let (expert, part) = (at / count, at % count);
        for (row, values) in values.chunks(rank).enumerate() {
            for (column, value) in values.iter().enumerate() {
                let column = (part * rank + column) * experts + expert;
                b[(part * out + row) * width + column] = *value;
            }
        }
    }
    [a, b]
}
