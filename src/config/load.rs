//! From files, `-E` and flags to a [`Config`].
//!
//! Owns the order in which sources are laid over each other (built-in paths, files as given, `-E`, `--path.*`), the
//! check of file permissions, and where the keystore is. What the keys mean is in the sections' own files.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::errors::{Errors, Problem};
use super::expand::Lookup;
use super::node::{Data, Map, Mark, Node, Scalar, Style};
use super::reader::{Findings, Reader};
use super::{
    Config, Http, LogLevel, dotted, general, graft, ha, hashes, log_selectors, merge, overrides, redact,
    source,
};
use crate::keystore::{FILE, Keystore, Place};
use crate::permissions;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "ecsbeat.yml";

/// Where the configuration comes from, as the command line says.
#[derive(Debug, Clone)]
pub struct Sources {
    /// `-c`, in order; relative ones are looked for in `path.config`. Empty = `ecsbeat.yml`.
    pub files: Vec<PathBuf>,
    /// `-E key=value`, in order.
    pub overrides: Vec<String>,
    /// `--path.home`.
    pub home: Option<PathBuf>,
    /// `--path.config`.
    pub config: Option<PathBuf>,
    /// `--path.data`.
    pub data: Option<PathBuf>,
    /// `--path.logs`.
    pub logs: Option<PathBuf>,
    /// `--once`.
    pub once: bool,
    /// `--strict.perms`: refuse files that others than their owner may write.
    pub strict_perms: bool,
    /// `-e`: log to stderr and not to files.
    pub log_to_stderr: bool,
    /// `-d`: log these at debug level; `*` = all.
    pub debug_selectors: Vec<String>,
    /// `-v`: log at level info at least.
    pub verbose: bool,
    /// `--environment`: what the log goes to unless told.
    pub environment: Environment,
}

/// `--environment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// Logs go to files.
    #[default]
    Default,
    /// Logs go to stderr, which journald reads.
    Systemd,
    /// Logs go to stderr.
    Container,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            overrides: Vec::new(),
            home: None,
            config: None,
            data: None,
            logs: None,
            once: false,
            strict_perms: true,
            log_to_stderr: false,
            debug_selectors: Vec::new(),
            verbose: false,
            environment: Environment::Default,
        }
    }
}

/// Reads everything `sources` names. All that is wrong is told at once; `environment` looks a variable up.
pub fn load(sources: &Sources, environment: &dyn Fn(&str) -> Option<String>) -> Result<Config, Errors> {
    read(sources, environment).0
}

/// The merged settings for people to look at: references as they are written, secrets that are written out replaced.
/// What the keys mean is not looked at, so that no reference need be there.
pub fn merged(sources: &Sources) -> Result<String, Errors> {
    Ok(redact::to_yaml(&merged_tree(sources)?))
}

/// Where the keystore is. Nothing else is looked at: what refers to an entry that is still to be added does no harm.
pub fn keystore(sources: &Sources, environment: &dyn Fn(&str) -> Option<String>) -> Result<Place, Errors> {
    let settings = merged_tree(sources)?;
    place(&settings, sources, environment).map_err(|problem| Errors::new(vec![problem], &[]))
}

/// `http.*`, for who asks an instance instead of being one. Nothing else is looked at: what is unfinished elsewhere, or
/// a token that is not there, is no reason to call a running instance ill. Who may write the files is judged by whoever
/// works with them, and no file in the usual place is as good as an empty one.
pub fn http(sources: &Sources, environment: &dyn Fn(&str) -> Option<String>) -> Result<Http, Errors> {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    let sources = Sources {
        strict_perms: false,
        ..sources.clone()
    };
    let files = files(&sources);
    let is_there = !sources.files.is_empty() || config_directory(&sources).join(DEFAULT_FILE).exists();
    let files = if is_there { &*files } else { &[] };
    let merged = tree_of(files, &sources, &mut problems, &mut names);
    let settings = graft::graft(&merged, &mut Vec::new());
    let (store, unread) = match kept(&settings, &sources, environment) {
        Ok(store) => (store, None),
        Err(problem) => (Keystore::default(), Some(problem)),
    };
    let directory = config_directory(&sources);
    let lookup = Lookup {
        settings: &settings,
        environment,
        keystore: &|name| store.text(name),
        directory: &directory,
    };
    let reader = Reader::new(lookup);
    let http = reader.root(&settings, |root| root.section("http", super::http::read));
    let ours = reader.finish().problems.into_iter();
    let ours: Vec<_> = ours
        .filter(|problem| problem.path == "http" || problem.path.starts_with("http."))
        .filter(|problem| !problem.path.starts_with("http.auth"))
        .collect();
    if !ours.is_empty() {
        // It may be what a reference was not found in.
        problems.extend(unread);
    }
    problems.extend(ours);
    if problems.is_empty() {
        Ok(http)
    } else {
        Err(Errors::new(problems, &names))
    }
}

