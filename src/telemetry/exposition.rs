//! The text format of Prometheus, version 0.0.4.
//!
//! Owns [`classic`], which makes it of the text of `OpenMetrics`, the only one that the library writes. The samples are
//! the same in both. What differs is how a family is announced: here a counter bears the whole name of its samples,
//! `_total` included, and there are neither infos nor units nor an end mark.

/// The same series for whoever does not ask for `OpenMetrics`.
pub(super) fn classic(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            push(&mut text, &[line]);
            continue;
        };
        match comment.split_once(' ') {
            // Its name is that of the type, which comes next.
            Some(("HELP", rest)) => help = rest.split_once(' ').map(|(_, words)| words),
            Some(("TYPE", rest)) => {
                let (name, kind) = rest.split_once(' ').unwrap_or((rest, "untyped"));
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    _ => ("", kind),
                };
                if let Some(words) = help.take() {
                    push(&mut text, &["# HELP ", name, suffix, " ", words]);
                }
                push(&mut text, &["# TYPE ", name, suffix, " ", kind]);
            }
            // UNIT, EOF
            _ => {}
        }
    }
    text
}

fn push(text: &mut String, parts: &[&str]) {
    for part in parts {
        text.push_str(part);
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_announced_as_their_samples_are_called() {
        let openmetrics = "\
# HELP a_polls Polls.
# TYPE a_polls counter
a_polls_total{vdc=\"# HELP x\"} 3
# HELP a_read_bytes Bytes that were read.
# TYPE a_read_bytes counter
# UNIT a_read_bytes bytes
a_read_bytes_total 4
# HELP a_build Which build.
# TYPE a_build info
a_build_info{version=\"1\"} 1
# HELP a_up Up.
# TYPE a_up gauge
a_up 1
# HELP a_took_seconds How long.
# TYPE a_took_seconds histogram
# UNIT a_took_seconds seconds
a_took_seconds_sum 0.5
a_took_seconds_count 1
a_took_seconds_bucket{le=\"+Inf\"} 1
# EOF
";
        let wanted = "\
# HELP a_polls_total Polls.
# TYPE a_polls_total counter
a_polls_total{vdc=\"# HELP x\"} 3
# HELP a_read_bytes_total Bytes that were read.
# TYPE a_read_bytes_total counter
a_read_bytes_total 4
# HELP a_build_info Which build.
# TYPE a_build_info gauge
a_build_info{version=\"1\"} 1
# HELP a_up Up.
# TYPE a_up gauge
a_up 1
# HELP a_took_seconds How long.
# TYPE a_took_seconds histogram
a_took_seconds_sum 0.5
a_took_seconds_count 1
a_took_seconds_bucket{le=\"+Inf\"} 1
";
        assert_eq!(classic(openmetrics), wanted);
        assert_eq!(classic("# EOF\n"), "");
    }
}
