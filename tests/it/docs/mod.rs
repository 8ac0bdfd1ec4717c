//! What is written for operators is true: links lead somewhere, commands parse, configurations load, endpoints answer as
//! they are said to, quoted messages exist, and the reference of the configuration is made of the sample.

mod endpoints;
mod links;
mod messages;
mod named;
/// The Markdown files.
pub(crate) mod page;
mod reference;
mod sample;
mod shell;
/// YAML and JSON in them.
pub(crate) mod snippets;
mod syntax;
mod tables;
