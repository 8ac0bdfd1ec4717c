//! Which build this is.
//!
//! Owns the version, the commit and the architecture's name. The commit comes from `ECSBEAT_COMMIT` at compile
//! time and from nowhere else: a build looks at no `.git`, so that the same source always gives the same binary.

/// The version, as in `Cargo.toml`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, or `unknown` where the build was not told.
pub const COMMIT: &str = match option_env!("ECSBEAT_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The architecture under the name that Beats use.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// What `ecsbeat version` prints.
pub fn line() -> String {
    format!("ecsbeat version {VERSION} ({}) [{COMMIT}]", arch())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_line_has_the_shape_that_beats_print() {
        let line = super::line();
        assert!(
            line.starts_with(&format!("ecsbeat version {} (", super::VERSION)),
            "{line}"
        );
        assert!(line.ends_with(']'), "{line}");
    }
}
