//! Which tensors of a checkpoint fill which parameters of a model, decided before any of them is read.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use fancy_regex::Regex;
use serde_json::Value;

use crate::conversion::{ModelFacts, Operand};
use crate::transform::{Renamed, Renamer};
use crate::{
    Checkpoint, ConversionFailure, HostTensor, LoadReport, Mismatch, Result, WeightConverter,
    WeightRenaming, WeightTransform, WeightsError,
};

/// The outcome of [`plan`].
#[derive(Clone, Debug, Default)]
pub struct LoadPlan {
    /// For each parameter that one tensor fills as it is, the name of that tensor in the checkpoint.
    pub sources: BTreeMap<String, String>,
    /// What fills the others.
    pub conversions: Vec<Conversion>,
    /// What does not fit.
    pub report: LoadReport,
    /// The transforms that matched a tensor, in order: what saving has to undo.
    pub used_transforms: Vec<WeightTransform>,
    /// The model that the plan is for.
    pub model: ModelFacts,
    /// The parameters in the order in which they were given.
    pub(crate) order: Vec<String>,
}

/// Tensors of a checkpoint that become one or several parameters together.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// The tensors in natural order of their names, each with the source that it matched.
    sources: Vec<(usize, String)>,
    converter: WeightConverter,
    first_target: String,
    /// The names that the converter gives, and the parameters that they fill.
    parameters: Vec<(String, String)>,
}

/// How the names and tensors of a checkpoint become those of a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadRules<'a> {
    /// The attribute that holds the headless model, for instance `model` or `bert`: checkpoints of the headless model lack
    /// it, and models without a head are loaded from checkpoints that have it. Empty where there is none.
    pub base_model_prefix: &'a str,
    /// The family's transforms: all renamings that match are applied, in order, and then at most one converter.
    pub transforms: &'a [WeightTransform],
    /// The user's renamings, as pairs of a regular expression and its replacement; applied before the family's.
    pub key_mapping: &'a [(String, String)],
    /// The model's configuration, which some conversions ask.
    pub config: Option<&'a Value>,
    /// Pairs of a parameter that is another one under a second name, and that one: `lm_head.weight` and
    /// `model.embed_tokens.weight`. The first need not be a parameter of its own, nor be in the checkpoint.
    pub tied: &'a [(String, String)],
    /// Regular expressions of tensors that are left out of the report when the model has no place for them.
    pub ignore_unexpected: &'a [&'a str],
}

/// Matches the parameters of a model, given by name and shape, with the tensors of `checkpoint`.
///
/// A tensor's name is renamed, and the base model's prefix taken away or added where only that leads to a parameter; a
/// name that is a parameter as it stands is not lost to a renaming. What does not fit is not an error but in the report.
///
/// # Errors
/// If a pattern is faulty, or tied tensors cannot be read.
pub fn plan(
    params: &[(String, Vec<usize>)],
    checkpoint: &Checkpoint,
    rules: &LoadRules,
) -> Result<LoadPlan> {
    let user = rules.key_mapping.iter();
    let user = user.map(|(source, target)| Ok(WeightRenaming::new(source, target)?.into()));
    let mut transforms = user.collect::<Result<Vec<WeightTransform>>>()?;
    transforms.extend_from_slice(rules.transforms);
    let names = ModelNames {
        names: params
            .iter()
            .map(|(name, _)| name.as_str())
            .chain(rules.tied.iter().map(|(target, _)| target.as_str()))
            .collect(),
        prefix: format!("{}.", rules.base_model_prefix),
    };
    let model = ModelFacts {
        parameters: params.iter().cloned().collect(),
        config: rules.config.cloned().unwrap_or_default(),
    };

    let mut renamer = Renamer::new(&transforms);
    let mut collected = Collection::gather(checkpoint, &names, &mut renamer, rules)?;
    let mut found = collected.found(checkpoint, &names, &model);
    tie(
        &mut found,
        params,
        checkpoint,
        rules.tied,
        &mut collected.report,
    )?;

    let tied_to = |name: &str| {
        let tie = rules.tied.iter().find(|(target, _)| target == name);
        tie.map(|(_, source)| source)
    };
    let mut report = collected.report;
    let mut conversions = collected.conversions;
    let mut sources = BTreeMap::new();
    for (name, shape) in params {
        match found.get(name) {
            Some(tensor) if tensor.shape == *shape => match &tensor.origin {
                Origin::Tensor(key) => {
                    sources.insert(name.clone(), key.clone());
                }
                Origin::Conversion(index, output) => {
                    conversions[*index]
                        .parameters
                        .push((output.clone(), name.clone()));
                }
            },
            Some(tensor) => report.mismatched.push(Mismatch {
                name: name.clone(),
                checkpoint: tensor.shape.clone(),
                model: shape.clone(),
            }),
            None if tied_to(name).is_some_and(|source| found.contains_key(source)) => {}
            None => report.missing.push(name.clone()),
        }
    }
    conversions.retain(|conversion| !conversion.parameters.is_empty());
    report.sort();
    Ok(LoadPlan {
        sources,
        conversions,
        report,
        used_transforms: renamer.used(),
        model,
        order: params.iter().map(|(name, _)| name.clone()).collect(),
    })
}

