//! Who this process is and where it runs.
//!
//! Owns [`Identity`] and [`Host`], gathered once at start and the same until the end; whatever shows them reads
//! them from memory.

use std::sync::Arc;

use uuid::Uuid;

use crate::version;

/// The process under the names others know it by.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `name` of the configuration.
    pub name: Arc<str>,
    /// `agent.id`: stays the same over restarts.
    pub id: Uuid,
    /// New with every start.
    pub ephemeral_id: Uuid,
    /// `ha.instance`; the name of a single node.
    pub instance: Arc<str>,
    /// `ha.cluster`; `None` = a single node.
    pub cluster: Option<Arc<str>>,
    /// `ha.advertise`, or where the endpoints listen.
    pub address: Arc<str>,
    /// The machine.
    pub host: Host,
}

/// The machine.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Its name.
    pub hostname: String,
    /// `/etc/machine-id`; empty where there is none.
    pub id: String,
    /// Version of the kernel.
    pub kernel: String,
    /// `ID` of `/etc/os-release`.
    pub platform: String,
    /// The distributions it descends from, first word of `ID_LIKE`, else its own.
    pub family: String,
    /// `NAME` of `/etc/os-release`.
    pub os_name: String,
    /// `VERSION` of `/etc/os-release`.
    pub os_version: String,
    /// `VERSION_CODENAME` of `/etc/os-release`.
    pub os_codename: String,
    /// Whether the process runs in a container.
    pub containerized: bool,
}

impl Host {
    /// Reads what the machine says about itself. What cannot be read stays empty.
    pub fn read() -> Self {
        let uname = rustix::system::uname();
        let mut host = Self {
            hostname: uname.nodename().to_string_lossy().into_owned(),
            kernel: uname.release().to_string_lossy().into_owned(),
            id: read("/etc/machine-id").trim().to_owned(),
            containerized: std::path::Path::new("/.dockerenv").exists()
                || std::path::Path::new("/run/.containerenv").exists()
                || is_container_cgroup(&read("/proc/1/cgroup")),
            ..Self::default()
        };
        host.take_os_release(&read("/etc/os-release"));
        host
    }

    fn take_os_release(&mut self, text: &str) {
        for (key, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let value = value.trim_matches(['"', '\'']).to_owned();
            match key {
                "ID" => self.platform = value,
                "ID_LIKE" => self.family = value.split(' ').next().unwrap_or_default().to_owned(),
                "NAME" => self.os_name = value,
                "VERSION" => self.os_version = value,
                "VERSION_CODENAME" => self.os_codename = value,
                _ => {}
            }
        }
        if self.family.is_empty() {
            self.family.clone_from(&self.platform);
        }
    }

    /// The architecture as the kernel calls it.
    pub fn architecture(&self) -> &'static str {
        std::env::consts::ARCH
    }
}

impl Identity {
    /// A process that has just started, on this machine.
    pub fn new(name: &str, id: Uuid, instance: &str, cluster: Option<&str>, address: &str) -> Self {
        Self {
            name: name.into(),
            id,
            ephemeral_id: Uuid::new_v4(),
            instance: instance.into(),
            cluster: cluster.map(Arc::from),
            address: address.into(),
            host: Host::read(),
        }
    }

    /// The program's version.
    pub fn version(&self) -> &'static str {
        version::VERSION
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn is_container_cgroup(text: &str) -> bool {
    ["/docker/", "/kubepods", "/containerd/", "/lxc/", "libpod-"]
        .iter()
        .any(|mark| text.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_distribution() {
        let mut host = Host::default();
        host.take_os_release(
            "ID=ubuntu\nID_LIKE=\"debian other\"\nNAME=\"Ubuntu\"\nVERSION='24.04 LTS'\nX\n",
        );
        assert_eq!(
            (host.platform.as_str(), host.family.as_str()),
            ("ubuntu", "debian")
        );
        assert_eq!(
            (host.os_name.as_str(), host.os_version.as_str()),
            ("Ubuntu", "24.04 LTS")
        );
        host = Host::default();
        host.take_os_release("ID=debian\n");
        assert_eq!(host.family, "debian");
    }

    #[test]
    fn knows_a_container_by_its_control_group() {
        assert!(is_container_cgroup("0::/kubepods/besteffort/pod1"));
        assert!(!is_container_cgroup("0::/init.scope"));
    }
}
