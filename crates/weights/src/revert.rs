//! The way back: a model's tensors as its checkpoint had them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::conversion::ModelFacts;
use crate::lazy_tensor::Group;
use crate::natural_order;
use crate::transform::{Renamed, Renamer};
use crate::{LazyTensor, LoadPlan, Result, WeightConverter, WeightTransform};

impl LoadPlan {
    /// The model's tensors under the names and in the form that the checkpoint has, see [`revert`].
    ///
    /// # Errors
    /// If a conversion cannot be undone.
    pub fn revert(&self, tensors: Vec<impl Into<LazyTensor>>) -> Result<Vec<LazyTensor>> {
        revert(tensors, &self.used_transforms, &self.model)
    }
}

/// Undoes `transforms`, given in the order in which they are applied on loading, for the tensors of `model`: at most one
/// converter takes a tensor, and then all renamings apply.
///
/// Of a model that was loaded, only those that matched are undone ([`LoadPlan::used_transforms`]): others would invent names
/// that its checkpoint does not have. Values are converted when they are asked for.
///
/// # Errors
/// If a transform cannot be undone, or a tensor has a shape that no checkpoint gives.
pub fn revert(
    tensors: Vec<impl Into<LazyTensor>>,
    transforms: &[WeightTransform],
    model: &ModelFacts,
) -> Result<Vec<LazyTensor>> {
    // Models within models convert first.
    let reversed = transforms
        .iter()
        .rev()
        .map(WeightTransform::reverse)
        .collect::<Result<Vec<_>>>()?;
    let mut renamer = Renamer::new(&reversed);
    let mut tensors: Vec<LazyTensor> = tensors.into_iter().map(Into::into).collect();
    tensors.sort_by(|left, right| natural_order::compare(&left.name, &right.name));
    let groups = gather(tensors, &mut renamer)?;

    let model = Arc::new(model.clone());
    let mut reverted: Vec<LazyTensor> = Vec::new();
    for group in groups {
        match group {
            Target::Renamed(name, tensor) => reverted.push(tensor.renamed(name)),
            Target::Converted(first_target, converter, tensors) => {
                let rename = |name: &str| renamer.rename(name);
                let converter = converter.clone();
                reverted.extend(Group::outputs(
                    converter,
                    first_target,
                    tensors,
                    &model,
                    rename,
                )?);
            }
        }
    }
    // Of two tensors with one name the last counts.
    let mut names = HashSet::new();
    reverted.reverse();
    reverted.retain(|tensor| names.insert(tensor.name.clone()));
    reverted.reverse();
    Ok(reverted)
}

/// The tensors by the name that they get; those of conversions by their first target.
fn gather<'a>(tensors: Vec<LazyTensor>, renamer: &mut Renamer<'a>) -> Result<Vec<Target<'a>>> {
    let mut targets = Vec::new();
    let mut positions = HashMap::new();
    for tensor in tensors {
        let Renamed { name, converter } = renamer.save(tensor.name())?;
        let converter =
            converter.and_then(|(index, source)| Some((renamer.converter(index)?, source)));
        match (positions.entry(name), converter) {
            (Entry::Vacant(place), converter) => {
                let name = place.key().clone();
                place.insert(targets.len());
                targets.push(match converter {
                    None => Target::Renamed(name, tensor),
                    Some((converter, source)) => {
                        Target::Converted(name, converter, vec![(source, tensor)])
                    }
                });
            }
            (Entry::Occupied(place), Some((converter, source))) => {
                if let Target::Converted(_, first, tensors) = &mut targets[*place.get()]
                    && std::ptr::eq(*first, converter)
                {
                    tensors.push((source, tensor));
                }
            }
            // Two tensors for one name: the first is kept, as on loading.
            (Entry::Occupied(_), None) => {}
        }
    }
    Ok(targets)
}

enum Target<'a> {
    Renamed(String, LazyTensor),
    Converted(String, &'a WeightConverter, Vec<(usize, LazyTensor)>),
}
