//! Which weights of a model an adapter's config names.

use std::collections::BTreeSet;

use burn::module::{ModuleVisitor, Param};
use burn::tensor::{Int, Tensor};
use fancy_regex::Regex;
use transformers_ops as ops;

use super::config::setting;
use super::{LoraConfig, TargetModules, TaskType};
use crate::embeddings::is_output;
use crate::erased::Restore;
use crate::nn::LoraTarget;
use crate::parameters::{ParameterPath, follow_path};
use crate::{ModelError, PreTrainedModel, Precision};

/// The layers that `peft` adapts where its user names none, by model type.
const DEFAULT_TARGETS: &[(&str, &[&str])] = &[
    ("bart", &["q_proj", "v_proj"]),
    ("bert", &["query", "value"]),
    ("bloom", &["query_key_value"]),
    ("deberta-v2", &["query_proj", "value_proj"]),
    ("electra", &["query", "value"]),
    ("falcon", &["query_key_value"]),
    ("gemma", &["q_proj", "v_proj"]),
    ("gemma2", &["q_proj", "v_proj"]),
    ("gemma3_text", &["q_proj", "v_proj"]),
    ("gpt2", &["c_attn"]),
    ("gpt_neo", &["q_proj", "v_proj"]),
    ("gpt_neox", &["query_key_value"]),
    ("gptj", &["q_proj", "v_proj"]),
    ("llama", &["q_proj", "v_proj"]),
    ("mistral", &["q_proj", "v_proj"]),
    ("mixtral", &["q_proj", "v_proj"]),
    ("mpt", &["Wqkv"]),
    ("mt5", &["q", "v"]),
    ("opt", &["q_proj", "v_proj"]),
    ("phi", &["q_proj", "v_proj", "fc1", "fc2"]),
    ("qwen2", &["q_proj", "v_proj"]),
    ("qwen3", &["q_proj", "v_proj"]),
    ("roberta", &["query", "value"]),
    ("stablelm", &["q_proj", "v_proj"]),
    ("t5", &["q", "v"]),
    ("xlm-roberta", &["query", "value"]),
];

/// Heads of classifiers, which `all-linear` leaves out.
const CLASSIFIERS: &[&str] = &["score", "classifier"];

/// A weight that can have an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The parameter: `model.layers.0.self_attn.q_proj.weight`.
    pub weight: String,
    /// The layer: `model.layers.0.self_attn.q_proj`.
    pub module: String,
    pub target: LoraTarget,
    /// `[out, in]`; of stacked experts, that of each.
    pub dims: [usize; 2],
}

/// A weight that an adapter is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub place: Place,
    pub rank: usize,
    pub alpha: f64,
    /// How many wrappers `peft` has around the module inside this one: it wraps a module with several adapted weights
    /// several times.
    pub depth: usize,
}

impl Target {
    /// See [`LoraSettings::scaling`](crate::nn::LoraSettings::scaling).
    pub fn scaling(&self, config: &LoraConfig) -> f64 {
        match config.use_rslora {
            true => self.alpha / (self.rank as f64).sqrt(),
            false => self.alpha / self.rank as f64,
        }
    }

    /// Whether it is a weight by itself.
    pub fn is_parameter(&self) -> bool {
        matches!(self.place.target, LoraTarget::Parameter { .. })
    }

    pub fn experts(&self) -> usize {
        match self.place.target {
            LoraTarget::Parameter { experts } => experts,
            _ => 1,
        }
    }
}

/// All weights of a model, in the order of its tree.
pub(super) fn places(model: &dyn PreTrainedModel) -> Vec<Place> {
    let mut found = Places::default();
    model.visit_parameters(&mut Restore(&mut found));
    let Places { mut found, .. } = found;
    // Packed experts do not say how many they are; their router does.
    let routers: Vec<(String, usize)> = found
        .iter()
        .filter(|(holder, _)| holder == "Struct:Router")
        .map(|(_, place)| (parent(&place.module).to_owned(), place.dims[0]))
        .collect();
    for (holder, place) in &mut found {
        let of_this =
            |(parent_of_router, _): &&(String, usize)| parent(&place.module) == parent_of_router;
        if let (
            "Struct:Experts",
            LoraTarget::Parameter {
                experts: experts @ 1,
            },
        ) = (holder.as_str(), &mut place.target)
            && let Some((_, count)) = routers.iter().find(of_this)
        {
            *experts = *count;
            place.dims[0] /= count;
        }
    }
    found.into_iter().map(|(_, place)| place).collect()
}

fn parent(module: &str) -> &str {
    module.rsplit_once('.').map_or("", |(parent, _)| parent)
}

#[derive(Default)]
struct Places {
    path: ParameterPath,
    /// Each with what holds it.
    found: Vec<(String, Place)>,
}

