//! What goes into a model and what comes out.

use burn::tensor::Tensor;

use crate::{ModelError, Rows};

/// Arguments of a forward pass, by the reference's names.
#[derive(Debug, Clone, Default)]
pub struct ModelInputs {
    /// Token ids, `[batch, seq]`.
    pub input_ids: Rows<u32>,
    /// 1 for tokens and 0 for padding, `[batch, past + seq]`: cached tokens are covered too. `None`: no padding.
    pub attention_mask: Option<Rows<u32>>,
    /// Segment ids, `[batch, seq]`; zeros when absent.
    pub token_type_ids: Option<Rows<u32>>,
    /// Positions, `[batch or 1, seq]`. `None`: counted from the attention mask, so that left padding changes nothing.
    pub position_ids: Option<Rows<u32>>,
    /// Target ids, `[batch, seq]`; -100 is ignored. Given, the output has a loss.
    pub labels: Option<Rows<i64>>,
    /// Keep the states between the layers.
    pub output_hidden_states: bool,
    /// Compute logits for the last so many positions only. `None`: for all.
    pub logits_to_keep: Option<usize>,
}

impl ModelInputs {
    /// For each row, which keys are tokens and not padding; the first `dropped` columns of the mask have no key.
    pub(crate) fn tokens(&self, dropped: usize) -> Option<Vec<Vec<bool>>> {
        let mask = self.attention_mask.as_ref()?;
        let row = |row: &[u32]| row[dropped..].iter().map(|token| *token != 0).collect();
        Some(mask.iter().map(row).collect())
    }

    /// The ids alone: no padding, no labels.
    pub fn new(input_ids: impl Into<Rows<u32>>) -> Self {
        Self {
            input_ids: input_ids.into(),
            ..Self::default()
        }
    }

    /// Checks everything that a device could only answer with a fault.
    pub(crate) fn check(&self, vocab_size: usize, past: usize) -> Result<(), ModelError> {
        let [batch, seq] = self.input_ids.dims();
        if batch == 0 || seq == 0 {
            return Err(ModelError::EmptyInput);
        }
        if let Some(&id) = self
            .input_ids
            .values()
            .iter()
            .find(|id| **id as usize >= vocab_size)
        {
            return Err(ModelError::IdBeyondVocabulary {
                id: id.into(),
                vocab_size,
            });
        }
        let expect = |name, dims: Option<[usize; 2]>, wanted: [usize; 2]| match dims {
            Some(found) if found != wanted => Err(ModelError::InputShape {
                name,
                found,
                expected: wanted,
            }),
            _ => Ok(()),
        };
        let dims = |rows: &Option<Rows<u32>>| rows.as_ref().map(Rows::dims);
        expect(
            "attention_mask",
            dims(&self.attention_mask),
            [batch, past + seq],
        )?;
        expect("token_type_ids", dims(&self.token_type_ids), [batch, seq])?;
        expect("labels", self.labels.as_ref().map(Rows::dims), [batch, seq])?;
        match dims(&self.position_ids) {
            Some([1, found]) if found == seq => Ok(()),
            found => expect("position_ids", found, [batch, seq]),
        }
    }

    /// The positions of the new tokens: as given, else counted over the tokens that the mask lets count.
    pub(crate) fn positions(&self, past: usize) -> Result<Rows<u32>, ModelError> {
        if let Some(positions) = &self.position_ids {
            return Ok(positions.clone());
        }
        let seq = self.input_ids.dims()[1];
        let Some(mask) = &self.attention_mask else {
            return Ok(Rows::row_of((past..past + seq).map(|p| p as u32).collect()));
        };
        let rows: Vec<Vec<u32>> = mask.iter().map(|row| positions_of(row, past)).collect();
        match rows.iter().all(|row| *row == rows[0]) {
            true => Ok(Rows::row_of(rows[0].clone())),
            false => Rows::new(&rows),
        }
    }
}

/// `cumsum(mask) - 1`, at least zero, without the first `past` entries.
fn positions_of(mask: &[u32], past: usize) -> Vec<u32> {
    let mut count = 0u32;
    mask.iter()
        .map(|real| {
            count += u32::from(*real != 0);
            count.saturating_sub(1)
        })
        .skip(past)
        .collect()
}

/// What a model gives, by the reference's names; a field that the model does not have stays `None`.
#[derive(Debug, Clone, Default)]
pub struct ModelOutput {
    /// `[1]`, when labels were given.
    pub loss: Option<Tensor<1>>,
    /// `[batch, seq or logits_to_keep, vocab]`.
    pub logits: Option<Tensor<3>>,
    /// `[batch, seq, hidden]`, of models without a head.
    pub last_hidden_state: Option<Tensor<3>>,
    /// `[batch, hidden]`.
    pub pooler_output: Option<Tensor<2>>,
    /// The embeddings and every layer's output, `[batch, seq, hidden]` each; the last one is normed in decoders.
    pub hidden_states: Option<Vec<Tensor<3>>>,
}

impl ModelOutput {
    /// The logits of a model that has a head.
    ///
    /// # Errors
    /// [`ModelError::NoOutput`] for a model without one.
    pub fn logits(self) -> Result<Tensor<3>, ModelError> {
        self.logits.ok_or(ModelError::NoOutput { name: "logits" })
    }

    /// The last states of a model without a head.
    ///
    /// # Errors
    /// [`ModelError::NoOutput`] for a model with one.
    pub fn last_hidden_state(self) -> Result<Tensor<3>, ModelError> {
        self.last_hidden_state.ok_or(ModelError::NoOutput {
            name: "last_hidden_state",
        })
    }

    /// The loss of a pass with labels.
    ///
    /// # Errors
    /// [`ModelError::NoOutput`] without labels.
    pub fn loss(self) -> Result<Tensor<1>, ModelError> {
        self.loss.ok_or(ModelError::NoOutput { name: "loss" })
    }
}
