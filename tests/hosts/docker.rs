//! Hosts as containers.
//!
//! Owns what the engine is asked for them, over [`Engine`]; images are built over Docker's command line, as compose
//! takes them. The networks are internal: no way leads from one to the other, or out.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use testcontainers::bollard::body_full;
use testcontainers::bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, Ipam, IpamConfig,
    NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest, NetworkingConfig,
};
use testcontainers::bollard::query_parameters::{
    CreateContainerOptionsBuilder, LogsOptionsBuilder, StopContainerOptionsBuilder,
    UploadToContainerOptionsBuilder,
};

use crate::engine::{Engine, wait};
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
const STOP: i32 = 20;
/// How many lines the last words are.
const WORDS: &str = "15";

/// Images, by the variables of `deploy/compose.yml`.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    pub(crate) variables: Vec<(String, String)>,
}

/// Containers of this process.
#[derive(Debug)]
pub(crate) struct Docker {
    engine: Engine,
    images: Images,
    site: Ipv4Addr,
    etcd: Ipv4Addr,
    /// Name and text of the shared files.
    files: Vec<(String, String)>,
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

/// Connects to the engine. An error tells why there are no containers to be had.
pub(crate) async fn connect() -> anyhow::Result<Engine> {
    // The images are built over it.
    run(Command::new("docker").arg("version"))?;
    Engine::connect(LABEL).await
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
    pub(crate) async fn new(engine: Engine, images: Images) -> anyhow::Result<Self> {
        let mut ground = Self {
            engine,
            images,
            site: Ipv4Addr::UNSPECIFIED,
            etcd: Ipv4Addr::UNSPECIFIED,
            files: Vec::new(),
        };
        ground.site = ground.network(Net::Site).await?;
        ground.etcd = ground.network(Net::Etcd).await?;
        Ok(ground)
    }

    /// Makes a network with a range of addresses that nobody else has; gives the address of this machine on it.
    async fn network(&self, net: Net) -> anyhow::Result<Ipv4Addr> {
        let mut last = None;
        for _ in 0..RANGES {
            let (b, c) = (fastrand::u8(128..=254), fastrand::u8(..));
            let here = Ipv4Addr::new(10, b, c, 1);
            let range = IpamConfig {
                subnet: Some(format!("10.{b}.{c}.0/24")),
                gateway: Some(here.to_string()),
                ..IpamConfig::default()
            };
            let network = NetworkCreateRequest {
                name: self.net(net),
                internal: Some(true),
                labels: Some(self.engine.labels()),
                ipam: Some(Ipam {
                    config: Some(vec![range]),
                    ..Ipam::default()
                }),
                ..NetworkCreateRequest::default()
            };
            match self.engine.api().create_network(network).await {
                Ok(_) => return Ok(here),
                Err(error) => last = Some(error.into()),
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no range of addresses is free")))
    }

    /// The engine that all is made on.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// An image.
    pub(crate) fn image(&self, variable: &str) -> anyhow::Result<&str> {
        self.images.get(variable)
    }

    /// The name of a network.
    pub(crate) fn net(&self, net: Net) -> String {
        self.engine.name(net.name())
    }

    fn container(&self, host: &Host) -> String {
        self.engine.name(&host.name)
    }

    /// A host's place on a network.
    fn place(&self, host: &Host, net: Net) -> EndpointSettings {
        EndpointSettings {
            aliases: Some(vec![host.name.clone()]),
            ipam_config: Some(EndpointIpamConfig {
                ipv4_address: Some(self.address(host, net).to_string()),
                ..EndpointIpamConfig::default()
            }),
            ..EndpointSettings::default()
        }
    }

    /// The shared files as an archive, by their paths in the container.
    async fn archive(&self) -> anyhow::Result<Vec<u8>> {
        let mut archive = tokio_tar::Builder::new(Vec::new());
        for (name, text) in &self.files {
            let mut header = tokio_tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            let path = Path::new(FOLDER.trim_start_matches('/')).join(name);
            archive.append_data(&mut header, path, text.as_bytes()).await?;
        }
        Ok(archive.into_inner().await?)
    }

    async fn make(&self, host: &Host) -> anyhow::Result<()> {
        let (image, program): (_, &[&str]) = match host.program {
            Program::Ecsbeat => (self.images.get("ECSBEAT_IMAGE")?, &[]),
            Program::Etcd => (self.images.get("ETCD_IMAGE")?, &["/usr/local/bin/etcd"]),
        };
        let name = self.container(host);
        let Some((first, others)) = host.program.nets().split_first() else {
            bail!("host {name} is on no network");
        };
        let first = (self.net(*first), self.place(host, *first));
        let command = program.iter().map(ToString::to_string);
        let environment = host.environment.iter();
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            hostname: Some(host.name.clone()),
            labels: Some(self.engine.labels()),
            cmd: Some(command.chain(host.arguments.iter().cloned()).collect()),
            env: Some(
                environment
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect(),
            ),
            host_config: Some(HostConfig {
                network_mode: Some(first.0.clone()),
                ..HostConfig::default()
            }),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([first])),
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        let api = self.engine.api();
        (api.create_container(Some(options), body).await)
            .with_context(|| format!("create container {name}"))?;
        for net in others {
            self.plug(host, *net).await?;
        }
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        let archive = body_full(self.archive().await?.into());
        let copied = api.upload_to_container(&name, Some(options), archive).await;
        copied.with_context(|| format!("copy files to {name}"))
    }

    async fn plug(&self, host: &Host, net: Net) -> anyhow::Result<()> {
        let request = NetworkConnectRequest {
            container: self.container(host),
            endpoint_config: Some(self.place(host, net)),
        };
        let done = self.engine.api().connect_network(&self.net(net), request).await;
        done.with_context(|| format!("connect {} to {}", host.name, net.name()))
    }

    async fn words(&self, host: &Host) -> anyhow::Result<String> {
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail(WORDS);
        let mut parts = (self.engine.api()).logs(&self.container(host), Some(options.build()));
        let mut words = String::new();
        while let Some(part) = parts.next().await {
            words.push_str(&part?.to_string());
        }
        Ok(words)
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
        self.files.push((name.to_owned(), text.to_owned()));
        Ok(())
    }

    fn create(&mut self, host: &Host) -> anyhow::Result<()> {
        wait(self.make(host))
    }

    fn start(&mut self, host: &Host) -> anyhow::Result<()> {
        let name = self.container(host);
        wait(self.engine.api().start_container(&name, None)).with_context(|| format!("start {name}"))
    }

    fn kill(&mut self, host: &Host) -> anyhow::Result<()> {
        let name = self.container(host);
        wait(self.engine.api().kill_container(&name, None)).with_context(|| format!("kill {name}"))
    }

    fn stop(&mut self, host: &Host) -> anyhow::Result<i32> {
        let name = self.container(host);
        let options = StopContainerOptionsBuilder::new().t(STOP).build();
        let stopped = wait(self.engine.api().stop_container(&name, Some(options)));
        stopped.with_context(|| format!("stop {name}"))?;
        let code = wait(self.engine.state(&name))?.exit_code;
        let code = code.and_then(|code| i32::try_from(code).ok());
        code.with_context(|| format!("{name} has no exit code"))
    }

    fn pause(&mut self, host: &Host) -> anyhow::Result<()> {
        let name = self.container(host);
        wait(self.engine.api().pause_container(&name)).with_context(|| format!("pause {name}"))
    }

    fn resume(&mut self, host: &Host) -> anyhow::Result<()> {
        let name = self.container(host);
        wait(self.engine.api().unpause_container(&name)).with_context(|| format!("unpause {name}"))
    }

    fn cut(&mut self, host: &Host, net: Net) -> anyhow::Result<()> {
        let request = NetworkDisconnectRequest {
            container: self.container(host),
            force: None,
        };
        let done = wait(self.engine.api().disconnect_network(&self.net(net), request));
        done.with_context(|| format!("disconnect {} from {}", host.name, net.name()))
    }

    fn join(&mut self, host: &Host, net: Net) -> anyhow::Result<()> {
        wait(self.plug(host, net))
    }

    fn last_words(&self, host: &Host) -> String {
        wait(self.words(host)).unwrap_or_else(|error| format!("{error:#}"))
    }
}
