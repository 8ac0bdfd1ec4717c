//! Secrets in a file of their own, which `${NAME}` in the configuration refers to.
//!
//! Owns [`Keystore`]: names and values, read from and written to `ecsbeat.keystore`. Beats read the same file. Values
//! are bytes that are never shown; what becomes of them is the configuration's business.

mod command;
mod prompt;
mod sealed;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::permissions;
use crate::replace::replace;
pub use command::{Order, OrderError, run};

/// The name of the file, below `path.data` unless `keystore.path` says otherwise.
pub const FILE: &str = "ecsbeat.keystore";
/// A keystore is not larger than this, in bytes; a file that is, is the wrong one.
const MAX_FILE: u64 = 16 << 20;

/// Where the keystore is, and whether its permissions matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, which need not be there.
    pub path: PathBuf,
    /// `--strict.perms`
    pub strict_perms: bool,
}

/// Names and their values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keystore {
    entries: BTreeMap<String, Vec<u8>>,
}

/// The values stay out.
impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

/// The keystore cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// The file is there and cannot be read.
    #[error("cannot read the keystore {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{0}")]
    Permissions(String),
    /// It is damaged or something else.
    #[error(
        "{} is no keystore that can be used: {problem}. Bring it back from a backup, or make an empty one with \
         `ecsbeat keystore create --force`",
        .path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// It cannot be written.
    #[error("cannot write the keystore {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// One entry as Beats write it; Go writes bytes in base64, and null where there are none.
#[derive(Serialize, Deserialize)]
struct Entry {
    value: Option<String>,
}

impl Keystore {
    /// Reads the file; `None` where there is none.
    pub fn read(place: &Place) -> Result<Option<Self>, KeystoreError> {
        let path = &place.path;
        let failed = |source| KeystoreError::Read {
            path: path.clone(),
            source,
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        if place.strict_perms {
            permissions::check_private(path).map_err(KeystoreError::Permissions)?;
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
        let entries = parse(&bytes).map_err(|problem| KeystoreError::Damaged {
            path: path.clone(),
            problem,
        })?;
        Ok(Some(Self { entries }))
    }

    /// Puts it in the place of what is there. The old file or the new one survives a crash, never a part.
    pub fn write(&self, path: &Path) -> Result<(), KeystoreError> {
        let written = || {
            if let Some(directory) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o750).create(directory)?;
            }
            let file = sealed::seal(&self.content()?).map_err(io::Error::other)?;
            replace(path, &file)
        };
        written().map_err(|source| KeystoreError::Write {
            path: path.to_owned(),
            source,
        })
    }

    /// The value of a name, where it is a text.
    pub fn text(&self, name: &str) -> Option<String> {
        String::from_utf8(self.entries.get(name)?.clone()).ok()
    }

    /// Whether there is such a name.
    pub fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Adds or replaces a value.
    pub fn set(&mut self, name: &str, value: Vec<u8>) {
        self.entries.insert(name.to_owned(), value);
    }

