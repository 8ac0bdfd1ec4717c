//! What is logged and what is not.
//!
//! Owns [`Filter`]: level and selectors of the configuration over the targets of `tracing`. Pure.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::LevelFilter;

use crate::config::{self, LogLevel};

/// The targets of this program begin with its name.
const OWN: &str = "ecsbeat";

/// Level and selectors.
#[derive(Debug)]
pub(super) struct Filter {
    level: Level,
    /// Modules at debug level; `None` = all of ours.
    modules: Option<Vec<String>>,
}

impl Filter {
    /// `selectors` as the configuration has them; those it does not know select nothing.
    pub(super) fn new(level: LogLevel, selectors: &[String]) -> Self {
        let modules = selectors
            .iter()
            .flat_map(|selector| config::selected(selector))
            .map(str::to_owned)
            .collect();
        Self {
            level: match level {
                LogLevel::Error => Level::ERROR,
                LogLevel::Warning => Level::WARN,
                LogLevel::Info => Level::INFO,
                LogLevel::Debug => Level::DEBUG,
            },
            modules: (!selectors.is_empty()).then_some(modules),
        }
    }

    pub(super) fn allows(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.limit(metadata.target())
    }

    /// The most talkative level of a target. Libraries may warn: what they say beyond that is theirs, and may hold
    /// what must not be in a log.
    fn limit(&self, target: &str) -> Level {
        if !is_own(target) {
            return self.level.min(Level::WARN);
        }
        if self.level == Level::DEBUG && !self.selected(&logger(target)) {
            return Level::INFO;
        }
        self.level
    }

    /// Whether a selector stands for the module or one that it is part of.
    fn selected(&self, logger: &str) -> bool {
        let is_within = |module: &String| {
            logger
                .strip_prefix(module.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.modules
            .as_ref()
            .is_none_or(|modules| modules.iter().any(is_within))
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
            (Info, "output", "ecsbeat::ecs", Level::INFO),
            (Info, "", "hyper", Level::WARN),
            (Debug, "", "ecsbeat::ecs", Level::DEBUG),
            (Debug, "", "hyper", Level::WARN),
            (Debug, "ecs output", "ecsbeat::ecs::client", Level::DEBUG),
            (Debug, "ecs output", "ecsbeat::output", Level::DEBUG),
            (Debug, "ecs", "ecsbeat::output", Level::INFO),
            (Debug, "ecs", "ecsbeat::ecsother", Level::INFO),
            (Debug, "ecs", "ecsbeat", Level::INFO),
            (Debug, "beat", "ecsbeat", Level::DEBUG),
            (Debug, "publisher", "ecsbeat::pipeline::publish", Level::DEBUG),
            (
                Debug,
                "elasticsearch",
                "ecsbeat::output::elasticsearch",
                Level::DEBUG,
            ),
            (Debug, "elasticsearch", "ecsbeat::output::file", Level::INFO),
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
            // Unknown: it selects nothing, and libraries cannot be selected.
            (Debug, "hyper", "hyper", Level::WARN),
            (Debug, "hyper", "ecsbeat::ecs", Level::INFO),
        ] {
            let selectors: Vec<String> = selectors.split_whitespace().map(str::to_owned).collect();
            let filter = Filter::new(level, &selectors);
            assert_eq!(filter.limit(target), want, "{level:?} {selectors:?} {target}");
        }
    }
}
