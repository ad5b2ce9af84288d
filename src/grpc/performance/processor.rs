//! From admission to the ordered answer.

mod handler;
mod scope;

pub use handler::{MessageHandler, Validator};
pub use scope::JobScope;
