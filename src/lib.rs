//! ecsbeat collects metrics, events and billing of Dell EMC ECS / ObjectScale object stores and ships them to
//! the Elastic Stack.
//!
//! The modules, in reading order: [`config`] is what the user asked for, [`election`] who may work,
//! [`output`] where events go, [`pipeline`] how they get there without loss, [`event`] what they are, [`status`] and
//! [`telemetry`] what the process tells about itself, [`http`] who asks for it.

pub mod cli;
pub mod clock;
pub mod config;
pub mod election;
pub mod event;
pub mod heartbeat;
pub mod http;
pub mod output;
pub mod pipeline;
pub mod retry;
pub mod status;
pub mod telemetry;
pub mod version;
