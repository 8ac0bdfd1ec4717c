//! The command line.
//!
//! Owns its grammar: from arguments to a [`Cli`], or to an [`Exit`] with the text to show. It does what Beats do:
//! flags may stand before and after the command, long flags may have a single dash, and the flags of the 2017
//! versions still work. Pure: it opens no file, prints nothing and ends no process.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
pub use clap_complete::Shell;

use crate::keystore::Order;
use crate::operate::{Request, Target};

/// Success, and an orderly stop.
pub const OK: u8 = 0;
/// Anything that failed.
pub const FAILURE: u8 = 1;
/// The configuration is invalid.
pub const INVALID_CONFIG: u8 = 78;

/// What the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cli {
    /// What to do.
    pub command: Command,
    /// `-c`, in order; empty = `ecsbeat.yml`.
    pub files: Vec<PathBuf>,
    /// `-E`, in order, as typed: `key=value`, or `key` for `key=true`.
    pub overrides: Vec<String>,
    /// `--path.*`
    pub paths: Paths,
    /// `--strict.perms`: refuse files that others than their owner may write.
    pub strict_perms: bool,
    /// `-e`: log to stderr and not to files.
    pub log_to_stderr: bool,
    /// `-d`: log these at debug level, `*` = all; empty = not given.
    pub debug_selectors: Vec<String>,
    /// `-v`: log at level info at least.
    pub verbose: bool,
    /// `--environment`
    pub environment: Environment,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Collect and ship, until stopped; with `once`, until everything was collected once.
    Run {
        /// `--once`
        once: bool,
    },
    /// `test config`
    TestConfig,
    /// `test output`
    TestOutput,
    /// `test ecs`
    TestEcs,
    /// `export config`
    ExportConfig,
    /// `export template`
    ExportTemplate,
    /// `export man`
    ExportMan,
    /// `setup`
    Setup {
        /// Replace what is there.
        force: bool,
    },
    /// `keystore create`, `add`, `list`, `remove`
    Keystore(Order),
    /// `completion`
    Completion(Shell),
    /// `status`, `switchover`, `step-down`, `pause`, `resume`
    Operate {
        /// What is asked for.
        request: Request,
        /// Whom to ask.
        target: Target,
    },
    /// `version`
    Version,
    /// `health`
    Health {
        /// Ask whether it leads instead of whether it is well.
        leader: bool,
        /// Whom to ask.
        url: Option<String>,
    },
}

/// `--path.home`, `--path.config`, `--path.data`, `--path.logs`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths {
    /// `--path.home`
    pub home: Option<PathBuf>,
    /// `--path.config`
    pub config: Option<PathBuf>,
    /// `--path.data`
    pub data: Option<PathBuf>,
    /// `--path.logs`
    pub logs: Option<PathBuf>,
}

/// `--environment`: where the log goes unless told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// To files.
    #[default]
    Default,
    /// To stderr.
    Container,
    /// To stderr, which the journal reads.
    Systemd,
}

/// There is nothing to do but to show a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The text, with its last line break.
    pub text: String,
    /// The exit code; the text belongs on stdout when it is [`OK`], else on stderr.
    pub code: u8,
}

/// Reads the arguments, the program's name included.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Exit> {
    let matches = grammar()
        .try_get_matches_from(double_dashes(arguments))
        .map_err(|error| Exit {
            text: error.render().to_string(),
            code: if error.use_stderr() { FAILURE } else { OK },
        })?;
    Ok(Cli::from_matches(&matches))
}

