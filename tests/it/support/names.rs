//! A host name whose address changes.
//!
//! Owns [`Names`]: programs that are started through it see an `/etc/hosts` of their own, in a mount namespace, and
//! nobody else does. Needs root, or a system that lets users make namespaces.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::process::Home;

/// Mounts the file that is named first, and becomes the program that follows.
const MOUNT: &str = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
/// Where `unshare`, `mount` and the shell are.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// One name.
#[derive(Debug)]
pub(crate) struct Names {
    name: &'static str,
    hosts: PathBuf,
    /// How a namespace is made here.
    unshare: &'static [&'static str],
}

impl Names {
    /// `name` with this address. `None`, and says so, where this machine allows no namespace.
    pub(crate) fn new(home: &Home, name: &'static str, address: Ipv4Addr) -> Option<Self> {
        let hosts = home.write("hosts", &hosts(name, address));
        let ways: [&[&str]; 2] = [&["--mount"], &["--map-root-user", "--mount"]];
        for unshare in ways {
            let names = Self {
                name,
                hosts: hosts.clone(),
                unshare,
            };
            let mut cat = Command::new("cat");
            cat.arg("/etc/hosts");
            let seen = names.command(&cat).stderr(Stdio::null()).output();
            if seen.is_ok_and(|seen| seen.stdout == fs::read(&hosts).unwrap()) {
                return Some(names);
            }
        }
        println!(
            "SKIPPED: a name whose address changes needs a mount namespace, which this machine does not allow"
        );
        None
    }

    /// Gives the name another address, for programs that run as well.
    pub(crate) fn point(&self, address: Ipv4Addr) {
        // In place, and with one write of the same length: whoever looks it up now finds either.
        let file = File::options().write(true).open(&self.hosts).unwrap();
        file.write_all_at(hosts(self.name, address).as_bytes(), 0)
            .unwrap();
    }

    /// The same command, where the name is known: a process with the id of what is started, in a group of its own.
    pub(crate) fn command(&self, command: &Command) -> Command {
        let mut wrapped = Command::new("unshare");
        wrapped
            .args(self.unshare)
            .args(["sh", "-c", MOUNT])
            .arg(&self.hosts)
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .process_group(0);
        wrapped
    }
}

fn hosts(name: &str, address: Ipv4Addr) -> String {
    format!("127.0.0.1 localhost\n{:<15} {name}\n", address.to_string())
}
