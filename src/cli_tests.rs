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
    let add = |name: &str, stdin, force| {
        Command::Keystore(Order::Add {
            name: name.to_owned(),
            stdin,
            force,
        })
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
        ("setup", Command::Setup { force: false }),
        ("setup --index-management -force", Command::Setup { force: true }),
        (
            "keystore create",
            Command::Keystore(Order::Create { force: false }),
        ),
        (
            "keystore create -force",
            Command::Keystore(Order::Create { force: true }),
        ),
        ("keystore add ES_PWD -stdin", add("ES_PWD", true, false)),
        ("keystore add --force a.b", add("a.b", false, true)),
        ("keystore list", Command::Keystore(Order::List)),
        (
            "keystore remove a b",
            Command::Keystore(Order::Remove {
                names: vec!["a".to_owned(), "b".to_owned()],
            }),
        ),
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
        ("help-test-ecs", "help test ecs"),
        ("help-keystore-add", "help keystore add"),
    ] {
        let exit = parse_words(words).unwrap_err();
        assert_eq!(exit.code, OK, "{words}");
        golden(name, &exit.text);
    }
}

/// Every command and group of commands, as the words that call it.
fn every_path() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
        for command in command.get_subcommands() {
            let mut path = path.to_vec();
            path.push(command.get_name().to_owned());
            below(command, &path, found);
            found.push(path);
        }
    }
    let mut found = Vec::new();
    below(&grammar(), &[], &mut found);
    assert!(found.len() > 20, "{found:?}");
    found
}

#[test]
fn every_command_has_a_help_text_of_its_own() {
    let mut names = vec!["help".to_owned()];
    for path in every_path() {
        let words = path.join(" ");
        let exit = parse_words(&format!("{words} --help")).unwrap_err();
        assert_eq!(exit.code, OK, "{words}");
        let name = format!("help-{}", path.join("-"));
        golden(&name, &exit.text);
        names.push(name);
    }
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/cli");
    let left: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .filter(|name| name.starts_with("help") && !names.contains(name))
        .collect();
    assert!(left.is_empty(), "of no command: {left:?}");
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
        ("error-export-what", "export"),
        ("error-setting", "-E"),
        ("error-debug", "-d"),
        ("error-health", "health --url"),
        ("error-status", "status node-b"),
        ("error-pause", "pause now"),
        ("error-version", "version --short"),
        ("error-environment", "-environment windows_service"),
        ("error-perms", "-strict.perms=maybe"),
        ("error-value", "-c"),
        ("error-shell", "completion tcsh"),
        ("error-candidate", "switchover node-b"),
        ("error-keystore", "keystore"),
        ("error-keystore-add", "keystore add"),
        ("error-keystore-add-two", "keystore add A B"),
        ("error-keystore-add-value", "keystore add A=b --value c"),
        ("error-keystore-remove", "keystore remove"),
        ("error-setup", "setup --dashboards"),
        ("error-path", "--path.data"),
        ("error-once", "test config --once"),
    ] {
        let exit = parse_words(words).unwrap_err();
        assert_eq!(exit.code, FAILURE, "{words}");
        golden(name, &exit.text);
    }
}

