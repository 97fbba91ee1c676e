//! From a batch of columns to a model's inputs.

use transformers_modeling::{Labels, ModelInputs, Rows};

use crate::data::{Batch, Column};
use crate::{Result, TrainerError};

/// The arguments of models that a column of a batch may be.
pub(crate) const ARGUMENTS: &[&str] = &[
    "input_ids",
    "attention_mask",
    "token_type_ids",
    "position_ids",
    "labels",
    "label",
    "label_ids",
    "start_positions",
    "end_positions",
    "next_sentence_label",
    "sentence_order_label",
    "decoder_input_ids",
    "decoder_attention_mask",
];

/// The inputs of a batch.
///
/// # Errors
/// No `input_ids`, a column that no model takes, or one of another kind than it takes.
pub(crate) fn model_inputs(batch: &Batch) -> Result<ModelInputs> {
    let mut inputs = ModelInputs {
        input_ids: ids("input_ids", batch.integers("input_ids").map(|_| batch)?)?,
        ..ModelInputs::default()
    };
    if let Some(&[_, choices, _]) = batch.get("input_ids").map(Column::shape) {
        inputs.num_choices = Some(choices);
    }
    for (name, column) in batch.iter() {
        match name {
            "input_ids" => {}
            "attention_mask" => inputs.attention_mask = Some(ids(name, batch)?),
            "token_type_ids" => inputs.token_type_ids = Some(ids(name, batch)?),
            "position_ids" => inputs.position_ids = Some(ids(name, batch)?),
            "decoder_input_ids" => inputs.decoder_input_ids = Some(ids(name, batch)?),
            "decoder_attention_mask" => inputs.decoder_attention_mask = Some(ids(name, batch)?),
            "start_positions" => inputs.start_positions = Some(numbers(name, batch)?),
            "end_positions" => inputs.end_positions = Some(numbers(name, batch)?),
            "next_sentence_label" | "sentence_order_label" => {
                inputs.next_sentence_label = Some(numbers(name, batch)?);
            }
            "labels" => inputs.labels = Some(labels(column)),
            other => {
                return Err(TrainerError::InvalidColumn {
                    column: other.to_owned(),
                    reason: "no model takes it: remove it, or leave `remove_unused_columns` on"
                        .to_owned(),
                });
            }
        }
    }
    Ok(inputs)
}

fn labels(column: &Column) -> Labels {
    match column {
        Column::Integers(array) => Labels::Ids(array.to_rows()),
        Column::Floats(array) => Labels::Values(array.to_rows()),
        Column::Bools(array) => {
            Labels::Values(array.map(|truth| f32::from(u8::from(*truth))).to_rows())
        }
    }
}

fn ids(name: &str, batch: &Batch) -> Result<Rows<u32>> {
    let array = match batch.get(name) {
        Some(Column::Bools(array)) => array.map(|truth| i64::from(*truth)),
        _ => batch.integers(name)?.clone(),
    };
    match array
        .values()
        .iter()
        .find(|id| u32::try_from(**id).is_err())
    {
        None => Ok(array.map(|id| *id as u32).to_rows()),
        Some(id) => Err(TrainerError::InvalidColumn {
            column: name.to_owned(),
            reason: format!("{id} is no id"),
        }),
    }
}

fn numbers(name: &str, batch: &Batch) -> Result<Vec<i64>> {
    Ok(batch.integers(name)?.values().to_vec())
}