/// The tensors of a checkpoint by the parameter that they go to.
#[derive(Default)]
struct Collection {
    /// By parameter; those of conversions by their first target, with the index of the conversion.
    targets: Vec<(String, Target)>,
    /// Where a parameter is among them.
    positions: HashMap<String, usize>,
    conversions: Vec<Conversion>,
    report: LoadReport,
}

enum Target {
    Tensor(String),
    /// The conversion, and its converter among the transforms.
    Conversion(usize, usize),
}

/// What a parameter is filled from.
#[derive(Clone)]
struct Found {
    shape: Vec<usize>,
    origin: Origin,
}

#[derive(Clone)]
enum Origin {
    /// The tensor of this name.
    Tensor(String),
    /// The output of this name of a conversion.
    Conversion(usize, String),
}

impl Collection {
    fn gather(
        checkpoint: &Checkpoint,
        names: &ModelNames<'_>,
        renamer: &mut Renamer<'_>,
        rules: &LoadRules<'_>,
    ) -> Result<Self> {
        let ignored = compile(rules.ignore_unexpected)?;
        let mut collection = Self::default();
        let mut unexpected = HashSet::new();
        for key in checkpoint.names() {
            let Renamed { name, converter } = names.resolve(key, renamer)?;
            let converter = converter
                .and_then(|(index, source)| Some((index, renamer.converter(index)?, source)));
            let surplus = match (names.contains(&name), converter) {
                (true, converter) if collection.place(name.clone(), key, converter) => continue,
                // Of two tensors for one parameter the second is as unexpected as one for none.
                (true, _) => vec![key.to_owned()],
                (false, Some((_, converter, _))) => converter.target_names(&name),
                (false, None) => vec![name],
            };
            if !matches_any(&ignored, key) {
                unexpected.extend(surplus);
            }
        }
        collection.report.unexpected = unexpected.into_iter().collect();
        Ok(collection)
    }

    /// Gives the tensor `key` to the parameter `name`, by way of a converter's source if there is one: its position among
    /// the transforms, itself, and which source. Not done if the parameter has what it needs.
    fn place(
        &mut self,
        name: String,
        key: &str,
        converter: Option<(usize, &WeightConverter, usize)>,
    ) -> bool {
        match (self.positions.entry(name.clone()), converter) {
            (Entry::Vacant(place), None) => {
                place.insert(self.targets.len());
                self.targets.push((name, Target::Tensor(key.to_owned())));
                true
            }
            (Entry::Vacant(place), Some((transform, converter, source))) => {
                place.insert(self.targets.len());
                let target = Target::Conversion(self.conversions.len(), transform);
                self.targets.push((name.clone(), target));
                self.conversions.push(Conversion {
                    sources: vec![(source, key.to_owned())],
                    converter: converter.clone(),
                    first_target: name,
                    parameters: Vec::new(),
                });
                true
            }
            (Entry::Occupied(place), converter) => {
                match (&self.targets[*place.get()].1, converter) {
                    (Target::Conversion(index, first), Some((transform, _, source)))
                        if *first == transform =>
                    {
                        self.conversions[*index]
                            .sources
                            .push((source, key.to_owned()));
                        true
                    }
                    _ => false,
                }
            }
        }
    }

    /// The shapes of everything that a parameter could be filled from, by parameter. Conversions are run without values.
    fn found(
        &mut self,
        checkpoint: &Checkpoint,
        names: &ModelNames<'_>,
        model: &ModelFacts,
    ) -> HashMap<String, Found> {
        let mut found = HashMap::new();
        for (name, target) in &self.targets {
            match target {
                Target::Tensor(key) => {
                    let shape = checkpoint.shape(key).unwrap_or_default().to_vec();
                    let origin = Origin::Tensor(key.clone());
                    found.insert(name.clone(), Found { shape, origin });
                }
                Target::Conversion(index, _) => {
                    match self.conversions[*index].shapes(checkpoint, model) {
                        Ok(outputs) => {
                            for (output, shape) in outputs {
                                if !names.contains(&output) || found.contains_key(&output) {
                                    self.report.unexpected.push(output);
                                    continue;
                                }
                                let origin = Origin::Conversion(*index, output.clone());
                                found.insert(output, Found { shape, origin });
                            }
                        }
                        Err(error) => self.report.conversion_errors.push(ConversionFailure {
                            name: name.clone(),
                            reason: error.to_string(),
                        }),
                    }
                }
            }
        }
        found
    }
}

