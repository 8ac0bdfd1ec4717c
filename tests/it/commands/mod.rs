//! Commands of the real binary: table of contents.

/// Completion in a real shell, and the manual page in a real reader.
mod completion;
/// The examples of `docs/commands.md`.
mod docs;
/// `test ecs`, word by word.
mod ecs;
/// `export config`.
mod export;
/// `keystore`, and references to what is in it.
mod keystore;
/// Progress on a terminal and elsewhere.
mod progress;
/// `setup`.
mod setup;
