//! Tensors of the model that a GGUF file holds in two.

use crate::conversion::{Operand, operation};
use crate::conversion_mapping::gguf::Pair;
use crate::{DType, HostTensor, Result};

impl Pair {
    /// The shape of the tensor that halves of these shapes make.
    pub(crate) fn shape(self, halves: [&[usize]; 2], groups: usize) -> Result<Vec<usize>> {
        let bare = halves.map(|shape| Operand::of_shape(DType::F32, shape));
        Ok(self.joined(bare, groups)?.shape().to_vec())
    }

    /// The tensor that both make; in f32 where one of them has another type than the other.
    pub(crate) fn tensor(self, halves: [HostTensor; 2], groups: usize) -> Result<HostTensor> {
        let [first, second] = halves;
        let halves = match first.dtype() == second.dtype() {
            true => [first, second],
            false => [first.cast(DType::F32)?, second.cast(DType::F32)?],
        };
        self.joined(halves.map(Operand::from), groups)?
            .into_values()
    }

    fn joined(self, [first, second]: [Operand; 2], groups: usize) -> Result<Operand> {
        match self {
            Self::GateUp => Operand::concatenate(vec![first, second], 1),
            Self::KeyValue => by_group(vec![first.transpose(1, 2)?, second]),
            Self::QkvGate => {
                let values = second.shape().first().copied().unwrap_or_default();
                let rows = first.shape().first().copied().unwrap_or_default();
                let keys = rows.saturating_sub(values) / 2;
                let mut parts = first.split(&[keys, keys, values], 0)?;
                parts.push(second);
                let grouped = parts.into_iter().map(|part| grouped(part, groups));
                by_group(grouped.collect::<Result<_>>()?)
            }
        }
    }
}

/// The rows of a matrix, parted into `[groups, rows, cols]`.
fn grouped(matrix: Operand, groups: usize) -> Result<Operand> {
    match *matrix.shape() {
        [rows, cols] if groups > 0 && rows.is_multiple_of(groups) => {
            matrix.reshape(&[groups, rows / groups, cols])
        }
        ref shape => Err(operation(format!(
            "the rows of shape {shape:?} do not part into {groups} groups"
        ))),
    }
}

/// The rows `[groups, rows, cols]` of all parts, group by group, as one matrix.
fn by_group(parts: Vec<Operand>) -> Result<Operand> {
    let whole = Operand::concatenate(parts, 1)?;
    let rows = match *whole.shape() {
        [groups, rows, cols] => groups.checked_mul(rows).map(|rows| [rows, cols]),
        _ => None,
    };
    let rows = rows.ok_or_else(|| {
        let shape = whole.shape();
        operation(format!("shape {shape:?} is not of groups of rows"))
    });
    whole.reshape(&rows?)
}
