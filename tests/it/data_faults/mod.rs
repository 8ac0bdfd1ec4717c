//! What a collector must make of odd answers: one module for each kind of answer, each test
//! named with the number of the item of the list of API behaviours that it proves.

mod alerts;
mod billing;
mod billing_windows;
mod bodies;
mod certificates;
mod connections;
mod dashboards;
mod diagnostics;
mod events;
mod flux;
mod generic;
mod namespaces;
