//! Where loading reports how far it is.

use std::fmt::Debug;

/// Told about the tensors of a model as they are loaded, in the model's order. Called from the thread that loads; must
/// not block.
pub trait LoadProgress: Debug + Send + Sync {
    /// So many parameters will be loaded from the checkpoint, of so many elements together.
    fn start(&self, parameters: usize, elements: u64);
    /// Parameter `name` has its value, of so many elements.
    fn advance(&self, name: &str, elements: u64);
    /// All of them have. Not called when loading fails.
    fn finish(&self);
}
