//! From the polls to the outputs: queue, batches, publishing, acknowledgement.
//!
//! At-least-once: an event leaves this folder only acknowledged, dropped for a counted reason, or lost with
//! the process (and then it is polled again, because its poll's checkpoint did not move).

pub mod ack;
pub mod batch;
pub mod health;
pub mod publish;
pub mod queue;
