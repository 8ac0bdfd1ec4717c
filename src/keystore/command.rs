//! `keystore create`, `add`, `list`, `remove`.
//!
//! Owns what each does and the words it ends with, which are those of Beats. No value is ever printed, and none is taken
//! from the command line, where every process of the machine can read it.

use std::io::{self, Read as _};

use super::prompt;
use super::{Keystore, KeystoreError, Place};

/// Longest value, in bytes: as much as one reference may stand for.
const MAX_VALUE: u64 = 1 << 20;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Make an empty keystore.
    Create {
        /// In the place of one that is there.
        force: bool,
    },
    /// Put a value in.
    Add {
        /// Its name.
        name: String,
        /// The value comes on standard input.
        stdin: bool,
        /// In the place of one that is there; make the keystore where there is none.
        force: bool,
    },
    /// Print the names.
    List,
    /// Take values out.
    Remove {
        /// Their names.
        names: Vec<String>,
    },
}

/// The order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The file.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The terminal or standard input.
    #[error("could not read value from the input, error: {0}")]
    Input(#[from] io::Error),
    /// What was asked for cannot be.
    #[error("{0}")]
    Refused(String),
}

/// Does it, and gives the text to print.
pub fn run(order: &Order, place: &Place) -> Result<String, OrderError> {
    match order {
        Order::Create { force } => create(place, *force),
        Order::Add { name, stdin, force } => add(place, name.trim(), *stdin, *force),
        Order::List => {
            let store = Keystore::read(place)?.unwrap_or_default();
            Ok(store.names().flat_map(|name| [name, "\n"]).collect())
        }
        Order::Remove { names } => remove(place, names),
    }
}

fn create(place: &Place, force: bool) -> Result<String, OrderError> {
    if !force && place.path.exists() {
        if !prompt::is_terminal() {
            return refused(format!(
                "a keystore already exists: {}; replace it, and lose what is in it, with --force",
                place.path.display()
            ));
        }
        if !prompt::confirms("A keystore already exists, Overwrite?")? {
            return Ok("Exiting without creating keystore.\n".to_owned());
        }
    }
    Keystore::default().write(&place.path)?;
    Ok("Created ecsbeat keystore\n".to_owned())
}

fn add(place: &Place, name: &str, stdin: bool, force: bool) -> Result<String, OrderError> {
    check_name(name)?;
    // Standard input is the value, and no answer.
    let asks = !stdin && prompt::is_terminal();
    let mut text = String::new();
    let mut store = match Keystore::read(place)? {
        Some(store) => store,
        None if force => {
            text.push_str("Created keystore\n");
            Keystore::default()
        }
        None if !asks => {
            return refused(format!(
                "the keystore does not exist: {}; make it with `ecsbeat keystore create`, or use --force",
                place.path.display()
            ));
        }
        None if prompt::confirms("The keystore does not exist. Do you want to create it?")? => {
            text.push_str("Created keystore\n");
            Keystore::default()
        }
        None => return refused("exiting without creating keystore"),
    };
    if store.has(name) && !force {
        if !asks {
            return refused(format!(
                "the settings {name} already exist in the keystore use `--force` to replace it"
            ));
        }
        if !prompt::confirms(&format!("Setting {name} already exists, Overwrite?"))? {
            return Ok("Exiting without modifying keystore.\n".to_owned());
        }
    }
    store.set(name, value(name, stdin)?);
    store.write(&place.path)?;
    text.push_str("Successfully updated the keystore\n");
    Ok(text)
}

fn remove(place: &Place, names: &[String]) -> Result<String, OrderError> {
    let Some(mut store) = Keystore::read(place)? else {
        return refused("the keystore doesn't exist. Use the 'create' command to create one");
    };
    let mut text = String::new();
    for name in names {
        let name = name.trim();
        // All or nothing: what comes before a name that is not there stays.
        if !store.remove(name) {
            return refused(format!("could not find key '{name}' in the keystore"));
        }
        text.push_str("successfully removed key: ");
        text.push_str(name);
        text.push('\n');
    }
    store.write(&place.path)?;
    Ok(text)
}

/// A name that no reference could name would only be forgotten there.
fn check_name(name: &str) -> Result<(), OrderError> {
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '$' | '{' | '}');
    if name.is_empty() || name.contains(is_odd) {
        return refused(
            "a name is one word without `:`, `$`, `{` and `}`: the configuration refers to it as ${NAME}",
        );
    }
    Ok(())
}

fn value(name: &str, stdin: bool) -> Result<Vec<u8>, OrderError> {
    let value = if stdin {
        let mut value = Vec::new();
        io::stdin().lock().take(MAX_VALUE + 1).read_to_end(&mut value)?;
        // As of `${file:…}`: that of `echo` is not meant.
        if value.ends_with(b"\n") {
            value.pop();
            if value.ends_with(b"\r") {
                value.pop();
            }
        }
        value
    } else if prompt::is_terminal() {
        match prompt::hidden(&format!("Enter value for {name}: "))? {
            Some(value) => value,
            None => return refused("broken off, nothing was changed"),
        }
    } else {
        return refused("standard input is no terminal to ask for the value: give it there, with --stdin");
    };
    if value.is_empty() {
        return refused("the value is empty, nothing was changed");
    }
    if value.len() as u64 > MAX_VALUE {
        return refused("the value is larger than 1 MiB, nothing was changed");
    }
    if std::str::from_utf8(&value).is_err() {
        return refused("the value is not UTF-8 text, nothing was changed");
    }
    Ok(value)
}

fn refused<T>(message: impl Into<String>) -> Result<T, OrderError> {
    Err(OrderError::Refused(message.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_a_reference_can_name() {
        for name in ["ES_PWD", "ecs.password", "a-b/c", "ü"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "a:b", "${A}", "a\n"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn one_name_that_is_not_there_and_none_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place {
            path: directory.path().join(super::super::FILE),
            strict_perms: true,
        };
        let remove = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            run(&Order::Remove { names }, &place).map_err(|error| error.to_string())
        };
        assert_eq!(
            remove(&["a"]).unwrap_err(),
            "the keystore doesn't exist. Use the 'create' command to create one"
        );
        assert_eq!(
            run(&Order::Create { force: false }, &place).unwrap(),
            "Created ecsbeat keystore\n"
        );
        assert_eq!(run(&Order::List, &place).unwrap(), "");
        let mut store = Keystore::default();
        for name in ["c", "a", "b"] {
            store.set(name, b"x".to_vec());
        }
        store.write(&place.path).unwrap();
        assert_eq!(
            remove(&["a", "d"]).unwrap_err(),
            "could not find key 'd' in the keystore"
        );
        assert_eq!(run(&Order::List, &place).unwrap(), "a\nb\nc\n");
        assert_eq!(
            remove(&["c", " a "]).unwrap(),
            "successfully removed key: c\nsuccessfully removed key: a\n"
        );
        assert_eq!(run(&Order::List, &place).unwrap(), "b\n");
    }
}