#[test]
fn what_is_only_there_for_old_scripts_is_not_listed() {
    let help = parse_words("help").unwrap_err().text;
    for word in ["configtest", "--version"] {
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

/// The flags that a command has for itself.
fn own_flags(path: &[String]) -> Vec<String> {
    let mut command = &grammar();
    for word in path {
        command = command.find_subcommand(word).unwrap();
    }
    let own = command
        .get_arguments()
        .filter(|arg| arg.get_help_heading().is_none() && !arg.is_hide_set());
    own.filter_map(|arg| arg.get_long().map(str::to_owned)).collect()
}

#[test]
fn shells_and_manuals_know_every_command_and_flag() {
    let escaped = |text: &str| text.replace('-', "\\-");
    let manual = manual().unwrap();
    let scripts = [Shell::Bash, Shell::Zsh, Shell::Fish].map(completion);
    for path in every_path() {
        let title = format!(".SH \"ECSBEAT {}\"\n", escaped(&path.join(" ").to_uppercase()));
        let is_group = every_path()
            .iter()
            .any(|other| other.len() > path.len() && other.starts_with(&path));
        let sections: Vec<&str> = manual.split(&title).collect();
        assert_eq!(sections.len(), if is_group { 1 } else { 2 }, "{title}");
        for script in &scripts {
            assert!(script.contains(path.last().unwrap()), "{path:?}");
        }
        for flag in own_flags(&path) {
            if let Some(section) = sections.get(1) {
                let section = section.split("\n.SH ").next().unwrap();
                assert!(
                    section.contains(&escaped(&format!("--{flag}"))),
                    "{path:?} {flag}: {section}"
                );
            }
            for (script, word) in
                scripts
                    .iter()
                    .zip([format!("--{flag}"), format!("--{flag}"), format!("-l {flag}")])
            {
                assert!(script.contains(&word), "{path:?} {flag}");
            }
        }
    }
    let (program, commands) = manual.split_once(".SH \"ECSBEAT RUN\"").unwrap();
    for flag in ["path.data", "strict.perms", "environment"] {
        let flag = escaped(&format!("--{flag}"));
        assert!(
            program.contains(&flag) && !commands.contains(&flag),
            "{flag} is told once"
        );
    }
    assert_eq!(cli("completion zsh").command, Command::Completion(Shell::Zsh));
    assert_eq!(cli("export man").command, Command::ExportMan);
}

/// `docs/commands.md` by its headings.
fn documented() -> Vec<(String, String)> {
    let page = include_str!("../docs/commands.md");
    let sections = page.split("\n## ").skip(1).map(|section| {
        let (title, text) = section.split_once('\n').unwrap();
        (title.to_owned(), text.to_owned())
    });
    sections.collect()
}

#[test]
fn the_documentation_has_every_command_and_flag_and_no_other() {
    let documented = documented();
    let section = |title: &str| {
        let found = documented.iter().find(|(known, _)| known == title);
        found.map(|(_, text)| text.as_str())
    };
    let commands: Vec<Vec<String>> = every_path()
        .into_iter()
        .filter(|path| {
            path[0] != "help" && !matches!(path.join(" ").as_str(), "test" | "export" | "keystore")
        })
        .collect();
    let mut titles: Vec<String> = commands.iter().map(|path| path.join(" ")).collect();
    let common = section("Flags of every command").unwrap();
    let root = grammar();
    let global = root
        .get_arguments()
        .filter(|arg| arg.get_help_heading().is_some());
    for arg in global {
        let flag = match (arg.get_short(), arg.get_long()) {
            (Some(letter), _) => format!("`-{letter}"),
            (None, long) => format!("`--{}", long.unwrap()),
        };
        assert!(common.contains(&flag), "{flag}");
    }
    for path in &commands {
        let title = path.join(" ");
        let text = section(&title).unwrap_or_else(|| panic!("{title} is not documented"));
        let flags = own_flags(path);
        for flag in &flags {
            assert!(
                text.contains(&format!("| `--{flag}")),
                "{title}: --{flag} is not documented"
            );
        }
        let told = text.lines().filter_map(|line| line.strip_prefix("| `--"));
        for flag in told {
            let flag = flag.split(['`', ' ', '=']).next().unwrap();
            assert!(flags.iter().any(|known| known == flag), "{title} has no --{flag}");
        }
        assert!(
            text.contains("```sh\necsbeat ") || text.contains("| ecsbeat "),
            "{title} has no example"
        );
    }
    titles.extend(["Flags of every command", "Of 2017"].map(str::to_owned));
    let strange: Vec<&String> = documented
        .iter()
        .map(|(title, _)| title)
        .filter(|title| !titles.contains(title))
        .collect();
    assert!(strange.is_empty(), "no commands: {strange:?}");
}
