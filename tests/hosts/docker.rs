//! Hosts as containers.
//!
//! Owns what Docker is asked, over its command line: that agrees with the engine on a version of the API, which
//! clients of the API in Rust that test with containers do not, so that an engine of some years serves as well. The
//! networks are internal: no way leads from one to the other, or out. Everything carries the id of this process, so
//! that what a killed run has left behind is known as such and removed by the next one.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::ground::{Ground, Host, Net, Program};

/// The label of all that is made; its value is the id of the process.
const LABEL: &str = "ecsbeat-hosts";
/// Where the shared files are.
const FOLDER: &str = "/etc/ecsbeat";
/// Where a program keeps its data; ecsbeat's image has the folder.
const DATA: &str = "/data";
/// How often a free range of addresses is looked for.
const RANGES: usize = 20;
/// How long an orderly stop may take, in seconds.
const STOP: &str = "20";

/// Images, by the variables of `deploy/compose.yml`.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    pub(crate) variables: Vec<(String, String)>,
}

/// Containers of this process.
#[derive(Debug)]
pub(crate) struct Docker {
    images: Images,
    run: String,
    site: Ipv4Addr,
    etcd: Ipv4Addr,
    files: tempfile::TempDir,
}

/// Runs a command to its end; gives what it wrote.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("run {}", command.get_program().display()))?;
    if !output.status.success() {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        bail!(
            "{} {}: {}: {}",
            command.get_program().display(),
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Asks Docker; gives what it wrote.
pub(crate) fn docker(arguments: &[&str]) -> anyhow::Result<String> {
    run(Command::new("docker").args(arguments))
}

/// Why there is no engine to be had; `None` = there is one.
pub(crate) fn absent() -> Option<String> {
    let asked = docker(&["version", "--format", "{{.Server.Version}}"]);
    asked.err().map(|error| format!("{error:#}"))
}

/// The version of the engine.
pub(crate) fn engine() -> String {
    docker(&["version", "--format", "{{.Server.Version}}"]).unwrap_or_default()
}

impl Images {
    /// Builds what is not there, out of the binaries in `folder`.
    pub(crate) fn build(folder: &Path, which: &[&str]) -> anyhow::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images.sh");
        let lines = run(Command::new(script).arg(folder).args(which))?;
        let variables = lines.lines().filter_map(|line| line.split_once('='));
        Ok(Self {
            variables: (variables.map(|(name, image)| (name.to_owned(), image.to_owned()))).collect(),
        })
    }

    fn get(&self, variable: &str) -> anyhow::Result<&str> {
        let found = self.variables.iter().find(|(name, _)| name == variable);
        let (_, image) = found.with_context(|| format!("tests/images.sh told no {variable}"))?;
        Ok(image)
    }
}

impl Docker {
    /// Makes the networks.
    pub(crate) fn new(images: Images) -> anyhow::Result<Self> {
        remove_left_behind();
        let run = std::process::id().to_string();
        let mut ground = Self {
            images,
            run,
            site: Ipv4Addr::UNSPECIFIED,
            etcd: Ipv4Addr::UNSPECIFIED,
            files: tempfile::tempdir().context("a folder for shared files")?,
        };
        ground.site = ground.network(Net::Site)?;
        ground.etcd = ground.network(Net::Etcd)?;
        Ok(ground)
    }

    /// Makes a network with a range of addresses that nobody else has; gives the address of this machine on it.
    fn network(&self, net: Net) -> anyhow::Result<Ipv4Addr> {
        let mut last = None;
        for _ in 0..RANGES {
            let (b, c) = (fastrand::u8(128..=254), fastrand::u8(..));
            let here = Ipv4Addr::new(10, b, c, 1);
            let made = docker(&[
                "network",
                "create",
                "--internal",
                &format!("--label={}", self.label()),
                &format!("--subnet=10.{b}.{c}.0/24"),
                &format!("--gateway={here}"),
                &self.net(net),
            ]);
            match made {
                Ok(_) => return Ok(here),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no range of addresses is free")))
    }

    /// An image.
    pub(crate) fn image(&self, variable: &str) -> anyhow::Result<&str> {
        self.images.get(variable)
    }

    /// What everything carries that is to be removed with this.
    pub(crate) fn label(&self) -> String {
        format!("{LABEL}={}", self.run)
    }

    /// The name of a network.
    pub(crate) fn net(&self, net: Net) -> String {
        format!("{LABEL}-{}-{}", self.run, net.name())
    }

    fn container(&self, host: &Host) -> String {
        format!("{LABEL}-{}-{}", self.run, host.name)
    }
}

impl Ground for Docker {
    fn here(&self, net: Net) -> Ipv4Addr {
        match net {
            Net::Site => self.site,
            Net::Etcd => self.etcd,
        }
    }

    fn called(&self, host: &Host) -> String {
        host.name.clone()
    }

    fn folder(&self) -> String {
        FOLDER.to_owned()
    }

    fn data(&self, _: &Host) -> String {
        DATA.to_owned()
    }

    fn share(&mut self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.files.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }

    fn create(&mut self, host: &Host) -> anyhow::Result<()> {
        let (image, program): (_, &[&str]) = match host.program {
            Program::Ecsbeat => (self.images.get("ECSBEAT_IMAGE")?, &[]),
            Program::Etcd => (self.images.get("ETCD_IMAGE")?, &["/usr/local/bin/etcd"]),
        };
        let name = self.container(host);
        let nets = host.program.nets();
        let Some((first, others)) = nets.split_first() else {
            bail!("host {name} is on no network");
        };
        let mut command = Command::new("docker");
        command
            .arg("create")
            .args(["--name", &name, "--hostname", &host.name])
            .arg(format!("--label={}", self.label()))
            .args(["--network", &self.net(*first), "--network-alias", &host.name])
            .arg(format!("--ip={}", self.address(host, *first)));
        for (name, value) in &host.environment {
            command.arg(format!("--env={name}={value}"));
        }
        command.arg(image).args(program).args(&host.arguments);
        run(&mut command)?;
        for net in others {
            self.join(host, *net)?;
        }
        docker(&[
            "cp",
            &format!("{}/.", self.files.path().display()),
            &format!("{name}:{FOLDER}"),
        ])?;
        Ok(())
    }

    fn start(&mut self, host: &Host) -> anyhow::Result<()> {
        docker(&["start", &self.container(host)])?;
        Ok(())
    }

    fn kill(&mut self, host: &Host) -> anyhow::Result<()> {
        docker(&["kill", &self.container(host)])?;
        Ok(())
    }

    fn stop(&mut self, host: &Host) -> anyhow::Result<i32> {
        let name = self.container(host);
        docker(&["stop", "--time", STOP, &name])?;
        let code = docker(&["inspect", "--format", "{{.State.ExitCode}}", &name])?;
        code.parse()
            .with_context(|| format!("exit code of {name}: {code:?}"))
    }

    fn pause(&mut self, host: &Host) -> anyhow::Result<()> {
        docker(&["pause", &self.container(host)])?;
        Ok(())
    }

    fn resume(&mut self, host: &Host) -> anyhow::Result<()> {
        docker(&["unpause", &self.container(host)])?;
        Ok(())
    }

    fn cut(&mut self, host: &Host, net: Net) -> anyhow::Result<()> {
        docker(&["network", "disconnect", &self.net(net), &self.container(host)])?;
        Ok(())
    }

    fn join(&mut self, host: &Host, net: Net) -> anyhow::Result<()> {
        docker(&[
            "network",
            "connect",
            "--alias",
            &host.name,
            &format!("--ip={}", self.address(host, net)),
            &self.net(net),
            &self.container(host),
        ])?;
        Ok(())
    }

    fn last_words(&self, host: &Host) -> String {
        let output = Command::new("docker")
            .args(["logs", "--tail", "15", &self.container(host)])
            .output();
        output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        remove(&self.label());
    }
}

/// Removes all containers and networks with a label, as far as that is possible.
fn remove(label: &str) {
    let filter = format!("label={label}");
    let containers = docker(&["ps", "--all", "--quiet", "--filter", &filter]).unwrap_or_default();
    let containers: Vec<&str> = containers.split_whitespace().collect();
    if !containers.is_empty() {
        let _ = docker(&[&["rm", "--force", "--volumes"], &containers[..]].concat());
    }
    let networks = docker(&["network", "ls", "--quiet", "--filter", &filter]).unwrap_or_default();
    let networks: Vec<&str> = networks.split_whitespace().collect();
    if !networks.is_empty() {
        let _ = docker(&[&["network", "rm"], &networks[..]].concat());
    }
}

/// Removes what processes have left behind that are no more.
fn remove_left_behind() {
    let format = format!("{{{{.Label \"{LABEL}\"}}}}");
    let filter = format!("label={LABEL}");
    let lists: [&[&str]; 2] = [&["ps", "--all"], &["network", "ls"]];
    for list in lists {
        let runs = docker(&[list, &["--filter", &filter, "--format", &format]].concat()).unwrap_or_default();
        for run in runs.split_whitespace() {
            if !Path::new("/proc").join(run).exists() {
                remove(&format!("{LABEL}={run}"));
            }
        }
    }
}
