//! What users type, and what they get.
//!
//! The texts are compared with `tests/data/cli/`; run with `ECSBEAT_BLESS=1` to write them anew.

use super::*;

fn parse_words(words: &str) -> Result<Cli, Exit> {
    let words = std::iter::once("ecsbeat").chain(words.split_ascii_whitespace());
    parse(words.map(OsString::from))
}

fn cli(words: &str) -> Cli {
    parse_words(words).unwrap_or_else(|exit| panic!("{words}: {}", exit.text))
}

fn default() -> Cli {
    cli("")
}

#[test]
fn without_anything_it_runs() {
    assert_eq!(
        default(),
        Cli {
            command: Command::Run { once: false },
            files: Vec::new(),
            overrides: Vec::new(),
            paths: Paths::default(),
            strict_perms: true,
            log_to_stderr: false,
            debug_selectors: Vec::new(),
            verbose: false,
            environment: Environment::Default,
        }
    );
}

#[test]
fn every_command() {
    let health = |leader, url: Option<&str>| Command::Health {
        leader,
        url: url.map(str::to_owned),
    };
    for (words, want) in [
        ("run", Command::Run { once: false }),
        ("run --once", Command::Run { once: true }),
        ("--once run", Command::Run { once: true }),
        ("-once", Command::Run { once: true }),
        ("run -once", Command::Run { once: true }),
        ("test config", Command::TestConfig),
        ("test output", Command::TestOutput),
        ("test ecs", Command::TestEcs),
        ("-configtest", Command::TestConfig),
        ("-c a.yml -configtest -e", Command::TestConfig),
        ("export config", Command::ExportConfig),
        ("export template", Command::ExportTemplate),
        ("version", Command::Version),
        ("-version", Command::Version),
        ("--version", Command::Version),
        ("health", health(false, None)),
        ("health --leader", health(true, None)),
        (
            "health -leader -url http://h:1/x",
            health(true, Some("http://h:1/x")),
        ),
        ("health --url=http://h:1", health(false, Some("http://h:1"))),
    ] {
        assert_eq!(cli(words).command, want, "{words}");
    }
}

#[test]
fn flags_stand_before_and_after_the_command_and_add_up() {
    let got =
        cli("-c a.yml -E x=1 -e -d ecs test -c b.yml -path.data /one config -c c.yml -E y=2 -v -d output");
    assert_eq!(got.command, Command::TestConfig);
    assert_eq!(got.files, ["a.yml", "b.yml", "c.yml"].map(PathBuf::from));
    assert_eq!(got.overrides, ["x=1", "y=2"]);
    assert_eq!(got.debug_selectors, ["ecs", "output"]);
    assert!(got.log_to_stderr && got.verbose);
    assert_eq!(got.paths.data, Some(PathBuf::from("/one")));
    let got = cli("--path.data /one --environment container run --path.data /two --environment=systemd");
    assert_eq!(got.paths.data, Some(PathBuf::from("/two")));
    assert_eq!(got.environment, Environment::Systemd);
    let got =
        cli("-path.data /one -e -c a.yml -path.data /two -e -c b.yml -strict.perms -strict.perms=false run");
    assert_eq!(got.paths.data, Some(PathBuf::from("/two")));
    assert_eq!(got.files, ["a.yml", "b.yml"].map(PathBuf::from));
    assert!(got.log_to_stderr && !got.strict_perms);
}

#[test]
fn single_dashes_are_as_good_as_double_ones() {
    let want = Cli {
        paths: Paths {
            home: Some("/h".into()),
            config: Some("/c".into()),
            data: Some("/d".into()),
            logs: Some("/l".into()),
        },
        strict_perms: false,
        environment: Environment::Container,
        ..default()
    };
    for dash in ["-", "--"] {
        let words = format!(
            "{dash}path.home /h {dash}path.config=/c {dash}path.data /d {dash}path.logs /l {dash}strict.perms=false \
             {dash}environment container"
        );
        assert_eq!(cli(&words), want, "{words}");
    }
}