    /// Takes a name out; tells whether it was there.
    pub fn remove(&mut self, name: &str) -> bool {
        self.entries.remove(name).is_some()
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    fn content(&self) -> io::Result<Vec<u8>> {
        let entries: BTreeMap<&str, Entry> = self
            .entries
            .iter()
            .map(|(name, value)| {
                let value = Some(STANDARD.encode(value));
                (name.as_str(), Entry { value })
            })
            .collect();
        let mut content = serde_json::to_vec(&entries)?;
        // Go's encoder ends a document so.
        content.push(b'\n');
        Ok(content)
    }
}

/// Reads the bytes of a file; the error says what is wrong, and nothing of the content.
fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, String> {
    if bytes.len() as u64 > MAX_FILE {
        return Err("it is larger than 16 MiB".to_owned());
    }
    let content = sealed::open(bytes).map_err(|damage| damage.to_string())?;
    let strange = || "what is in it are not names with their values".to_owned();
    let entries: BTreeMap<String, Entry> = serde_json::from_slice(&content).map_err(|_| strange())?;
    let entries = entries.into_iter().map(|(name, entry)| {
        let value = STANDARD.decode(entry.value.unwrap_or_default()).ok()?;
        Some((name, value))
    });
    entries.collect::<Option<_>>().ok_or_else(strange)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn place(directory: &tempfile::TempDir) -> Place {
        Place {
            path: directory.path().join("data").join(FILE),
            strict_perms: true,
        }
    }

    #[test]
    fn what_was_written_is_read_and_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(&directory);
        assert_eq!(Keystore::read(&place).unwrap(), None);
        let mut store = Keystore::default();
        store.set("b", b"CANARY \xc3\xbc".to_vec());
        store.set("a", vec![0xff]);
        store.write(&place.path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&place.path), 0o600);
        let read = Keystore::read(&place).unwrap().unwrap();
        assert_eq!(read, store);
        assert_eq!(read.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read.text("b").as_deref(), Some("CANARY ü"));
        assert_eq!(read.text("a"), None, "no text, and not lost either");
        assert_eq!(format!("{read:?}"), "{\"a\", \"b\"}");
        assert!(store.remove("a") && !store.remove("a"));
        // What a crash has left does not pass its mode on.
        let left = place.path.with_extension("keystore.new");
        std::fs::write(&left, "x").unwrap();
        std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o666)).unwrap();
        store.write(&place.path).unwrap();
        assert_eq!(mode(&place.path), 0o600);
        assert!(!left.exists());
        assert_eq!(
            Keystore::read(&place)
                .unwrap()
                .unwrap()
                .names()
                .collect::<Vec<_>>(),
            ["b"]
        );
    }

    #[test]
    fn the_keystore_of_a_beat_is_read_and_written_to_the_letter() {
        let theirs = include_bytes!("../../tests/data/keystore/beats.keystore");
        let store = Keystore {
            entries: parse(theirs).unwrap(),
        };
        let found: Vec<_> = store
            .names()
            .map(|name| (name, store.text(name).unwrap()))
            .collect();
        let want = [
            ("EMPTY", ""),
            ("ES_PWD", "CANARY-from-python"),
            ("LINES", "one\ntwo\n"),
            ("ecs.password", "päss,word ${X} \"#"),
        ];
        assert_eq!(found, want.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(store.content().unwrap(), sealed::open(theirs).unwrap());
    }

    #[test]
    fn one_that_others_may_read_is_refused_unless_told_otherwise() {
        let directory = tempfile::tempdir().unwrap();
        let strict = place(&directory);
        Keystore::default().write(&strict.path).unwrap();
        std::fs::set_permissions(&strict.path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = Keystore::read(&strict).unwrap_err().to_string();
        assert!(error.contains("chmod go-wrx"), "{error}");
        let lenient = Place {
            strict_perms: false,
            ..strict
        };
        assert!(Keystore::read(&lenient).unwrap().is_some());
    }

    #[test]
    fn errors_name_the_file_and_say_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let place = place(&directory);
        std::fs::create_dir(place.path.parent().unwrap()).unwrap();
        for (bytes, problem) in [
            (b"".to_vec(), "it is empty"),
            (b"hello".to_vec(), "it begins with \"he\""),
            (sealed::seal(b"CANARY").unwrap(), "what is in it are not names"),
            (
                sealed::seal(br#"{"a": {"value": "CANARY!"}}"#).unwrap(),
                "what is in it are not names",
            ),
        ] {
            std::fs::write(&place.path, bytes).unwrap();
            std::fs::set_permissions(&place.path, std::fs::Permissions::from_mode(0o600)).unwrap();
            let error = Keystore::read(&place).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
            assert!(error.contains("ecsbeat.keystore") && error.contains("keystore create --force"));
            assert!(!error.contains("CANARY"), "{error}");
        }
        let nowhere = Path::new("/proc/none/ecsbeat.keystore");
        let error = Keystore::default().write(nowhere).unwrap_err().to_string();
        assert!(error.contains("/proc/none/ecsbeat.keystore"), "{error}");
    }
}
