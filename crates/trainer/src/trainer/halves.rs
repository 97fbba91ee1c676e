//! `bf16`: passes run with weights in bfloat16, and steps change their masters in f32, so that no change is too small to
//! count. What is saved are the masters.

use transformers_modeling::{Dtype, PreTrainedModel};

use super::Trainer;
use crate::Result;
use crate::parameters::{self, Named};

impl Trainer {
    /// The model in bfloat16; the values that its parameters had become the masters.
    pub(super) fn halve(
        &mut self,
        model: Box<dyn PreTrainedModel>,
    ) -> Result<Box<dyn PreTrainedModel>> {
        let mut masters = Named::new();
        let model = parameters::change(model, |name, _, weight| {
            masters.insert(name.to_owned(), weight.to_vec());
            false
        });
        self.masters = Some(masters);
        Ok(model.with_dtype(Dtype::BFloat16)?)
    }

    /// The model with its masters as weights; `None` where it has none.
    pub(super) fn whole(&self) -> Result<Option<Box<dyn PreTrainedModel>>> {
        let Some(masters) = &self.masters else {
            return Ok(None);
        };
        let model = self.model().with_dtype(Dtype::Float32)?;
        Ok(Some(parameters::change(model, |name, _, weight| {
            match masters.get(name) {
                Some(master) => weight.copy_from_slice(master),
                None => return false,
            }
            true
        })))
    }

    /// Lets the masters be the weights again.
    pub(super) fn end_halves(&mut self) -> Result<()> {
        if let Some(model) = self.whole()? {
            self.model = Some(model);
            self.masters = None;
        }
        Ok(())
    }
}
