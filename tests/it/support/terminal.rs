//! A terminal of our own: what a command shows there, and the keys that are pressed.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use super::process::{SOON, eventually};

/// Which streams of the command are the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Stdout,
    Stderr,
    All,
}

/// A command on a terminal.
pub(crate) struct Terminal {
    controller: File,
    terminal: File,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Terminal {
    /// Starts the command there.
    pub(crate) fn start(mut command: Command, on: On) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap().into_string().unwrap();
        let terminal = fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
        let of_its_own = || terminal.try_clone().unwrap();
        match on {
            On::Stdout => command.stdout(of_its_own()),
            On::Stderr => command.stderr(of_its_own()),
            On::All => command
                .stdin(of_its_own())
                .stdout(of_its_own())
                .stderr(of_its_own()),
        };
        let child = command.spawn().unwrap();
        // Its copies of the terminal must not keep that open.
        drop(command);
        let controller = File::from(controller);
        let mut reader = controller.try_clone().unwrap();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&shown);
        let reading = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends with an error when nobody has the terminal open any more.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                kept.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self {
            controller,
            terminal,
            child,
            shown,
            reading,
        }
    }

    /// What was shown so far.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until a text has been shown.
    pub(crate) async fn shows(&self, text: &str) {
        let what = format!("{text:?} on the terminal");
        eventually(&what, SOON, || self.shown().contains(text).then_some(())).await;
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.controller.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether keys are shown as they are pressed.
    pub(crate) fn echoes(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    /// Waits for the command's end, and gives what was shown.
    pub(crate) async fn ended(self) -> (ExitStatus, String) {
        let Self {
            controller,
            terminal,
            mut child,
            shown,
            reading,
        } = self;
        let waiting = tokio::task::spawn_blocking(move || {
            let status = child.wait().unwrap();
            drop(terminal);
            reading.join().unwrap();
            drop(controller);
            status
        });
        let status = tokio::time::timeout(SOON, waiting)
            .await
            .expect("it has not ended")
            .unwrap();
        let text = String::from_utf8(shown.lock().unwrap().clone()).unwrap();
        (status, text)
    }
}
