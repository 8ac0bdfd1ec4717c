//! A single node: always leader.
//!
//! Owns the tenure of a process that runs without etcd. It has no deadline and ends only with the process; it
//! must never be handed out where `ha` is enabled.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::Tenure;
use crate::clock::Clock;

/// The tenure of a single node, over when `cancel` is.
pub fn solo(instance: &str, cancel: CancellationToken) -> Tenure {
    Tenure::endless(&Arc::from(instance), Clock::system(), cancel)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn permits_until_it_is_cancelled() {
        let cancel = CancellationToken::new();
        let tenure = solo("node-a", cancel.clone());
        assert!(tenure.permit(Duration::from_secs(90)).await.is_ok());
        cancel.cancel();
        assert!(tenure.permit(Duration::from_secs(1)).await.is_err());
    }
}