/// Lets parameters that are one another's twin be filled from either's tensor, and finds those that are no twins.
fn tie(
    found: &mut HashMap<String, Found>,
    params: &[(String, Vec<usize>)],
    checkpoint: &Checkpoint,
    tied: &[(String, String)],
    report: &mut LoadReport,
) -> Result<()> {
    for (target, source) in tied {
        match (found.get(target), found.get(source)) {
            (Some(tensor), None) => {
                let tensor = tensor.clone();
                found.insert(source.clone(), tensor);
            }
            (Some(tensor), Some(other)) => {
                let is_own_parameter = params.iter().any(|(name, _)| name == target);
                if let (Origin::Tensor(key), Origin::Tensor(other)) =
                    (&tensor.origin, &other.origin)
                    && !is_own_parameter
                    && checkpoint.tensor(key)? != checkpoint.tensor(other)?
                {
                    report.untied.push(target.clone());
                }
            }
            (None, _) => {}
        }
    }
    Ok(())
}

impl LoadPlan {
    /// The parameters that the checkpoint fills.
    pub fn filled(&self) -> impl Iterator<Item = &str> {
        let converted = self.conversions.iter().flat_map(Conversion::parameters);
        self.sources.keys().map(String::as_str).chain(converted)
    }

    /// All parameters that can be filled, at once.
    ///
    /// # Errors
    /// If a tensor cannot be read or converted.
    pub fn load(&self, checkpoint: &Checkpoint) -> Result<BTreeMap<String, HostTensor>> {
        let mut loaded = BTreeMap::new();
        for (parameter, tensor) in &self.sources {
            loaded.insert(parameter.clone(), checkpoint.tensor(tensor)?);
        }
        for conversion in &self.conversions {
            loaded.extend(conversion.run(&self.model, checkpoint)?);
        }
        Ok(loaded)
    }
}

impl Conversion {
    /// The names of the tensors that are converted, in natural order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &str> {
        self.sources.iter().map(|(_, key)| key.as_str())
    }

    /// The parameters that are filled.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = &str> {
        self.parameters
            .iter()
            .map(|(_, parameter)| parameter.as_str())
    }

    /// Converts the tensors of `checkpoint`. Gives each parameter's name and tensor.
    ///
    /// # Errors
    /// If a tensor cannot be read, or an operation fails.
    pub fn run(
        &self,
        model: &ModelFacts,
        checkpoint: &Checkpoint,
    ) -> Result<Vec<(String, HostTensor)>> {
        let read = |(source, key): &(usize, String)| Ok((*source, checkpoint.operand(key)?));
        let operands = self.sources.iter().map(read).collect::<Result<_>>()?;
        let outputs: HashMap<_, _> = self
            .converter
            .convert(&self.first_target, operands, model)?
            .into_iter()
            .collect();
        let mut filled = Vec::new();
        for (output, parameter) in &self.parameters {
            // Not taken out: parameters that are tied may be filled from one tensor.
            let tensor = outputs.get(output).cloned().map(Operand::into_tensor);
            let tensor = tensor.transpose()?.flatten();
            filled.extend(tensor.map(|tensor| (parameter.clone(), tensor)));
        }
        Ok(filled)
    }

    fn shapes(
        &self,
        checkpoint: &Checkpoint,
        model: &ModelFacts,
    ) -> Result<Vec<(String, Vec<usize>)>> {
        let bare = |(source, key): &(usize, String)| {
            let operand = Operand::of_shape(checkpoint.dtype(key)?, checkpoint.shape(key)?);
            Ok((*source, operand))
        };
        let operands = self.sources.iter().map(bare).collect::<Result<_>>()?;
        let outputs = self
            .converter
            .convert(&self.first_target, operands, model)?;
        Ok(outputs
            .into_iter()
            .map(|(name, operand)| (name, operand.shape().to_vec()))
            .collect())
    }
}

struct ModelNames<'a> {
    /// Parameters, and the second names of tied ones.
    names: HashSet<&'a str>,
    /// With its dot; `.` alone where there is none.
    prefix: String,
}

impl ModelNames<'_> {
    fn contains(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn resolve(&self, key: &str, renamer: &mut Renamer<'_>) -> Result<Renamed> {
        let Renamed { name, converter } = renamer.load(key)?;
        let name = self.repair_prefix(name);
        if !self.contains(&name) && self.contains(key) {
            return Ok(Renamed {
                name: self.repair_prefix(key.to_owned()),
                converter: None,
            });
        }
        Ok(Renamed { name, converter })
    }

    fn repair_prefix(&self, name: String) -> String {
        if self.prefix == "." {
            return name;
        }
        if let Some(shorter) = name.strip_prefix(&self.prefix)
            && self.contains(shorter)
        {
            return shorter.to_owned();
        }
        let longer = format!("{}{name}", self.prefix);
        if self.contains(&longer) { longer } else { name }
    }
}

fn compile(patterns: &[&str]) -> Result<Vec<Regex>> {
    let compile = |pattern: &&str| {
        Regex::new(pattern).map_err(|error| WeightsError::Pattern {
            pattern: (*pattern).to_owned(),
            target: String::new(),
            reason: error.to_string(),
        })
    };
    patterns.iter().map(compile).collect()
}

/// A match that takes too long is none: the tensor is then reported.
fn matches_any(patterns: &[Regex], key: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| pattern.is_match(key).unwrap_or(false))
}
