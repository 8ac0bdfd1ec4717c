//! One member of etcd, as we talk to it.
//!
//! Owns the client of one endpoint: made when it is first needed, logged in, shared by all requests, thrown away when
//! it is of no use any more. Decides nothing about requests.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use etcd_client::{Channel, Client, ConnectOptions};

use super::connect::Connector;
use super::failure::{Failure, takes_no_login};
use crate::config::Secret;

/// A member.
pub(super) struct Member {
    /// `http://etcd1:2379`
    pub(super) name: Arc<str>,
    connector: Connector,
    user: Option<(String, Secret)>,
    client: Mutex<Option<Arc<Client>>>,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A client has the password in it.
        f.debug_struct("Member")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Member {
    pub(super) fn new(name: Arc<str>, connector: Connector, user: Option<(String, Secret)>) -> Self {
        Self {
            name,
            connector,
            user,
            client: Mutex::default(),
        }
    }

    /// The client, made and logged in if there is none. Without a user nothing is sent for that.
    pub(super) async fn client(&self) -> Result<Arc<Client>, Failure> {
        let held = self.lock().clone();
        if let Some(client) = held {
            return Ok(client);
        }
        let made = Arc::new(self.login().await.map_err(|error| Failure::of(&error))?);
        // Somebody else may have been faster; one connection is enough.
        Ok(Arc::clone(self.lock().get_or_insert(made)))
    }

    /// Throws `client` away, unless that has been done. The next one gets a connection and a login of its own.
    pub(super) fn discard(&self, client: &Arc<Client>) {
        let mut held = self.lock();
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, client)) {
            *held = None;
        }
    }

    /// Throws the client away, whichever it is.
    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    /// For people: what went wrong, with what the connection said at its end.
    pub(super) fn explain(&self, failure: &Failure) -> String {
        match (failure, self.connector.heard()) {
            (Failure::Unanswered(said), Some(heard)) => format!("{}: {said}: {heard}", self.name),
            (failure, _) => format!("{}: {}", self.name, failure.text()),
        }
    }

    async fn login(&self) -> Result<Client, etcd_client::Error> {
        // A member that has lost the others answers so at once, and ends its watches.
        let options = ConnectOptions::new().with_require_leader(true);
        let channel = self.connector.channel();
        let Some((name, password)) = &self.user else {
            return Client::from_channel(Channel::Tonic(channel), Some(options)).await;
        };
        let with_user = options
            .clone()
            .with_user(name, password.expose())
            .with_auto_token_refresh(true);
        match Client::from_channel(Channel::Tonic(channel.clone()), Some(with_user)).await {
            Err(error) if takes_no_login(&error) => {
                tracing::warn!(
                    endpoint = %self.name,
                    "etcd has authentication switched off: ha.etcd.username is not used, everybody can write there"
                );
                Client::from_channel(Channel::Tonic(channel), Some(options)).await
            }
            made => made,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Client>>> {
        // Nothing can panic under this lock.
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
