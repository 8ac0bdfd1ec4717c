//! Where checkpoints are kept.
//!
//! Owns the choice between a file (a single node) and etcd (a cluster); the rest of the program does not know which.

use super::fenced::FencedStore;
use super::file::{FileStore, StoreError};
use super::{Checkpoint, Stream};

/// The checkpoints.
#[derive(Debug, Clone)]
pub enum Store {
    /// Of a single node.
    File(FileStore),
    /// Of a cluster, during one tenure.
    Fenced(FencedStore),
}

impl Store {
    /// Whether what was kept could not be read.
    pub fn is_after_damage(&self) -> bool {
        match self {
            Self::File(store) => store.is_after_damage(),
            Self::Fenced(store) => store.is_after_damage(),
        }
    }

    /// The checkpoint of a stream, if it has one.
    pub fn load(&self, stream: &Stream) -> Option<Checkpoint> {
        match self {
            Self::File(store) => store.load(stream),
            Self::Fenced(store) => store.load(stream),
        }
    }

    /// Keeps the new checkpoint of a stream: in a file when this comes back, in etcd within about a second.
    pub async fn save(&self, stream: &Stream, checkpoint: Checkpoint) -> Result<(), StoreError> {
        match self {
            Self::File(store) => store.save(stream, checkpoint).await,
            Self::Fenced(store) => {
                store.save(stream, checkpoint);
                Ok(())
            }
        }
    }

    /// Comes back when everything that was saved is kept. In a cluster that may be never: when the tenure is over.
    pub async fn flush(&self) -> Result<(), StoreError> {
        match self {
            Self::File(store) => store.flush().await,
            Self::Fenced(store) => {
                store.flush().await;
                Ok(())
            }
        }
    }
}
