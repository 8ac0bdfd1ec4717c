//! What an operator may ask of the cluster, and what comes of it.
//!
//! Owns [`Order`] and the desk where orders are handed in ([`Desk`]). The election answers each one; nothing here
//! decides.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Orders that may wait at one time; more are refused.
const WAITING: usize = 16;

/// Something an operator asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// `leader` hands over to `candidate`, or to whoever is ready.
    Switchover {
        /// The instance that is thought to lead.
        leader: String,
        /// The instance that shall lead.
        candidate: Option<String>,
    },
    /// This instance, which leads, hands over.
    StepDown,
    /// Nobody takes over until further notice.
    Pause,
    /// The end of a pause.
    Resume,
}

/// An order was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// Somebody else leads.
    Switched {
        /// Who led.
        from: String,
        /// Who leads.
        to: String,
        /// How long nobody did.
        gap: Option<Duration>,
    },
    /// The cluster is paused.
    Paused,
    /// The cluster is not paused.
    Resumed,
}

/// An order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another change of leader is under way.
    #[error("{0}")]
    Conflict(String),
    /// As things stand it cannot be done. The word is out of a closed set (`not_leader`, `leader_mismatch`,
    /// `no_candidate`, `candidate_unknown`, `candidate_never_leads`, `paused`).
    #[error("{message}")]
    Impossible {
        /// For programs.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// etcd did not answer, or the change did not come in time: what came of it is unknown.
    #[error("{0}")]
    Unknown(String),
}

/// An order and where its answer goes.
pub type Slip = (Order, oneshot::Sender<Result<Done, Refused>>);

/// Where orders are handed in.
#[derive(Debug, Clone)]
pub struct Desk(mpsc::Sender<Slip>);

impl Desk {
    /// A desk, and the election's end of it.
    pub fn new() -> (Self, mpsc::Receiver<Slip>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self(sender), receiver)
    }

    /// Hands in an order and waits for what comes of it, no longer than `patience`.
    pub async fn order(&self, order: Order, patience: Duration) -> Result<Done, Refused> {
        let (slip, answer) = oneshot::channel();
        if self.0.try_send((order, slip)).is_err() {
            let message = "the election does not take orders now; try again";
            return Err(Refused::Unknown(message.to_owned()));
        }
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Refused::Unknown("this instance is stopping".to_owned())),
            Err(_) => Err(Refused::Unknown(format!(
                "no outcome within {patience:?}; look at /cluster"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_order_is_answered_refused_or_given_up() {
        let (desk, mut orders) = Desk::new();
        let patience = Duration::from_secs(2);
        let (answer, ()) = tokio::join!(desk.order(Order::Pause, patience), async {
            let (order, slip) = orders.recv().await.unwrap();
            assert_eq!(order, Order::Pause);
            slip.send(Ok(Done::Paused)).unwrap();
        });
        assert_eq!(answer, Ok(Done::Paused));
        assert!(matches!(
            desk.order(Order::Resume, patience).await,
            Err(Refused::Unknown(text)) if text.contains("2s")
        ));
        drop(orders);
        assert!(matches!(
            desk.order(Order::StepDown, patience).await,
            Err(Refused::Unknown(_))
        ));
    }
}
