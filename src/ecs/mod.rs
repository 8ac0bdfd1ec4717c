//! The management API of ECS: how to log in, whom to ask, how to tell failures apart.
//!
//! Owns everything between a path and the bytes of its answer. It knows nothing of outputs, of the election or
//! of YAML, and no field of any record. One [`Client`] stands for one VDC of one customer.

mod account;
mod answer;
mod client;
mod error;
mod inventory;
mod listing;
mod login;
mod nodes;
mod session;
mod slots;
mod trace;

pub use account::Account;
pub use answer::Answer;
pub use client::{CONNECT_TIMEOUT, Client, Endpoint, HttpError, Query, Read};
pub use error::{EcsError, Retry};
pub use inventory::{Inventory, Node};
pub use listing::Listing;
pub use trace::Tracer;
