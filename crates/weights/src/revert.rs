//! The way back: a model's tensors as its checkpoint had them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::conversion::{ModelFacts, Operand};
use crate::natural_order;
use crate::transform::{Renamed, Renamer};
use crate::{HostTensor, LoadPlan, Result, WeightConverter, WeightTransform};

impl LoadPlan {
    /// The model's tensors under the names and in the form that the checkpoint has, see [`revert`].
    ///
    /// # Errors
    /// If a conversion cannot be undone.
    pub fn revert(&self, tensors: Vec<(String, HostTensor)>) -> Result<Vec<(String, HostTensor)>> {
        revert(tensors, &self.used_transforms, &self.model)
    }
}

/// Undoes `transforms`, given in the order in which they are applied on loading, for the tensors of `model`: at most one
/// converter takes a tensor, and then all renamings apply.
///
/// Of a model that was loaded, only those that matched are undone ([`LoadPlan::used_transforms`]): others would invent names
/// that its checkpoint does not have. Each tensor is freed as soon as it is converted.
///
/// # Errors
/// If a transform cannot be undone, or a tensor has a shape that no checkpoint gives.
pub fn revert(
    mut tensors: Vec<(String, HostTensor)>,
    transforms: &[WeightTransform],
    model: &ModelFacts,
) -> Result<Vec<(String, HostTensor)>> {
    // Models within models convert first.
    let reversed = transforms
        .iter()
        .rev()
        .map(WeightTransform::reverse)
        .collect::<Result<Vec<_>>>()?;
    let mut renamer = Renamer::new(&reversed);
    tensors.sort_by(|(left, _), (right, _)| natural_order::compare(left, right));

    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut positions = HashMap::new();
    for (key, tensor) in tensors {
        let Renamed { name, converter } = renamer.save(&key)?;
        let converter =
            converter.and_then(|(index, source)| Some((renamer.converter(index)?, source)));
        match (positions.entry(name), converter) {
            (Entry::Vacant(place), converter) => {
                let name = place.key().clone();
                place.insert(groups.len());
                groups.push(match converter {
                    None => Group::Renamed(name, tensor),
                    Some((converter, source)) => {
                        Group::Converted(name, converter, vec![(source, tensor.into())])
                    }
                });
            }
            (Entry::Occupied(place), Some((_, source))) => {
                if let Group::Converted(_, _, tensors) = &mut groups[*place.get()] {
                    tensors.push((source, tensor.into()));
                }
            }
            // Two tensors for one name: the first is kept, as on loading.
            (Entry::Occupied(_), None) => {}
        }
    }

    let mut reverted = Vec::new();
    for group in groups {
        match group {
            Group::Renamed(name, tensor) => reverted.push((name, tensor)),
            Group::Converted(first_target, converter, tensors) => {
                for (name, operand) in converter.convert(&first_target, tensors, model)? {
                    let name = renamer.rename(&name)?;
                    reverted.extend(operand.into_tensor()?.map(|tensor| (name, tensor)));
                }
            }
        }
    }
    Ok(reverted)
}

enum Group<'a> {
    Renamed(String, HostTensor),
    Converted(String, &'a WeightConverter, Vec<(usize, Operand)>),
}
