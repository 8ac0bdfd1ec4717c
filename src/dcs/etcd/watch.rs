//! News of keys, for ever.
//!
//! Owns the one watch of the cluster's keys without the checkpoints: it is opened, listened to, asked whether it is
//! alive, and opened again at the next member. A watch of a member that hangs says nothing and breaks nothing, so
//! silence is never taken for peace. Where a request is answered while the watch is interrupted, it goes there at once:
//! a standby without news sees a handover only with its next look. Starts anew from the present each time and says that something may be missing.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, WatchOptions, WatchResponse, WatchStream};
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, timeout};

use super::EtcdStore;
use super::failure::Failure;
use super::keys::Base;
use super::member::Member;
use super::request::LARGEST_ANSWER;
use crate::dcs::Hint;
use crate::retry::Backoff;

/// The first key that is watched, and the first one that is not: `config`, `history/`, `leader`, `members/`,
/// `switchover` lie between them, `checkpoint/` does not.
const FIRST: &str = "config";
const END: &str = "switchover\0";
/// How long opening a watch, and an answer to the question whether it is alive, may take.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Pauses between tries.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Watches until the receiver of `hints` is gone.
pub(super) async fn run(store: &EtcdStore, hints: &Sender<Hint>) {
    tokio::select! {
        () = hints.closed() => {}
        () = follow(store, hints) => {}
    }
}

async fn follow(store: &EtcdStore, hints: &Sender<Hint>) {
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut index = store.last_index();
    // So that an outage is told once, not once a try.
    let mut told = false;
    // Every other try of an outage at most is one where a request has just been answered.
    let mut led = false;
    loop {
        let Some(member) = store.members.get(index) else {
            index = 0;
            continue;
        };
        let begin = Instant::now();
        let opened = tokio::select! {
            opened = timeout(PATIENCE, open(&store.base, member)) => {
                if let Ok(opened) = opened {
                    opened
                } else {
                    member.forget();
                    Err((None, Failure::Late(PATIENCE)))
                }
            }
            // What is tried may be a connection that is dead: that answer came over one that is not.
            () = store.answered.notified(), if told && !led => {
                (index, led) = (store.last_index(), true);
                continue;
            }
        };
        let (client, failure) = match opened {
            Ok((client, mut stream)) => {
                store.count("watch", member, begin.elapsed(), &Ok(()));
                if told {
                    tracing::info!(endpoint = %member.name, "the watch of etcd works again");
                    told = false;
                }
                led = false;
                backoff.reset();
                if hints.send(Hint::Changed).await.is_err() {
                    return;
                }
                match listen(store, &mut stream, hints).await {
                    Err(failure) => (Some(client), failure),
                    Ok(()) => return,
                }
            }
            Err((client, failure)) => {
                store.count("watch", member, begin.elapsed(), &Err::<(), _>(failure.clone()));
                (client, failure)
            }
        };
        if !told {
            tracing::warn!(
                endpoint = %member.name, error = %failure.text(),
                "the watch of etcd is interrupted; changes are seen with the next poll until it works again"
            );
            told = true;
        }
        if let Some(client) = client {
            member.discard(&client);
        }
        index = (index + 1) % store.members.len();
        tokio::select! {
            () = tokio::time::sleep(backoff.pause()) => led = false,
            () = store.answered.notified(), if !led => (index, led) = (store.last_index(), true),
        }
    }
}

type Opened = Result<(Arc<Client>, WatchStream), (Option<Arc<Client>>, Failure)>;

async fn open(base: &Base, member: &Member) -> Opened {
    let client = member.client().await.map_err(|failure| (None, failure))?;
    let options = WatchOptions::new().with_range(base.whole(END));
    let mut watch = client.watch_client().max_decoding_message_size(LARGEST_ANSWER);
    let opened = async {
        let mut stream = watch
            .watch(base.whole(FIRST), Some(options))
            .await
            .map_err(|error| Failure::of(&error))?;
        let first = next(&mut stream).await?;
        if !first.created() {
            let text = "the first message of a watch is not that it exists".to_owned();
            return Err(Failure::Unanswered(text));
        }
        Ok(stream)
    };
    match opened.await {
        Ok(stream) => Ok((client, stream)),
        Err(failure) => Err((Some(client), failure)),
    }
}

