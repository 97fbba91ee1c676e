//! Chat templates: from a conversation to the text that the model was trained on.

mod budget;
mod json;
mod message;
mod methods;
mod render;
mod templates;
mod tool;

pub(crate) use json::python_float;
pub use message::ChatMessage;
pub use templates::ChatTemplateOptions;
pub(crate) use templates::ChatTemplates;
pub use tool::function_schema;