impl Places {
    fn push(&mut self, experts: usize, dims: [usize; 2]) {
        let weight = self.path.name();
        let holder = self.path.holder().to_owned();
        let module = parent(&weight).to_owned();
        let target = match holder.as_str() {
            "Struct:Linear" | "Struct:OutputLayer" => LoraTarget::Linear,
            "Struct:Embedding" => LoraTarget::Embedding,
            _ => LoraTarget::Parameter { experts },
        };
        let place = Place {
            weight,
            module,
            target,
            dims,
        };
        self.found.push((holder, place));
    }
}

impl ModuleVisitor for Places {
    follow_path!();
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.path.is_weight() {
            return;
        }
        match *param.lazy_shape().as_slice() {
            [out, input] => self.push(1, [out, input]),
            [experts, out, input] => self.push(experts, [out, input]),
            _ => {}
        }
    }
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let blocks = param.val();
        if let Ok(dims) = <[usize; 3]>::try_from(blocks.dims().as_slice()) {
            let weight = ops::Weight::Blocks(blocks.reshape(dims), Precision::Exact);
            self.push(1, weight.dims());
        }
    }
}

/// The weights that `config` names, in the order of the model's tree.
///
/// # Errors
/// None, or one that is no layer; expressions that are none.
pub(super) fn targets(
    model: &dyn PreTrainedModel,
    config: &LoraConfig,
) -> Result<Vec<Target>, ModelError> {
    let places = places(model);
    let chosen = choice(model, config)?;
    let excluded = config
        .exclude_modules
        .as_ref()
        .map(Choice::of)
        .transpose()?;
    let saved = config.modules_to_save.iter().flatten();
    let saved = saved
        .map(|name| within(name))
        .collect::<Result<Vec<_>, _>>()?;
    let left_out = |place: &Place| -> Result<bool, ModelError> {
        let excluded = match &excluded {
            Some(excluded) => excluded.names(place, None)?,
            None => false,
        };
        Ok(excluded || any_match(&saved, &place.module)?)
    };
    let patterns = Patterns::new(config)?;
    let mut targets: Vec<Target> = Vec::new();
    for place in &places {
        let is_layer = !matches!(place.target, LoraTarget::Parameter { .. });
        let named = match &chosen {
            Some(chosen) => chosen.names(place, Some(config))? && !left_out(place)?,
            None => false,
        };
        if named && !is_layer {
            return Err(ModelError::NotALayer {
                module: place.module.clone(),
                parameter: place.weight.clone(),
            });
        }
        let mut parameters = config.target_parameters.iter().flatten();
        let by_itself = parameters.any(|name| ends_with(&place.weight, name));
        if !named && !by_itself {
            continue;
        }
        let mut place = place.clone();
        if by_itself && is_layer {
            place.target = LoraTarget::Parameter { experts: 1 };
        }
        let key = match by_itself {
            true => &place.weight,
            false => &place.module,
        };
        let (rank, alpha) = patterns.of(key)?;
        let (rank, alpha) = (rank.unwrap_or(config.r), alpha.unwrap_or(config.lora_alpha));
        // The one that is wrapped last is outside.
        for inner in targets
            .iter_mut()
            .filter(|target| target.place.module == place.module)
        {
            inner.depth += 1;
        }
        targets.push(Target {
            place,
            rank,
            alpha,
            depth: 0,
        });
    }
    match targets.is_empty() {
        true => Err(no_target(config, &places)),
        false => Ok(targets),
    }
}

fn no_target(config: &LoraConfig, places: &[Place]) -> ModelError {
    let last = |place: &Place| {
        place
            .module
            .rsplit('.')
            .next()
            .unwrap_or_default()
            .to_owned()
    };
    let layers = places
        .iter()
        .filter(|place| place.target == LoraTarget::Linear);
    let some: BTreeSet<String> = layers.map(last).collect();
    let some: Vec<String> = some.into_iter().take(8).collect();
    ModelError::NoAdapterTarget {
        asked: format!("{:?} {:?}", config.target_modules, config.target_parameters),
        some: some.join(", "),
    }
}

/// How layers are named.
enum Choice {
    Names(Vec<String>),
    Regex(Regex),
    /// Every linear layer but these.
    AllBut(Vec<&'static str>),
}

fn choice(model: &dyn PreTrainedModel, config: &LoraConfig) -> Result<Option<Choice>, ModelError> {
    match (&config.target_modules, &config.target_parameters) {
        (None, Some(_)) => Ok(None),
        (None, None) => {
            let model_type = model.info().config.model_type();
            let mut known = DEFAULT_TARGETS.iter();
            let names = known.find(|(known, _)| *known == model_type);
            let (_, names) = names.ok_or_else(|| ModelError::NoDefaultTargets {
                model_type: model_type.to_owned(),
            })?;
            Choice::of(&TargetModules::names(names.iter().copied())).map(Some)
        }
        (Some(TargetModules::AllLinear), _) => {
            let classifies = config.task_type == Some(TaskType::SequenceClassification);
            let heads = if classifies { CLASSIFIERS } else { &[] };
            Ok(Some(Choice::AllBut(heads.to_vec())))
        }
        (Some(modules), _) => Choice::of(modules).map(Some),
    }
}

impl Choice {
    fn of(modules: &TargetModules) -> Result<Self, ModelError> {
        Ok(match modules {
            TargetModules::Names(names) => Self::Names(names.clone()),
            TargetModules::Regex(regex) => {
                Self::Regex(expression("target_modules", &format!(r"\A(?:{regex})\z"))?)
            }
            TargetModules::AllLinear => Self::AllBut(Vec::new()),
        })
    }