#[test]
fn single_letters() {
    for words in [
        "-c f.yml -E a=b -e -v -d *",
        "--c f.yml --E a=b --e --v --d *",
        "-c=f.yml -E=a=b -e -v -d=*",
    ] {
        let got = cli(words);
        assert_eq!(got.files, [PathBuf::from("f.yml")], "{words}");
        assert_eq!(got.overrides, ["a=b"], "{words}");
        assert_eq!(got.debug_selectors, ["*"], "{words}");
        assert!(got.log_to_stderr && got.verbose, "{words}");
    }
    let got = parse(["ecsbeat", "-d", "ecs, output,"].map(OsString::from)).unwrap();
    assert_eq!(got.debug_selectors, ["ecs", "output"]);
    assert_eq!(cli("-E http.enabled").overrides, ["http.enabled"]);
}

#[test]
fn permissions_are_checked_unless_told_otherwise() {
    for (words, want) in [
        ("-strict.perms", true),
        ("-strict.perms=true", true),
        ("--strict.perms=false", false),
        ("--strict.perms=0", false),
        ("--strict.perms=F", false),
        ("--strict.perms=false run --strict.perms", true),
    ] {
        assert_eq!(cli(words).strict_perms, want, "{words}");
    }
}

/// Compares with the file, or writes it.
fn golden(name: &str, got: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/cli/{name}.txt"));
    if std::env::var_os("ECSBEAT_BLESS").is_some() {
        std::fs::write(&path, got).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(got, want, "{}", path.display());
}

#[test]
fn help_is_for_stdout() {
    for (name, words) in [
        ("help", "help"),
        ("help", "--help"),
        ("help", "-help"),
        ("help", "-h"),
        ("help-run", "help run"),
        ("help-test", "help test"),
        ("help-test", "test --help"),
        ("help-export", "help export"),
        ("help-health", "health -h"),
        ("help-status", "status -h"),
        ("help-switchover", "switchover -h"),
        ("help-step-down", "step-down -h"),
        ("help-pause", "pause -h"),
        ("help-resume", "resume -h"),
        ("help-completion", "completion -h"),
    ] {
        let exit = parse_words(words).unwrap_err();
        assert_eq!(exit.code, OK, "{words}");
        golden(name, &exit.text);
    }
}

#[test]
fn errors_say_what_is_wrong() {
    for (name, words) in [
        ("error-command", "rum"),
        ("error-flag", "--pathdata /x"),
        ("error-glued", "-Ea=b"),
        ("error-letters", "-ev"),
        ("error-test", "test"),
        ("error-export", "export dashboard"),
        ("error-environment", "-environment windows_service"),
        ("error-perms", "-strict.perms=maybe"),
        ("error-value", "-c"),
        ("error-shell", "completion tcsh"),
        ("error-candidate", "switchover node-b"),
        ("error-once", "test config --once"),
    ] {
        let exit = parse_words(words).unwrap_err();
        assert_eq!(exit.code, FAILURE, "{words}");
        golden(name, &exit.text);
    }
}

#[test]
fn what_does_not_exist_yet_is_not_listed() {
    let help = parse_words("help").unwrap_err().text;
    for word in ["keystore", "setup", "configtest"] {
        assert!(!help.contains(word), "{word}");
    }
}

#[test]
fn the_grammar_is_sound() {
    grammar().debug_assert();
}

#[test]
fn operators_commands() {
    let target = |url: Option<&str>| Target {
        url: url.map(str::to_owned),
    };
    for (words, request, url) in [
        ("status", Request::Status { json: false }, None),
        (
            "status -json --url http://b:5066",
            Request::Status { json: true },
            Some("http://b:5066"),
        ),
        (
            "switchover",
            Request::Switchover {
                leader: None,
                candidate: None,
            },
            None,
        ),
        (
            "switchover -candidate b --leader a -c x.yml",
            Request::Switchover {
                leader: Some("a".to_owned()),
                candidate: Some("b".to_owned()),
            },
            None,
        ),
        ("step-down", Request::StepDown, None),
        ("pause", Request::Pause, None),
        ("resume -url=http://c", Request::Resume, Some("http://c")),
    ] {
        let want = Command::Operate {
            request,
            target: target(url),
        };
        assert_eq!(cli(words).command, want, "{words}");
    }
}

#[test]
fn shells_and_manuals_know_every_command() {
    let manual = manual().unwrap();
    for command in grammar().get_subcommands() {
        let name = command.get_name();
        assert!(manual.contains(&name.replace('-', "\\-")), "{name}");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert!(completion(shell).contains(name), "{shell}: {name}");
        }
    }
    assert_eq!(cli("completion zsh").command, Command::Completion(Shell::Zsh));
    assert_eq!(cli("export man").command, Command::ExportMan);
}
