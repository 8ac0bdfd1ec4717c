//! `logging.selectors`: which modules a name stands for.
//!
//! Owns the names, those that users of Beats know among them. What a module logs is its own business.

use super::logging::Logging;

/// The modules that log, as they are named in `log.logger`; `ecsbeat` is the start of the process.
const MODULES: [&str; 18] = [
    "app",
    "checkpoint",
    "cluster",
    "collect",
    "config",
    "dcs",
    "decode",
    "ecs",
    "ecsbeat",
    "election",
    "http",
    "monitoring",
    "output",
    "pipeline",
    "processor",
    "schedule",
    "telemetry",
    "tls",
];

/// Names that stand for modules of other names, and the modules.
const NAMES: [(&str, &[&str]); 25] = [
    ("api", &["http"]),
    ("beat", &["ecsbeat", "app"]),
    ("cfgfile", &["config"]),
    ("cfgwarn", &["config"]),
    ("console", &["output.console"]),
    ("elasticsearch", &["output.elasticsearch"]),
    ("esclientleg", &["output.elasticsearch"]),
    ("etcd", &["dcs"]),
    ("file", &["output.file"]),
    ("fileout", &["output.file"]),
    ("ha", &["election", "dcs", "cluster", "checkpoint", "app.cluster"]),
    ("index-management", &["output.elasticsearch"]),
    ("input", &["schedule", "collect", "ecs"]),
    ("kafka", &["output.kafka"]),
    ("logstash", &["output.logstash"]),
    ("memqueue", &["pipeline"]),
    ("processors", &["processor", "collect.processing"]),
    ("publish", &["pipeline", "output"]),
    ("publisher", &["pipeline", "output"]),
    ("publisher_pipeline_output", &["pipeline", "output"]),
    ("queue", &["pipeline"]),
    ("redis", &["output.redis"]),
    ("registrar", &["checkpoint"]),
    ("registry", &["checkpoint"]),
    ("template", &["output.elasticsearch"]),
];

/// The modules that `selector` stands for: those of a name, or the module of that path. Empty where it is unknown.
pub fn selected(selector: &str) -> Vec<&str> {
    if let Some((_, modules)) = NAMES.iter().find(|(name, _)| *name == selector) {
        return modules.to_vec();
    }
    let first = selector.split('.').next().unwrap_or_default();
    if MODULES.contains(&first) {
        vec![selector]
    } else {
        Vec::new()
    }
}

/// Takes the names as they were written, several with commas between them; gives a warning for each unknown one. `*`
/// stands for all, as an empty list does.
pub(super) fn set(logging: &mut Logging, written: &[String]) -> Vec<String> {
    logging.selectors = written
        .iter()
        .flat_map(|list| list.split(','))
        .map(|selector| selector.trim().to_ascii_lowercase())
        .filter(|selector| !selector.is_empty())
        .collect();
    if logging.selectors.iter().any(|selector| selector == "*") {
        logging.selectors.clear();
    }
    let unknown = logging.selectors.iter().filter(|name| selected(name).is_empty());
    unknown
        .map(|selector| {
            format!(
                "unknown selector {selector:?}, which selects nothing; known are {}",
                known()
            )
        })
        .collect()
}

fn known() -> String {
    let mut names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).chain(MODULES).collect();
    names.sort_unstable();
    format!("*, {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Modules that other modules log for, or that log nothing.
    const QUIET: [&str; 23] = [
        "check",
        "cli",
        "clock",
        "condition",
        "dial",
        "document",
        "event",
        "format",
        "heartbeat",
        "json",
        "keystore",
        "lib",
        "operate",
        "permissions",
        "progress",
        "replace",
        "retry",
        "setup",
        "shutdown",
        "status",
        "steps",
        "transform",
        "version",
    ];

    #[test]
    fn every_module_of_the_program_is_known() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let modules: BTreeSet<String> = std::fs::read_dir(source)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .filter(|name| !name.ends_with("_tests"))
            .collect();
        // The binary's own module has the name of the program; the metrics line has one that Beats gave it.
        let named = |name: &str| match name {
            "ecsbeat" => "main".to_owned(),
            name => name.to_owned(),
        };
        let ours = MODULES.iter().filter(|name| **name != "monitoring");
        let all: BTreeSet<String> = ours.chain(&QUIET).map(|name| named(name)).collect();
        assert_eq!(modules, all);
    }

    #[test]
    fn names_lead_to_modules_that_there_are() {
        for (name, modules) in NAMES {
            for module in modules {
                assert_eq!(selected(module), [*module], "{name}");
            }
            assert!(!MODULES.contains(&name), "{name}");
        }
        assert_eq!(selected("publisher"), ["pipeline", "output"]);
        assert_eq!(
            selected("output.elasticsearch.bulk"),
            ["output.elasticsearch.bulk"]
        );
        assert!(selected("hyper").is_empty());
    }
}
