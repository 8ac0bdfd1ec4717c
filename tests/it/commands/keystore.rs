//! `keystore` of the real binary: what it says, what it leaves, who may read it, and how it comes into the configuration.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use crate::support::process::{Ended, Home, Process, SOON};
use crate::support::terminal::{On, Terminal};

const SETTINGS: &str = "\
ecsbeat.customers: [{customername: c, username: u, password: '${ECS_PASSWORD}', vdcs: [{vdcname: v, nodes: [n]}]}]
output.file.path: ${path.home}/${NAME}
";

fn home() -> Home {
    let home = Home::new();
    home.configure(SETTINGS);
    home
}

async fn keystore(home: &Home, arguments: &[&str]) -> Ended {
    home.run(&[&["keystore"], arguments].concat()).await
}

/// With this on standard input.
async fn fed(home: &Home, arguments: &[&str], input: &[u8]) -> Ended {
    let mut command = home.command(&[&["keystore"], arguments].concat());
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(input).unwrap();
    drop(writer);
    command.stdin(Stdio::from(reader));
    Process::spawn(command).ended(SOON).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_added_listed_and_removed_in_the_words_of_beats() {
    let home = home();
    let file = home.data().join("ecsbeat.keystore");
    assert_eq!(keystore(&home, &["list"]).await.expect(0).stdout, "");
    let ended = fed(&home, &["add", "A", "--stdin"], b"x").await;
    assert!(
        ended.expect(1).stderr.contains("keystore create"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        keystore(&home, &["create"]).await.expect(0).stdout,
        "Created ecsbeat keystore\n"
    );
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let ended = keystore(&home, &["create"]).await;
    assert!(ended.expect(1).stderr.contains("--force"), "{}", ended.stderr);

    for name in ["NAME", "ECS_PASSWORD"] {
        let ended = fed(&home, &["add", name, "--stdin"], b"CANARY-first\n").await;
        assert_eq!(ended.expect(0).stdout, "Successfully updated the keystore\n");
    }
    let ended = fed(&home, &["add", "NAME", "--stdin"], b"CANARY-second").await;
    assert_eq!(
        ended.expect(1).stderr,
        "Exiting: the settings NAME already exist in the keystore use `--force` to replace it\n"
    );
    fed(&home, &["add", "NAME", "--stdin", "--force"], b"CANARY-third")
        .await
        .expect(0);
    for odd in [&b""[..], b"\n", b"\xff\xfe"] {
        let ended = fed(&home, &["add", "NAME", "--stdin", "--force"], odd).await;
        assert!(
            ended.expect(1).stderr.contains("nothing was changed"),
            "{}",
            ended.stderr
        );
    }
    let ended = keystore(&home, &["add", "OTHER"]).await;
    assert!(ended.expect(1).stderr.contains("--stdin"), "{}", ended.stderr);
    assert_eq!(
        keystore(&home, &["list"]).await.expect(0).stdout,
        "ECS_PASSWORD\nNAME\n"
    );
    let written = fs::read(&file).unwrap();
    assert!(!String::from_utf8_lossy(&written).contains("CANARY"));

    let ended = keystore(&home, &["remove", "NAME", "NONE"]).await;
    assert_eq!(
        ended.expect(1).stderr,
        "Exiting: could not find key 'NONE' in the keystore\n"
    );
    let ended = keystore(&home, &["remove", "NAME", "ECS_PASSWORD"]).await;
    assert_eq!(
        ended.expect(0).stdout,
        "successfully removed key: NAME\nsuccessfully removed key: ECS_PASSWORD\n"
    );
    assert_eq!(keystore(&home, &["list"]).await.expect(0).stdout, "");
    let left: Vec<_> = fs::read_dir(home.data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["ecsbeat.keystore"]);
}

/// What the configuration comes to: `Config OK`, or all that is wrong.
async fn tried(home: &Home, environment: &[(&str, &str)], arguments: &[&str]) -> Result<String, String> {
    let mut command = home.command(&[&["test", "config"], arguments].concat());
    command.envs(environment.iter().copied());
    let ended = Process::spawn(command).ended(SOON).await;
    match ended.code() {
        0 => Ok(ended.stdout),
        _ => Err(ended.stderr),
    }
}

/// What `${NAME}` stands for: the file output is told by its path.
async fn stands_for(home: &Home, environment: &[(&str, &str)], arguments: &[&str]) -> String {
    let mut command = home.command(&[&["test", "output"], arguments].concat());
    command.envs(environment.iter().copied()).env("ECS_PASSWORD", "p");
    let ended = Process::spawn(command).ended(SOON).await;
    let first = ended.expect(0).stdout.lines().next().unwrap();
    let path = first.strip_prefix("file: ").unwrap().strip_suffix("...").unwrap();
    path.rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn references_find_settings_first_then_the_environment_then_the_keystore() {
    let home = home();
    let error = tried(&home, &[], &[]).await.unwrap_err();
    for name in ["${NAME}", "${ECS_PASSWORD}"] {
        let want = format!("{name} is no other setting, not set in the environment and not in the keystore");
        assert!(error.contains(&want), "{error}");
    }
    fed(
        &home,
        &["add", "ECS_PASSWORD", "--stdin", "--force"],
        b"CANARY, ${X}",
    )
    .await
    .expect(0);
    let error = tried(&home, &[], &[]).await.unwrap_err();
    assert!(
        !error.contains("ECS_PASSWORD") && error.contains("${NAME}"),
        "{error}"
    );
    fed(&home, &["add", "NAME", "--stdin"], b"of-keystore")
        .await
        .expect(0);
    assert_eq!(tried(&home, &[], &[]).await.unwrap(), "Config OK\n");

    assert_eq!(stands_for(&home, &[], &[]).await, "of-keystore");
    assert_eq!(stands_for(&home, &[("NAME", "")], &[]).await, "of-keystore");
    let environment = [("NAME", "of-environment"), ("x-name", "of-environment")];
    assert_eq!(stands_for(&home, &environment, &[]).await, "of-environment");
    fed(&home, &["add", "x-name", "--stdin"], b"of-keystore")
        .await
        .expect(0);
    home.configure(&SETTINGS.replace("${NAME}", "${x-name}"));
    assert_eq!(stands_for(&home, &environment, &[]).await, "of-environment");
    let settings = ["-E", "x-name=of-settings"];
    assert_eq!(stands_for(&home, &environment, &settings).await, "of-settings");
    // Where a value is wrong, it is not told.
    let error = tried(&home, &[], &["-E", "ecsbeat.period=${ECS_PASSWORD}"])
        .await
        .unwrap_err();
    assert!(
        error.contains("the value of ${ECS_PASSWORD}") && !error.contains("CANARY"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_place_may_be_set_and_the_keystore_of_another_beat_is_as_good() {
    let home = home();
    let theirs = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/keystore/beats.keystore");
    let place = home.path().join("shared").join("metricbeat.keystore");
    fs::create_dir(place.parent().unwrap()).unwrap();
    fs::copy(theirs, &place).unwrap();
    fs::set_permissions(&place, Permissions::from_mode(0o600)).unwrap();
    home.configure(&format!(
        "{}keystore.path: ${{path.home}}/shared/${{FILE:metricbeat}}.keystore\n",
        SETTINGS.replace("${NAME}", "x").replace("ECS_PASSWORD", "ES_PWD")
    ));
    assert_eq!(
        keystore(&home, &["list"]).await.expect(0).stdout,
        "EMPTY\nES_PWD\nLINES\necs.password\n"
    );
    assert_eq!(tried(&home, &[], &[]).await.unwrap(), "Config OK\n");
    fed(&home, &["add", "MORE", "--stdin"], b"x").await.expect(0);
    assert_eq!(
        keystore(&home, &["list"]).await.expect(0).stdout,
        "EMPTY\nES_PWD\nLINES\nMORE\necs.password\n"
    );
    // Relative to path.data.
    home.configure(&format!("{SETTINGS}keystore.path: other.keystore\n"));
    keystore(&home, &["create"]).await.expect(0);
    assert!(home.data().join("other.keystore").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_damaged_or_open_to_others_stops_everything_but_a_new_one() {
    let home = home();
    let file = home.data().join("ecsbeat.keystore");
    keystore(&home, &["create"]).await.expect(0);
    let environment = [("NAME", "n"), ("ECS_PASSWORD", "p")];
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let error = tried(&home, &environment, &[]).await.unwrap_err();
    let want = format!(
        "file (\"ecsbeat.keystore\") can only be writable and readable by the owner but the permissions are \
         \"-rw-r--r--\" (to fix the permissions use: 'chmod go-wrx {}')",
        file.display()
    );
    assert!(error.contains(&want), "{error}");
    assert!(keystore(&home, &["list"]).await.expect(1).stderr.contains(&want));
    assert_eq!(
        tried(&home, &environment, &["--strict.perms=false"])
            .await
            .unwrap(),
        "Config OK\n"
    );
    fs::write(&file, "v1 this is none").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let error = tried(&home, &environment, &[]).await.unwrap_err();
    assert!(
        error.starts_with("Exiting: ") && error.contains("is no keystore that can be used"),
        "{error}"
    );
    for arguments in [&["list"][..], &["remove", "A"], &["add", "A", "--stdin"]] {
        let ended = keystore(&home, arguments).await;
        assert!(
            ended.expect(1).stderr.contains("no keystore that can be used"),
            "{}",
            ended.stderr
        );
    }
    keystore(&home, &["create", "--force"]).await.expect(0);
    assert_eq!(tried(&home, &environment, &[]).await.unwrap(), "Config OK\n");
}

fn on_a_terminal(home: &Home, arguments: &[&str]) -> Terminal {
    Terminal::start(home.command(&[&["keystore"], arguments].concat()), On::All)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_it_asks_and_does_not_show_what_is_typed() {
    let home = home();
    let mut terminal = on_a_terminal(&home, &["add", "NAME"]);
    terminal
        .shows("The keystore does not exist. Do you want to create it? [y/N]: ")
        .await;
    terminal.press("y\n");
    terminal.shows("Enter value for NAME: ").await;
    assert!(!terminal.echoes());
    terminal.press("CANARYx\x7f\r");
    let (status, text) = terminal.ended().await;
    assert!(status.success() && !text.contains("CANARY"), "{text}");
    assert!(
        text.ends_with("Created keystore\r\nSuccessfully updated the keystore\r\n"),
        "{text}"
    );
    assert_eq!(stands_for(&home, &[], &[]).await, "CANARY");

    let mut terminal = on_a_terminal(&home, &["add", "NAME"]);
    terminal
        .shows("Setting NAME already exists, Overwrite? [y/N]: ")
        .await;
    terminal.press("\n");
    let (status, text) = terminal.ended().await;
    assert!(
        status.success() && text.ends_with("Exiting without modifying keystore.\r\n"),
        "{text}"
    );

    let mut terminal = on_a_terminal(&home, &["add", "NAME", "--force"]);
    terminal.shows("Enter value for NAME: ").await;
    terminal.press("half\x03");
    let (status, text) = terminal.ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(
        text.ends_with("Exiting: broken off, nothing was changed\r\n"),
        "{text}"
    );

    let mut terminal = on_a_terminal(&home, &["create"]);
    terminal
        .shows("A keystore already exists, Overwrite? [y/N]: ")
        .await;
    assert!(terminal.echoes(), "the terminal is as it was");
    terminal.press("n\n");
    let (_, text) = terminal.ended().await;
    assert!(text.ends_with("Exiting without creating keystore.\r\n"), "{text}");
    assert_eq!(stands_for(&home, &[], &[]).await, "CANARY", "nothing was changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_terminal_is_put_back_when_the_answer_is_broken_off() {
    let home = home();
    let mut terminal = on_a_terminal(&home, &["add", "NAME", "--force"]);
    assert!(terminal.echoes());
    terminal.shows("Enter value for NAME: ").await;
    assert!(!terminal.echoes());
    terminal.press("\x03");
    terminal.shows("Exiting: broken off").await;
    assert!(terminal.echoes());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_ends_before_the_end_of_its_line_and_has_a_bound() {
    let home = home();
    keystore(&home, &["create"]).await.expect(0);
    for input in [&b"of-keystore"[..], b"of-keystore\n", b"of-keystore\r\n"] {
        fed(&home, &["add", "NAME", "--stdin", "--force"], input)
            .await
            .expect(0);
        fed(&home, &["add", "ECS_PASSWORD", "--stdin", "--force"], input)
            .await
            .expect(0);
        assert_eq!(stands_for(&home, &[], &[]).await, "of-keystore", "{input:?}");
    }
    // More than a pipe holds.
    let long = home.write("long", &"x".repeat((1 << 20) + 1));
    let mut command = home.command(&["keystore", "add", "NAME", "--stdin", "--force"]);
    command.stdin(Stdio::from(fs::File::open(long).unwrap()));
    let ended = Process::spawn(command).ended(SOON).await;
    let want = "the value is larger than 1 MiB, nothing was changed";
    assert!(ended.expect(1).stderr.contains(want), "{}", ended.stderr);
    assert_eq!(stands_for(&home, &[], &[]).await, "of-keystore");
    // What no reference could name.
    for name in ["a b", "${NAME}", ""] {
        let ended = fed(&home, &["add", name, "--stdin"], b"x").await;
        assert!(
            ended.expect(1).stderr.contains("a name is one word"),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(
        keystore(&home, &["list"]).await.expect(0).stdout,
        "ECS_PASSWORD\nNAME\n"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_yes_on_a_terminal_replaces_what_is_there() {
    for yes in ["y\n", "Y\n", "yes\n"] {
        let home = home();
        fed(&home, &["add", "NAME", "--stdin", "--force"], b"x")
            .await
            .expect(0);
        let mut terminal = on_a_terminal(&home, &["create"]);
        terminal
            .shows("A keystore already exists, Overwrite? [y/N]: ")
            .await;
        terminal.press(yes);
        let (status, text) = terminal.ended().await;
        assert!(
            status.success() && text.ends_with("Created ecsbeat keystore\r\n"),
            "{text}"
        );
        assert_eq!(
            keystore(&home, &["list"]).await.expect(0).stdout,
            "",
            "it is empty"
        );
    }
}