/// What a shell reads to complete our commands and flags.
pub fn completion(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut grammar(), "ecsbeat", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page: the program, then each command with its flags. What all of them take is told once.
pub fn manual() -> std::io::Result<String> {
    let mut page = Vec::new();
    let program = grammar();
    let man = clap_mangen::Man::new(program.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    for (path, command) in commands_of("ecsbeat", &program) {
        let own = command.disable_help_flag(true).mut_args(|arg| {
            let is_own = arg.get_help_heading().is_none();
            arg.hide(!is_own)
        });
        let man = clap_mangen::Man::new(own);
        let mut section = Vec::new();
        man.render_description_section(&mut section)?;
        man.render_options_section(&mut section)?;
        let title = format!(".SH \"{}\"\n", path.to_uppercase().replace('-', "\\-"));
        let text = String::from_utf8_lossy(&section)
            .replace(".SH DESCRIPTION\n", &title)
            .replace(".SH OPTIONS\n", ".PP\n");
        page.extend_from_slice(text.as_bytes());
    }
    man.render_extra_section(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Every command that can be carried out, with the words that call it.
fn commands_of(path: &str, above: &clap::Command) -> Vec<(String, clap::Command)> {
    let mut found = Vec::new();
    for command in above.get_subcommands() {
        let path = format!("{path} {}", command.get_name());
        if command.has_subcommands() {
            found.extend(commands_of(&path, command));
        } else {
            found.push((path, command.clone()));
        }
    }
    found
}

/// What libbeat does before it reads the arguments: a single dash before more than one letter is meant as two.
/// It holds for values, too.
fn double_dashes(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    arguments
        .into_iter()
        .map(|argument| {
            let bytes = argument.as_encoded_bytes();
            if bytes.len() > 2 && bytes.starts_with(b"-") && !bytes.starts_with(b"--") {
                let mut doubled = OsString::from("-");
                doubled.push(&argument);
                doubled
            } else {
                argument
            }
        })
        .collect()
}

impl Cli {
    fn from_matches(matches: &ArgMatches) -> Self {
        let mut cli = Self {
            command: Command::Run { once: false },
            files: Vec::new(),
            overrides: Vec::new(),
            paths: Paths::default(),
            strict_perms: true,
            log_to_stderr: false,
            debug_selectors: Vec::new(),
            verbose: false,
            environment: Environment::Default,
        };
        // Flags may stand at every level of commands; the later one adds to or wins over the earlier.
        let mut words = Vec::new();
        let mut deepest = matches;
        cli.take_common(deepest);
        while let Some((word, below)) = deepest.subcommand() {
            words.push(word);
            deepest = below;
            cli.take_common(deepest);
        }
        cli.command = command(&words, matches, deepest);
        cli
    }

    fn take_common(&mut self, matches: &ArgMatches) {
        self.files.extend(many::<PathBuf>(matches, "c"));
        self.overrides.extend(many::<String>(matches, "E"));
        self.log_to_stderr |= matches.get_flag("e");
        self.verbose |= matches.get_flag("v");
        for list in many::<String>(matches, "d") {
            let selectors = list.split(',').map(str::trim).filter(|word| !word.is_empty());
            self.debug_selectors.extend(selectors.map(str::to_owned));
        }
        for (name, place) in [
            ("path.home", &mut self.paths.home),
            ("path.config", &mut self.paths.config),
            ("path.data", &mut self.paths.data),
            ("path.logs", &mut self.paths.logs),
        ] {
            if let Some(path) = matches.get_one::<PathBuf>(name) {
                *place = Some(path.clone());
            }
        }
        if let Some(strict) = matches.get_one::<bool>("strict.perms") {
            self.strict_perms = *strict;
        }
        match matches.get_one::<String>("environment").map(String::as_str) {
            Some("container") => self.environment = Environment::Container,
            Some("systemd") => self.environment = Environment::Systemd,
            Some(_) => self.environment = Environment::Default,
            None => {}
        }
    }
}

fn many<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Vec<T> {
    matches
        .get_many::<T>(name)
        .map(|values| values.cloned().collect())
        .unwrap_or_default()
}

fn command(words: &[&str], root: &ArgMatches, deepest: &ArgMatches) -> Command {
    let text = |name: &str| deepest.get_one::<String>(name).cloned();
    let operate = |request| Command::Operate {
        request,
        target: Target { url: text("url") },
    };
    match words {
        ["test", "config"] => Command::TestConfig,
        ["test", "output"] => Command::TestOutput,
        ["test", "ecs"] => Command::TestEcs,
        ["export", "config"] => Command::ExportConfig,
        ["export", "template"] => Command::ExportTemplate,
        ["export", "man"] => Command::ExportMan,
        ["setup"] => Command::Setup {
            force: deepest.get_flag("force"),
        },
        ["keystore", "create"] => Command::Keystore(Order::Create {
            force: deepest.get_flag("force"),
        }),
        ["keystore", "add"] => Command::Keystore(Order::Add {
            name: text("key").unwrap_or_default(),
            stdin: deepest.get_flag("stdin"),
            force: deepest.get_flag("force"),
        }),
        ["keystore", "list"] => Command::Keystore(Order::List),
        ["keystore", "remove"] => Command::Keystore(Order::Remove {
            names: many::<String>(deepest, "key"),
        }),
        ["completion"] => Command::Completion(
            // The grammar asks for one.
            deepest.get_one::<Shell>("shell").copied().unwrap_or(Shell::Bash),
        ),
        ["status"] => operate(Request::Status {
            json: deepest.get_flag("json"),
        }),
        ["switchover"] => operate(Request::Switchover {
            leader: text("leader"),
            candidate: text("candidate"),
        }),
        ["step-down"] => operate(Request::StepDown),
        ["pause"] => operate(Request::Pause),
        ["resume"] => operate(Request::Resume),
        ["version"] => Command::Version,
        ["health"] => Command::Health {
            leader: deepest.get_flag("leader"),
            url: text("url"),
        },
        // No command, or `run`.
        _ if root.get_flag("version") => Command::Version,
        _ if root.get_flag("configtest") => Command::TestConfig,
        _ => Command::Run {
            once: root.get_flag("once") || deepest.get_flag("once"),
        },
    }
}

// === the grammar ===

fn grammar() -> clap::Command {
    let test = group("test", "Test the configuration, the output or ECS")
        .subcommand(leaf(
            "config",
            "Read the configuration and tell whether it is valid",
        ))
        .subcommand(leaf("output", "Connect to the output and tell what happens"))
        .subcommand(leaf("ecs", "Log in to every VDC and node and tell what happens"));
    let export = group(
        "export",
        "Print the configuration, the index template or the manual page",
    )
    .subcommand(leaf(
        "config",
        "Print the merged configuration, references as they are, secrets left out",
    ))
    .subcommand(leaf("template", "Print the index template"))
    .subcommand(leaf("man", "Print the manual page, for man(1)"));
    let keystore = group("keystore", "Keep secrets out of the configuration")
        .subcommand(
            leaf("create", "Make an empty keystore")
                .arg(flag("force").help("In the place of one that is there")),
        )
        .subcommand(
            leaf("add", "Put a secret in; the configuration refers to it as ${KEY}")
                .arg(key().help("What to call it"))
                .arg(flag("stdin").help("Read the secret from standard input instead of asking for it"))
                .arg(
                    flag("force")
                        .help("Replace a secret that is there; make the keystore where there is none"),
                ),
        )
        .subcommand(leaf("list", "Print the names of all secrets"))
        .subcommand(leaf("remove", "Take secrets out").arg(key().num_args(1..).help("What they are called")));
    let setup = leaf("setup", "Prepare Elasticsearch: index template, data stream")
        .arg(flag("index-management").help("Only what has to do with indices, which is all there is"))
        .arg(flag("force").help("Replace an index template that is there, as setup.template.overwrite does"));
    let completion = leaf(
        "completion",
        "Print what a shell needs to complete commands and flags",
    )
    .arg(
        Arg::new("shell")
            .value_name("SHELL")
            .required(true)
            .value_parser(value_parser!(Shell))
            .help("Which shell"),
    );
    let status = asking(
        "status",
        "Show the cluster: who leads, who stands by, how each is",
    )
    .arg(flag("json").help("JSON, as /cluster has it"));
    let switchover = asking("switchover", "Have another instance lead, without a gap")
        .arg(name(
            "leader",
            "Who leads now; refused where that is not so [default: who does]",
        ))
        .arg(name("candidate", "Who is to lead [default: any that is ready]"));
    let health = leaf(
        "health",
        "Ask a running ecsbeat how it is; for container health checks",
    )
    .arg(flag("leader").help("Ask whether it leads instead of whether it is well"))
    .arg(
        Arg::new("url")
            .long("url")
            .value_name("URL")
            .help("Whom to ask [default: /health, or /leader, where the configuration says that it answers]"),
    );
    common(clap::Command::new("ecsbeat"))
        // The later one counts, as in Beats: a package's command gives places, and its user may give others.
        .args_override_self(true)
        .about("Collects metrics, events and billing of Dell EMC ECS / ObjectScale and ships them to the Elastic Stack")
        .after_help("Without a command it runs. Long flags may also have a single dash, as in -path.data.")
        .arg(once())
        .arg(flag("configtest").hide(true))
        .arg(flag("version").hide(true))
        .subcommand(leaf("run", "Collect and ship until stopped (the default)").arg(once()))
        .subcommand(test)
        .subcommand(export)
        .subcommand(setup)
        .subcommand(keystore)
        .subcommand(status)
        .subcommand(switchover)
        .subcommand(asking("step-down", "Have the leader give up leading"))
        .subcommand(asking("pause", "Have nobody take over, whatever happens, until resume"))
        .subcommand(asking("resume", "End a pause"))
        .subcommand(health)
        .subcommand(completion)
        .subcommand(leaf("version", "Print the version"))
        .term_width(100)
}

fn leaf(name: &'static str, about: &'static str) -> clap::Command {
    common(clap::Command::new(name).about(about))
}

/// A command that asks a running instance.
fn asking(command: &'static str, about: &'static str) -> clap::Command {
    leaf(command, about).arg(
        Arg::new("url")
            .long("url")
            .value_name("URL")
            .help("Whom to ask [default: http.host and http.port of the configuration]"),
    )
}

fn name(flag: &'static str, help: &'static str) -> Arg {
    Arg::new(flag).long(flag).value_name("NAME").help(help)
}

/// As Beats call the name of a secret.
fn key() -> Arg {
    Arg::new("key").value_name("KEY").required(true)
}

fn group(name: &'static str, about: &'static str) -> clap::Command {
    leaf(name, about)
        .subcommand_required(true)
        .disable_help_subcommand(true)
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

fn once() -> Arg {
    flag("once").help("Run every command once, wait until all is acknowledged, and exit")
}

/// As Go reads it.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// The flags that every command takes.
fn common(command: clap::Command) -> clap::Command {
    let letter = |name: &'static str, letter: char| Arg::new(name).short(letter).long(name);
    let path = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("DIR")
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    command
        .next_help_heading("Global flags")
        .arg(
            letter("c", 'c')
                .value_name("FILE")
                .action(ArgAction::Append)
                .value_parser(value_parser!(PathBuf))
                .help("Configuration file, relative to path.config; repeat it to add more [default: ecsbeat.yml]"),
        )
        .arg(
            letter("E", 'E')
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .help("Set a key of the configuration; may be repeated"),
        )
        .arg(
            letter("e", 'e')
                .action(ArgAction::SetTrue)
                .help("Log to stderr instead of files"),
        )
        .arg(
            letter("d", 'd')
                .value_name("SELECTORS")
                .action(ArgAction::Append)
                .allow_hyphen_values(true)
                .help("Log these modules at debug level, separated by commas; \"*\" for all"),
        )
        .arg(
            letter("v", 'v')
                .action(ArgAction::SetTrue)
                .help("Log at info level at least"),
        )
        .arg(path("path.home", "Home directory [default: the program's]"))
        .arg(path("path.config", "Configuration files [default: path.home]"))
        .arg(path("path.data", "Data [default: path.home/data]"))
        .arg(path("path.logs", "Log files [default: path.home/logs]"))
        .arg(
            Arg::new("strict.perms")
                .long("strict.perms")
                .value_name("BOOL")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .value_parser(boolean)
                .help("Refuse files that others may write, and a keystore that they may read [default: true]"),
        )
        .arg(
            Arg::new("environment")
                .long("environment")
                .value_name("NAME")
                .value_parser(PossibleValuesParser::new(["default", "container", "systemd"]))
                .hide_possible_values(true)
                .help("Where the log goes unless told: default (files), container or systemd (stderr)"),
        )
        .next_help_heading(None::<&str>)
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
