//! ecsbeat collects metrics, events and billing of Dell EMC ECS / ObjectScale object stores and ships them to
//! the Elastic Stack.
//!
//! The modules, in reading order: [`config`] is what the user asked for, [`election`] who may work (agreed on through [`dcs`], told in [`cluster`]), [`schedule`]
//! when to poll, [`collect`] whom to ask, [`ecs`] how, [`decode`] and [`transform`] what the answers mean,
//! [`document`] and [`event`] what they become, [`processor`] what is done with that (under a [`condition`], on [`json`]
//! as it is written), [`pipeline`] how it gets to an [`output`] without loss,
//! [`checkpoint`] how far it got, [`http`] and [`telemetry`] what is told about it. [`app`] puts them together.

pub mod app;
pub mod check;
pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod collect;
pub mod condition;
pub mod config;
pub mod dcs;
pub mod decode;
mod dial;
pub mod document;
pub mod ecs;
pub mod election;
pub mod event;
pub mod format;
pub mod heartbeat;
pub mod http;
pub mod json;
pub mod keystore;
pub mod operate;
pub mod output;
mod permissions;
pub mod pipeline;
pub mod processor;
pub mod progress;
mod replace;
pub mod retry;
pub mod schedule;
pub mod setup;
pub mod shutdown;
pub mod status;
pub mod steps;
pub mod telemetry;
pub mod tls;
pub mod transform;
pub mod version;