    /// Whether the layer is named; with `config`, at one of the depths that it names.
    fn names(&self, place: &Place, config: Option<&LoraConfig>) -> Result<bool, ModelError> {
        let module = place.module.as_str();
        match self {
            Self::Names(names) => {
                if names.iter().any(|name| name == module) {
                    return Ok(true);
                }
                let named = names.iter().any(|name| ends_with(module, name));
                match config.and_then(|config| Some((config, config.layers_to_transform.as_ref()?)))
                {
                    Some((config, layers)) if named => {
                        let depth = depth(module, &config.layers_pattern);
                        Ok(depth.is_some_and(|depth| layers.contains(&depth)))
                    }
                    _ => Ok(named),
                }
            }
            Self::Regex(regex) => is_match(regex, module),
            Self::AllBut(heads) => {
                let linear = place.target == LoraTarget::Linear;
                Ok(linear && !is_output(&place.weight) && !heads.contains(&module))
            }
        }
    }
}

/// Whether `name` is the end of `module`, at a dot.
fn ends_with(module: &str, name: &str) -> bool {
    let before = module.strip_suffix(name);
    before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// The first number in the name of a layer: after one of `lists`, or after any name within another.
fn depth(module: &str, lists: &[String]) -> Option<usize> {
    let parts: Vec<&str> = module.split('.').collect();
    // A number is followed by what it is the depth of.
    let inner = parts.len().checked_sub(1)?;
    let mut numbers = (1..inner).filter_map(|i| {
        let number = parts[i].parse().ok()?;
        let named = match lists {
            [] => i >= 2,
            lists => lists.iter().any(|list| list == parts[i - 1]),
        };
        named.then_some(number)
    });
    numbers.next()
}

/// What is in a module of that name, as `peft` finds it: the name may be an expression.
fn within(name: &str) -> Result<Regex, ModelError> {
    expression("modules_to_save", &format!(r"\A(?:.*\.)?{name}(?:\z|\..*)"))
}

/// The ranks and alphas of layers that have their own.
struct Patterns {
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
}

impl Patterns {
    fn new(config: &LoraConfig) -> Result<Self, ModelError> {
        let of_key = |key: &str, what| expression(what, &format!(r"\A(?:.*\.)?(?:{key})\z"));
        let ranks = config.rank_pattern.iter();
        let alphas = config.alpha_pattern.iter();
        Ok(Self {
            ranks: ranks
                .map(|(key, rank)| Ok((of_key(key, "rank_pattern")?, *rank)))
                .collect::<Result<_, ModelError>>()?,
            alphas: alphas
                .map(|(key, alpha)| Ok((of_key(key, "alpha_pattern")?, *alpha)))
                .collect::<Result<_, ModelError>>()?,
        })
    }

    fn of(&self, name: &str) -> Result<(Option<usize>, Option<f64>), ModelError> {
        Ok((first(&self.ranks, name)?, first(&self.alphas, name)?))
    }
}

fn first<T: Copy>(pairs: &[(Regex, T)], name: &str) -> Result<Option<T>, ModelError> {
    for (regex, value) in pairs {
        if is_match(regex, name)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

fn expression(key: &str, text: &str) -> Result<Regex, ModelError> {
    Regex::new(text).map_err(|error| setting(key, &error.to_string()))
}

/// An expression may give up on a name.
fn is_match(regex: &Regex, name: &str) -> Result<bool, ModelError> {
    let matched = regex.is_match(name);
    matched.map_err(|error| setting(regex.as_str(), &error.to_string()))
}

fn any_match(expressions: &[Regex], name: &str) -> Result<bool, ModelError> {
    for regex in expressions {
        if is_match(regex, name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_counted_from_the_outside() {
        let lists = ["layers".to_owned()];
        for (module, lists, expected) in [
            ("model.layers.3.self_attn.q_proj", &lists[..], Some(3)),
            ("model.layers.3.self_attn.q_proj", &[], Some(3)),
            ("layers.3.q_proj", &lists[..], Some(3)),
            // Without a name, the list is within another module.
            ("layers.3.q_proj", &[], None),
            ("model.layers.1.experts.0.up", &[], Some(1)),
            ("model.h.3.attn", &lists[..], None),
            ("lm_head", &[], None),
        ] {
            assert_eq!(depth(module, lists), expected, "{module}");
        }
    }

    #[test]
    fn names_end_at_dots() {
        assert!(ends_with("a.q_proj", "q_proj") && ends_with("q_proj", "q_proj"));
        assert!(ends_with("a.b.q", "b.q") && !ends_with("a.xq_proj", "q_proj"));
    }
}
