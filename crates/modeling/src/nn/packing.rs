//! Batches without their padding: the tokens of all rows one after the other, so that no work is done on padding.

use burn::tensor::Tensor;
use transformers_ops as ops;

use super::{Mask, Weight};
use crate::{ModelInputs, Rows};

/// Where the tokens of a padded batch are once they are packed into one row.
#[derive(Debug, Clone)]
pub struct Packing {
    /// `[batch, seq]`: which packed token a column is. Padding is the one past the last.
    slots: Rows<u32>,
    /// Where each row begins, and at last the number of tokens.
    starts: Vec<usize>,
}

impl Packing {
    /// `None` where there is no padding to leave out, where some of it is not at the end of its row (windows look at the
    /// distance of columns, and heads at the first state), where a state of padding is wanted, and where attention over packed rows would cost more than it saves:
    /// on devices without a kernel for it, and under autodiff. `weight` is any of the model's.
    pub fn new(inputs: &ModelInputs, weight: &Weight) -> Option<Self> {
        let mask = inputs.attention_mask.as_ref()?;
        let padded = mask.values().contains(&0) && mask.iter().all(ends_with_padding);
        if !padded || inputs.reads_padding() || !weight.stored().in_memory() {
            return None;
        }
        let tokens = mask.values().iter().filter(|token| **token != 0).count();
        let mut next = 0;
        let mut starts = Vec::with_capacity(mask.dims()[0] + 1);
        let mut rows = Vec::with_capacity(mask.dims()[0]);
        for row in mask.iter() {
            starts.push(next);
            let mut slot = |token: &u32| match token {
                0 => tokens as u32,
                _ => {
                    next += 1;
                    next as u32 - 1
                }
            };
            rows.push(row.iter().map(&mut slot).collect::<Vec<u32>>());
        }
        starts.push(next);
        let slots = Rows::new(&rows).ok()?;
        Some(Self { slots, starts })
    }

    /// The tokens' values among those of all columns, `[batch, seq]`, as one row.
    pub fn pack(&self, columns: &Rows<u32>) -> Rows<u32> {
        let tokens = self.starts.last().copied().unwrap_or_default();
        let columns = columns.values().iter().zip(self.slots.values());
        let tokens = columns.filter(|(_, slot)| (**slot as usize) < tokens);
        Rows::row_of(tokens.map(|(value, _)| *value).collect())
    }

    /// Every row sees itself only.
    pub fn mask(&self) -> Mask {
        Mask::bidirectional().with_segments(self.starts.clone())
    }

    /// Where each row's first token is.
    pub fn firsts(&self) -> impl Iterator<Item = usize> {
        let rows = self.slots.dims()[0];
        self.starts.iter().copied().take(rows)
    }

    /// States `[1, tokens, hidden]` back in their columns, `[batch, seq, hidden]`; those of padding are zero.
    pub fn unpack(&self, hidden: Tensor<3>) -> Tensor<3> {
        let [_, tokens, size] = hidden.dims();
        let device = hidden.device();
        let zero = Tensor::zeros([1, size], &device);
        let table = Tensor::cat(vec![hidden.reshape([tokens, size]), zero], 0);
        ops::embedding(table, self.slots.to_tensor(&device))
    }
}

/// Whether a row begins with a token, and has none after its first padding.
fn ends_with_padding(row: &[u32]) -> bool {
    let tokens = row.iter().take_while(|token| **token != 0).count();
    tokens > 0 && row[tokens..].iter().all(|token| *token == 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::nn::Init;

    #[test]
    fn tokens_come_back_to_their_columns() {
        let weight = Weight::new([1, 1], &Init::new(Device::flex()));
        let rows = |rows: &[[u32; 3]; 2]| Rows::new(rows).unwrap();
        let inputs = |mask: &[[u32; 3]; 2]| ModelInputs {
            attention_mask: Some(rows(mask)),
            ..ModelInputs::new(rows(&[[5, 6, 7], [8, 9, 10]]))
        };
        let padded = inputs(&[[1, 1, 0], [1, 1, 1]]);
        let packing = Packing::new(&padded, &weight).unwrap();
        let ids = packing.pack(&padded.input_ids);
        assert_eq!((ids.values(), ids.dims()), (&[5, 6, 8, 9, 10][..], [1, 5]));
        assert_eq!(packing.starts, [0, 2, 5]);
        let hidden = TensorData::new(vec![5.0_f32, 6.0, 8.0, 9.0, 10.0], [1, 5, 1]);
        let hidden = packing.unpack(Tensor::from_data(hidden, &Device::flex()));
        let values: Vec<f32> = hidden.into_data().iter().collect();
        assert_eq!(values, [5.0, 6.0, 0.0, 8.0, 9.0, 10.0]);

        assert!(Packing::new(&inputs(&[[1; 3]; 2]), &weight).is_none());
        assert!(Packing::new(&inputs(&[[1; 3], [0; 3]]), &weight).is_none());
        assert!(Packing::new(&inputs(&[[1; 3], [1, 0, 1]]), &weight).is_none());
        assert!(Packing::new(&inputs(&[[1; 3], [0, 1, 1]]), &weight).is_none());
    }

    #[test]
    fn padding_stays_where_something_is_made_of_it() {
        let weight = Weight::new([1, 1], &Init::new(Device::flex()));
        let mask = Rows::new(&[[1, 1, 0]]).unwrap();
        let inputs = ModelInputs {
            attention_mask: Some(mask),
            ..ModelInputs::new(vec![5, 6, 7])
        };
        let packs = |inputs: &ModelInputs| Packing::new(inputs, &weight).is_some();
        let labelled = |labels: [i64; 3]| ModelInputs {
            labels: Some(labels.to_vec().into()),
            ..inputs.clone()
        };
        assert!(packs(&labelled([1, -100, -100])) && !packs(&labelled([1, -100, 2])));
        assert!(!packs(&ModelInputs {
            start_positions: Some(vec![0]),
            ..inputs.clone()
        }));
        assert!(!packs(&ModelInputs {
            states_of_padding: true,
            ..inputs
        }));
    }
}
