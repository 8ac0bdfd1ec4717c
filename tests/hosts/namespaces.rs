//! Hosts as network namespaces of this machine, for where there is no Docker. Needs root and `ip`.
//!
//! Owns the namespaces and the processes in them. The switches of both networks are in a namespace of their own, so that
//! no firewall of this machine has a say between hosts. To cut a host off takes its link down at the switch: what it
//! sends goes nowhere, and it is not told. Names carry the id of this process, so that what a killed run has left
//! behind is removed by the next one.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::docker::run;
use crate::ground::{Ground, Host, Net, Program};
use crate::process::Child;

/// How names begin.
const PREFIX: &str = "eh";
/// How long an orderly stop may take.
const STOP: Duration = Duration::from_secs(20);
/// Lines of a log that are shown.
const LAST: usize = 15;

/// Namespaces of this process.
#[derive(Debug)]
pub(crate) struct Namespaces {
    run: String,
    site: Ipv4Addr,
    etcd: Ipv4Addr,
    ecsbeat: PathBuf,
    etcd_program: PathBuf,
    children: HashMap<String, Child>,
    directory: tempfile::TempDir,
}

fn ip(line: &str) -> anyhow::Result<String> {
    run(Command::new("ip").args(line.split(' ')))
}

/// Why there can be no namespaces; `None` = there can.
pub(crate) fn absent() -> Option<String> {
    let name = format!("{PREFIX}{}-try", std::process::id());
    let tried = ip(&format!("netns add {name}")).and_then(|_| ip(&format!("netns del {name}")));
    tried.err().map(|error| format!("{error:#}"))
}

impl Namespaces {
    /// Makes both networks.
    pub(crate) fn new(ecsbeat: &Path, etcd_program: &Path) -> anyhow::Result<Self> {
        remove_left_behind();
        let (b, c) = (fastrand::u8(128..=254), fastrand::u8(..255));
        let ground = Self {
            run: format!("{PREFIX}{}", std::process::id()),
            site: Ipv4Addr::new(10, b, c, 1),
            etcd: Ipv4Addr::new(10, b, c + 1, 1),
            ecsbeat: ecsbeat.to_owned(),
            etcd_program: etcd_program.to_owned(),
            children: HashMap::new(),
            directory: tempfile::tempdir().context("a folder for hosts")?,
        };
        let switch = &ground.run;
        ip(&format!("netns add {switch}"))?;
        for net in [Net::Site, Net::Etcd] {
            ip(&format!("-n {switch} link add {} type bridge", net.name()))?;
            ip(&format!("-n {switch} link set {} up", net.name()))?;
        }
        // The link of this machine to the site.
        ip(&format!(
            "link add {switch} type veth peer name here netns {switch}"
        ))?;
        ip(&format!("-n {switch} link set here master site up"))?;
        ip(&format!("address add {}/24 dev {switch}", ground.site))?;
        ip(&format!("link set {switch} up"))?;
        Ok(ground)
    }

    fn namespace(&self, host: &Host) -> String {
        format!("{}-{}", self.run, host.name)
    }

    /// The end of a host's link that is at the switch.
    fn plug(host: &Host, net: Net) -> String {
        format!("{}.{}", host.name, net.name())
    }

    fn home(&self, host: &Host) -> PathBuf {
        self.directory.path().join(&host.name)
    }

    fn log(&self, host: &Host) -> PathBuf {
        self.home(host).join("log")
    }

    fn child(&mut self, host: &Host) -> anyhow::Result<&mut Child> {
        let child = self.children.get_mut(&host.name);
        child.with_context(|| format!("{} was never started", host.name))
    }

