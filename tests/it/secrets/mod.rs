//! Secrets are nowhere but where they are sent: the real binary with a different secret in every place that takes one.

mod canary;
mod cluster;
mod single;