fn merged_tree(sources: &Sources) -> Result<Node, Errors> {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    let merged = tree(sources, &mut problems, &mut names);
    if problems.is_empty() {
        Ok(merged)
    } else {
        Err(Errors::new(problems, &names))
    }
}

/// `keystore.path`, which cannot refer to what the keystore holds.
fn place(
    settings: &Node,
    sources: &Sources,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Place, Problem> {
    let lookup = Lookup {
        settings,
        environment,
        keystore: &|_| None,
        directory: &config_directory(sources),
    };
    let text = |path: &str| {
        let Some(node) = settings.at(path) else {
            return Ok(None);
        };
        let Data::Scalar(scalar) = &node.data else {
            // Its reader says so.
            return Ok(None);
        };
        match lookup.expand(&scalar.text) {
            Ok(expanded) => Ok(Some(expanded.text).filter(|text| !text.is_empty())),
            Err(error) => Err(Problem {
                file: node.mark.file.to_string(),
                line: Some(node.mark.line).filter(|line| *line > 0),
                path: path.to_owned(),
                message: error.to_string(),
            }),
        }
    };
    let data = text("path.data")?.unwrap_or_default();
    let file = text("keystore.path")?.unwrap_or_else(|| FILE.to_owned());
    Ok(Place {
        path: Path::new(&data).join(file),
        strict_perms: sources.strict_perms,
    })
}

/// The entries that references may name.
fn kept(
    settings: &Node,
    sources: &Sources,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Keystore, Problem> {
    let place = place(settings, sources, environment)?;
    match Keystore::read(&place) {
        Ok(store) => Ok(store.unwrap_or_default()),
        Err(error) => Err(Problem {
            file: "keystore".to_owned(),
            line: None,
            path: String::new(),
            message: error.to_string(),
        }),
    }
}

/// As `load`, with what the reading found beside the values.
pub(super) fn read(
    sources: &Sources,
    environment: &dyn Fn(&str) -> Option<String>,
) -> (Result<Config, Errors>, Findings) {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    let merged = tree(sources, &mut problems, &mut names);
    if !problems.is_empty() {
        // What could not be read would show up as missing: no use in telling that as well.
        let findings = Findings {
            problems: Vec::new(),
            warnings: Vec::new(),
            schema: <_>::default(),
            given: <_>::default(),
        };
        return (Err(Errors::new(problems, &names)), findings);
    }
    let redacted_yaml = redact::to_yaml(&merged);
    let settings = graft::graft(&merged, &mut problems);
    let directory = config_directory(sources);
    let store = kept(&settings, sources, environment).unwrap_or_else(|problem| {
        problems.push(problem);
        Keystore::default()
    });
    let lookup = Lookup {
        settings: &settings,
        environment,
        keystore: &|name| store.text(name),
        directory: &directory,
    };
    let mut visible = settings.clone();
    if let Data::Map(map) = &mut visible.data {
        // `x-…` at the top is the user's own: a place for anchors and shared values.
        map.entries.retain(|(key, _)| !key.starts_with("x-"));
    }
    let reader = Reader::new(lookup);
    let config = reader.root(&visible, |root| general::read(root, sources.environment));
    let findings = reader.finish();
    problems.extend(findings.problems.iter().cloned());
    if sources.once && config.ha.is_some() {
        problems.push(Problem {
            file: "--once".to_owned(),
            line: None,
            path: String::new(),
            message: format!("does not go together with ha: {}", ha::NOT_ONCE),
        });
    }
    if !problems.is_empty() {
        return (Err(Errors::new(problems, &names)), findings);
    }
    let hash = hashes::config(
        &findings.given,
        config.ha.as_ref().map_or("", |ha| ha.cluster.as_str()),
    );
    let mut config = Config {
        warnings: findings.warnings.clone(),
        redacted_yaml,
        hash,
        ..config
    };
    if let Some(ha) = &mut config.ha {
        ha.config_hash.clone_from(&config.hash);
        ha.identity_hash = hashes::identity(&config.ecsbeat);
    }
    apply_flags(&mut config, sources);
    (Ok(config), findings)
}

fn apply_flags(config: &mut Config, sources: &Sources) {
    config.ecsbeat.once |= sources.once;
    let logging = &mut config.logging;
    if sources.log_to_stderr {
        logging.to_stderr = true;
        logging.to_files = false;
    }
    if sources.verbose {
        logging.level = logging.level.max(LogLevel::Info);
    }
    if !sources.debug_selectors.is_empty() {
        logging.level = LogLevel::Debug;
        let warnings = log_selectors::set(logging, &sources.debug_selectors);
        let told = warnings.into_iter().map(|warning| format!("-d: {warning}"));
        config.warnings.extend(told);
    }
}

/// All sources in one tree. `names` gets the names of the files, in their order.
fn tree(sources: &Sources, problems: &mut Vec<Problem>, names: &mut Vec<String>) -> Node {
    tree_of(&files(sources), sources, problems, names)
}

/// The files that count.
fn files(sources: &Sources) -> Cow<'_, [PathBuf]> {
    if sources.files.is_empty() {
        Cow::Owned(vec![PathBuf::from(DEFAULT_FILE)])
    } else {
        Cow::Borrowed(&sources.files)
    }
}

/// As `tree`, of these files.
fn tree_of(
    files: &[PathBuf],
    sources: &Sources,
    problems: &mut Vec<Problem>,
    names: &mut Vec<String>,
) -> Node {
    let home = home_directory(sources);
    let mut merged = paths(
        "",
        &[
            ("home", Some(&home)),
            ("config", Some(&config_directory(sources))),
            ("data", Some(&home.join("data"))),
            ("logs", Some(&home.join("logs"))),
        ],
    );
    for file in files {
        names.push(file.display().to_string());
        match read_file(file, sources) {
            Ok(node) => merged = merge::merge(merged, dotted::expand(node, problems)),
            Err(problem) => problems.push(problem),
        }
    }
    names.push("-E".to_owned());
    for argument in &sources.overrides {
        match overrides::parse(argument) {
            Ok(Some(node)) => merged = merge::merge(merged, dotted::expand(node, problems)),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    let flags = [
        ("home", sources.home.as_deref()),
        ("config", sources.config.as_deref()),
        ("data", sources.data.as_deref()),
        ("logs", sources.logs.as_deref()),
    ];
    merge::merge(merged, paths("--path", &flags))
}

/// `path.*` as a tree.
fn paths(file: &str, values: &[(&str, Option<&Path>)]) -> Node {
    let mark = Mark {
        file: Arc::from(file),
        line: 0,
        built_in: false,
    };
    let entries = values.iter().filter_map(|(key, path)| {
        // A dollar sign in a directory's name is no reference.
        let text = path.as_ref()?.display().to_string().replace('$', "$$");
        let data = Data::Scalar(Scalar {
            text,
            style: Style::Quoted,
        });
        Some((
            (*key).to_owned(),
            Node {
                data,
                mark: mark.clone(),
            },
        ))
    });
    let paths = Node {
        data: Data::Map(Map {
            entries: entries.collect(),
            implied: true,
        }),
        mark: mark.clone(),
    };
    let entries = vec![("path".to_owned(), paths)];
    Node {
        data: Data::Map(Map {
            entries,
            implied: true,
        }),
        mark,
    }
}

/// `path.home`: the directory of the binary unless told.
fn home_directory(sources: &Sources) -> PathBuf {
    sources.home.clone().unwrap_or_else(|| {
        let binary = std::env::current_exe().ok();
        binary
            .as_deref()
            .and_then(Path::parent)
            .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
    })
}

/// Where relative files are looked for. A file cannot change where it is looked for itself.
fn config_directory(sources: &Sources) -> PathBuf {
    sources.config.clone().unwrap_or_else(|| home_directory(sources))
}

fn read_file(file: &Path, sources: &Sources) -> Result<Node, Problem> {
    let name = file.display().to_string();
    let problem = |message: String| Problem {
        file: name.clone(),
        line: None,
        path: String::new(),
        message,
    };
    let path = config_directory(sources).join(file);
    let text = std::fs::read(&path).map_err(|error| {
        let place = if file.is_absolute() {
            String::new()
        } else {
            format!(
                " {} (relative files are looked for in path.config)",
                path.display()
            )
        };
        problem(format!("cannot read{place}: {error}"))
    })?;
    if sources.strict_perms {
        permissions::check(&path).map_err(problem)?;
    }
    let text = String::from_utf8(text).map_err(|_| problem("the file is not UTF-8 text".to_owned()))?;
    source::parse(&name, &text)
}
