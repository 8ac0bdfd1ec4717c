//! What was measured, for people: a table in Markdown, one line for each fault.
//!
//! Owns [`Measured`] and its form. It must never decide what is good.

use std::fmt::Write as _;
use std::time::Duration;

/// What came of one fault.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) output: &'static str,
    pub(crate) fault: String,
    /// Rows that happened from before it to its end.
    pub(crate) rows: usize,
    /// Those of them that never arrived.
    pub(crate) lost: usize,
    /// Rows stored more than once because of it.
    pub(crate) repeated: usize,
    /// Documents that the server recognized and did not store again.
    pub(crate) recognized: usize,
    /// Connections that were made meanwhile.
    pub(crate) connections: u64,
    /// Errors of the output that were counted.
    pub(crate) errors: f64,
    /// From its end until everything had arrived.
    pub(crate) recovery: Duration,
}

/// The head of the table.
const HEAD: &str = "| output | fault | rows | lost | stored again | recognized | connections | errors counted | all there after |\n\
     |---|---|---|---|---|---|---|---|---|\n";

/// The whole table, to be printed at once: tests run side by side.
pub(crate) fn table(measured: &[Measured]) -> String {
    let mut text = HEAD.to_owned();
    for row in measured {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {:.1} s |",
            row.output,
            row.fault,
            row.rows,
            row.lost,
            row.repeated,
            row.recognized,
            row.connections,
            row.errors,
            row.recovery.as_secs_f64()
        );
    }
    text
}
