//! What ECS does wrong, and what the collector makes of it. Each test is named after the item of the list of
//! faults that it proves.

/// Log in, renew, log out; accounts, roles, hosts.
mod auth;
