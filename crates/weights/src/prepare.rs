//! What becomes of a tensor between the checkpoint and the model.

use crate::{Checkpoint, DType, HostTensor, Result};

/// What the threads of [`LoadPlan::read`](crate::LoadPlan::read) make of tensors, for instance others of another type. A
/// [`Checkpoint`] gives its tensors as they are.
pub trait Prepare: Sync {
    /// What the model is given.
    type Value: Send;

    /// Where the tensors are.
    fn checkpoint(&self) -> &Checkpoint;

    /// About how many bytes the value for `parameter` takes that is made of `tensor`; 0 if it is used where it lies, which
    /// is no work and not done ahead.
    ///
    /// # Errors
    /// If the checkpoint has no such tensor, or none of its type can be read.
    fn cost(&self, parameter: &str, tensor: &str) -> Result<usize>;

    /// About how many bytes the value for `parameter` takes that is made of a conversion's tensor of type `found`; 0, the
    /// default, if the tensor is the value.
    fn converted_cost(&self, parameter: &str, found: DType) -> usize {
        let _ = (parameter, found);
        0
    }

    /// The value for `parameter` that the checkpoint's `tensor` fills.
    ///
    /// # Errors
    /// If it cannot be read or made.
    fn read(&self, parameter: &str, tensor: &str) -> Result<Self::Value>;

    /// The value for `parameter` that `tensor`, made by a conversion, fills.
    ///
    /// # Errors
    /// If it cannot be made.
    fn finish(&self, parameter: &str, tensor: HostTensor) -> Result<Self::Value>;
}

impl Prepare for Checkpoint {
    type Value = HostTensor;

    fn checkpoint(&self) -> &Checkpoint {
        self
    }

    fn cost(&self, _: &str, tensor: &str) -> Result<usize> {
        match self.copies(tensor) {
            true => self.size(tensor),
            false => Ok(0),
        }
    }

    fn read(&self, _: &str, tensor: &str) -> Result<HostTensor> {
        self.tensor(tensor)
    }

    fn finish(&self, _: &str, tensor: HostTensor) -> Result<HostTensor> {
        Ok(tensor)
    }
}
