//! An ECS federation in one process, to try and to test collectors on.
//!
//! [`Sim`] opens the ports of every node of every VDC on loopback addresses and answers the management API as
//! ECS 2.2 to 3.8 and `ObjectScale` 4.1 to 4.3 do: tokens, inventory, dashboards, audit events and alerts,
//! billing, Flux, diagnostics and ping. The world is a pure function of a seed and a clock, so a test knows
//! what a perfect collector must deliver ([`Sim::truth`]). Faults are switched on while it runs
//! ([`Sim::faults`]), and so are changes of the topology ([`Sim::apply`]).
//!
//! It shares no code with the product it tests.

mod api;
mod auth;
pub mod bulk;
mod clock;
mod config;
mod control;
mod effects;
mod fault;
mod federation;
mod gauges;
mod http;
mod journal;
mod json;
mod metering;
mod pki;
mod ports;
mod profile;
mod request_log;
mod running;
mod seed;
mod service;
mod sim;
mod topology;
mod truth;
mod xml;

pub use auth::TokenCounts;
pub use config::{Auth, Billing, Config, Journal, Latency, User};
pub use fault::{Fault, FaultRule, Faults, Oddity, Port, Scope};
pub use profile::Profile;
pub use request_log::LoggedRequest;
pub use sim::{NodeHandle, Sim, VdcHandle};
pub use topology::{Change, NodeState};
pub use truth::{BillingTruth, NodeTruth, RowTruth, Truth, VdcTruth};