    fn end(&mut self, host: &Host, signal: Signal) -> anyhow::Result<i32> {
        let child = self.child(host)?;
        child.signal(signal)?;
        let begin = Instant::now();
        loop {
            if let Some(status) = child.status()? {
                return Ok(status.code().unwrap_or(-1));
            }
            if begin.elapsed() > STOP {
                bail!("{} has not ended within {} s", host.name, STOP.as_secs());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn set_link(&self, host: &Host, net: Net, state: &str) -> anyhow::Result<()> {
        let plug = Self::plug(host, net);
        ip(&format!("-n {} link set {plug} {state}", self.run))?;
        Ok(())
    }
}

impl Ground for Namespaces {
    fn here(&self, net: Net) -> Ipv4Addr {
        match net {
            Net::Site => self.site,
            Net::Etcd => self.etcd,
        }
    }

    /// There is nobody who resolves names.
    fn called(&self, host: &Host) -> String {
        let first = host.program.nets().first().copied().unwrap_or(Net::Site);
        self.address(host, first).to_string()
    }

    fn folder(&self) -> String {
        self.directory.path().display().to_string()
    }

    fn data(&self, host: &Host) -> String {
        self.home(host).join("data").display().to_string()
    }

    fn share(&mut self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    fn create(&mut self, host: &Host) -> anyhow::Result<()> {
        let home = self.home(host);
        std::fs::create_dir_all(&home).with_context(|| format!("make {}", home.display()))?;
        let (namespace, switch) = (self.namespace(host), &self.run);
        ip(&format!("netns add {namespace}"))?;
        ip(&format!("-n {namespace} link set lo up"))?;
        for net in host.program.nets() {
            let (plug, net_name) = (Self::plug(host, *net), net.name());
            ip(&format!(
                "-n {switch} link add {plug} type veth peer name {net_name} netns {namespace}"
            ))?;
            ip(&format!("-n {switch} link set {plug} master {net_name} up"))?;
            let address = self.address(host, *net);
            ip(&format!("-n {namespace} address add {address}/24 dev {net_name}"))?;
            ip(&format!("-n {namespace} link set {net_name} up"))?;
        }
        Ok(())
    }

    fn start(&mut self, host: &Host) -> anyhow::Result<()> {
        let program = match host.program {
            Program::Ecsbeat => &self.ecsbeat,
            Program::Etcd => &self.etcd_program,
        };
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace(host)])
            .arg(program)
            .args(&host.arguments)
            .env_clear()
            .envs(host.environment.iter().cloned())
            .env("HOSTNAME", self.address(host, host.program.nets()[0]).to_string());
        if host.program == Program::Ecsbeat {
            // All hosts have the name of this machine.
            command.arg("-E").arg(format!("ha.instance={}", host.name));
        }
        let child = Child::start(&host.name, command, &self.log(host))?;
        self.children.insert(host.name.clone(), child);
        Ok(())
    }

    fn kill(&mut self, host: &Host) -> anyhow::Result<()> {
        self.end(host, Signal::KILL)?;
        Ok(())
    }

    fn stop(&mut self, host: &Host) -> anyhow::Result<i32> {
        self.end(host, Signal::TERM)
    }

    fn pause(&mut self, host: &Host) -> anyhow::Result<()> {
        self.child(host)?.signal(Signal::STOP)
    }

    fn resume(&mut self, host: &Host) -> anyhow::Result<()> {
        self.child(host)?.signal(Signal::CONT)
    }

    fn cut(&mut self, host: &Host, net: Net) -> anyhow::Result<()> {
        self.set_link(host, net, "down")
    }

    fn join(&mut self, host: &Host, net: Net) -> anyhow::Result<()> {
        self.set_link(host, net, "up")
    }

    fn last_words(&self, host: &Host) -> String {
        let text = std::fs::read_to_string(self.log(host)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST)..].join("\n")
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        // Kills what runs in them.
        self.children.clear();
        remove(&self.run);
    }
}

fn namespaces() -> Vec<String> {
    let list = ip("netns list").unwrap_or_default();
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

/// Removes the namespaces of a run; links go with them.
fn remove(run: &str) {
    for name in namespaces() {
        if name == run || name.strip_prefix(run).is_some_and(|rest| rest.starts_with('-')) {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

/// Removes what processes have left behind that are no more, and ends what still runs there.
fn remove_left_behind() {
    for name in namespaces() {
        let run = name.split('-').next().unwrap_or_default();
        let Some(process) = run.strip_prefix(PREFIX).filter(|id| id.parse::<u32>().is_ok()) else {
            continue;
        };
        if Path::new("/proc").join(process).exists() {
            continue;
        }
        let inside = ip(&format!("netns pids {name}")).unwrap_or_default();
        for process in inside.split_whitespace().filter_map(|id| id.parse().ok()) {
            if let Some(process) = Pid::from_raw(process) {
                let _ = kill_process(process, Signal::KILL);
            }
        }
        let _ = ip(&format!("netns del {name}"));
    }
}