/// Passes on what comes until the watch ends, with an error, or the receiver is gone.
async fn listen(store: &EtcdStore, stream: &mut WatchStream, hints: &Sender<Hint>) -> Result<(), Failure> {
    loop {
        let message = match timeout(store.probe_every, next(stream)).await {
            Ok(message) => message?,
            Err(_) => probe(stream).await?,
        };
        for hint in hints_of(&changes(&store.base, &message)) {
            if hints.send(hint).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Whatever comes after asking proves that the member is alive.
async fn probe(stream: &mut WatchStream) -> Result<WatchResponse, Failure> {
    let asked = async {
        stream
            .request_progress()
            .await
            .map_err(|error| Failure::of(&error))?;
        next(stream).await
    };
    match timeout(PATIENCE, asked).await {
        Ok(message) => message,
        Err(_) => Err(Failure::Late(PATIENCE)),
    }
}

/// The next message that is not the end.
async fn next(stream: &mut WatchStream) -> Result<WatchResponse, Failure> {
    match stream.message().await {
        Ok(Some(message)) if message.canceled() || message.compact_revision() != 0 => {
            let reason = message.cancel_reason();
            let reason = if reason.is_empty() {
                "without a reason"
            } else {
                reason
            };
            Err(Failure::Unanswered(format!("etcd ended the watch: {reason}")))
        }
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(Failure::Unanswered("the stream ended".to_owned())),
        Err(error) => Err(Failure::of(&error)),
    }
}

/// What happened to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    revision: i64,
    /// `None` = it was written.
    deleted: Option<String>,
}

fn changes(base: &Base, message: &WatchResponse) -> Vec<Change> {
    let changes = message.events().iter().map(|event| match event.kv() {
        // The type of an event is not asked for: the crate panics at types it does not know. Only a key that is gone
        // has no creation.
        Some(kv) => Change {
            revision: kv.mod_revision(),
            deleted: (kv.create_revision() == 0).then(|| base.relative(kv.key())),
        },
        None => Change {
            revision: 0,
            deleted: None,
        },
    });
    changes.collect()
}

/// One hint for all keys deleted in one revision, before the one for what was written in it.
fn hints_of(changes: &[Change]) -> Vec<Hint> {
    let mut hints: Vec<Hint> = Vec::new();
    for of_one in changes.chunk_by(|one, next| one.revision == next.revision) {
        let deleted: Vec<String> = of_one
            .iter()
            .filter_map(|change| change.deleted.clone())
            .collect();
        let written = deleted.len() < of_one.len();
        if !deleted.is_empty() {
            hints.push(Hint::Deleted(deleted));
        }
        if written && hints.last() != Some(&Hint::Changed) {
            hints.push(Hint::Changed);
        }
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deleted(revision: i64, key: &str) -> Change {
        Change {
            revision,
            deleted: Some(key.to_owned()),
        }
    }

    fn written(revision: i64) -> Change {
        Change {
            revision,
            deleted: None,
        }
    }

    fn gone(keys: &[&str]) -> Hint {
        Hint::Deleted(keys.iter().map(|&key| key.to_owned()).collect())
    }

    #[test]
    fn keys_deleted_in_one_revision_come_together() {
        let changes = [
            deleted(7, "leader"),
            deleted(7, "members/a"),
            deleted(8, "members/b"),
        ];
        assert_eq!(
            hints_of(&changes),
            [gone(&["leader", "members/a"]), gone(&["members/b"])]
        );
    }

    #[test]
    fn writes_are_told_once() {
        assert_eq!(hints_of(&[written(3), written(4), written(4)]), [Hint::Changed]);
        let changes = [
            written(5),
            deleted(5, "leader"),
            deleted(6, "members/a"),
            written(7),
        ];
        assert_eq!(
            hints_of(&changes),
            [
                gone(&["leader"]),
                Hint::Changed,
                gone(&["members/a"]),
                Hint::Changed
            ]
        );
        assert_eq!(hints_of(&[]), []);
    }
}
