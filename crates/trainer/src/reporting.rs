//! Where logs go: lines of JSON, TensorBoard, and the model card.

mod model_card;
mod reporters;
mod tensorboard;

pub use model_card::{ModelCard, ModelCardRow};
pub use reporters::{JsonlReporter, ModelCardReporter, TensorBoardReporter};
pub use tensorboard::EventWriter;
