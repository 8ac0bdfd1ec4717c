//! The thread that librdkafka's calls block.
//!
//! Owns the hand-over of orders to it and of answers back. The thread is never waited for: whoever lets go of an order
//! ends its leave, and the thread gives up what it was doing at its next look. It ends, and with it every connection,
//! when this is dropped.

use std::io;
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::message::Message;
use super::producer::Producer;
use super::time::Time;
use crate::election::Permit;
use crate::output::writer::Leave;
use crate::output::{Outcome, SinkError};

/// What the thread is given less than there is, so that its own answer comes in time.
const MARGIN: Duration = Duration::from_millis(300);

/// The thread's address.
#[derive(Debug)]
pub(super) struct Thread {
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Connect(Time, oneshot::Sender<Result<(), SinkError>>),
    Publish(
        Vec<Message>,
        Time,
        oneshot::Sender<Result<Vec<Outcome>, SinkError>>,
    ),
    Close(oneshot::Sender<Result<(), SinkError>>),
}

impl Thread {
    /// Starts it.
    pub(super) fn start(mut producer: Producer) -> io::Result<Self> {
        let (orders, queue) = mpsc::channel();
        std::thread::Builder::new()
            .name("output-kafka".to_owned())
            .spawn(move || {
                // Where nobody is left to hear the answer, it was for nothing.
                for order in queue {
                    match order {
                        Order::Connect(time, answer) => {
                            let _ = answer.send(producer.connect(&time));
                        }
                        Order::Publish(messages, time, answer) => {
                            let _ = answer.send(producer.publish(&messages, &time));
                        }
                        Order::Close(answer) => {
                            producer.close();
                            let _ = answer.send(Ok(()));
                        }
                    }
                }
            })?;
        Ok(Self { orders })
    }

    /// Reaches the brokers within `budget`.
    pub(super) async fn connect(&self, permit: &Permit, budget: Duration) -> Result<(), SinkError> {
        self.ask(permit, budget, Order::Connect).await
    }

    /// Sends a batch within `budget`. When the future is dropped nothing more of it is sent.
    pub(super) async fn publish(
        &self,
        messages: Vec<Message>,
        permit: &Permit,
        budget: Duration,
    ) -> Result<Vec<Outcome>, SinkError> {
        self.ask(permit, budget, |time, answer| {
            Order::Publish(messages, time, answer)
        })
        .await
    }

    /// Closes the connections.
    pub(super) async fn close(&self, budget: Duration) -> Result<(), SinkError> {
        let (answer, result) = oneshot::channel();
        self.orders.send(Order::Close(answer)).map_err(|_| lost())?;
        within(budget, result).await
    }

    async fn ask<T>(
        &self,
        permit: &Permit,
        budget: Duration,
        order: impl FnOnce(Time, oneshot::Sender<Result<T, SinkError>>) -> Order,
    ) -> Result<T, SinkError> {
        let leave = Leave::new(Some(permit.clone()));
        let _ends_when_dropped = leave.ends_with();
        let time = Time::new(leave, budget.saturating_sub((budget / 4).min(MARGIN)));
        let (answer, result) = oneshot::channel();
        self.orders.send(order(time, answer)).map_err(|_| lost())?;
        within(budget, result).await
    }
}

async fn within<T>(
    budget: Duration,
    result: oneshot::Receiver<Result<T, SinkError>>,
) -> Result<T, SinkError> {
    match tokio::time::timeout(budget, result).await {
        Ok(result) => result.unwrap_or_else(|_| Err(lost())),
        Err(_) => Err(SinkError::Transport(format!(
            "the brokers did not answer within {budget:?}"
        ))),
    }
}

fn lost() -> SinkError {
    SinkError::Transport("the output's thread has ended".to_owned())
}
