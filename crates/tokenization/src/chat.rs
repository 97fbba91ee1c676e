//! Chat templates: from a conversation to the text that the model was trained on.

mod arithmetic;
mod budget;
mod control_tokens;
mod filters;
mod json;
mod lists;
mod message;
mod methods;
mod operators;
mod render;
mod tags;
mod templates;
mod tool;
mod values;

pub(crate) use json::python_float;
pub use message::ChatMessage;
pub use templates::ChatTemplateOptions;
pub(crate) use templates::ChatTemplates;
pub use tool::function_schema;
