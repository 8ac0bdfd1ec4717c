//! The Debian package: what is in it, and what its installation, upgrade, removal and purge do to a system.
//!
//! That system is an empty tree: dpkg has the maintainer scripts work on it (`DPKG_ROOT`) without changing into it. The
//! package has the binary of this build, which cargo-deb packs as it does a release.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{Said, file, program, run, skipped, text};

const CONFIGURATION: &str = "etc/ecsbeat/ecsbeat.yml";

/// A package of this build; `None` is told.
fn build(folder: &Path) -> Option<PathBuf> {
    let what = "the Debian package";
    program("dpkg-deb", "none", what)?;
    if !file("target/cargo-deb/bin/cargo-deb").is_file() {
        skipped(
            what,
            "there is no target/cargo-deb/bin/cargo-deb; `make deb` has it",
        );
        return None;
    }
    let release = folder.join("release");
    fs::create_dir_all(&release).unwrap();
    // Without what only a debugger needs, which is most of it.
    let mut strip = Command::new("strip");
    strip.args(["--strip-debug", "-o"]).arg(release.join("ecsbeat"));
    run(strip.arg(env!("CARGO_BIN_EXE_ecsbeat"))).well();
    let mut build = Command::new(file("deploy/debian/build.sh"));
    run(build.arg(folder).args(["--no-strip", "--fast"])).well();
    let packages = fs::read_dir(folder.join("debian")).unwrap();
    let found: Vec<PathBuf> = packages.map(|entry| entry.unwrap().path()).collect();
    let [package] = &found[..] else {
        panic!("{found:?}")
    };
    Some(package.clone())
}

fn dpkg_deb(what: &[&str], package: &Path) -> String {
    run(Command::new("dpkg-deb")
        .arg(what[0])
        .arg(package)
        .args(&what[1..]))
    .well()
    .stdout
}

/// A system on which there is nothing.
struct System(TempDir);

impl System {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("var/lib/dpkg/info")).unwrap();
        fs::create_dir_all(root.path().join("var/lib/dpkg/updates")).unwrap();
        fs::write(root.path().join("var/lib/dpkg/status"), "").unwrap();
        Self(root)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn dpkg(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new("dpkg");
        command
            .arg(format!("--root={}", self.0.path().display()))
            // What it depends on is on this machine.
            .args(["--force-script-chrootless", "--force-depends"])
            .args(arguments);
        run(&mut command).well()
    }

    fn mode(&self, path: &str) -> u32 {
        fs::metadata(self.at(path)).unwrap().permissions().mode() & 0o7777
    }

    /// The number of the service's group there.
    fn group(&self) -> u32 {
        let groups = fs::read_to_string(self.at("etc/group")).unwrap();
        let line = groups.lines().find(|line| line.starts_with("ecsbeat:")).unwrap();
        line.split(':').nth(2).unwrap().parse().unwrap()
    }

    /// Owner, group and mode of the configuration.
    fn configuration(&self) -> (u32, u32, u32) {
        let metadata = fs::metadata(self.at(CONFIGURATION)).unwrap();
        (
            metadata.uid(),
            metadata.gid(),
            metadata.permissions().mode() & 0o7777,
        )
    }
}

#[test]
fn it_installs_upgrades_and_goes_away() {
    let folder = tempfile::tempdir().unwrap();
    let Some(package) = build(folder.path()) else {
        return;
    };
    assert_eq!(
        dpkg_deb(&["--field", "Version"], &package).trim(),
        format!("{}-1", env!("CARGO_PKG_VERSION"))
    );
    let depends = dpkg_deb(&["--field", "Depends"], &package);
    assert!(
        depends.contains("libc6") && depends.contains("systemd-sysusers"),
        "{depends}"
    );
    let name = package.to_str().unwrap();
    if !rustix::process::geteuid().is_root() {
        skipped(
            "installing the Debian package",
            "only root may give files to others",
        );
        return;
    }

    let system = System::new();
    system.dpkg(&["--install", name]);
    assert_eq!(system.configuration(), (0, system.group(), 0o640));
    assert_eq!(
        fs::read_to_string(system.at(CONFIGURATION)).unwrap(),
        text("ecsbeat.yml")
    );
    assert_eq!(system.mode("etc/default/ecsbeat"), 0o600);
    for path in [
        "usr/lib/systemd/system/ecsbeat.service",
        "usr/share/bash-completion/completions/ecsbeat",
        "usr/share/zsh/vendor-completions/_ecsbeat",
        "usr/share/fish/vendor_completions.d/ecsbeat.fish",
        "usr/share/doc/ecsbeat/copyright",
        "usr/share/doc/ecsbeat/docs/ha.md",
        "usr/share/doc/ecsbeat/examples/elasticsearch.yml",
        "usr/share/man/man1/ecsbeat.1.gz",
    ] {
        assert!(
            fs::metadata(system.at(path)).is_ok_and(|found| found.len() > 100),
            "{path}"
        );
    }
    // It would log in to what the sample names.
    assert!(!system.at("etc/systemd/system/multi-user.target.wants").exists());
    // What is installed works, with what was installed for it.
    let (program, wrapper) = ("usr/lib/ecsbeat/ecsbeat", "usr/bin/ecsbeat");
    assert_eq!((system.mode(program), system.mode(wrapper)), (0o755, 0o755));
    let here = system.0.path().display();
    let places = fs::read_to_string(system.at(wrapper)).unwrap();
    // As it would be if this tree were the system's.
    let moved = ["/usr/lib", "/usr/share", "/etc", "/var"]
        .iter()
        .fold(places, |text, place| {
            text.replace(&format!(" {place}/"), &format!(" {here}{place}/"))
        });
    fs::write(system.at("usr/bin/moved"), moved).unwrap();
    let ecsbeat =
        |arguments: &[&str]| run(Command::new("sh").arg(system.at("usr/bin/moved")).args(arguments));
    assert!(ecsbeat(&["version"]).well().stdout.starts_with("ecsbeat"));
    assert!(
        ecsbeat(&["test", "config"])
            .well()
            .stdout
            .ends_with("Config OK\n")
    );
    // What is said by hand counts.
    let elsewhere = ecsbeat(&["--path.config", "/nonexistent", "test", "config"]);
    assert!(
        elsewhere.code == Some(1) || elsewhere.code == Some(78),
        "{}",
        elsewhere.all
    );
    assert!(
        elsewhere.all.contains("/nonexistent/ecsbeat.yml"),
        "{}",
        elsewhere.all
    );

    // An upgrade leaves what the administrator has made of it.
    fs::write(system.at(CONFIGURATION), "mine: {}\n").unwrap();
    fs::set_permissions(system.at(CONFIGURATION), fs::Permissions::from_mode(0o600)).unwrap();
    let before = system.configuration();
    system.dpkg(&["--install", name]);
    assert_eq!(
        fs::read_to_string(system.at(CONFIGURATION)).unwrap(),
        "mine: {}\n"
    );
    assert_eq!(system.configuration(), before);

    let state = system.at("var/lib/ecsbeat");
    fs::create_dir_all(&state).unwrap();
    system.dpkg(&["--remove", "ecsbeat"]);
    assert!(!system.at(program).exists() && system.at(CONFIGURATION).exists() && state.exists());
    system.dpkg(&["--purge", "ecsbeat"]);
    assert!(!system.at(CONFIGURATION).exists() && !state.exists());
}
