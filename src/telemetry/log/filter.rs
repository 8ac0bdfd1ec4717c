//! What is logged and what is not.
//!
//! Owns [`Filter`]: level and selectors of the configuration over the targets of `tracing`. Pure.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::LevelFilter;

use crate::config::LogLevel;

/// The targets of this program begin with its name.
const OWN: &str = "ecsbeat";

/// Level and selectors.
#[derive(Debug)]
pub(super) struct Filter {
    level: Level,
    /// Modules at debug level; empty = all of ours.
    selectors: Vec<String>,
    /// `*` was asked for by name: libraries are shown, too.
    everything: bool,
}

impl Filter {
    pub(super) fn new(level: LogLevel, selectors: &[String]) -> Self {
        let mut selectors: Vec<_> = selectors
            .iter()
            .flat_map(|list| list.split(','))
            .map(|selector| selector.trim().to_ascii_lowercase())
            .filter(|selector| !selector.is_empty())
            .collect();
        let everything = selectors.iter().any(|selector| selector == "*");
        if everything {
            selectors.clear();
        }
        Self {
            level: match level {
                LogLevel::Error => Level::ERROR,
                LogLevel::Warning => Level::WARN,
                LogLevel::Info => Level::INFO,
                LogLevel::Debug => Level::DEBUG,
            },
            selectors,
            everything,
        }
    }

    pub(super) fn allows(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.limit(metadata.target())
    }

    /// The most talkative level of a target.
    fn limit(&self, target: &str) -> Level {
        if !is_own(target) {
            return if self.everything {
                self.level
            } else {
                self.level.min(Level::WARN)
            };
        }
        if self.level == Level::DEBUG && !self.selected(&logger(target)) {
            return Level::INFO;
        }
        self.level
    }

    /// Whether a selector names the module, one that it is part of, or its last word.
    fn selected(&self, logger: &str) -> bool {
        self.selectors.is_empty()
            || self.selectors.iter().any(|selector| {
                logger
                    .strip_prefix(selector.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                    || logger.split('.').any(|word| word == selector)
            })
    }

    /// Nothing above this is ever wanted.
    pub(super) fn highest(&self) -> LevelFilter {
        LevelFilter::from_level(self.level)
    }
}

fn is_own(target: &str) -> bool {
    target
        .strip_prefix(OWN)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The module as Beats would name it: `ecsbeat::output::elasticsearch` is `output.elasticsearch`.
pub(super) fn logger(target: &str) -> String {
    let module = if is_own(target) {
        target
            .strip_prefix(OWN)
            .map_or(target, |rest| rest.trim_start_matches("::"))
    } else {
        target
    };
    if module.is_empty() {
        OWN.to_owned()
    } else {
        module.replace("::", ".")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_loggers_after_modules() {
        for (target, want) in [
            ("ecsbeat", "ecsbeat"),
            ("ecsbeat::output::elasticsearch", "output.elasticsearch"),
            ("hyper::proto", "hyper.proto"),
            ("ecsbeats", "ecsbeats"),
        ] {
            assert_eq!(logger(target), want);
        }
    }

    #[test]
    fn every_level_and_selector() {
        use LogLevel::{Debug, Error, Info, Warning};
        for (level, selectors, target, want) in [
            (Error, "", "ecsbeat::ecs", Level::ERROR),
            (Error, "", "hyper", Level::ERROR),
            (Warning, "", "ecsbeat::ecs", Level::WARN),
            (Info, "", "ecsbeat::ecs", Level::INFO),
            (Info, "*", "ecsbeat::ecs", Level::INFO),
            (Info, "output", "ecsbeat::ecs", Level::INFO),
            (Info, "", "hyper", Level::WARN),
            (Info, "*", "hyper", Level::INFO),
            (Debug, "", "ecsbeat::ecs", Level::DEBUG),
            (Debug, "", "hyper", Level::WARN),
            (Debug, "*", "hyper", Level::DEBUG),
            (Debug, "*", "ecsbeat::ecs", Level::DEBUG),
            (Debug, "ecs,*", "ecsbeat::output", Level::DEBUG),
            (Debug, "ecs,output", "ecsbeat::ecs::client", Level::DEBUG),
            (Debug, "ecs, output", "ecsbeat::output", Level::DEBUG),
            (Debug, "ecs", "ecsbeat::output", Level::INFO),
            (Debug, "ecs", "ecsbeat::ecsother", Level::INFO),
            (Debug, "ecs", "ecsbeat", Level::INFO),
            (
                Debug,
                "elasticsearch",
                "ecsbeat::output::elasticsearch",
                Level::DEBUG,
            ),
            (
                Debug,
                "output.elasticsearch",
                "ecsbeat::output::elasticsearch::bulk",
                Level::DEBUG,
            ),
            (
                Debug,
                "output.elasticsearch",
                "ecsbeat::output::file",
                Level::INFO,
            ),
            (Debug, "ECS", "ecsbeat::ecs", Level::DEBUG),
            (Debug, "hyper", "hyper", Level::WARN),
        ] {
            let filter = Filter::new(level, &[selectors.to_owned()]);
            assert_eq!(filter.limit(target), want, "{level:?} '{selectors}' {target}");
        }
    }
}
