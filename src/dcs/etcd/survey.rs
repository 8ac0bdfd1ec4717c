//! How the etcd cluster itself is doing.
//!
//! Owns [`EtcdStore::survey`]: what each member says of itself. Judges nothing; [`super::warning`] does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::EtcdStore;
use super::failure::Failure;
use super::member::Member;

/// The space a database may take unless etcd was told otherwise.
pub(super) const DEFAULT_QUOTA: u64 = 2 * 1024 * 1024 * 1024;

/// Every member of `ha.etcd.hosts`, in that order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey(pub Vec<Surveyed>);

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// As in `ha.etcd.hosts`.
    pub endpoint: Arc<str>,
    /// What it says of itself, or why it says nothing.
    pub state: Result<MemberState, String>,
}

/// What a member says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    /// `3.5.30`
    pub version: String,
    /// Size of its database on disk, bytes.
    pub database: u64,
    /// What of that is in use, bytes: the rest was freed by compaction and not given back yet.
    pub used: u64,
    /// What its database may grow to, bytes.
    pub quota: u64,
    /// The cluster it belongs to. Another one than before = etcd was set up anew, perhaps from an old snapshot, and
    /// revisions may repeat.
    pub cluster: u64,
    /// Its own id.
    pub member: u64,
    /// Its raft leader's id; 0 = it knows none.
    pub raft_leader: u64,
    /// Alarms and the like, in its own words.
    pub errors: Vec<String>,
}

impl EtcdStore {
    /// Asks every member at once, each for at most `budget`.
    pub async fn survey(&self, budget: Duration) -> Survey {
        let asked = self.members.iter().map(|member| async move {
            let begin = Instant::now();
            let state = match timeout(budget, state(member)).await {
                Ok(state) => state,
                Err(_) => Err(Failure::Late(budget)),
            };
            self.count("status", member, begin.elapsed(), &state);
            Surveyed {
                endpoint: Arc::clone(&member.name),
                state: state.map_err(|failure| failure.text()),
            }
        });
        Survey(join_all(asked).await)
    }
}

async fn state(member: &Member) -> Result<MemberState, Failure> {
    let mut again = false;
    loop {
        let client = member.client().await?;
        let status = match client.maintenance_client().status().await {
            Ok(status) => status,
            Err(error) => match Failure::of(&error) {
                Failure::Stale { .. } if !again => {
                    member.discard(&client);
                    again = true;
                    continue;
                }
                failure => return Err(failure),
            },
        };
        let quota = u64::try_from(status.db_size_quota()).unwrap_or(0);
        return Ok(MemberState {
            version: status.version().to_owned(),
            database: u64::try_from(status.db_size()).unwrap_or(0),
            used: u64::try_from(status.raft_used_db_size()).unwrap_or(0),
            // Told since etcd 3.6.
            quota: if quota == 0 { DEFAULT_QUOTA } else { quota },
            cluster: status.header().map_or(0, etcd_client::ResponseHeader::cluster_id),
            member: status.header().map_or(0, etcd_client::ResponseHeader::member_id),
            raft_leader: status.leader(),
            errors: status.errors().to_vec(),
        });
    }
}

impl MemberState {
    /// The first release without the lease bugs that this one has.
    pub fn outdated(&self) -> Option<&'static str> {
        match release(&self.version)? {
            (3, 6, patch) if patch < 5 => Some("3.6.5"),
            found if found < (3, 5, 23) => Some("3.5.23"),
            _ => None,
        }
    }
}

/// Major, minor and patch of `3.5.30`, `3.6.0-rc.1`.
fn release(version: &str) -> Option<(u32, u32, u32)> {
    let plain = version.split(['-', '+']).next()?;
    let mut numbers = plain.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

impl Survey {
    /// The id of the etcd cluster, where the members that answer agree on it.
    pub fn cluster(&self) -> Option<u64> {
        let ids: BTreeSet<u64> = self.answered().map(|(_, state)| state.cluster).collect();
        ids.first().copied().filter(|_| ids.len() == 1)
    }

    /// The members that answer.
    pub(super) fn answered(&self) -> impl Iterator<Item = (&Arc<str>, &MemberState)> {
        self.0
            .iter()
            .filter_map(|one| Some((&one.endpoint, one.state.as_ref().ok()?)))
    }
}
