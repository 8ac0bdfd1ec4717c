//! Child processes: replicas and members of etcd.
//!
//! Owns [`Child`]: in a process group of its own, its output in a file, killed when dropped, stopped or not. Knows
//! nothing of what it runs.

use std::fs::OpenOptions;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// A process that runs, or has run.
#[derive(Debug)]
pub(crate) struct Child {
    name: String,
    inner: std::process::Child,
    ended: Option<ExitStatus>,
}

impl Child {
    /// Starts `command` and adds what it writes to the file `log`.
    pub(crate) fn start(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.with_context(|| format!("open {}", log.display()))?;
        let copy = file.try_clone().context("a second handle of a log")?;
        let program = command.get_program().to_string_lossy().into_owned();
        let inner = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(copy)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {program} for {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            inner,
            ended: None,
        })
    }

    /// Sends a signal; none to a process that has ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if self.status()?.is_some() {
            return Ok(());
        }
        let group = Pid::from_child(&self.inner);
        kill_process_group(group, signal).with_context(|| format!("signal {}", self.name))
    }

    /// How it ended; `None` = it runs.
    pub(crate) fn status(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            let status = self.inner.try_wait();
            self.ended = status.with_context(|| format!("look after {}", self.name))?;
        }
        Ok(self.ended)
    }

    /// Waits for its end.
    pub(crate) async fn end(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.status()? {
                return Ok(status);
            }
            if start.elapsed() > limit {
                bail!("{} has not ended within {limit:?}", self.name);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Kills it and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.end(Duration::from_secs(10)).await?;
        Ok(())
    }
}

/// For people: the exit code or the signal.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !matches!(self.status(), Ok(Some(_))) {
            let _ = kill_process_group(Pid::from_child(&self.inner), Signal::KILL);
            let _ = self.inner.wait();
        }
    }
}
